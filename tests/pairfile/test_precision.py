"""Which type holds maps exactly, and what rounding may lose."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from lensmetrics.pairfile.precision import exact_dtype, rounded
from lensmetrics.pairs.arrays import as_numpy
from tests.strategies import any_finite, extremes, shapes


@pytest.mark.parametrize(
    ("maps", "expected"),
    [
        (np.zeros((2, 2), np.float16), "float32"),
        (np.zeros((2, 2), np.float32), "float32"),
        (np.zeros((2, 2), ">f4"), "float32"),
        (np.zeros((2, 2)), "float64"),
        (np.zeros((2, 2), bool), "float32"),
        (np.array([[2**24, -(2**24)]]), "float32"),
        (np.array([[2**24 + 1]]), "float64"),
        (np.array([[-(2**24) - 1]]), "float64"),
        (np.array([[2**24 + 1]], np.uint32), "float64"),
        (np.array([[2**53]], np.uint64), "float64"),
        (np.array([[-(2**53)]]), "float64"),
        (np.array([[255]], np.uint8), "float32"),
        (np.zeros((0, 2, 2), np.int64), "float32"),
    ],
)
def test_narrowest_type_that_is_exact(maps: NDArray[Any], expected: str) -> None:
    dtype = exact_dtype(maps, "unperturbed")
    assert dtype.name == expected
    assert np.array_equal(maps.astype(dtype).astype(maps.dtype), maps)


@pytest.mark.parametrize("value", [2**53 + 1, -(2**53) - 1, -(2**63), 2**63 - 1])
def test_integers_beyond_float64(value: int) -> None:
    with pytest.raises(ValueError, match=r"'unperturbed' holds integers beyond 2\^53, which float64 cannot"):
        exact_dtype(np.array([[value]]), "unperturbed")


@pytest.mark.parametrize("dtype", [np.longdouble, np.complex64, "S1", object, "M8[s]"])
def test_other_types_are_refused(dtype: Any) -> None:
    maps = np.zeros((2, 2), "i8").astype(dtype)
    for call in (lambda: exact_dtype(maps, "target"), lambda: rounded(maps, "float32", "target")):
        with pytest.raises(TypeError, match=r"'target' is .*; allowed are float16, bfloat16, float32"):
            call()
    with pytest.raises(ValueError, match="dtype must be 'float32' or 'float64', got 'float16'"):
        rounded(np.zeros((2, 2)), "float16")


def test_bfloat16_is_widened_before() -> None:
    torch = pytest.importorskip("torch")
    maps = as_numpy(torch.ones((2, 2), dtype=torch.bfloat16), "unperturbed")
    assert exact_dtype(maps, "unperturbed") == np.float32


@given(data=st.data())
def test_rounding_is_numpys_and_counts_lost_values(data: st.DataObject) -> None:
    shape = data.draw(shapes())
    dtype = np.dtype(np.float64)
    values = st.lists(
        st.one_of(any_finite(dtype), extremes(dtype), st.sampled_from([1.0, 1.0 + 1e-9, np.nan, np.inf])),
        min_size=2 * shape[0] * shape[1],
        max_size=2 * shape[0] * shape[1],
    )
    maps = np.array(data.draw(values)).reshape(2, *shape)
    with np.errstate(all="ignore"):
        expected = maps.astype(np.float32)

    def n_distinct(plane: NDArray[Any]) -> int:
        finite = plane[~np.isnan(plane)].tolist()
        return len(set(finite)) + int(np.isnan(plane).sum())

    planes = [(n_distinct(a), n_distinct(b)) for a, b in zip(maps, expected, strict=True)]
    lost = (np.isinf(expected) & np.isfinite(maps)).any() or ((expected == 0) & (maps != 0)).any()
    if lost or any(before > 1 and after == 1 for before, after in planes):
        with pytest.raises(ValueError, match="'maps' holds"):
            rounded(maps, "float32")
        return
    found, n_new_ties = rounded(maps, "float32")
    np.testing.assert_array_equal(found, expected, strict=True)
    assert n_new_ties == sum(before - after for before, after in planes)


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ([[1e60, 1.0]], r"'maps' holds 1e\+60, beyond \+-3\.4e\+38, the largest float32: scale the maps"),
        ([[1e-60, 1.0]], "'maps' holds 1e-60, which float32 makes 0: scale the maps"),
        ([[1 + 1e-9, 1.0]], "'maps' holds a map that float32 makes constant: subtract an offset"),
        ([[[1.0, 2.0]], [[1e8 + 1, 1e8]]], "'maps' holds a map that float32 makes constant"),
        ([[2**60 + 1, 2**60]], "'maps' holds a map that float32 makes constant"),
    ],
)
def test_what_rounding_may_not_do(maps: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rounded(np.array(maps), "float32")
    found, n_new_ties = rounded(np.array(maps, float), "float64")
    assert (found.dtype.name, n_new_ties) == ("float64", 0)


def test_rounding_of_what_is_exact_counts_nothing() -> None:
    for dtype in (np.float32, np.float16, np.int16, bool):
        maps = np.eye(3).astype(dtype)
        assert rounded(maps, "float32")[1] == 0
    found, n_new_ties = rounded(np.array([[2**24, 2**24 + 1, 0]]), "float32")
    assert (found.tolist(), n_new_ties) == ([[2.0**24, 2.0**24, 0.0]], 1)
    assert rounded(np.array([[2**53, 2**53 + 1, 0]]), "float64")[1] == 1
