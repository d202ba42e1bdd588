"""The status of a pair: what made the values of set metrics undefined or doubtful."""

import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
from hypothesis import given

import lensmetrics as lm
from tests import reference
from tests.strategies import Case, cases

Map = npt.NDArray[Any]


def tokens(pair: lm.MapPair) -> set[str]:
    return set(pair.status.split(";")) - {"ok"}


def is_tied_at(a: Map, k: int) -> bool:
    order = reference.ordered(a)
    return k < len(order) and bool(a[order[k - 1]] == a[order[k]])


def is_whole(a: Map, k: int, w: int) -> bool:
    """Return whether the neighbourhood of the top set is the whole map."""
    return len(reference.neighbourhood(a, reference.top_k(a, k), w)) == a.size


@given(
    case=cases(),
    name=st.sampled_from(
        ["topk_intersection", "topk_iou", "lens_recall", "lens_precision", "lens_distance", "fss"]
    ),
)
def test_status_of_set_metrics(name: str, case: Case) -> None:
    maps = (case.unperturbed, case.perturbed)
    expected = set()
    if any(reference.is_constant(a) for a in maps):
        expected.add("constant_map")
    if (maps[0] == maps[1]).all():
        expected.add("identical")
    pair = lm.MapPair(*maps)
    assert tokens(pair) == expected
    if "constant_map" not in expected:
        if any(is_tied_at(a, case.k) for a in maps):
            expected.add("tied_cut")
        if any(is_whole(a, case.k, case.arguments(name).get("w", 0)) for a in maps):
            expected.add("saturated")
    getattr(lm, name)(pair, **case.arguments(name))
    assert tokens(pair) == expected
    assert pair.status == (";".join(sorted(expected)) or "ok")


@given(
    case=cases(),
    name=st.sampled_from(["topk_div_intersection", "lens_recall_div", "lens_precision_div", "n_diverse"]),
)
def test_status_of_short_and_saturated_diverse_sets(name: str, case: Case) -> None:
    maps = (case.unperturbed, case.perturbed)
    pair = lm.MapPair(*maps)
    value = getattr(lm, name)(pair, **case.arguments(name))
    if any(reference.is_constant(a) for a in maps):
        assert math.isnan(value)
        return
    sets = [set(reference.diverse_top_k(a, case.k, case.w)) for a in maps]
    assert ("few_diverse" in tokens(pair)) == any(len(found) < case.k for found in sets)
    dilated = {"lens_recall_div": 0, "lens_precision_div": 1}.get(name)
    covered = [
        reference.neighbourhood(a, found, case.w) == set(reference.pixels(a))
        for a, found in zip(maps, sets, strict=True)
    ]
    nothing_measured = dilated is not None and covered[dilated]
    assert ("saturated" in tokens(pair)) == math.isnan(value) == nothing_measured


@given(case=cases())
def test_adjusted_scores_are_undefined_where_chance_is_1(case: Case) -> None:
    if reference.is_constant(case.unperturbed) or reference.is_constant(case.perturbed):
        return
    for metric, a in (
        (lm.lens_recall_adjusted, case.unperturbed),
        (lm.lens_precision_adjusted, case.perturbed),
    ):
        pair = lm.MapPair(case.unperturbed, case.perturbed)
        value = metric(pair, k=case.k, w=case.w)
        assert math.isnan(value) == is_whole(a, case.k, case.w)
        some_whole = any(is_whole(b, case.k, case.w) for b in (case.unperturbed, case.perturbed))
        assert ("saturated" in tokens(pair)) == some_whole


def test_lens_of_exhausted_diverse_sets_is_nan() -> None:
    """Any two maps of 28x28 would score 1 at k = 100 and w = 2, where no map has 100 diverse pixels."""
    pair = lm.MapPair(*np.random.default_rng(4).random((2, 28, 28)))
    assert lm.n_diverse(pair, k=100, w=2) < 100
    assert math.isnan(lm.lens_recall_div(pair, k=100, w=2))
    assert math.isnan(lm.lens_precision_div(pair, k=100, w=2))
    assert 0 < lm.topk_div_intersection(pair, k=100, w=2) < 0.5
    assert pair.status == "few_diverse;saturated"


def test_status_collects_the_tokens_of_all_metrics() -> None:
    a = np.array([[3.0, 1.0, 1.0, 0.0]])
    pair = lm.MapPair(a, a + 1)
    assert pair.status == "ok"
    lm.topk_intersection(pair, k=1)
    assert pair.status == "ok"
    lm.topk_div_intersection(pair, k=3, w=1)
    assert "few_diverse" in tokens(pair)
    lm.topk_intersection(pair, k=2)
    lm.lens_recall_adjusted(pair, k=2, w=3)
    assert pair.status == "few_diverse;saturated;tied_cut"


def test_the_cut_after_the_last_pixel_is_never_tied() -> None:
    pair = lm.MapPair(np.array([[2.0, 1.0, 1.0]]), np.array([[1.0, 1.0, 3.0]]))
    assert lm.topk_intersection(pair, k=3) == 1
    assert pair.status == "saturated"
