"""Arguments of the writer, converted one by one: plain integers, lengths of axes, arrays of a given type."""

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..pairs.arrays import as_numpy, is_data_array
from .precision import FLOAT32, FLOAT64


def ordered(name: str, value: Any, n: int | None, axes: tuple[str, ...]) -> NDArray[Any]:
    """Turn one argument of `write` into an array; the axes of a DataArray are identified by their names."""
    if is_data_array(value):
        order = axes if n is None else ("sample", *axes)
        # PairStore.to_xarray adds this prefix to axes of images whose lengths are not those of the maps.
        dims = {str(dim).removeprefix("image_"): dim for dim in value.dims}
        if not set(order) - {"channel"} <= set(dims) <= set(order) or len(dims) < len(value.dims):
            raise ValueError(
                f"'{name}' is a DataArray with the dimensions {tuple(value.dims)}; here they must be "
                f"{', '.join(order)}, in any order{' and with or without channel' * ('channel' in order)}"
            )
        value = value.transpose(*(dims[dim] for dim in order if dim in dims))
    return as_numpy(value, name)


def with_batch_axis(name: str, array: NDArray[Any], n: int | None, shape: tuple[int, ...]) -> NDArray[Any]:
    """Check the shape of one argument of `write`, and give it a batch axis in front if it has none."""
    expected = shape if n is None else (n, *shape)
    if array.shape != expected:
        raise ValueError(f"'{name}' is {array.shape}; here it must be {expected}")
    return array.reshape(1 if n is None else n, *shape)


def as_variable(
    name: str, value: Any, n: int | None, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Check and convert the values of one variable, always with a batch axis in front."""
    if dtype.kind == "i" and _has_mask(value):
        raise ValueError(
            f"'{name}' has masked elements, but no integer can stand for a missing value: leave out these "
            f"samples, or '{name}'"
        )
    array = with_batch_axis(name, ordered(name, value, n, ()) if shape == () else value, n, shape)
    if array.dtype.kind not in ("iuf" if dtype.kind == "f" else "iu"):
        kind = "numbers" if dtype.kind == "f" else "integers"
        raise TypeError(f"'{name}' is {array.dtype}; it must hold {kind}")
    if dtype.kind == "i":
        limits = np.iinfo(dtype)
        for number in (int(array.min()), int(array.max())):
            if not limits.min <= number <= limits.max:
                raise ValueError(f"'{name}' holds {number}; it must be from {limits.min} to {limits.max}")
    try:
        with np.errstate(over="raise"):
            return np.ascontiguousarray(array, dtype=dtype)
    except FloatingPointError:
        raise ValueError(
            f"'{name}' holds values beyond +-{np.finfo(dtype).max:.3g}, the limit of {dtype.name}: scale it"
        ) from None


def _has_mask(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_has_mask, value))
    return bool(np.ma.is_masked(value))


def float_type(dtype: str | np.dtype[Any] | type[np.floating]) -> np.dtype[Any]:
    """Return float32 or float64, little-endian; refuse every other type."""
    try:
        found = np.dtype(dtype).newbyteorder("<")
    except TypeError:
        found = None
    if found is None or found not in (FLOAT32, FLOAT64):  # NumPy reads None as float64
        raise ValueError(f"dtype must be None, 'float32' or 'float64', got {dtype!r}")
    return found


def as_integer(name: str, value: object) -> int:
    """Return an integer, which must not be a bool or a float."""
    if isinstance(value, bool | np.bool_) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    return operator.index(value)


def axis_lengths(name: str, values: tuple[int, ...], lengths: tuple[int, ...]) -> tuple[int, ...]:
    """Return lengths of axes as plain integers, each at least 1; `lengths` says how many may come."""
    sizes = tuple(as_integer(name, value) for value in values)
    if len(sizes) not in lengths or min(sizes) < 1:
        if lengths == (1,):
            raise ValueError(f"{name} must be an integer >= 1, got {values[0]}")
        raise ValueError(f"{name} must be {' or '.join(map(str, lengths))} integers >= 1, got {values}")
    return sizes
