"""Checks of what a pair is made from and asked for."""

from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from .arrays import Maps, as_numpy

FloatMap = npt.NDArray[np.float32] | npt.NDArray[np.float64]


def as_map(values: Maps, name: str) -> FloatMap:
    """Return values as a two-dimensional, C-ordered, native float32 or float64 array, exactly.

    float32 and float64 stay what they are and are not copied where their layout allows; float16 and
    bfloat16 become float32; integers and booleans become float64; masked elements become NaN. An axis
    of one channel in front is dropped. A tensor is detached from its graph.

    Raises
    ------
    TypeError
        If the values are not real numbers, or would lose precision in float64.
    ValueError
        If there are not two dimensions, or no pixels, or more than 2**30 - 1.
    """
    # Most are plain arrays, and small maps notice what is asked of them.
    array = values if type(values) is np.ndarray else as_numpy(values, f"{name} map")
    while array.ndim > 2 and len(array) == 1:
        array = array[0]
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        msg = f"the {name} map is {array.dtype}; allowed are float16, float32, float64, integers and bool"
        raise TypeError(msg)
    if array.ndim != 2:
        hint = "reduce several channels first, as in abs(map).sum(axis=0)"
        if array.ndim == 1:
            hint = "for attributions of features write values[None]: windows then run along the features"
        msg = f"the {name} map must have two dimensions (height, width), got shape {array.shape}; {hint}"
        raise ValueError(msg)
    if not 1 <= array.size <= _MOST_PIXELS:
        msg = f"the {name} map must have 1 to {_MOST_PIXELS} pixels: its shape is {array.shape}"
        raise ValueError(msg)
    if array.dtype.kind != "f":
        as_float = array.astype(np.float64)
        with np.errstate(invalid="ignore"):  # what rounds up to 2**63 has no way back
            back = as_float.astype(array.dtype)
        if array.dtype.itemsize == 8 and not np.array_equal(back, array):
            msg = f"the {name} map holds integers too large for float64 to tell apart; convert it yourself"
            raise TypeError(msg)
        return as_float
    if array.dtype.itemsize == 8:
        return np.ascontiguousarray(array, dtype=np.float64)
    return np.ascontiguousarray(array, dtype=np.float32)


def is_whole(value: object) -> TypeGuard[int]:
    """Whether the value is an int; numpy's integers count, bool does not."""
    return type(value) is int or isinstance(value, np.integer)


def check_k(k: object, n_pixels: int) -> int:
    """Return k as an int, or raise a ValueError that says what is allowed."""
    if is_whole(k) and 1 <= k <= n_pixels:
        return int(k)
    kind = "" if is_whole(k) else "a whole number "
    msg = f"k must be {kind}between 1 and {n_pixels} (the number of pixels), got {k!r}"
    raise ValueError(msg)


def check_w(w: object) -> int:
    """Return w as an int, or raise a ValueError that says what is allowed."""
    if not is_whole(w) or not 0 <= w <= _MOST_PIXELS:
        msg = (
            f"w must be a whole number from 0 to {_MOST_PIXELS} (the half-width of the window in pixels), "
            f"got {w!r}"
        )
        raise ValueError(msg)
    return int(w)


# Kernels count in types that hold this many pixels; a pair file holds no more either.
_MOST_PIXELS = 2**30 - 1
