"""Laws that every metric keeps on every pair, and the table of metrics itself."""

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
    """One metric on two maps, with the parameters of a case except those given."""
    value: float = getattr(lm, name)(lm.MapPair(u, p), **(case.arguments(name) | changed))
    return value


def same(first: float, second: float) -> bool:
    return first == second or (math.isnan(first) and math.isnan(second))


def bounds(name: str, case: Case) -> tuple[float, float]:
    """The smallest and the largest value that a metric can take on maps of this size."""
    height, width = case.unperturbed.shape
    if name in reference.CORRELATION or name in ("cosine", "ssim"):
        return -1, 1
    if name.endswith("_adjusted"):
        return 1 - height * width, 1  # chance is at most 1 - 1 / n_pixels
    if name.endswith("_chance"):
        return 1 / (height * width), 1
    if name == "mass_center_shift":
        return 0, math.hypot(height - 1, width - 1)
    if name == "topk_distance":
        return 0, math.hypot(height - 1, width - 1)
    return {"lens_distance": (0, 2), "n_diverse": (1, case.k), "mse": (0, math.inf)}.get(name, (0, 1))


DISTANCES = ("lens_distance", "mse", "mass_center_shift", "topk_distance")
# The others describe one set rather than the agreement of two, or drop pixel 0.
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
        low, high = bounds(name, case)
        lowest, highest = entries()[name].bounds
        assert lowest <= low <= high <= highest, name
        value = ask(name, case.unperturbed, case.perturbed, case)
        assert math.isnan(value) or low - 1e-12 <= value <= high + 1e-12, name


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
def test_wider_windows_never_find_less(case: Case) -> None:
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
    """Two dead maps are no perfect pair."""
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
def test_signs_agree_on_no_more_than_the_shared_pixels(case: Case) -> None:
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
def test_the_others_do_not_care_which_map_comes_first(case: Case) -> None:
    for name in reference.TWINS:
        if "recall" not in name and "precision" not in name:
            swapped = ask(name, case.perturbed, case.unperturbed, case)
            value = ask(name, case.unperturbed, case.perturbed, case)
            assert value == pytest.approx(swapped, rel=1e-12, abs=1e-12, nan_ok=True), name


def dense_ranks(a: Map) -> Map:
    """0 for the smallest value, 1 for the next: zeros of both signs fall together."""
    return np.unique(a + 0.0, return_inverse=True)[1].reshape(a.shape)


# Each is strictly increasing and exact on small multiples of 1/8.
TRANSFORMS: dict[str, Callable[[Map], Map]] = {
    "double": lambda a: a * 2,
    "scale down": lambda a: a * 2.0**-60,
    "cube": lambda a: a.astype(np.float64) ** 3,
    "shift": lambda a: a.astype(np.float64) + 1024,
    "dense ranks": dense_ranks,
    "dense ranks below zero": lambda a: dense_ranks(a).astype(np.float32) - 1000,
}


@given(case=cases(exact=True), transform=st.sampled_from(sorted(TRANSFORMS)))
def test_only_the_order_of_the_values_counts(transform: str, case: Case) -> None:
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
def test_flipping_both_maps_changes_nothing(case: Case, move: str) -> None:
    moved = MOVES[move]
    # No two pixels are then tied by their absolute values either.
    u, p = case.unperturbed + 1 / 32, case.perturbed + 1 / 32
    for name in reference.TWINS:
        if name in reference.PUBLISHED:
            continue  # what the scripts do with pixel 0 and the right edge depends on where a pixel lies
        value = ask(name, moved(u), moved(p), case)
        expected = ask(name, u, p, case)
        assert value == pytest.approx(expected, rel=1e-12, abs=1e-12, nan_ok=True), name


# --- the table of metrics ---------------------------------------------------------------------------------


def test_every_metric_is_listed() -> None:
    assert set(lm.list_metrics()) == set(reference.TWINS)


@pytest.mark.parametrize("name", reference.TWINS)
def test_ranges_are_what_they_say(name: str) -> None:
    entry = entries()[name]
    assert (*entry.bounds, entry.best) == reference.RANGES[name]


@pytest.mark.parametrize("name", reference.TWINS)
def test_metrics_by_name_and_by_text(name: str) -> None:
    rng = np.random.default_rng(6)
    pair = lm.MapPair(rng.random((9, 9)), rng.random((9, 9)))
    available = {"k": 7, "w": 2, "pool": 80}
    arguments = {parameter: available[parameter] for parameter in reference.parameters(name)}
    metric = lm.get_metric(name, **arguments)
    assert metric.name == name
    assert metric.params == arguments
    listed = ",".join(f"{key}={value}" for key, value in arguments.items())
    assert str(metric) == (f"{name}({listed})" if listed else name)
    expected = getattr(lm, name)(pair, **arguments)
    assert metric(pair) == expected
    for text in (str(metric), str(metric).replace("(", "( ").replace(",", " , ").replace("=", " = ")):
        parsed = lm.parse_metric(text)
        assert str(parsed) == str(metric)
        assert parsed(pair) == expected


def test_the_suite_with_what_chance_reaches() -> None:
    plain = [str(metric) for metric in lm.lens_suite(k=1000)]
    adjusted = [str(metric) for metric in lm.lens_suite(k=1000, adjusted=True)]
    assert len(adjusted) == 24
    assert [text for text in adjusted if text in plain] == plain
    assert set(adjusted) - set(plain) == {
        f"lens_{name}_adjusted(k=1000,w={w})" for name in ("recall", "precision") for w in (1, 2, 3)
    }
