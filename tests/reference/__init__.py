"""A slow, obvious twin of every metric, read straight off its definition.

Pixels are (row, column) tuples, sets are Python sets, sums are ``math.fsum``. Nothing is shared with the
package and nothing is clever, so a difference between the two has one likely culprit. Only for tiny
maps: most twins are quadratic in the number of pixels.
"""

import inspect
import math
from collections.abc import Callable

from tests.reference import correlation, distance, overlap, published, topk
from tests.reference.correlation import average_ranks, pearson, smoothed
from tests.reference.distance import mse, ssim
from tests.reference.maps import (
    NAN,
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

Twin = Callable[..., float]


def named(*twins: Twin) -> dict[str, Twin]:
    return {twin.__name__: twin for twin in twins}


OVERLAP = named(
    overlap.topk_intersection,
    overlap.lens_recall,
    overlap.lens_precision,
    overlap.lens_distance,
    overlap.n_diverse,
    overlap.topk_div_intersection,
    overlap.lens_recall_div,
    overlap.lens_precision_div,
    overlap.lens_recall_chance,
    overlap.lens_precision_chance,
    overlap.lens_recall_adjusted,
    overlap.lens_precision_adjusted,
)
PUBLISHED = named(
    published.lens_recall_published,
    published.lens_precision_published,
    published.topk_div_intersection_published,
    published.lens_recall_div_published,
    published.lens_precision_div_published,
)
CORRELATION = named(
    correlation.spearman,
    correlation.kendall,
    correlation.lens_spearman,
    correlation.lens_kendall,
    correlation.pearson,
)
DISTANCE = named(distance.cosine, distance.mse, distance.ssim, distance.mass_center_shift)
TOPK = named(topk.topk_iou, topk.topk_distance, topk.fss, topk.sign_agreement)
TWINS = OVERLAP | PUBLISHED | CORRELATION | DISTANCE | TOPK

# Smallest and largest value of every metric on any map, and the value of identical maps (None: not fixed).
RANGES: dict[str, tuple[float, float, float | None]] = {
    "spearman": (-1, 1, 1),
    "kendall": (-1, 1, 1),
    "lens_spearman": (-1, 1, 1),
    "lens_kendall": (-1, 1, 1),
    "pearson": (-1, 1, 1),
    "cosine": (-1, 1, 1),
    "mse": (0, math.inf, 0),
    "ssim": (-1, 1, 1),
    "mass_center_shift": (0, math.inf, 0),
    "topk_intersection": (0, 1, 1),
    "lens_recall": (0, 1, 1),
    "lens_precision": (0, 1, 1),
    "lens_distance": (0, 2, 0),
    "lens_recall_chance": (0, 1, None),
    "lens_precision_chance": (0, 1, None),
    "lens_recall_adjusted": (-math.inf, 1, 1),
    "lens_precision_adjusted": (-math.inf, 1, 1),
    "topk_div_intersection": (0, 1, 1),
    "lens_recall_div": (0, 1, 1),
    "lens_precision_div": (0, 1, 1),
    "n_diverse": (1, math.inf, None),
    "lens_recall_published": (0, 1, None),
    "lens_precision_published": (0, 1, None),
    "topk_div_intersection_published": (0, 1, None),
    "lens_recall_div_published": (0, 1, None),
    "lens_precision_div_published": (0, 1, None),
    "topk_iou": (0, 1, 1),
    "topk_distance": (0, math.inf, 0),
    "fss": (0, 1, 1),
    "sign_agreement": (0, 1, 1),
}


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
