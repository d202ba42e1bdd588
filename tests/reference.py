"""A slow, obvious twin of every metric, read straight off its definition.

Pixels are (row, column) tuples, sets are Python sets, sums are ``math.fsum``. Nothing is shared with the
package and nothing is clever, so that a difference between the two has one likely culprit. Only for tiny
maps: most twins are quadratic in the number of pixels.
"""

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

Map = npt.NDArray[Any]
Pixel = tuple[int, int]

NAN = math.nan


def is_constant(a: Map) -> bool:
    return len(set(values(a))) == 1


def defined_on_finite_maps(twin: Callable[..., float]) -> Callable[..., float]:
    """Make a twin NaN wherever a map holds a pixel that is not finite."""

    @functools.wraps(twin)
    def guarded(u: Map, p: Map, **parameters: int) -> float:
        if not (np.isfinite(u).all() and np.isfinite(p).all()):
            return NAN
        return float(twin(u, p, **parameters))

    return guarded


def ranks_pixels(twin: Callable[..., float]) -> Callable[..., float]:
    """Make a twin NaN where a map is not finite, or constant: its pixels have no order."""

    @functools.wraps(twin)
    def guarded(u: Map, p: Map, **parameters: int) -> float:
        if is_constant(u) or is_constant(p):
            return NAN
        return float(twin(u, p, **parameters))

    return defined_on_finite_maps(guarded)


# --- pixels, orders, sets ---------------------------------------------------------------------------------


def pixels(a: Map) -> list[Pixel]:
    """All pixels of a map, row by row."""
    height, width = a.shape
    return [(row, column) for row in range(height) for column in range(width)]


def values(a: Map) -> list[float]:
    """The values of a map, row by row."""
    return [float(a[pixel]) for pixel in pixels(a)]


def ordered(a: Map) -> list[Pixel]:
    """All pixels, largest value first; of equal values the one with the lower flat index first."""
    return sorted(pixels(a), key=lambda pixel: (-float(a[pixel]), pixel))


def flat(a: Map, found: Sequence[Pixel]) -> list[int]:
    """Row-major indices of pixels."""
    return [row * a.shape[1] + column for row, column in found]


def top_k(a: Map, k: int) -> set[Pixel]:
    """The k pixels with the largest values."""
    return set(ordered(a)[:k])


def near(a: Pixel, b: Pixel, w: int) -> bool:
    """Whether two pixels lie within Chebyshev distance w."""
    return max(abs(a[0] - b[0]), abs(a[1] - b[1])) <= w


def neighbourhood(a: Map, found: set[Pixel], w: int) -> set[Pixel]:
    """All pixels of the map within Chebyshev distance w of the set."""
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


# --- overlap of top sets ----------------------------------------------------------------------------------


@ranks_pixels
def topk_intersection(u: Map, p: Map, *, k: int) -> float:
    return len(top_k(u, k) & top_k(p, k)) / k


@ranks_pixels
def lens_recall(u: Map, p: Map, *, k: int, w: int) -> float:
    return len(neighbourhood(u, top_k(u, k), w) & top_k(p, k)) / k


@ranks_pixels
def lens_precision(u: Map, p: Map, *, k: int, w: int) -> float:
    return len(top_k(u, k) & neighbourhood(p, top_k(p, k), w)) / k


@ranks_pixels
def lens_distance(u: Map, p: Map, *, k: int, w: int) -> float:
    s, t = top_k(u, k), top_k(p, k)
    return (len(s - neighbourhood(p, t, w)) + len(t - neighbourhood(u, s, w))) / k


@ranks_pixels
def n_diverse(u: Map, p: Map, *, k: int, w: int) -> float:
    return min(len(diverse_top_k(u, k, w)), len(diverse_top_k(p, k, w)))


@ranks_pixels
def topk_div_intersection(u: Map, p: Map, *, k: int, w: int) -> float:
    s, t = set(diverse_top_k(u, k, w)), set(diverse_top_k(p, k, w))
    return len(s & t) / max(len(s), len(t))


@ranks_pixels
def lens_recall_div(u: Map, p: Map, *, k: int, w: int) -> float:
    s, t = set(diverse_top_k(u, k, w)), set(diverse_top_k(p, k, w))
    near_s = neighbourhood(u, s, w)
    return NAN if near_s == set(pixels(u)) else len(near_s & t) / len(t)


