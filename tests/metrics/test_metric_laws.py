"""Laws that every metric keeps on every pair."""

import math
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given

import lensmetrics as lm
from lensmetrics.metrics.registry import entries
from tests import reference
from tests.strategies import Case, cases, tie_free_cases

Map = npt.NDArray[Any]


def ask(name: str, u: Map, p: Map, case: Case, **changed: int) -> float:
    """Compute one metric of two maps, with the parameters of a case except those given."""
    value: float = getattr(lm, name)(lm.MapPair(u, p), **(case.arguments(name) | changed))
    return value


def same(first: float, second: float) -> bool:
    return first == second or (math.isnan(first) and math.isnan(second))


DISTANCES = ("lens_distance", "mse", "mse_normalized", "mass_center_shift", "topk_distance")
# The other metrics describe one set rather than the agreement of two, or drop pixel 0.
AGREEMENTS = [
    name
    for name in reference.TWINS
    if name not in (*DISTANCES, "n_diverse") and not name.endswith(("_chance", "_published"))
]
OVERLAP_OF_TOP_K = (
    *("topk_intersection", "lens_recall", "lens_precision", "lens_distance"),
    *("topk_iou", "topk_distance", "fss"),
)
DIVERSE = ("n_diverse", "topk_div_intersection", "lens_recall_div", "lens_precision_div")
BY_ORDER_ALONE = (*OVERLAP_OF_TOP_K, *DIVERSE, *reference.PUBLISHED, "spearman", "kendall")


@given(case=cases(exact=True))
def test_metrics_stay_within_their_bounds(case: Case) -> None:
    for name in reference.TWINS:
        value = ask(name, case.unperturbed, case.perturbed, case)
        of_any_map, of_this_shape = entries()[name].bounds, reference.extremes(name, case.shape, case.k)
        for low, high in (of_any_map, of_this_shape):
            assert math.isnan(value) or low - 1e-12 <= value <= high + 1e-12, name


@pytest.mark.parametrize("name", reference.TWINS)
def test_registered_ranges_are_those_of_the_twins(name: str) -> None:
    entry = entries()[name]
    assert (*entry.bounds, entry.best) == reference.RANGES[name]
    low, high = reference.extremes(name, (9, 9), 7)
    assert entry.bounds[0] <= low < high <= entry.bounds[1]


@given(case=cases(exact=True))
def test_identical_maps_score_best(case: Case) -> None:
    for name in (*DISTANCES, *AGREEMENTS):
        value = ask(name, case.unperturbed, case.unperturbed.copy(), case)
        best = entries()[name].best
        assert best is not None
        assert math.isnan(value) or value == pytest.approx(best, abs=1e-12), name


@given(case=cases())
def test_w_0_is_the_plain_metric(case: Case) -> None:
    for name, plain in (
        ("lens_recall", "topk_intersection"),
        ("lens_precision", "topk_intersection"),
        ("topk_div_intersection", "topk_intersection"),
        ("lens_recall_div", "topk_intersection"),
        ("lens_precision_div", "topk_intersection"),
        ("lens_spearman", "spearman"),
        ("lens_kendall", "kendall"),
        ("fss", "topk_intersection"),
    ):
        windowed = ask(name, case.unperturbed, case.perturbed, case, w=0)
        expected = ask(plain, case.unperturbed, case.perturbed, case)
        if case.k == case.unperturbed.size and name in ("lens_recall_div", "lens_precision_div"):
            assert math.isnan(windowed), name  # all pixels are near all others
        else:
            assert windowed == pytest.approx(expected, abs=1e-12, nan_ok=True), name
    if reference.is_constant(case.unperturbed) or reference.is_constant(case.perturbed):
        return
    s, t = (reference.top_k(a, case.k) for a in (case.unperturbed, case.perturbed))
    assert ask("lens_distance", case.unperturbed, case.perturbed, case, w=0) == len(s ^ t) / case.k


@given(case=cases())
def test_recall_and_precision_never_fall_as_w_grows(case: Case) -> None:
    u, p = case.unperturbed, case.perturbed
    for name in ("lens_recall", "lens_precision"):
        scores = [ask(name, u, p, case, w=w) for w in range(6)]
        if reference.is_constant(u) or reference.is_constant(p):
            assert all(map(math.isnan, scores))
            continue
        assert scores == sorted(scores)
        assert scores[0] >= ask("topk_intersection", u, p, case)
    distances = [ask("lens_distance", u, p, case, w=w) for w in range(6)]
    assert all(map(math.isnan, distances)) or distances == sorted(distances, reverse=True)


