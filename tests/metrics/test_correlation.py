"""Correlations of whole maps: against the twins and scipy."""

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
import scipy.stats
from hypothesis import given

import lensmetrics as lm
from lensmetrics.kernels import correlation
from tests import reference
from tests.strategies import DTYPES, Case, DType, cases, each_shape

Map = npt.NDArray[Any]


@given(case=cases())
def test_rank_correlations_equal_their_twins(case: Case) -> None:
    """Any finite values are allowed: only their order counts."""
    for name in ("spearman", "kendall"):
        expected = reference.CORRELATION[name](case.unperturbed, case.perturbed)
        value = getattr(lm, name)(lm.MapPair(case.unperturbed, case.perturbed))
        assert isinstance(value, float), name
        assert value == pytest.approx(expected, rel=1e-12, abs=1e-12, nan_ok=True), name


@given(case=cases(exact=True))
def test_correlations_equal_their_twins(case: Case) -> None:
    """Window sums of multiples of 1/8 are exact, so their ties are the same in any order of summation."""
    for name, twin in reference.CORRELATION.items():
        expected = twin(case.unperturbed, case.perturbed, **case.arguments(name))
        value = getattr(lm, name)(lm.MapPair(case.unperturbed, case.perturbed), **case.arguments(name))
        assert isinstance(value, float), name
        assert value == pytest.approx(expected, rel=1e-10, abs=1e-10, nan_ok=True), name


def tied(rng: np.random.Generator, shape: tuple[int, int]) -> Map:
    """Return a map of 31 levels of both signs, with 40 % zeros, also of both signs."""
    a = rng.integers(-15, 16, shape) / 8
    a[rng.random(shape) < 0.4] = 0
    return np.asarray(a * rng.choice([-1, 1], shape))


@functools.cache
def pairs_of_maps(shape: tuple[int, int]) -> dict[str, tuple[Map, Map]]:
    rng = np.random.default_rng(shape)
    normal, noise = rng.normal(size=shape), rng.normal(size=shape)
    ramp = np.arange(normal.size, dtype=np.float64).reshape(shape)
    outlier = normal * 1e-6
    outlier.flat[7] = 1e12
    return {
        "independent": (normal, noise),
        "related": (normal, normal + 0.1 * noise),
        "reversed": (normal, -normal),
        "ramps": (ramp, ramp[::-1, ::-1] + 0.3 * noise),
        "identical ramps": (ramp, ramp),
        "positive": (np.abs(normal) ** 3, np.abs(normal + noise) ** 3),
        "mostly zero": (np.maximum(normal, 0.3), np.maximum(normal + noise, 0.3)),
        "tied": (tied(rng, shape), tied(rng, shape)),
        "tied and related": (np.round(normal * 5), np.round(normal * 5 + noise)),
        "two levels": (normal > 0, normal + noise > 0),
        "one level but for a pixel": (ramp == 3, normal),
        "outlier": (outlier, noise),
        "far from zero": (1000 + normal, 1000 + normal + noise),
    }