@ranks_pixels
def lens_precision_div(u: Map, p: Map, *, k: int, w: int) -> float:
    s, t = set(diverse_top_k(u, k, w)), set(diverse_top_k(p, k, w))
    near_t = neighbourhood(p, t, w)
    return NAN if near_t == set(pixels(p)) else len(s & near_t) / len(s)


@ranks_pixels
def lens_recall_chance(u: Map, p: Map, *, k: int, w: int) -> float:
    return len(neighbourhood(u, top_k(u, k), w)) / len(pixels(u))


@ranks_pixels
def lens_precision_chance(u: Map, p: Map, *, k: int, w: int) -> float:
    return len(neighbourhood(p, top_k(p, k), w)) / len(pixels(p))


def above_chance(raw: float, chance: float) -> float:
    """The share of what chance leaves over; NaN where chance leaves nothing."""
    return NAN if chance == 1 else (raw - chance) / (1 - chance)


@ranks_pixels
def lens_recall_adjusted(u: Map, p: Map, *, k: int, w: int) -> float:
    return above_chance(lens_recall(u, p, k=k, w=w), lens_recall_chance(u, p, k=k, w=w))


@ranks_pixels
def lens_precision_adjusted(u: Map, p: Map, *, k: int, w: int) -> float:
    return above_chance(lens_precision(u, p, k=k, w=w), lens_precision_chance(u, p, k=k, w=w))


# --- further comparisons of the top sets ------------------------------------------------------------------


@ranks_pixels
def topk_iou(u: Map, p: Map, *, k: int) -> float:
    s, t = top_k(u, k), top_k(p, k)
    return len(s & t) / len(s | t)


@ranks_pixels
def topk_distance(u: Map, p: Map, *, k: int) -> float:
    s, t = top_k(u, k), top_k(p, k)
    to_s = [min(math.dist(pixel, other) for other in s) for pixel in t]
    to_t = [min(math.dist(pixel, other) for other in t) for pixel in s]
    return (math.fsum(to_s) / k + math.fsum(to_t) / k) / 2


def density(a: Map, found: set[Pixel], w: int) -> list[float]:
    """The share of every pixel's window, as large at the border as inside, that is in the set."""
    return [sum(near(pixel, other, w) for other in found) / (2 * w + 1) ** 2 for pixel in pixels(a)]


@ranks_pixels
def fss(u: Map, p: Map, *, k: int, w: int) -> float:
    of_s, of_t = density(u, top_k(u, k), w), density(p, top_k(p, k), w)
    difference = math.fsum((a - b) ** 2 for a, b in zip(of_s, of_t, strict=True))
    return 1 - difference / math.fsum(a**2 + b**2 for a, b in zip(of_s, of_t, strict=True))


def sign(value: float) -> int:
    return 1 if value > 0 else -1 if value < 0 else 0


@defined_on_finite_maps
def sign_agreement(u: Map, p: Map, *, k: int) -> float:
    if is_constant(abs(u)) or is_constant(abs(p)):
        return NAN
    common = top_k(abs(u), k) & top_k(abs(p), k)
    return sum(sign(u[pixel]) == sign(p[pixel]) for pixel in common) / k


# --- the released scripts, on flat indices ----------------------------------------------------------------


def window_published(a: Map, index: int, w: int) -> set[int]:
    """The scripts' window: runs over the right edge into the next row, and never holds index 0."""
    height, width = a.shape
    window = {index + i * width + j for i in range(-w, w + 1) for j in range(-w, w + 1)}
    return {other for other in window if 0 < other < height * width}


def top_k_published(a: Map, k: int) -> list[int]:
    """The scripts' top set. They leave ties to chance; here the tie rule of the package breaks them."""
    return flat(a, ordered(a))[:k]


def dilated_published(a: Map, found: list[int], w: int) -> set[int]:
    return {index for member in found for index in window_published(a, member, w)}


def diverse_top_k_published(a: Map, k: int, w: int, pool: int) -> list[int]:
    """The scripts' top-k-div, step by step; IndexError where the pool runs out."""
    candidates = flat(a, ordered(a))[:pool]
    found = [candidates[0]]
    window = window_published(a, candidates[0], w)
    candidates = [index for index in candidates if index not in window]
    while len(found) < k:
        window = window_published(a, candidates[0], w)
        candidates = [index for index in candidates if index not in window]
        candidates = [index for index in candidates if index != 0]
        found.append(candidates[0])
    return [index for index in found if index != 0]