@given(case=cases())
def test_constant_maps_have_no_order(case: Case) -> None:
    """Two constant maps must not count as a perfect pair."""
    constant = np.full(case.unperturbed.shape, 0.5)
    ranking = {*BY_ORDER_ALONE, "lens_spearman", "lens_kendall", "pearson", "sign_agreement"}
    ranking |= {name for name in reference.TWINS if name.endswith(("_chance", "_adjusted"))}
    for name in ranking - {*reference.PUBLISHED}:
        for u, p in ((constant, case.perturbed), (case.unperturbed, constant), (constant, constant)):
            assert math.isnan(ask(name, u, p, case)), name


@given(case=cases())
def test_iou_is_a_function_of_the_intersection(case: Case) -> None:
    share = ask("topk_intersection", case.unperturbed, case.perturbed, case)
    iou = ask("topk_iou", case.unperturbed, case.perturbed, case)
    assert iou == pytest.approx(share / (2 - share), abs=1e-12, nan_ok=True)


@given(case=cases())
def test_sign_agreement_is_at_most_the_intersection(case: Case) -> None:
    u, p = case.unperturbed, case.perturbed
    shared = ask("topk_intersection", abs(u), abs(p), case)
    agreeing = ask("sign_agreement", u, p, case)
    assert same(agreeing, agreeing + 0 * shared)
    assert math.isnan(shared) or agreeing <= shared
    assert same(ask("sign_agreement", -u, -p, case), agreeing)


@given(case=cases())
def test_recall_and_precision_swap_when_the_maps_swap(case: Case) -> None:
    for name in reference.TWINS:
        if "recall" in name:
            swapped = ask(name.replace("recall", "precision"), case.perturbed, case.unperturbed, case)
            assert same(ask(name, case.unperturbed, case.perturbed, case), swapped), name


@given(case=cases(exact=True))
def test_all_other_metrics_are_symmetric(case: Case) -> None:
    for name in reference.TWINS:
        if "recall" not in name and "precision" not in name:
            swapped = ask(name, case.perturbed, case.unperturbed, case)
            value = ask(name, case.unperturbed, case.perturbed, case)
            assert value == pytest.approx(swapped, rel=1e-12, abs=1e-12, nan_ok=True), name


def dense_ranks(a: Map) -> Map:
    """Rank from 0 for the smallest value; zeros of both signs are equal."""
    return np.unique(a + 0.0, return_inverse=True)[1].reshape(a.shape)


# All are strictly increasing and exact on small multiples of 1/8.
TRANSFORMS: dict[str, Callable[[Map], Map]] = {
    "double": lambda a: a * 2,
    "scale down": lambda a: a * 2.0**-60,
    "cube": lambda a: a.astype(np.float64) ** 3,
    "shift": lambda a: a.astype(np.float64) + 1024,
    "dense ranks": dense_ranks,
    "dense ranks below zero": lambda a: dense_ranks(a).astype(np.float32) - 1000,
}


@given(case=cases(exact=True), transform=st.sampled_from(sorted(TRANSFORMS)))
def test_set_metrics_depend_only_on_the_order_of_values(transform: str, case: Case) -> None:
    u, p = case.unperturbed, case.perturbed
    change = TRANSFORMS[transform]
    for name in BY_ORDER_ALONE:
        expected = ask(name, u, p, case)
        assert same(ask(name, change(u), p, case), expected), name
        assert same(ask(name, u, change(p), case), expected), name


MOVES: dict[str, Callable[[Map], Map]] = {
    "transpose": lambda a: a.T,
    "upside down": np.flipud,
    "left to right": np.fliplr,
    "quarter turn": np.rot90,
}


@given(case=tie_free_cases(), move=st.sampled_from(sorted(MOVES)))
def test_flipping_both_maps_does_not_change_a_metric(case: Case, move: str) -> None:
    moved = MOVES[move]
    # The offset removes ties between absolute values.
    u, p = case.unperturbed + 1 / 32, case.perturbed + 1 / 32
    for name in reference.TWINS:
        if name in reference.PUBLISHED:
            continue  # the scripts treat pixel 0 and the right edge in their own way
        value = ask(name, moved(u), moved(p), case)
        expected = ask(name, u, p, case)
        assert value == pytest.approx(expected, rel=1e-12, abs=1e-12, nan_ok=True), name