KINDS = list(pairs_of_maps((5, 5)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@each_shape((5, 9), (28, 28), (1, 300), (128, 128), (227, 227), (300, 300), (384, 384))
def test_correlations_agree_with_scipy(shape: tuple[int, int], kind: str, dtype: DType) -> None:
    u, p = (a.astype(dtype) for a in pairs_of_maps(shape)[kind])
    pair = lm.MapPair(u, p)
    x, y = u.ravel().astype(np.float64), p.ravel().astype(np.float64)
    assert lm.kendall(pair) == pytest.approx(scipy.stats.kendalltau(x, y).statistic, rel=1e-12, abs=1e-12)
    assert lm.spearman(pair) == pytest.approx(scipy.stats.spearmanr(x, y).statistic, rel=1e-9, abs=1e-9)
    assert lm.pearson(pair) == pytest.approx(scipy.stats.pearsonr(x, y).statistic, rel=1e-9, abs=1e-9)


@each_shape((28, 28), (30, 200), (227, 227), (300, 300))
def test_smoothed_rank_correlation_agrees_with_scipy(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape)
    u = tied(rng, shape)
    p = u + tied(rng, shape) * (rng.random(shape) < 0.5)
    pair = lm.MapPair(u.astype(np.float32), p)
    for w in (0, 1, 2, 3, 6):
        window = np.ones((2 * w + 1, 2 * w + 1))
        x, y = (scipy.ndimage.convolve(a, window, mode="constant").ravel() for a in (u, p))
        kendall, spearman = scipy.stats.kendalltau(x, y).statistic, scipy.stats.spearmanr(x, y).statistic
        assert lm.lens_kendall(pair, w=w) == pytest.approx(kendall, rel=1e-12, abs=1e-12)
        assert lm.lens_spearman(pair, w=w) == pytest.approx(spearman, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", reference.CORRELATION)
@pytest.mark.parametrize("value", [0.0, 0.1, -1e30])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_correlations_with_a_constant_map_are_nan(name: str, value: float, dtype: DType) -> None:
    rng = np.random.default_rng(0)
    constant, other = np.full((9, 11), value, dtype), rng.random((9, 11))
    for u, p in ((constant, other), (other, constant), (constant, constant)):
        pair = lm.MapPair(u, p)
        arguments = {"w": 2} if "w" in reference.parameters(name) else {}
        assert math.isnan(getattr(lm, name)(pair, **arguments))
        assert pair.status == ("constant_map;identical" if u is p else "constant_map")


@pytest.mark.parametrize("name", reference.CORRELATION)
def test_zeros_of_both_signs_are_constant(name: str) -> None:
    zeros = np.array([[0.0, -0.0, 0.0], [-0.0, 0.0, 0.0]])
    pair = lm.MapPair(zeros, np.arange(6.0).reshape(2, 3))
    assert math.isnan(getattr(lm, name)(pair))
    assert pair.status == "constant_map"


def test_correlations_of_maps_that_smoothing_makes_constant_are_nan() -> None:
    pair = lm.MapPair(np.arange(9.0).reshape(3, 3), np.eye(3))
    assert not math.isnan(lm.lens_kendall(pair, w=1))
    assert math.isnan(lm.lens_kendall(pair, w=2))  # every window holds the whole map
    assert math.isnan(lm.lens_spearman(pair, w=2))


def test_float64_maps_keep_their_precision() -> None:
    rng = np.random.default_rng(2)
    steps = rng.permutation(400).reshape(20, 20)
    near_one, other = 1 + steps * 2.0**-50, rng.random((20, 20))
    assert len(np.unique(near_one.astype(np.float32))) == 1
    pair, exact = lm.MapPair(near_one, other), lm.MapPair(steps.astype(np.float64), other)
    assert lm.kendall(pair) == lm.kendall(exact)
    assert lm.spearman(pair) == lm.spearman(exact)
    assert lm.pearson(pair) == pytest.approx(lm.pearson(exact), rel=1e-6)


@given(case=cases())
def test_pearson_of_any_values_equals_its_twin(case: Case) -> None:
    expected = reference.pearson(case.unperturbed, case.perturbed)
    value = lm.pearson(lm.MapPair(case.unperturbed, case.perturbed))
    assert value == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("base", [3.0, 0.7, 1e300, -5e-310])
def test_pearson_of_nearly_constant_maps(base: float) -> None:
    """Their values differ only by a few units in the last place."""
    rng = np.random.default_rng(0)
    u = base + np.spacing(base) * rng.integers(0, 4, (16, 16))
    p = np.where(rng.random(u.shape) < 0.5, u, base + np.spacing(base) * rng.integers(0, 4, u.shape))
    assert lm.pearson(lm.MapPair(u, p)) == pytest.approx(reference.pearson(u, p), abs=1e-12)


@pytest.mark.parametrize("scale", [1e307, 1e-310])
def test_smoothing_neither_overflows_nor_vanishes(scale: float) -> None:
    rng = np.random.default_rng(0)
    u, p = (np.round(rng.random((2, 20, 20)), 2) + 1) * 2.0
    pair, expected = lm.MapPair(u * scale, p * scale), lm.MapPair(u, p)
    for name in ("lens_kendall", "lens_spearman"):
        assert getattr(lm, name)(pair, w=3) == pytest.approx(getattr(lm, name)(expected, w=3), abs=1e-2)
    assert pair.finite
    assert pair.status == "ok"


@pytest.mark.large
def test_spearman_of_very_large_maps() -> None:
    """The sum of the products of 4096 ranks of 2**26 pixels does not fit in 64 bits."""
    n = 2**26
    sequence = np.arange(n, dtype=np.uint32)
    none = np.empty((0, 2), np.uint32)
    ranks, ties = np.empty((2, n), np.int32), np.empty((2, 3), np.int64)
    total, tied = correlation.rank_products(none, none, *ranks, sequence, ties)
    exact = (n**3 - n) // 3  # the sum of (2i + 1 - n)^2
    assert total == pytest.approx(exact, rel=1e-12)
    assert tied == 0


def test_maps_with_more_pixels_than_kernels_can_count_are_refused() -> None:
    huge = np.broadcast_to(np.float32(1), (2**15, 2**15))
    with pytest.raises(ValueError, match=r"must have 1 to 1073741823 pixels: its shape is \(32768, 32768\)"):
        lm.MapPair(huge, huge)


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1e30])
def test_pearson_and_cosine_do_not_depend_on_the_scale(scale: float) -> None:
    """Squares of float32 values can leave the range of float32."""
    rng = np.random.default_rng(3)
    u, p = rng.random((2, 30, 30))
    scaled = lm.MapPair((u * scale).astype(np.float32), p)
    expected = lm.MapPair(u, p)
    assert lm.pearson(scaled) == pytest.approx(lm.pearson(expected), abs=1e-4)
    assert lm.cosine(scaled) == pytest.approx(lm.cosine(expected), abs=1e-4)
