"""Check what a pair is made from and what it is asked for."""

from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from .arrays import Maps, as_numpy

FloatMap = npt.NDArray[np.float32] | npt.NDArray[np.float64]

# Kernels count in types that hold this many pixels; a pair file holds no more either.
MOST_PIXELS = 2**30 - 1


def as_map(values: Maps, name: str) -> FloatMap:
    """Return values as a two-dimensional, C-ordered, native float32 or float64 array, exactly.

    float32 and float64 keep their type and are not copied where their layout allows; float16 and
    bfloat16 become float32; integers and booleans become float64; masked elements become NaN. A leading
    axis of one channel is dropped. A tensor is detached from its graph.

    Raises
    ------
    TypeError
        If the values are not real numbers, or would lose precision in float64.
    ValueError
        If the map does not have two dimensions, or has no pixels or more than 2**30 - 1.
    """
    # Most maps are plain arrays, and the extra call is noticeable for small ones.
    array = values if type(values) is np.ndarray else as_numpy(values, f"{name} map")
    while array.ndim > 2 and len(array) == 1:
        array = array[0]
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise TypeError(
            f"the {name} map is {array.dtype}; allowed are float16, float32, float64, integers and bool"
        )
    if array.ndim != 2:
        hint = "reduce several channels first, as in abs(map).sum(axis=0)"
        if array.ndim == 1:
            hint = "for attributions of features write values[None]: windows then run along the features"
        raise ValueError(
            f"the {name} map must have two dimensions (height, width), got shape {array.shape}; {hint}"
        )
    if not 1 <= array.size <= MOST_PIXELS:
        raise ValueError(f"the {name} map must have 1 to {MOST_PIXELS} pixels: its shape is {array.shape}")
    if array.dtype.kind != "f":
        as_float = array.astype(np.float64)
        with np.errstate(invalid="ignore"):  # a float rounded up to 2**63 does not fit in an integer
            back = as_float.astype(array.dtype)
        if array.dtype.itemsize == 8 and not np.array_equal(back, array):
            raise TypeError(
                f"the {name} map holds integers too large for float64 to tell apart; convert it yourself"
            )
        return as_float
    if array.dtype.itemsize == 8:
        return np.ascontiguousarray(array, dtype=np.float64)
    return np.ascontiguousarray(array, dtype=np.float32)


def is_integer(value: object) -> TypeGuard[int]:
    """Return whether the value is an int or an integer of NumPy; bool does not count."""
    return type(value) is int or isinstance(value, np.integer)


def check_k(k: object, n_pixels: int) -> int:
    """Return k as an int, or raise a ValueError that says what is allowed."""
    if is_integer(k) and 1 <= k <= n_pixels:
        return int(k)
    kind = "" if is_integer(k) else "an integer "
    raise ValueError(f"k must be {kind}between 1 and {n_pixels} (the number of pixels), got {k!r}")


def check_w(w: object) -> int:
    """Return w as an int, or raise a ValueError that says what is allowed."""
    if not is_integer(w) or not 0 <= w <= MOST_PIXELS:
        raise ValueError(
            f"w must be an integer from 0 to {MOST_PIXELS} (the half-width of the window in pixels), "
            f"got {w!r}"
        )
    return int(w)
