"""Pixels, orders and sets of a tiny map, and where a twin is NaN."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Map = npt.NDArray[Any]
Pixel = tuple[int, int]

NAN = math.nan

Twin = Callable[..., float]
# Every twin by the name of its metric, and its smallest and largest value on any maps and the value of
# identical maps (None: not fixed).
TWINS: dict[str, Twin] = {}
RANGES: dict[str, tuple[float, float, float | None]] = {}


def twin(low: float, high: float, identical: float | None) -> Callable[[Twin], Twin]:
    """Register the twin of a metric, with its range and the value of identical maps."""

    def register(function: Twin) -> Twin:
        TWINS[function.__name__] = function
        RANGES[function.__name__] = low, high, identical
        return function

    return register


def is_constant(a: Map) -> bool:
    return len(set(values(a))) == 1


def defined_on_finite_maps(function: Twin) -> Twin:
    """Make a twin NaN where a map has a pixel that is not finite."""

    @functools.wraps(function)
    def guarded(u: Map, p: Map, **parameters: int) -> float:
        if not (np.isfinite(u).all() and np.isfinite(p).all()):
            return NAN
        return float(function(u, p, **parameters))

    return guarded


def ranks_pixels(function: Twin) -> Twin:
    """Make a twin NaN where a map is not finite, or constant: its pixels have no order."""

    @functools.wraps(function)
    def guarded(u: Map, p: Map, **parameters: int) -> float:
        if is_constant(u) or is_constant(p):
            return NAN
        return float(function(u, p, **parameters))

    return defined_on_finite_maps(guarded)


def pixels(a: Map) -> list[Pixel]:
    """Return all pixels of a map, row by row."""
    height, width = a.shape
    return [(row, column) for row in range(height) for column in range(width)]


def values(a: Map) -> list[float]:
    """Return the values of a map, row by row."""
    return [float(a[pixel]) for pixel in pixels(a)]


def ordered(a: Map) -> list[Pixel]:
    """Return all pixels, largest value first; of equal values, the lower flat index first."""
    return sorted(pixels(a), key=lambda pixel: (-float(a[pixel]), pixel))


def flat(a: Map, found: Sequence[Pixel]) -> list[int]:
    """Return the row-major indices of pixels."""
    return [row * a.shape[1] + column for row, column in found]


def top_k(a: Map, k: int) -> set[Pixel]:
    """Return the k pixels with the largest values."""
    return set(ordered(a)[:k])


def near(a: Pixel, b: Pixel, w: int) -> bool:
    """Return whether two pixels are within Chebyshev distance w."""
    return max(abs(a[0] - b[0]), abs(a[1] - b[1])) <= w


def neighbourhood(a: Map, found: set[Pixel], w: int) -> set[Pixel]:
    """Return all pixels of the map within Chebyshev distance w of the set."""
    return {pixel for pixel in pixels(a) if any(near(pixel, member, w) for member in found)}


def diverse_top_k(a: Map, k: int, w: int) -> list[Pixel]:
    """Repeatedly take the best pixel left and exclude its window, until k are found or none is left."""
    left = ordered(a)
    found: list[Pixel] = []
    while left and len(found) < k:
        best = left[0]
        found.append(best)
        left = [pixel for pixel in left if not near(pixel, best, w)]
    return found
