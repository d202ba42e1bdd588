"""The variants that reproduce the released scripts: their counts, and their deviations one by one."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given

import lensmetrics as lm
from tests import reference
from tests.metrics.golden_published import GOLDEN, Golden, maps
from tests.strategies import Case, cases, tie_free_cases

Map = npt.NDArray[Any]


def with_order(shape: tuple[int, int], order: list[int]) -> Map:
    """Return a map whose largest pixels are the given flat indices in that order; the rest is 0."""
    a = np.zeros(shape[0] * shape[1])
    a[order] = np.arange(len(order), 0, -1)
    return a.reshape(shape)


def ask(pair: lm.MapPair, name: str, k: int, w: int, pool: int | None) -> float:
    pooled = {"pool": pool} if "pool" in reference.parameters(name) else {}
    value: float = getattr(lm, name)(pair, k=k, w=w, **pooled)
    return value


@pytest.mark.large
@pytest.mark.parametrize("case", GOLDEN, ids=lambda c: f"{c.side}-{c.seed}-{c.noise}-w{c.w}-{c.pixel0}")
def test_counts_of_the_released_scripts(case: Golden) -> None:
    pair = lm.MapPair(*maps(case))
    k, w, pool = case.k, case.w, case.pool
    counts = {
        "topk_intersection": lm.topk_intersection(pair, k=k),
        "lens_recall": lm.lens_recall_published(pair, k=k, w=w),
        "lens_precision": lm.lens_precision_published(pair, k=k, w=w),
        "topk_div_intersection": lm.topk_div_intersection_published(pair, k=k, w=w, pool=pool),
        "lens_recall_div": lm.lens_recall_div_published(pair, k=k, w=w, pool=pool),
        "lens_precision_div": lm.lens_precision_div_published(pair, k=k, w=w, pool=pool),
    }
    assert counts == {name: getattr(case, name) / k for name in counts}
    assert pair.status == "ok"


@pytest.mark.parametrize("case", [case for case in GOLDEN if case.side == 28], ids=str)
def test_twins_return_the_same_counts(case: Golden) -> None:
    for name, twin in reference.PUBLISHED.items():
        arguments = {parameter: getattr(case, parameter) for parameter in reference.parameters(name)}
        assert twin(*maps(case), **arguments) == getattr(case, name.removesuffix("_published")) / case.k


@given(case=tie_free_cases() | cases())
def test_variants_equal_their_twins(case: Case) -> None:
    """Ties follow the rule of the package; the scripts leave them to NumPy's unstable sort."""
    for name, twin in reference.PUBLISHED.items():
        expected = twin(case.unperturbed, case.perturbed, **case.arguments(name))
        pair = lm.MapPair(case.unperturbed, case.perturbed)
        value = getattr(lm, name)(pair, **case.arguments(name))
        assert isinstance(value, float), name
        assert value == expected or (math.isnan(value) and math.isnan(expected)), name
        assert ("pool_exhausted" in pair.status.split(";")) == math.isnan(expected), name


def test_windows_run_over_the_right_edge() -> None:
    pair = lm.MapPair(with_order((28, 28), [55]), with_order((28, 28), [56]))
    assert lm.lens_recall_published(pair, k=1, w=1) == 1
    assert lm.lens_precision_published(pair, k=1, w=1) == 1
    assert lm.lens_recall(pair, k=1, w=1) == 0


def test_pixel_0_is_dropped() -> None:
    top_left = with_order((28, 28), [0])
    pair = lm.MapPair(top_left, top_left)
    assert lm.topk_intersection(pair, k=1) == 1
    assert lm.lens_recall(pair, k=1, w=1) == 1
    for name in reference.PUBLISHED:
        assert ask(pair, name, k=1, w=1, pool=600) == 0