@defined_on_finite_maps
def lens_recall_published(u: Map, p: Map, *, k: int, w: int) -> float:
    return len(dilated_published(u, top_k_published(u, k), w) & set(top_k_published(p, k))) / k


@defined_on_finite_maps
def lens_precision_published(u: Map, p: Map, *, k: int, w: int) -> float:
    return len(set(top_k_published(u, k)) & dilated_published(p, top_k_published(p, k), w)) / k


def sets_published(u: Map, p: Map, k: int, w: int, pool: int) -> tuple[list[int], list[int]] | None:
    """The scripts' diverse sets of both maps, or None where the pool of either runs out."""
    try:
        return diverse_top_k_published(u, k, w, pool), diverse_top_k_published(p, k, w, pool)
    except IndexError:
        return None


@defined_on_finite_maps
def topk_div_intersection_published(u: Map, p: Map, *, k: int, w: int, pool: int) -> float:
    found = sets_published(u, p, k, w, pool)
    return NAN if found is None else len(set(found[0]) & set(found[1])) / k


@defined_on_finite_maps
def lens_recall_div_published(u: Map, p: Map, *, k: int, w: int, pool: int) -> float:
    found = sets_published(u, p, k, w, pool)
    return NAN if found is None else len(dilated_published(u, found[0], w) & set(found[1])) / k


@defined_on_finite_maps
def lens_precision_div_published(u: Map, p: Map, *, k: int, w: int, pool: int) -> float:
    found = sets_published(u, p, k, w, pool)
    return NAN if found is None else len(set(found[0]) & dilated_published(p, found[1], w)) / k


# --- correlation ------------------------------------------------------------------------------------------


def average_ranks(a: Map) -> list[float]:
    """1 for the largest value; equal values share the mean of the ranks they take up."""
    ranks = []
    others = values(a)
    for value in others:
        n_larger = sum(other > value for other in others)
        n_equal = sum(other == value for other in others)
        ranks.append(n_larger + (n_equal + 1) / 2)
    return ranks


def correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Pearson's correlation coefficient, in fractions: no offset and no scale makes it inexact."""
    exact_x, exact_y = [Fraction(value) for value in x], [Fraction(value) for value in y]
    mean_x, mean_y = sum(exact_x) / len(x), sum(exact_y) / len(y)
    dx, dy = [value - mean_x for value in exact_x], [value - mean_y for value in exact_y]
    covariance = sum((a * b for a, b in zip(dx, dy, strict=True)), Fraction())
    squared = covariance**2 / (sum(a * a for a in dx) * sum(b * b for b in dy))
    return math.sqrt(squared) * (1 if covariance >= 0 else -1)


def smoothed(a: Map, w: int) -> Map:
    """The sum over the part of the window inside the map, divided by the full window's size."""
    result = np.zeros(a.shape, dtype=np.float64)
    for center in pixels(a):
        window = [float(a[pixel]) for pixel in pixels(a) if near(pixel, center, w)]
        result[center] = math.fsum(window) / (2 * w + 1) ** 2
    return result


@defined_on_finite_maps
def spearman(u: Map, p: Map) -> float:
    if is_constant(u) or is_constant(p):
        return NAN
    return correlation(average_ranks(u), average_ranks(p))


@defined_on_finite_maps
def kendall(u: Map, p: Map) -> float:
    """Kendall's tau-b, one pair of pixels at a time."""
    if is_constant(u) or is_constant(p):
        return NAN
    x, y = values(u), values(p)
    concordant = discordant = untied_x = untied_y = 0
    for i in range(len(x)):
        for j in range(i):
            sign_x = (x[i] > x[j]) - (x[i] < x[j])
            sign_y = (y[i] > y[j]) - (y[i] < y[j])
            concordant += sign_x * sign_y > 0
            discordant += sign_x * sign_y < 0
            untied_x += sign_x != 0
            untied_y += sign_y != 0
    return (concordant - discordant) / math.sqrt(untied_x * untied_y)


@defined_on_finite_maps
def lens_spearman(u: Map, p: Map, *, w: int) -> float:
    # Zero padding would give a constant map a shape of its own; nothing of it was in the map.
    if is_constant(u) or is_constant(p):
        return NAN
    return spearman(smoothed(u, w), smoothed(p, w))


