"""Which float type holds maps exactly, and what rounding them to another type loses."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..pairs.arrays import LARGEST_EXACT

FLOAT32: np.dtype[Any] = np.dtype("<f4")
FLOAT64: np.dtype[Any] = np.dtype("<f8")
# Each type holds every integer up to here exactly.
_EXACT = {FLOAT32: 2**24, FLOAT64: LARGEST_EXACT}


def exact_dtype(maps: npt.NDArray[Any], name: str) -> np.dtype[Any]:
    """Return the narrower of float32 and float64 that holds the maps exactly; `name` is for messages.

    Raises
    ------
    TypeError
        If the maps are not real numbers of at most 64 bits.
    ValueError
        If they hold integers that even float64 cannot represent exactly.
    """
    _check_kind(maps, name)
    for dtype in (FLOAT32, FLOAT64):
        if _is_exact(maps, dtype):
            return dtype
    raise ValueError(
        f"'{name}' holds integers beyond 2^53, which float64 cannot hold exactly: subtract an offset, or "
        "give dtype='float64' to round them"
    )


def rounded(
    maps: npt.NDArray[Any], dtype: npt.DTypeLike, name: str = "maps"
) -> tuple[npt.NDArray[np.floating], int]:
    """Round maps on request, and count the ties that this creates.

    Parameters
    ----------
    maps
        (..., height, width), real numbers; NaN and inf are kept.
    dtype
        float32 or float64.
    name
        Name of the maps in messages.

    Returns
    -------
    array
        The maps in that type, C-contiguous and little-endian.
    n_new_ties
        How many distinct values the maps have lost: the number of distinct values in each map before
        rounding minus the number after, summed over the maps. 0 if the type holds them exactly.

    Raises
    ------
    TypeError
        If the maps are not real numbers of at most 64 bits.
    ValueError
        If a value is beyond the range of the type, one that is not 0 becomes 0, or a map that is not
        constant becomes constant: the result would be a different map, not a coarser one.
    """
    _check_kind(maps, name)
    target = np.dtype(dtype).newbyteorder("<")
    if target not in _EXACT:
        raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
    with np.errstate(over="ignore", under="ignore"):
        array = np.ascontiguousarray(maps, dtype=target)
    if _is_exact(maps, target):
        return array, 0
    _refuse_lost(maps, array, name)
    before, after = (_distinct(values) for values in (maps, array))
    if ((before > 1) & (after == 1)).any():
        raise ValueError(
            f"'{name}' holds a map that {target.name} makes constant: subtract an offset, or keep the type "
            "of the maps"
        )
    return array, int((before - after).sum())


def _check_kind(maps: npt.NDArray[Any], name: str) -> None:
    if maps.dtype.kind not in "fiub" or maps.dtype.itemsize > 8:
        raise TypeError(
            f"'{name}' is {maps.dtype}; allowed are float16, bfloat16, float32, float64, integers and bool"
        )


def _is_exact(maps: npt.NDArray[Any], dtype: np.dtype[Any]) -> bool:
    """Return whether the type holds every value of the maps."""
    if maps.dtype.kind == "f":
        return maps.dtype.itemsize <= dtype.itemsize
    if maps.dtype.itemsize <= 2 or not maps.size:
        return True
    return max(abs(int(maps.min())), int(maps.max())) <= _EXACT[dtype]


def _refuse_lost(maps: npt.NDArray[Any], array: npt.NDArray[np.floating], name: str) -> None:
    """Refuse values that overflow the type of the array, or underflow to 0."""
    if maps.dtype.kind == "f":
        beyond = np.isinf(array) & np.isfinite(maps)
        if beyond.any():
            raise ValueError(
                f"'{name}' holds {maps[beyond][0]:.4g}, beyond +-{np.finfo(array.dtype).max:.3g}, the "
                f"largest {array.dtype.name}: scale the maps, or keep their type"
            )
    vanished = (array == 0) & (maps != 0)
    if vanished.any():
        raise ValueError(
            f"'{name}' holds {maps[vanished][0]:.4g}, which {array.dtype.name} makes 0: scale the maps, or "
            "keep their type"
        )


def _distinct(maps: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Count the distinct values in each map; every NaN counts as a separate value."""
    values = np.sort(maps.reshape(-1, maps.shape[-2] * maps.shape[-1]), axis=1)
    changes: npt.NDArray[np.intp] = np.count_nonzero(values[:, 1:] != values[:, :-1], axis=1)
    return changes + 1