@pytest.mark.parametrize(
    ("picks", "score"),
    [
        ([100, 300, 500, 700], 1),  # loses 300 too
        ([100, 620, 500, 700], 1),  # loses 620
        ([100, 700, 300, 500], 2 / 3),  # finds 100, 300, 500
    ],
)
def test_the_second_best_candidate_is_lost(picks: list[int], score: float) -> None:
    """The scripts find {100, 500, 700} where the definition finds {100, 300, 500}."""
    a = with_order((28, 28), [100, 300, 500, 700, 200, 400, 600])
    pair = lm.MapPair(a, with_order((28, 28), picks))
    assert reference.diverse_top_k_published(a, 3, 1, 600) == [100, 500, 700]
    assert pair.diverse_top_k("unperturbed", 3, 1).tolist() == [100, 300, 500]
    assert lm.topk_div_intersection_published(pair, k=3, w=1) == score


def test_the_second_best_is_kept_if_pixel_0_is_picked_first() -> None:
    first = with_order((28, 28), [0, 300, 500, 700])  # finds 0, 300, 500 and drops 0
    other = with_order((28, 28), [300, 100, 500, 700])  # finds 300, 500, 700
    pair = lm.MapPair(first, other)
    assert lm.topk_div_intersection_published(pair, k=3, w=1) == 2 / 3
    assert lm.topk_div_intersection_published(lm.MapPair(first, first), k=3, w=1) == 2 / 3


POOLED = [name for name in reference.PUBLISHED if "pool" in reference.parameters(name)]


@pytest.mark.parametrize("name", POOLED)
def test_scores_are_nan_where_the_pool_is_exhausted(name: str) -> None:
    rng = np.random.default_rng(4)
    pair = lm.MapPair(rng.random((10, 10)), rng.random((10, 10)))
    assert not math.isnan(ask(pair, name, k=3, w=1, pool=60))
    assert pair.status == "ok"
    assert math.isnan(ask(pair, name, k=60, w=1, pool=60))
    assert pair.status == "pool_exhausted"


def late_candidates(side: int, pool: int, w: int) -> Map:
    """Fill the first rows with the best pool - 1 pixels; put the next two far below, far apart."""
    order = [*range(pool - 1), side * side - 1, side * (side - 1) + side // 2]
    assert pool + side * (w + 1) < side * (side - 1)
    return with_order((side, side), order)


@pytest.mark.large
@pytest.mark.parametrize("name", POOLED)
@pytest.mark.parametrize(
    ("side", "w", "pool"),
    [
        *((28, w, 600) for w in (1, 2, 3)),
        (128, 1, 6000),
        (227, 1, 6000),
        (227, 2, 15000),
        (227, 3, 25000),
    ],
)
def test_the_default_pool_is_that_of_the_scripts(name: str, side: int, w: int, pool: int) -> None:
    """With one candidate fewer the last pick is missing; with one more there is one more pick."""
    a = late_candidates(side, pool, w)
    pair = lm.MapPair(a, a)

    def runs_out(k: int, some_pool: int) -> bool:
        return math.isnan(ask(pair, name, k, w, some_pool))

    low, high = 1, pool
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if runs_out(middle, pool) else (middle, high)
    assert runs_out(low, pool - 1)
    assert not runs_out(high, pool + 1)
    metric = getattr(lm, name)
    assert metric(pair, k=low, w=w) == ask(pair, name, low, w, pool)
    assert math.isnan(metric(pair, k=high, w=w))


@pytest.mark.parametrize("name", POOLED)
@pytest.mark.parametrize(("shape", "w"), [((32, 32), 1), ((128, 128), 2), ((227, 227), 0), ((28, 29), 1)])
def test_other_sizes_need_a_pool(name: str, shape: tuple[int, int], w: int) -> None:
    rng = np.random.default_rng(0)
    pair = lm.MapPair(rng.random(shape), rng.random(shape))
    with pytest.raises(ValueError, match="pool"):
        getattr(lm, name)(pair, k=5, w=w)
    assert not math.isnan(getattr(lm, name)(pair, k=5, w=w, pool=500))


@pytest.mark.parametrize("name", POOLED)
@pytest.mark.parametrize("pool", [0, -1, 2.5, True, "600"])
def test_pool_must_be_an_integer_in_range(name: str, pool: Any) -> None:
    rng = np.random.default_rng(0)
    pair = lm.MapPair(rng.random((28, 28)), rng.random((28, 28)))
    with pytest.raises((TypeError, ValueError), match="pool"):
        getattr(lm, name)(pair, k=5, w=1, pool=pool)
