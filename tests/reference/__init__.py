"""A slow, obvious twin of every metric, read straight off its definition.

Pixels are (row, column) tuples, sets are Python sets, sums are ``math.fsum``. Nothing is shared with the
package and nothing is clever, so a difference between the two has one likely culprit. Only for tiny
maps: most twins are quadratic in the number of pixels.
"""

import inspect
import math
from types import ModuleType

from tests.reference import correlation, distance, overlap, published, topk
from tests.reference.correlation import average_ranks, pearson, smoothed
from tests.reference.distance import mse, ssim
from tests.reference.images import TWINS_OF_IMAGES
from tests.reference.maps import (
    NAN,
    RANGES,
    TWINS,
    Twin,
    diverse_top_k,
    flat,
    is_constant,
    neighbourhood,
    ordered,
    pixels,
    top_k,
)
from tests.reference.published import diverse_top_k_published

__all__ = [
    "NAN",
    "RANGES",
    "TWINS",
    "TWINS_OF_IMAGES",
    "average_ranks",
    "diverse_top_k",
    "diverse_top_k_published",
    "flat",
    "is_constant",
    "mse",
    "neighbourhood",
    "ordered",
    "pearson",
    "pixels",
    "smoothed",
    "ssim",
    "top_k",
]


def of_family(module: ModuleType) -> dict[str, Twin]:
    """Return the twins that a module defines."""
    return {name: twin for name, twin in TWINS.items() if twin.__module__ == module.__name__}


OVERLAP, PUBLISHED, CORRELATION, DISTANCE, TOPK = map(
    of_family, (overlap, published, correlation, distance, topk)
)


def parameters(name: str) -> tuple[str, ...]:
    """Return the keyword parameters of a metric, as its twin takes them."""
    return tuple(inspect.signature(TWINS[name]).parameters)[2:]


def extremes(name: str, shape: tuple[int, int], k: int) -> tuple[float, float]:
    """Return the smallest and largest value that the definition of a metric allows on maps of one shape."""
    height, width = shape
    if name.endswith("_adjusted"):
        return 1 - height * width, 1  # chance is at most 1 - 1 / n_pixels
    if name.endswith("_chance"):
        return 1 / (height * width), 1
    if name in ("mass_center_shift", "topk_distance"):
        return 0, math.hypot(height - 1, width - 1)
    if name == "n_diverse":
        return 1, k
    low, high, _ = RANGES[name]
    return low, high
