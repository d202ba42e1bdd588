"""Smoothing a map with a square window, without leaving the range of float64."""

import math

import numpy as np
import numpy.typing as npt

from ..kernels import smoothing
from .checks import FloatMap

# Between these exponents of a map's largest value, sums over windows and their means stay in float64.
_LARGEST_EXPONENT = 1023
_SMALLEST_EXPONENT = -900


def smooth(values: FloatMap, w: int, clipped_w: int) -> npt.NDArray[np.float64]:
    """Return the sums over the windows inside the map, divided by (2w+1)^2, in float64.

    Beyond `clipped_w` a wider window holds no more pixels of the map.
    """
    area = float((2 * w + 1) ** 2)
    if w > 0:
        values = _within_range(values, area)
    smoothed: npt.NDArray[np.float64] = smoothing.smooth(values, clipped_w, area)
    return smoothed


def _within_range(values: FloatMap, area: float) -> FloatMap:
    """Scale the map by a power of two where sums over so many pixels would overflow, or means vanish."""
    exponent = math.frexp(float(np.abs(values).max()))[1]
    excess = exponent + math.frexp(area)[1] - _LARGEST_EXPONENT
    if excess > 0:
        return np.ldexp(values.astype(np.float64), -excess)
    if exponent < _SMALLEST_EXPONENT:
        return np.ldexp(values.astype(np.float64), -exponent)
    return values
