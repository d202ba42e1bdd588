"""Overlap of top-k sets: against the twins, scipy's dilation, and chance worked out exactly."""

import itertools
import math
from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
from hypothesis import given, settings

import lensmetrics as lm
from tests import reference
from tests.strategies import DTYPES, WHICH, Case, DType, Which, cases, each_shape

Map = npt.NDArray[Any]


def indicator(shape: tuple[int, int], *found: tuple[int, int]) -> Map:
    """A map that is 1 on some pixels and 0 elsewhere."""
    result = np.zeros(shape)
    for pixel in found:
        result[pixel] = 1
    return result


def tokens(pair: lm.MapPair) -> set[str]:
    return set(pair.status.split(";")) - {"ok"}


# --- twins ------------------------------------------------------------------------------------------------


@given(case=cases())
def test_metrics_equal_their_twins(case: Case) -> None:
    for name, twin in reference.OVERLAP.items():
        expected = twin(case.unperturbed, case.perturbed, **case.arguments(name))
        value = getattr(lm, name)(lm.MapPair(case.unperturbed, case.perturbed), **case.arguments(name))
        assert isinstance(value, float), name
        if name.endswith("_adjusted"):
            assert value == pytest.approx(expected, rel=1e-12, abs=1e-12, nan_ok=True), name
        else:
            assert value == expected or (math.isnan(value) and math.isnan(expected)), name


@given(case=cases(), which=st.sampled_from(WHICH))
def test_sets_equal_their_twins(which: Which, case: Case) -> None:
    a = getattr(case, which)
    pair = lm.MapPair(case.unperturbed, case.perturbed)
    top = reference.top_k(a, case.k)
    mask = pair.top_k(which, case.k)
    assert mask.dtype == np.bool_
    assert mask.shape == a.shape
    assert {pixel for pixel in reference.pixels(a) if mask[pixel]} == top
    near = pair.neighbourhood(which, case.k, case.w)
    assert near.dtype == np.bool_
    assert near.shape == a.shape
    assert {pixel for pixel in reference.pixels(a) if near[pixel]} == reference.neighbourhood(a, top, case.w)
    diverse = pair.diverse_top_k(which, case.k, case.w)
    assert diverse.tolist() == reference.flat(a, reference.diverse_top_k(a, case.k, case.w))


@settings(max_examples=30)
@given(case=cases())
def test_sets_do_not_depend_on_what_was_asked_before(case: Case) -> None:
    used = lm.MapPair(case.unperturbed, case.perturbed)
    for w, k in itertools.product((4, 0, 2, 1, 3), (case.k, 1, case.unperturbed.size)):
        asked = {"k": k, "w": w, "pool": case.pool}
        for name in (*reference.OVERLAP, *reference.PUBLISHED):
            arguments = {parameter: asked[parameter] for parameter in reference.parameters(name)}
            fresh = getattr(lm, name)(lm.MapPair(case.unperturbed, case.perturbed), **arguments)
            value = getattr(lm, name)(used, **arguments)
            assert value == fresh or (math.isnan(value) and math.isnan(fresh)), (name, arguments)


# --- status -----------------------------------------------------------------------------------------------


def is_tied_at(a: Map, k: int) -> bool:
    order = reference.ordered(a)
    return k < len(order) and bool(a[order[k - 1]] == a[order[k]])


def is_whole(a: Map, k: int, w: int) -> bool:
    """Whether the neighbourhood of the top set is the whole map."""
    return len(reference.neighbourhood(a, reference.top_k(a, k), w)) == a.size


@given(
    case=cases(),
    name=st.sampled_from(
        ["topk_intersection", "topk_iou", "lens_recall", "lens_precision", "lens_distance", "fss"]
    ),
)
def test_status_names_what_a_set_metric_meets(name: str, case: Case) -> None:
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
def test_status_names_short_and_saturated_diverse_sets(name: str, case: Case) -> None:
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