@defined_on_finite_maps
def lens_kendall(u: Map, p: Map, *, w: int) -> float:
    if is_constant(u) or is_constant(p):
        return NAN
    return kendall(smoothed(u, w), smoothed(p, w))


@defined_on_finite_maps
def pearson(u: Map, p: Map) -> float:
    if is_constant(u) or is_constant(p):
        return NAN
    return correlation(values(u), values(p))


# --- distance ---------------------------------------------------------------------------------------------


@defined_on_finite_maps
def cosine(u: Map, p: Map) -> float:
    x, y = values(u), values(p)
    norm_x = math.sqrt(math.fsum(a * a for a in x))
    norm_y = math.sqrt(math.fsum(b * b for b in y))
    if norm_x == 0 or norm_y == 0:
        return NAN
    return math.fsum(a * b for a, b in zip(x, y, strict=True)) / norm_x / norm_y


@defined_on_finite_maps
def mse(u: Map, p: Map) -> float:
    squares = [(Fraction(a) - Fraction(b)) ** 2 for a, b in zip(values(u), values(p), strict=True)]
    mean = sum(squares, Fraction()) / len(squares)
    if mean == 0:
        return 0
    try:
        return max(float(mean), math.ulp(0))  # 0 is for equal maps alone
    except OverflowError:
        return math.inf


@defined_on_finite_maps
def ssim(u: Map, p: Map) -> float:
    """scikit-image's defaults: 7x7 uniform windows inside the map, sample covariance, mean over windows."""
    height, width = u.shape
    if height < 7 or width < 7:
        return NAN
    data_range = max(values(u) + values(p)) - min(values(u) + values(p))
    if data_range == 0:
        return NAN  # 0 / 0 in every window
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    scores = []
    for top in range(height - 6):
        for left in range(width - 6):
            x = values(u[top : top + 7, left : left + 7])
            y = values(p[top : top + 7, left : left + 7])
            mean_x, mean_y = math.fsum(x) / 49, math.fsum(y) / 49
            variance_x = math.fsum((a - mean_x) ** 2 for a in x) / 48
            variance_y = math.fsum((b - mean_y) ** 2 for b in y) / 48
            covariance = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / 48
            luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
            structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
            scores.append(luminance * structure)
    return math.fsum(scores) / len(scores)


def mass_center(a: Map) -> tuple[float, float] | None:
    """Row and column of the centre of mass of the absolute values; None where there is no mass."""
    mass = math.fsum(abs(value) for value in values(a))
    if mass == 0:
        return None
    row = math.fsum(abs(float(a[pixel])) * pixel[0] for pixel in pixels(a)) / mass
    column = math.fsum(abs(float(a[pixel])) * pixel[1] for pixel in pixels(a)) / mass
    return row, column


@defined_on_finite_maps
def mass_center_shift(u: Map, p: Map) -> float:
    center_u, center_p = mass_center(u), mass_center(p)
    return NAN if center_u is None or center_p is None else math.dist(center_u, center_p)


# --- the twins by name ------------------------------------------------------------------------------------

TOPK: dict[str, Callable[..., float]] = {
    twin.__name__: twin for twin in (topk_iou, topk_distance, fss, sign_agreement)
}
OVERLAP: dict[str, Callable[..., float]] = {
    twin.__name__: twin
    for twin in (
        topk_intersection,
        lens_recall,
        lens_precision,
        lens_distance,
        n_diverse,
        topk_div_intersection,
        lens_recall_div,
        lens_precision_div,
        lens_recall_chance,
        lens_precision_chance,
        lens_recall_adjusted,
        lens_precision_adjusted,
    )
}
PUBLISHED: dict[str, Callable[..., float]] = {
    twin.__name__: twin
    for twin in (
        lens_recall_published,
        lens_precision_published,
        topk_div_intersection_published,
        lens_recall_div_published,
        lens_precision_div_published,
    )
}
CORRELATION: dict[str, Callable[..., float]] = {
    twin.__name__: twin for twin in (spearman, kendall, lens_spearman, lens_kendall, pearson)
}
DISTANCE: dict[str, Callable[..., float]] = {
    twin.__name__: twin for twin in (cosine, mse, ssim, mass_center_shift)
}
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
    """The keyword parameters of a metric, as its twin takes them."""
    return tuple(inspect.signature(TWINS[name]).parameters)[2:]
