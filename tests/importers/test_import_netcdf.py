"""netCDF encodings: import reads the same values as xarray."""

import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from lensmetrics.errors import FormatError
from lensmetrics.importers.netcdf import decoded_type, decoder

# Name: type as stored, attributes.
ENCODINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "float with a fill value": ("f4", {"_FillValue": np.float32(7)}),
    "double with a fill value": ("f8", {"_FillValue": np.float64(7)}),
    "half with a fill value": ("f2", {"_FillValue": np.float16(7)}),
    "big-endian float": (">f4", {"_FillValue": np.float32(7)}),
    "NaN as fill value": ("f4", {"_FillValue": np.float32(np.nan)}),
    "NaN as fill value, scaled": ("f4", {"_FillValue": np.float32(np.nan), "scale_factor": np.float64(0.1)}),
    "missing_value": ("f4", {"missing_value": np.float32(7)}),
    "several missing values": ("f4", {"missing_value": np.array([7, 9, np.nan], "f4")}),
    "both, different": ("i2", {"_FillValue": np.int16(7), "missing_value": np.int16(9)}),
    "byte with a fill value": ("u1", {"_FillValue": np.uint8(7)}),
    "int16 with a fill value": ("i2", {"_FillValue": np.int16(7)}),
    "int32 with a fill value": ("i4", {"_FillValue": np.int32(7)}),
    "int64 with a fill value": ("i8", {"_FillValue": np.int64(7)}),
    "big-endian int32 with a fill value": (">i4", {"_FillValue": np.int32(7)}),
    "fill value out of range": ("i1", {"missing_value": np.int16(-9999)}),
    "fill value no integer": ("i2", {"missing_value": np.float64(7.5)}),
    "NaN fill value of integers": ("i2", {"missing_value": np.float32(np.nan)}),
    "packed in float": ("i2", {"scale_factor": np.float32(-0.1), "add_offset": np.float32(1)}),
    "packed in double": ("i2", {"scale_factor": np.float64(-0.1), "add_offset": np.float64(1)}),
    "packed, one of each": ("i2", {"scale_factor": np.float32(-0.1), "add_offset": np.float64(1)}),
    "packed int32 in float": ("i4", {"scale_factor": np.float32(0.1), "add_offset": np.float32(1)}),
    "scaled only": ("i2", {"scale_factor": np.float32(0.1)}),
    "moved only": ("i2", {"add_offset": np.float32(0.1)}),
    "scaled by arrays of one": ("i2", {"scale_factor": np.array([0.1]), "add_offset": np.array([2.0])}),
    "packed with a fill value": (
        "i2",
        {"scale_factor": np.float64(-0.001), "add_offset": np.float64(1), "_FillValue": np.int16(7)},
    ),
    "unsigned": ("i1", {"_Unsigned": "true"}),
    "unsigned with a fill value": ("i1", {"_Unsigned": "true", "_FillValue": np.int8(-1)}),
    "unsigned, packed, with a fill value": (
        "i2",
        {"_Unsigned": "true", "_FillValue": np.int16(-1), "scale_factor": np.float32(0.5)},
    ),
    "signed": ("u1", {"_Unsigned": "false"}),
    "signed with a fill value": ("u1", {"_Unsigned": "false", "_FillValue": np.uint8(7)}),
    "valid range": ("i2", {"valid_range": np.array([0, 8], "i2"), "valid_min": np.int16(0)}),
    "nothing": ("f4", {"units": "1"}),
}
# xarray makes floats of these all the same.
NOTHING_FILLED = ("fill value out of range", "fill value no integer")


@pytest.mark.parametrize("name", ENCODINGS)
def test_xarray_reads_the_same(tmp_path: Path, name: str) -> None:
    dtype, attrs = ENCODINGS[name]
    values = np.arange(-5, 16).astype(dtype)
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file["x"] = values
        for attr, value in attrs.items():
            file["x"].attrs[attr] = value
        decode = decoder("a.nc", values.dtype, file["x"].attrs)
        decoded = values if decode is None else decode(values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of several fill values, and of those that are none
        with xr.open_dataset(tmp_path / "a.nc", engine="h5netcdf", phony_dims="sort") as dataset:
            expected = dataset["x"].values
    assert decoded.dtype == (dtype if name in NOTHING_FILLED else expected.dtype)
    assert decoded_type(dtype, decode) == decoded.dtype
    np.testing.assert_array_equal(decoded, expected)


def masked(dtype: str, values: Any, **attrs: Any) -> NDArray[Any]:
    stored = np.array(values, dtype)
    decode = decoder("it", stored.dtype, attrs)
    assert decode is not None
    return decode(stored)


def test_a_fill_value_is_compared_in_the_type_of_the_data() -> None:
    # xarray compares in float64, where float32's 1e20 is another number.
    found = masked("f4", [1, 1e20], missing_value=np.float64(1e20))
    assert np.isnan(found).tolist() == [False, True]
    found = masked("i1", [1, -1], _Unsigned="true", missing_value=np.int8(-1))
    assert np.isnan(found).tolist() == [False, True]


@pytest.mark.parametrize(
    ("attrs", "message"),
    [
        ({"_FillValue": "-999"}, "it has the attribute _FillValue = '-999'; it must hold numbers"),
        ({"scale_factor": "0.1"}, "it has the attribute scale_factor = '0.1'; it must be one number"),
        ({"add_offset": np.array([1.0, 2.0])}, r"add_offset = array\(\[1., 2.\]\); it must be one number"),
        ({"scale_factor": np.nan}, "scale_factor = nan; it must be one number"),
    ],
)
def test_attributes_that_are_not_numbers_are_refused(attrs: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        decoder("it", np.dtype("i2"), attrs)


def test_integers_beside_fill_values_stay_exact() -> None:
    assert masked("i8", [2**53, 7], _FillValue=np.int64(7))[0] == 2**53
    with pytest.raises(FormatError, match=f"it has integers up to {2**53 + 1} and fill values"):
        masked("i8", [2**53 + 1, 7], _FillValue=np.int64(7))
