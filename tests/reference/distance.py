"""Distances and similarities: the twins."""

import math
from fractions import Fraction

import numpy as np

from tests.reference.maps import NAN, Map, defined_on_finite_maps, pixels, twin, values


@twin(-1, 1, 1)
@defined_on_finite_maps
def cosine(u: Map, p: Map) -> float:
    x, y = values(u), values(p)
    norm_x = math.sqrt(math.fsum(a * a for a in x))
    norm_y = math.sqrt(math.fsum(b * b for b in y))
    if norm_x == 0 or norm_y == 0:
        return NAN
    return math.fsum(a * b for a, b in zip(x, y, strict=True)) / norm_x / norm_y


@twin(0, math.inf, 0)
@defined_on_finite_maps
def mse(u: Map, p: Map) -> float:
    squares = [(Fraction(a) - Fraction(b)) ** 2 for a, b in zip(values(u), values(p), strict=True)]
    mean = sum(squares, Fraction()) / len(squares)
    if mean == 0:
        return 0
    try:
        return max(float(mean), math.ulp(0))  # 0 only for equal maps
    except OverflowError:
        return math.inf


@twin(-1, 1, 1)
@defined_on_finite_maps
def ssim(u: Map, p: Map) -> float:
    """Follow scikit-image: 7x7 uniform windows inside the map, sample covariance, mean over windows."""
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


def shares(a: Map) -> list[Fraction]:
    """Return the values divided by the sum of their absolute values; none where that is 0."""
    total = sum((abs(Fraction(value)) for value in values(a)), Fraction())
    return [Fraction(value) / total for value in values(a)] if total else []


@twin(0, 4, 0)
@defined_on_finite_maps
def mse_normalized(u: Map, p: Map) -> float:
    x, y = shares(u), shares(p)
    if not x or not y:
        return NAN
    return float(sum(((a - b) ** 2 for a, b in zip(x, y, strict=True)), Fraction()) / len(x))


@twin(-1, 1, 1)
@defined_on_finite_maps
def ssim_normalized(u: Map, p: Map) -> float:
    x, y = shares(u), shares(p)
    if not x or not y:
        return NAN
    return ssim(*(np.array(list(map(float, part))).reshape(u.shape) for part in (x, y)))


def mass_center(a: Map) -> tuple[float, float] | None:
    """Return the row and column of the center of mass of the absolute values; None without mass."""
    mass = math.fsum(abs(value) for value in values(a))
    if mass == 0:
        return None
    row = math.fsum(abs(float(a[pixel])) * pixel[0] for pixel in pixels(a)) / mass
    column = math.fsum(abs(float(a[pixel])) * pixel[1] for pixel in pixels(a)) / mass
    return row, column


@twin(0, math.inf, 0)
@defined_on_finite_maps
def mass_center_shift(u: Map, p: Map) -> float:
    center_u, center_p = mass_center(u), mass_center(p)
    return NAN if center_u is None or center_p is None else math.dist(center_u, center_p)
