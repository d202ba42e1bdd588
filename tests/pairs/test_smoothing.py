"""Smoothing of maps: against the twin and scipy, and worked out by hand."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
import scipy.stats
from hypothesis import given

import lensmetrics as lm
from tests import reference
from tests.strategies import DTYPES, WHICH, Case, DType, Which, cases

Map = npt.NDArray[Any]


@given(case=cases(exact=True), which=st.sampled_from(WHICH))
def test_smoothing_equals_its_twin(which: Which, case: Case) -> None:
    smoothed = getattr(lm.MapPair(case.unperturbed, case.perturbed).smoothed(case.w), which)
    if case.w > 0:
        assert smoothed.dtype == np.float64
    np.testing.assert_array_equal(smoothed, reference.smoothed(getattr(case, which), case.w))


def test_smoothing_divides_by_the_full_window_at_the_border() -> None:
    a = np.ones((4, 5), dtype=np.float32)
    smoothed = lm.MapPair(a, a).smoothed(1).perturbed
    assert smoothed[0, 0] == 4 / 9
    assert smoothed[0, 2] == 6 / 9
    assert smoothed[2, 2] == 1


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_smoothing_of_any_values(dtype: DType) -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=(40, 33)).astype(dtype) + dtype.type(1000)
    for w in (0, 1, 2, 3, 20, 50):
        window = np.ones((2 * w + 1, 2 * w + 1)) / (2 * w + 1) ** 2
        expected = scipy.ndimage.convolve(a.astype(np.float64), window, mode="constant")
        np.testing.assert_allclose(lm.MapPair(a, a).smoothed(w).unperturbed, expected, rtol=1e-12)


@pytest.mark.parametrize("w", [1, 2, 3])
def test_windows_of_zeros_smooth_to_zero(w: int) -> None:
    """Running sums would leave residues next to large values, and residues break ties."""
    rng = np.random.default_rng(w)
    a = rng.normal(size=(60, 60)) * 10.0 ** rng.integers(-12, 12, (60, 60))
    a[20:45, 15:50] = 0
    a[rng.random((60, 60)) < 0.3] = 0
    smoothed = lm.MapPair(a, a).smoothed(w).unperturbed
    is_empty = ~scipy.ndimage.binary_dilation(a != 0, np.ones((2 * w + 1, 2 * w + 1), dtype=bool))
    assert is_empty.sum() > 300
    assert (smoothed[is_empty] == 0).all()


@pytest.mark.parametrize("w", [1, 2, 3])
def test_windows_of_equal_content_smooth_to_equal_values(w: int) -> None:
    rng = np.random.default_rng(w)
    a = np.tile(rng.normal(size=(7, 7)) * 10.0 ** rng.integers(-6, 6, (7, 7)), (4, 4))
    inside = lm.MapPair(a, a).smoothed(w).unperturbed[w:-w, w:-w]
    np.testing.assert_array_equal(inside[7:], inside[:-7])
    np.testing.assert_array_equal(inside[:, 7:], inside[:, :-7])