def test_greedy_sets_that_ran_out_measure_nothing() -> None:
    """Any two maps of 28x28 would score 1 at k = 100 and w = 2, where no map has 100 diverse pixels."""
    pair = lm.MapPair(*np.random.default_rng(4).random((2, 28, 28)))
    assert lm.n_diverse(pair, k=100, w=2) < 100
    assert math.isnan(lm.lens_recall_div(pair, k=100, w=2))
    assert math.isnan(lm.lens_precision_div(pair, k=100, w=2))
    assert 0 < lm.topk_div_intersection(pair, k=100, w=2) < 0.5
    assert pair.status == "few_diverse;saturated"


def test_status_collects_what_was_asked() -> None:
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


def test_the_last_cut_is_never_tied() -> None:
    pair = lm.MapPair(np.array([[2.0, 1.0, 1.0]]), np.array([[1.0, 1.0, 3.0]]))
    assert lm.topk_intersection(pair, k=3) == 1
    assert pair.status == "saturated"


# --- worked examples --------------------------------------------------------------------------------------


def test_lens_distance_is_no_pseudometric() -> None:
    s, t, u = (indicator((9, 5), (4, column)) for column in (0, 1, 2))
    assert lm.lens_distance(lm.MapPair(s, t), k=1, w=1) == 0
    assert lm.lens_distance(lm.MapPair(t, u), k=1, w=1) == 0
    assert lm.lens_distance(lm.MapPair(s, u), k=1, w=1) == 2


def test_recall_dilates_the_unperturbed_set() -> None:
    unperturbed = np.array([[9.0, 8.0, 0.0, 0.0, 0.0, 0.0]])
    perturbed = np.array([[0.0, 0.0, 9.0, 0.0, 0.0, 8.0]])
    pair = lm.MapPair(unperturbed, perturbed)
    assert lm.lens_recall(pair, k=2, w=1) == 0.5  # column 2 is near column 1, column 5 is near none
    assert lm.lens_precision(pair, k=2, w=1) == 0.5
    assert lm.lens_recall(pair, k=2, w=2) == 0.5
    assert lm.lens_precision(pair, k=2, w=2) == 1


def test_neighbourhoods_do_not_wrap_around() -> None:
    end_of_row, start_of_next = indicator((28, 28), (1, 27)), indicator((28, 28), (2, 0))
    assert lm.lens_recall(lm.MapPair(end_of_row, start_of_next), k=1, w=1) == 0


def test_disjoint_supports_meet_by_the_tie_rule_alone() -> None:
    """60 pixels each and k = 100: the 40 missing ones are the first zeros of either map."""
    unperturbed, perturbed = np.zeros(784), np.zeros(784)
    unperturbed[[0, 1, 2, *range(500, 557)]] = np.arange(60) + 1
    perturbed[[40, 41, 42, *range(600, 657)]] = np.arange(60) + 1
    pair = lm.MapPair(unperturbed.reshape(28, 28), perturbed.reshape(28, 28))
    assert lm.topk_intersection(pair, k=60) == 0
    assert pair.status == "ok"
    assert lm.topk_intersection(pair, k=100) == 0.43
    assert pair.status == "tied_cut"


def test_a_window_beyond_the_map_covers_it() -> None:
    pair = lm.MapPair(*np.random.default_rng(5).random((2, 9, 70)))
    for w in (69, 70, 1000):
        assert lm.lens_recall(pair, k=1, w=w) == 1
        assert lm.lens_recall_chance(pair, k=1, w=w) == 1
        assert lm.n_diverse(pair, k=5, w=w) == 1
    assert lm.n_diverse(pair, k=630, w=0) == 630


# --- outside oracles --------------------------------------------------------------------------------------

on_every_shape = each_shape((28, 28), (1, 200), (65, 7), (128, 64), (227, 227), (300, 300), (384, 384))


