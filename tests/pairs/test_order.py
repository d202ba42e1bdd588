"""Orders and ranks, on values that break fast sorts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
from hypothesis import given

import lensmetrics as lm
from lensmetrics.kernels import classes, order
from lensmetrics.pairs.ordering import SortedMap
from lensmetrics.scoring import worker
from tests import reference
from tests.strategies import DTYPES, WHICH, Case, DType, Which, cases, each_shape

Map = npt.NDArray[Any]
Builder = Callable[[np.random.Generator, int], Map]


@given(case=cases(), which=st.sampled_from(WHICH))
def test_order_and_ranks_equal_their_twins(which: Which, case: Case) -> None:
    a = getattr(case, which)
    pair = lm.MapPair(case.unperturbed, case.perturbed)
    order, ranks = pair.order(which), pair.ranks(which)
    assert order.dtype.kind in "iu"
    assert order.tolist() == reference.flat(a, reference.ordered(a))
    assert ranks.dtype == np.float64
    assert ranks.tolist() == reference.average_ranks(a)
    assert pair.shape == a.shape


def organ_pipe(rng: np.random.Generator, n: int) -> Map:
    return np.minimum(np.arange(n), np.arange(n)[::-1])


def tied(rng: np.random.Generator, n: int) -> Map:
    return np.where(rng.random(n) < 0.4, rng.choice([0.0, -0.0], n), rng.integers(-15, 16, n))


def outlier(value: float) -> Builder:
    """Set one value far from all others, so that the top bits of the range do not distinguish the rest."""

    def build(rng: np.random.Generator, n: int) -> Map:
        a = rng.normal(size=n) * 1e-30
        a[n // 2] = value
        return a

    return build


def two_clusters(rng: np.random.Generator, n: int) -> Map:
    return np.asarray(rng.choice([-1e20, 1e20], n) * (1 + rng.integers(0, 9, n) * 1e-5))


def one_ulp_apart(base: float) -> Builder:
    """Make values that are equal in all but the lowest bits."""

    def build(rng: np.random.Generator, n: int) -> Map:
        return base + rng.permutation(n) % 2**12 * abs(base) * 2.0**-52

    return build


def levels(n_levels: int, spread: float = 0) -> Builder:
    """Make maps of so many levels, whose values are then moved by up to 8 steps of this relative size."""

    def build(rng: np.random.Generator, n: int) -> Map:
        return rng.integers(1, n_levels + 1, n) / n_levels * (1 + rng.integers(0, 8, n) * spread)

    return build


def almost_constant(rng: np.random.Generator, n: int) -> Map:
    a = np.full(n, 0.25)
    a[-1] = 0.5
    a[0] = -0.5
    return a


BUILDERS: dict[str, Builder] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "uniform": lambda rng, n: rng.random(n),
    "all negative": lambda rng, n: -rng.random(n) - 1,
    "constant": lambda rng, n: np.full(n, -0.1),
    "zeros of both signs": lambda rng, n: rng.choice([0.0, -0.0], n),
    "almost constant": almost_constant,
    "tied": tied,
    "two levels": lambda rng, n: rng.integers(0, 2, n),
    "rising": lambda rng, n: np.arange(n),
    "falling": lambda rng, n: -np.arange(n),
    "nearly sorted": lambda rng, n: np.arange(n) + rng.integers(0, 20, n),
    "organ pipe": organ_pipe,
    "sawtooth": lambda rng, n: np.arange(n) % 97,
    "large outlier": outlier(1e30),
    "large negative outlier": outlier(-1e30),
    "many magnitudes": lambda rng, n: rng.normal(size=n) * 2.0 ** rng.integers(-140, 120, n),
    "denormals": lambda rng, n: rng.integers(-5000, 5000, n) * 2.0**-1074,
    "float32 denormals": lambda rng, n: rng.integers(-5000, 5000, n) * 2.0**-149,
    "denormals and ones": lambda rng, n: rng.choice([2.0**-149, -(2.0**-149), 0.0, -0.0, 1.0, -1.0], n),
    "31 levels": levels(31),
    "255 levels": levels(255),
    "2000 levels": levels(2000),
    "31 levels, nearly equal": levels(31, 2.0**-50),
    "3000 levels, nearly equal": levels(3000, 2.0**-50),
    "levels of both signs": lambda rng, n: rng.integers(-9, 10, n) / 10,
    "one ulp apart": one_ulp_apart(1.0),
    "one ulp apart, negative": one_ulp_apart(-1.0),
    "two clusters": two_clusters,
    "ends of the number line": lambda rng, n: rng.choice([3.4e38, -3.4e38, 1e-38, -1e-38, 0.0], n),
    "squares": lambda rng, n: rng.normal(size=n) ** 8,
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", BUILDERS)
@each_shape((1, 1), (1, 2), (3, 1), (28, 28), (1, 5000), (227, 227), (256, 256), (384, 384))
def test_order_is_numpys_stable_order(shape: tuple[int, int], kind: str, dtype: DType) -> None:
    rng = np.random.default_rng(shape)
    n = shape[0] * shape[1]
    a = np.asarray(BUILDERS[kind](rng, n), dtype=np.float64).astype(dtype)
    other = rng.permutation(a)
    pair = lm.MapPair(a.reshape(shape), other.reshape(shape))
    which: Which
    for which, values in (("unperturbed", a), ("perturbed", other)):
        order = np.argsort(-values, kind="stable")
        np.testing.assert_array_equal(pair.order(which), order)
        np.testing.assert_array_equal(pair.ranks(which), scipy.stats.rankdata(-values))
        k = n // 3 + 1
        assert set(np.flatnonzero(pair.top_k(which, k))) == set(order[:k])


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=str)
@pytest.mark.parametrize("kind", BUILDERS)
@each_shape((64, 64), (227, 227), (300, 300))
def test_the_first_pixels_are_those_of_the_whole_order(
    shape: tuple[int, int], kind: str, dtype: DType
) -> None:
    rng = np.random.default_rng(shape)
    n = shape[0] * shape[1]
    a = np.asarray(BUILDERS[kind](rng, n), dtype=np.float64).astype(dtype)
    expected = np.argsort(-a, kind="stable")
    pair = lm.MapPair(a.reshape(shape), rng.permutation(a).reshape(shape))
    for k in (1, 40, n // 20, n // 9, n // 2):
        assert pair.top_pixels("unperturbed", k).tolist() == expected[:k].tolist()
        if not pair.constant:
            tied = pair._u.top(k)[1]
            assert tied == (a[expected[k - 1]] == a[expected[k]])


def test_pixels_are_selected_only_where_no_metric_needs_the_whole_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a = np.random.default_rng(0).random((5, 100, 100))
    selected = []
    select = SortedMap._select

    def count(self: SortedMap, m: int) -> Any:
        selected.append(m)
        return select(self, m)

    monkeypatch.setattr(SortedMap, "_select", count)
    top, tau = "topk_intersection(k=100)", "kendall"
    lm.score(a, a[::-1], [top])  # the first pair is scored without knowing
    assert selected == [312] * 8
    del selected[:]
    lm.score(a, a[::-1], [top, tau])
    assert selected == []
    a[1] = 0
    a[3, 0] = np.nan
    lm.score(a, a[::-1], [top, tau])
    assert selected == []  # pairs of which nothing is asked say nothing
    pair = lm.MapPair(a[0], a[2])
    for k in (5, 300, 311, 312, 400, 500, 1000):
        assert pair.top_pixels("perturbed", k).size == k
    assert selected == [312]  # then all are sorted


def test_what_one_block_of_a_file_needs_is_known_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "large.h5"
    a = np.random.default_rng(0).random((3, 400, 400), np.float32)
    with lm.PairWriter(path, n_samples=3, shape=(400, 400), attrs={"attack": "noise"}) as writer:
        writer.write(slice(0, 3), a, a[::-1])
    needs: list[bool] = []
    score_block = worker.score_block

    def noted(*arguments: Any, needs_order: bool = True, **named: Any) -> Any:
        needs.append(needs_order)
        return score_block(*arguments, needs_order=needs_order, **named)

    lm.evaluate(path, "topk_intersection(k=100)")  # compiles
    monkeypatch.setattr(worker, "score_block", noted)
    lm.evaluate(path, "topk_intersection(k=100)")
    assert needs == [True, False, False]
    del needs[:]
    lm.evaluate(path, "kendall")
    assert needs == [True, True, True]


@pytest.mark.parametrize("scale", [1.0, 1 / 256, 1 / 255, -1.0])
def test_classes_of_integers_do_not_share_a_slot(scale: float) -> None:
    """They differ only in the top bits of float64."""
    values = np.random.default_rng(0).permutation(10_000) % 256 * scale
    slots, members = np.zeros(2**15, np.uint16), np.empty(10_000, np.uint16)
    sizes, examples, keys = np.empty((2, 256), np.uint32), np.empty(256), np.empty(256, np.uint64)
    assert classes.classify(values, values.view(np.uint64), slots, keys, members, sizes, examples) == 256
    runs = "".join("x" if slot else " " for slot in slots).split()
    assert max(map(len, runs)) < 8


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["normal", "tied", "squares"])
def test_digits_of_either_width_give_one_order(kind: str, dtype: type[np.floating[Any]]) -> None:
    n = 4000
    values = np.asarray(BUILDERS[kind](np.random.default_rng(0), n), dtype)
    bits = values.view(np.uint32 if dtype is np.float32 else np.uint64)
    extremes = np.empty(2, bits.dtype)
    order.write_extremes(bits, extremes)
    orders = []
    for digit_bits in (8, 12):
        found, groups = np.empty(n, np.uint16), np.empty((n // 2, 2), np.uint32)
        kept, items, other = np.empty((3, n), np.uint32)
        counts = np.empty((3, 2**digit_bits), np.uint32)
        n_groups = order.sort(
            values,
            bits,
            extremes,
            digit_bits,
            kept,
            counts,
            items,
            other,
            np.empty_like(values),
            found,
            groups,
        )
        assert n_groups >= 0
        orders.append((found.tolist(), groups[:n_groups].tolist()))
    assert orders[0] == orders[1]
    assert orders[0][0] == np.argsort(-values, kind="stable").tolist()


def test_a_map_of_more_values_than_have_a_place_is_not_classified() -> None:
    values = np.random.default_rng(0).permutation(5000) % 3000 + 1.0
    bits = values.view(np.uint64)
    for most, expected in ((3000, 3000), (2999, -1)):
        slots, members = np.empty(2**13, np.uint16), np.empty(5000, np.uint16)
        sizes, examples = np.empty((2, most), np.uint32), np.empty(most)
        found = classes.classify(values, bits, slots, np.empty(most, np.uint64), members, sizes, examples)
        assert found == expected


def test_a_sample_tells_maps_of_few_values() -> None:
    rng = np.random.default_rng(0)
    n = 50_000
    kinds = {
        "two": (rng.integers(0, 2, n), True),
        "500": (rng.integers(0, 500, n), True),
        "all different": (rng.permutation(n), False),
        "zeros and others": (np.where(rng.random(n) < 0.4, 0, rng.permutation(n)), False),
        "20,000": (rng.integers(0, 20_000, n), False),
    }
    for name, (keys, expected) in kinds.items():
        bits = keys.astype(np.float32).view(np.uint32)
        assert classes.seem_few(bits, np.empty((2, 1024), np.uint64)) == expected, name


@each_shape((255, 257), (256, 256), (1, 65537), (3, 30000))
def test_orders_of_maps_with_about_2_to_the_16_pixels(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape)
    for a in (rng.normal(size=shape), rng.normal(size=shape).astype(np.float32), np.ones(shape)):
        pair = lm.MapPair(a, -a)
        np.testing.assert_array_equal(pair.order("unperturbed"), np.argsort(-a.ravel(), kind="stable"))
        np.testing.assert_array_equal(pair.order("perturbed"), np.argsort(a.ravel(), kind="stable"))


@each_shape((4, 5), (28, 28), (300, 300))
def test_float64_maps_are_ordered_below_float32_precision(shape: tuple[int, int]) -> None:
    n = shape[0] * shape[1]
    steps = np.random.default_rng(1).permutation(n)
    a = (1 + steps * 2.0**-50).reshape(shape)
    assert len(np.unique(a.astype(np.float32))) == 1 + (n > 2**25)
    pair = lm.MapPair(a, a.astype(np.float32))
    np.testing.assert_array_equal(pair.order("unperturbed"), np.argsort(-steps))
    np.testing.assert_array_equal(pair.order("perturbed"), np.arange(n))


@pytest.mark.parametrize("method", ["order", "ranks"])
def test_maps_are_called_unperturbed_and_perturbed(method: str) -> None:
    pair = lm.MapPair(np.eye(3), np.eye(3))
    with pytest.raises(ValueError, match="perturbed"):
        getattr(pair, method)("clean")


def test_two_plateaus_that_look_equal_are_not_sorted_by_insertion() -> None:
    """That would take as many moves as there are pairs of pixels."""
    n = 800
    values = np.array([0.5] * (n // 2) + [0.6] * (n // 2))
    indices, by_insertion = np.arange(n, dtype=np.uint16), np.empty(n)
    assert order.finish(values, indices, by_insertion, np.empty((n // 2, 2), np.uint32)) == -1
    assert (indices == np.arange(n)).mean() > 0.4
    u = np.full((40, 40), 0.5, np.float32)
    u[20:] += np.float32(2**-22)
    u[0, 0] = 0
    expected = np.argsort(-u.reshape(-1), kind="stable")
    assert lm.MapPair(u, np.eye(40)).order("unperturbed").tolist() == expected.tolist()
