"""Distances between maps: against the twins, scikit-image and scipy."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
from hypothesis import given, settings
from skimage import metrics

import lensmetrics as lm
from lensmetrics.demo import DATA
from tests import reference
from tests.strategies import DTYPES, Case, DType, cases, each_shape

Map = npt.NDArray[Any]


@given(case=cases(exact=True))
def test_distances_equal_their_twins(case: Case) -> None:
    for name, twin in reference.DISTANCE.items():
        expected = twin(case.unperturbed, case.perturbed)
        value = getattr(lm, name)(lm.MapPair(case.unperturbed, case.perturbed))
        assert isinstance(value, float), name
        assert value == pytest.approx(expected, rel=1e-10, abs=1e-10, nan_ok=True), name


@settings(max_examples=40)
@given(case=cases(exact=True, shape=st.tuples(st.integers(7, 10), st.integers(7, 10))))
def test_ssim_equals_its_twin(case: Case) -> None:
    expected = reference.ssim(case.unperturbed, case.perturbed)
    pair = lm.MapPair(case.unperturbed, case.perturbed)
    assert lm.ssim(pair) == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)
    normalized = reference.TWINS["ssim_normalized"](case.unperturbed, case.perturbed)
    assert lm.ssim_normalized(pair) == pytest.approx(normalized, rel=1e-9, abs=1e-9, nan_ok=True)
    assert "too_small" not in pair.status


@given(case=cases(exact=True), scale=st.sampled_from([3.0, 1e-30, 1e150]))
def test_normalized_distances_do_not_depend_on_the_scale_of_a_map(case: Case, scale: float) -> None:
    u, p = case.unperturbed.astype(np.float64), case.perturbed.astype(np.float64)
    for metric in (lm.mse_normalized, lm.ssim_normalized):
        value, other = metric(lm.MapPair(u, p)), metric(lm.MapPair(u * scale, p))
        assert value == pytest.approx(other, rel=1e-9, abs=1e-9, nan_ok=True)


def test_maps_without_a_sum_have_no_normalized_distance() -> None:
    for u, p in itertools.permutations((np.zeros((7, 7)), np.eye(7))):
        pair = lm.MapPair(u, p)
        assert math.isnan(lm.mse_normalized(pair))
        assert math.isnan(lm.ssim_normalized(pair))
        assert pair.status == "constant_map"


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (1, 1)])
def test_ssim_needs_one_window(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    pair = lm.MapPair(rng.random(shape), rng.random(shape))
    before = pair.status
    assert "too_small" not in before
    assert math.isnan(lm.ssim(pair))
    assert "too_small" in pair.status.split(";")


# scikit-image has types for only some of its functions, and mypy rejects untyped calls.
structural_similarity: Callable[..., float] = metrics.structural_similarity


def joint_range(u: Map, p: Map) -> float:
    return float(max(u.max(), p.max()) - min(u.min(), p.min()))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@each_shape((7, 7), (7, 30), (28, 28), (128, 100), (227, 227), (300, 300))
@pytest.mark.parametrize("offset", [0.0, 10.0])
def test_distances_agree_with_numpy_scipy_and_scikit_image(
    shape: tuple[int, int], offset: float, dtype: DType
) -> None:
    rng = np.random.default_rng(shape)
    u = (offset + rng.normal(size=shape)).astype(dtype)
    p = (u + rng.normal(size=shape) * 0.5).astype(dtype)
    pair = lm.MapPair(u, p)
    x, y = u.astype(np.float64), p.astype(np.float64)
    expected = structural_similarity(x, y, data_range=joint_range(x, y))
    assert lm.ssim(pair) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert lm.mse(pair) == pytest.approx(np.mean((x - y) ** 2), rel=1e-12)
    norms = np.linalg.norm(x) * np.linalg.norm(y)
    assert lm.cosine(pair) == pytest.approx((x * y).sum() / norms, rel=1e-12, abs=1e-12)
    centers = [scipy.ndimage.center_of_mass(np.abs(a)) for a in (x, y)]
    assert lm.mass_center_shift(pair) == pytest.approx(math.dist(*centers), rel=1e-9, abs=1e-9)


def test_ssim_of_maps_far_from_zero() -> None:
    """The variance of a window must not be lost beside the square of its mean."""
    rng = np.random.default_rng(1)
    u = rng.normal(size=(12, 12))
    p = u + 0.5 * rng.normal(size=(12, 12))
    far_u, far_p = 1000 + u, 1000 + p
    assert lm.ssim(lm.MapPair(far_u, far_p)) == pytest.approx(reference.ssim(far_u, far_p), abs=1e-7)


def exact_ssim(u: Map, p: Map) -> float:
    """Compute SSIM in long double, from the deviations in each window."""
    windows = np.lib.stride_tricks.sliding_window_view
    x, y = (windows(a.astype(np.longdouble), (7, 7)).reshape(-1, 49) for a in (u, p))
    mean_x, mean_y = x.mean(1), y.mean(1)
    dx, dy = x - mean_x[:, None], y - mean_y[:, None]
    data_range = np.longdouble(max(u.max(), p.max())) - np.longdouble(min(u.min(), p.min()))
    c1, c2 = (data_range / 100) ** 2, (3 * data_range / 100) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * (dx * dy).sum(1) / 48 + c2) / ((dx**2).sum(1) / 48 + (dy**2).sum(1) / 48 + c2)
    return float((luminance * structure).mean())


def maps_with_offsets() -> dict[str, tuple[Map, Map]]:
    rng = np.random.default_rng(0)
    ones, others = np.ones((64, 64), np.float32), np.ones((64, 64), np.float32)
    ones[::3, ::5] += np.float32(1.2e-7)
    others[::4, ::3] += np.float32(1.2e-7)
    a = rng.normal(size=(28, 28))
    b = a + 0.5 * rng.normal(size=a.shape)
    return {
        "one unit in the last place": (ones, others),
        "1e8": (1e8 + a, 1e8 + b),
        "1e6 and small": (1e6 + a / 1e3, 1e6 + b / 1e3),
        "on both sides of zero": (a + 3, b - 3),
        "one pixel far out": (np.where(a == a.max(), 1e12, a), b),
    }


@pytest.mark.parametrize("kind", list(maps_with_offsets()))
def test_ssim_of_maps_with_an_offset(kind: str) -> None:
    u, p = maps_with_offsets()[kind]
    assert lm.ssim(lm.MapPair(u, p)) == pytest.approx(exact_ssim(u, p), abs=1e-9)


@pytest.mark.parametrize("scale", [1e-310, 1e-100, 1e100, 4e307])
def test_ssim_does_not_depend_on_the_scale(scale: float) -> None:
    rng = np.random.default_rng(0)
    u, p = rng.random((2, 28, 28))
    pair = lm.MapPair(u * scale, p * scale)
    assert lm.ssim(pair) == pytest.approx(lm.ssim(lm.MapPair(u, p)), abs=1e-9)
    assert pair.status == "ok"


def test_ssim_of_the_embedded_files_agrees_with_scikit_image() -> None:
    for path in sorted(DATA.glob("*.h5")):
        for pair in itertools.islice(lm.PairStore(path), 8):
            x, y = pair.unperturbed.astype(np.float64), pair.perturbed.astype(np.float64)
            expected = structural_similarity(x, y, data_range=joint_range(x, y))
            assert lm.ssim(pair) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(case=cases())
def test_mse_of_any_values_equals_its_twin(case: Case) -> None:
    expected = reference.mse(case.unperturbed, case.perturbed)
    value = lm.mse(lm.MapPair(case.unperturbed, case.perturbed))
    assert value == pytest.approx(expected, rel=1e-12, abs=1e-322)
    assert (value == 0) == (case.unperturbed == case.perturbed).all()


def test_mse_of_different_maps_is_not_0() -> None:
    rng = np.random.default_rng(0)
    u, p = rng.random((2, 9, 9)) * 1e-170
    assert lm.mse(lm.MapPair(u, p)) == math.ulp(0)
    assert lm.mse(lm.MapPair(u, u)) == 0
    assert lm.mse(lm.MapPair(u * 1e20, p * 1e20)) == pytest.approx(
        np.mean((u * 1e170 - p * 1e170) ** 2) * 1e-300
    )


def test_mse_of_float32_maps_is_computed_in_float64() -> None:
    u = np.full((50, 50), 1e8, dtype=np.float32)
    p = np.full((50, 50), 1.0, dtype=np.float32)
    assert lm.mse(lm.MapPair(u, p)) == pytest.approx((1e8 - 1) ** 2, rel=1e-12)


@pytest.mark.large
def test_sums_of_many_float32_pixels_stay_exact() -> None:
    a = np.full((384, 384), 1000.25, dtype=np.float32)
    a[-1, -1] = 1000.5
    assert lm.mse(lm.MapPair(a, a - np.float32(0.5))) == 0.25
    assert lm.cosine(lm.MapPair(a, a)) == pytest.approx(1, abs=1e-12)
    assert lm.mass_center_shift(lm.MapPair(a, a[::-1, ::-1])) == pytest.approx(reference_shift(a), rel=1e-6)


def reference_shift(a: Map) -> float:
    """Return twice the distance from the center of the map to the center of mass."""
    center = scipy.ndimage.center_of_mass(a.astype(np.float64))
    return 2 * math.dist(center, ((a.shape[0] - 1) / 2, (a.shape[1] - 1) / 2))


def test_mass_center_of_single_pixels() -> None:
    u, p = np.zeros((9, 9)), np.zeros((9, 9))
    u[1, 2], p[4, 6] = 2.0, -0.5
    assert lm.mass_center_shift(lm.MapPair(u, p)) == 5


def test_a_map_of_zeros_has_no_center_and_no_direction() -> None:
    rng = np.random.default_rng(0)
    zeros, other = np.zeros((8, 8)), rng.random((8, 8))
    for u, p in ((zeros, other), (other, zeros), (zeros, zeros)):
        pair = lm.MapPair(u, p)
        assert math.isnan(lm.mass_center_shift(pair))
        assert math.isnan(lm.cosine(pair))
        assert lm.mse(pair) == pytest.approx(np.mean((u - p) ** 2))
        assert pair.status == ("constant_map;identical" if u is p else "constant_map")


def test_constant_maps_have_a_direction_and_a_center() -> None:
    pair = lm.MapPair(np.full((8, 8), 2.0), np.full((8, 8), -3.0))
    assert lm.cosine(pair) == pytest.approx(-1)
    assert lm.mass_center_shift(pair) == pytest.approx(0, abs=1e-12)
    assert lm.mse(pair) == 25