def tied_map(rng: np.random.Generator, shape: tuple[int, int]) -> Map:
    """31 levels, and 40 % zeros."""
    a = rng.integers(0, 31, shape) / 8
    a[rng.random(shape) < 0.4] = 0
    return a


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@on_every_shape
def test_neighbourhoods_equal_scipys_dilation(shape: tuple[int, int], dtype: DType) -> None:
    rng = np.random.default_rng(shape)
    for a in (rng.normal(size=shape).astype(dtype), tied_map(rng, shape).astype(dtype)):
        other = rng.permutation(a.ravel()).reshape(shape)
        pair = lm.MapPair(a, other)
        for k, w in itertools.product((1, 100, a.size // 50 + 1), (0, 1, 2, 3, 5)):
            order = np.argsort(-a.ravel(), kind="stable")
            mask = np.zeros(a.size, dtype=bool)
            mask[order[:k]] = True
            mask = mask.reshape(shape)
            dilated = scipy.ndimage.binary_dilation(mask, np.ones((2 * w + 1, 2 * w + 1), dtype=bool))
            np.testing.assert_array_equal(pair.top_k("unperturbed", k), mask)
            np.testing.assert_array_equal(pair.neighbourhood("unperturbed", k, w), dilated)
            others = pair.top_k("perturbed", k)
            assert lm.lens_recall(pair, k=k, w=w) == (dilated & others).sum() / k
            assert lm.lens_recall_chance(pair, k=k, w=w) == dilated.mean()


def greedy_diverse(a: Map, k: int, w: int) -> list[int]:
    """Diverse top-k on an array of excluded pixels."""
    excluded = np.zeros(a.shape, dtype=bool)
    found: list[int] = []
    for index in np.argsort(-a.ravel(), kind="stable"):
        row, column = divmod(int(index), a.shape[1])
        if not excluded[row, column]:
            found.append(int(index))
            excluded[max(row - w, 0) : row + w + 1, max(column - w, 0) : column + w + 1] = True
        if len(found) == k:
            break
    return found


@st.composite
def wide_cases(draw: st.DrawFn) -> tuple[Map, int, int]:
    """A map of up to 150 pixels a side, k and w: rows end at, before and behind multiples of 64 pixels."""
    side = st.sampled_from([1, 2, 20, 31, 32, 33, 63, 64, 65, 127, 128, 129, 150])
    shape = draw(side), draw(side)
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    a = tied_map(rng, shape) if draw(st.booleans()) else rng.random(shape)
    k = draw(st.integers(1, min(a.size, 30)))
    w = draw(st.integers(0, 3) | st.sampled_from([30, 31, 32, 33, 62, 63, 64, 65, 127, 128, 129, 149, 150]))
    return a, k, w


@given(case=wide_cases())
def test_sets_on_rows_of_any_length(case: tuple[Map, int, int]) -> None:
    a, k, w = case
    pair = lm.MapPair(a, a[::-1, ::-1])
    near = np.zeros(a.shape, dtype=bool)
    for index in pair.order("unperturbed")[:k]:
        row, column = divmod(int(index), a.shape[1])
        near[max(row - w, 0) : row + w + 1, max(column - w, 0) : column + w + 1] = True
    np.testing.assert_array_equal(pair.neighbourhood("unperturbed", k, w), near)
    if pair.constant:
        assert math.isnan(lm.lens_recall(pair, k=k, w=w))
        return
    others = pair.top_k("perturbed", k)
    assert lm.lens_recall(pair, k=k, w=w) == (near & others).sum() / k
    assert lm.lens_recall_chance(pair, k=k, w=w) == near.sum() / near.size
    s, t = greedy_diverse(a, k, w), greedy_diverse(a[::-1, ::-1], k, w)
    assert pair.diverse_top_k("unperturbed", k, w).tolist() == s
    assert lm.topk_div_intersection(pair, k=k, w=w) == len(set(s) & set(t)) / max(len(s), len(t))


@on_every_shape
def test_diverse_sets_of_large_maps(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape)
    a, b = rng.normal(size=shape).astype(np.float32), tied_map(rng, shape)
    pair = lm.MapPair(a, b)
    k = min(1000, a.size)
    for w in (0, 1, 3):
        s, t = greedy_diverse(a, k, w), greedy_diverse(b, k, w)
        assert pair.diverse_top_k("unperturbed", k, w).tolist() == s
        assert pair.diverse_top_k("perturbed", k, w).tolist() == t
        expected = len(set(s) & set(t)) / max(len(s), len(t))
        assert lm.topk_div_intersection(pair, k=k, w=w) == expected


@pytest.mark.large
@pytest.mark.parametrize("shape", [(4, 1000003), (12, 700001), (2, 3000001), (1, 2**22), (2**22, 1)])
def test_diverse_sets_of_very_wide_maps(shape: tuple[int, int]) -> None:
    """The best pixel stands at the end of a row, where a row that is off by one shows."""
    a = np.zeros(shape, np.float32)
    edges = [(y, x) for y in range(min(shape[0], 12)) for x in (shape[1] - 1, 0, shape[1] // 2)]
    for rank, pixel in enumerate(edges):
        a[pixel] = 100 - rank
        a[pixel[0], max(0, pixel[1] - 1)] = max(50 - rank, a[pixel[0], max(0, pixel[1] - 1)])
    pair = lm.MapPair(a, a)
    assert pair.diverse_top_k("unperturbed", 20, 1).tolist() == greedy_diverse(a, 20, 1)


@pytest.mark.large
def test_a_random_map_has_a_bounded_number_of_diverse_pixels() -> None:
    rng = np.random.default_rng(3)
    pair = lm.MapPair(rng.random((128, 128)), rng.random((128, 128)))
    assert lm.n_diverse(pair, k=1000, w=3) == pytest.approx(690, abs=30)
    assert pair.status == "few_diverse"


# --- chance -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "k", "w"),
    [((3, 3), 2, 1), ((2, 4), 3, 1), ((1, 7), 2, 2), ((4, 3), 3, 0), ((3, 4), 1, 1), ((1, 2), 1, 0)],
)
def test_chance_is_the_exact_expectation(shape: tuple[int, int], k: int, w: int) -> None:
    fixed = np.random.default_rng(k).random(shape)
    chance = reference.NAN
    hits, n_sets = 0, 0
    for chosen in itertools.combinations(reference.pixels(fixed), k):
        other = indicator(shape, *chosen)
        recall, precision = lm.MapPair(fixed, other), lm.MapPair(other, fixed)
        hits += round(lm.lens_recall(recall, k=k, w=w) * k)
        n_sets += 1
        chance = lm.lens_recall_chance(recall, k=k, w=w)
        assert lm.lens_precision_chance(precision, k=k, w=w) == chance
    assert chance == float(Fraction(hits, n_sets * k))


def uniform_chance(height: int, width: int, k: int, w: int) -> float:
    """Expected LENS of two uniform sets: the mean probability of a pixel to lie near one of them."""
    n_pixels = height * width
    total = 0.0
    for row, column in itertools.product(range(height), range(width)):
        rows = min(row + w, height - 1) - max(row - w, 0) + 1
        columns = min(column + w, width - 1) - max(column - w, 0) + 1
        missed = 1.0
        for i in range(rows * columns):
            missed *= (n_pixels - k - i) / (n_pixels - i)
        total += 1 - missed
    return total / n_pixels


@pytest.mark.large
@pytest.mark.parametrize(
    ("side", "k", "table", "n_pairs"),
    [
        (28, 100, (0.128, 0.689, 0.961, 0.995), 200),
        (32, 100, (0.098, 0.578, 0.916, 0.983), 200),
        (128, 1000, (0.061, 0.430, 0.781, 0.948), 30),
        (227, 1000, (0.019, 0.160, 0.385, 0.614), 20),
    ],
)
def test_chance_level_of_uniform_sets(side: int, k: int, table: tuple[float, ...], n_pairs: int) -> None:
    rng = np.random.default_rng(side)
    pairs = [lm.MapPair(rng.random((side, side)), rng.random((side, side))) for _ in range(n_pairs)]
    for w, printed in enumerate(table):
        expected = uniform_chance(side, side, k, w)
        assert expected == pytest.approx(printed, abs=0.015)  # the table comes from a small simulation
        for metric, mean in (
            (lm.lens_recall, expected),
            (lm.lens_precision, expected),
            (lm.lens_recall_chance, expected),
            (lm.lens_recall_adjusted, 0.0),
        ):
            scores = np.array([metric(pair, k=k, w=w) for pair in pairs])
            scores = scores[~np.isnan(scores)]  # saturated
            error = scores.std(ddof=1) / math.sqrt(scores.size)
            assert abs(scores.mean() - mean) <= 4.5 * error + 1e-12


# --- arguments --------------------------------------------------------------------------------------------

WITH_K = [name for name in reference.TWINS if "k" in reference.parameters(name)]
WITH_W = [name for name in reference.TWINS if "w" in reference.parameters(name)]
PARAMETERS = {"k": 7, "w": 1, "pool": 64}


def random_pair() -> lm.MapPair:
    return lm.MapPair(*np.random.default_rng(8).random((2, 8, 8)))


def ask(name: str, pair: lm.MapPair | None = None, **changed: Any) -> float:
    """One metric on an 8 x 8 pair, with good parameters except those given."""
    arguments: dict[str, Any] = PARAMETERS | changed
    chosen = {key: arguments[key] for key in reference.parameters(name)}
    value: float = getattr(lm, name)(pair or random_pair(), **chosen)
    return value


@pytest.mark.parametrize("k", [0, -1, 65, 10**6])
@pytest.mark.parametrize("name", WITH_K)
def test_k_out_of_range(name: str, k: int) -> None:
    with pytest.raises(ValueError, match=rf"k must be .*between 1 and 64 .*got {k}$"):
        ask(name, k=k)


@pytest.mark.parametrize("k", [2.5, True, "3", None])
@pytest.mark.parametrize("name", WITH_K)
def test_k_is_no_whole_number(name: str, k: object) -> None:
    with pytest.raises((TypeError, ValueError), match="k must be"):
        ask(name, k=k)


@pytest.mark.parametrize("w", [-1, 1.5, True, "1", None, 2**30, 10**200])
@pytest.mark.parametrize("name", WITH_W)
def test_bad_w(name: str, w: object) -> None:
    with pytest.raises((TypeError, ValueError), match="w must be"):
        ask(name, w=w)


@pytest.mark.parametrize("name", WITH_K)
def test_what_a_pair_knows_does_not_excuse_a_bad_parameter(name: str) -> None:
    """1 == True == 1.0, also as the key of what was computed before."""
    pair = random_pair()
    ask(name, pair, k=1, w=1)
    for bad in (True, 1.0):
        with pytest.raises((TypeError, ValueError), match="k must be"):
            ask(name, pair, k=bad)
        if "w" in reference.parameters(name):
            with pytest.raises((TypeError, ValueError), match="w must be"):
                ask(name, pair, k=1, w=bad)


@pytest.mark.parametrize("name", WITH_K)
def test_numpy_integers_are_whole_numbers(name: str) -> None:
    integers: dict[str, Any] = {"k": np.int64(7), "w": np.uint8(1), "pool": np.int32(64)}
    assert ask(name, **integers) == ask(name)


@pytest.mark.parametrize("name", WITH_W)
def test_w_is_1_unless_told(name: str) -> None:
    k = 40 if name == "n_diverse" else 7  # more than the 8 x 8 map has diverse pixels
    others = {key: value for key, value in {"k": k, "pool": 64}.items() if key in reference.parameters(name)}
    metric, pair = getattr(lm, name), random_pair()
    assert metric(pair, **others) == metric(pair, w=1, **others) != metric(pair, w=0, **others)


@pytest.mark.parametrize("name", [*WITH_K, *WITH_W])
def test_parameters_are_named(name: str) -> None:
    pair = lm.MapPair(np.eye(8), np.eye(8))
    with pytest.raises(TypeError):
        getattr(lm, name)(pair, 3)
