"""Correlations: the twins."""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from tests.reference.maps import NAN, Map, defined_on_finite_maps, is_constant, near, pixels, twin, values


def average_ranks(a: Map) -> list[float]:
    """Rank from 1 for the largest value; equal values share the mean of their ranks."""
    ranks = []
    others = values(a)
    for value in others:
        n_larger = sum(other > value for other in others)
        n_equal = sum(other == value for other in others)
        ranks.append(n_larger + (n_equal + 1) / 2)
    return ranks


def correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Return Pearson's correlation, computed in fractions: exact at any offset and scale."""
    exact_x, exact_y = [Fraction(value) for value in x], [Fraction(value) for value in y]
    mean_x, mean_y = sum(exact_x) / len(x), sum(exact_y) / len(y)
    dx, dy = [value - mean_x for value in exact_x], [value - mean_y for value in exact_y]
    covariance = sum((a * b for a, b in zip(dx, dy, strict=True)), Fraction())
    squared = covariance**2 / (sum(a * a for a in dx) * sum(b * b for b in dy))
    return math.sqrt(squared) * (1 if covariance >= 0 else -1)


def smoothed(a: Map, w: int) -> Map:
    """Return the sums over the part of the window inside the map, divided by the full window's size."""
    result = np.zeros(a.shape, dtype=np.float64)
    for center in pixels(a):
        window = [float(a[pixel]) for pixel in pixels(a) if near(pixel, center, w)]
        result[center] = math.fsum(window) / (2 * w + 1) ** 2
    return result


@twin(-1, 1, 1)
@defined_on_finite_maps
def spearman(u: Map, p: Map) -> float:
    if is_constant(u) or is_constant(p):
        return NAN
    return correlation(average_ranks(u), average_ranks(p))


@twin(-1, 1, 1)
@defined_on_finite_maps
def kendall(u: Map, p: Map) -> float:
    """Count one pair of pixels at a time."""
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


@twin(-1, 1, 1)
@defined_on_finite_maps
def lens_spearman(u: Map, p: Map, *, w: int) -> float:
    # Zero padding would give a constant map a shape that the map does not have.
    if is_constant(u) or is_constant(p):
        return NAN
    return spearman(smoothed(u, w), smoothed(p, w))


@twin(-1, 1, 1)
@defined_on_finite_maps
def lens_kendall(u: Map, p: Map, *, w: int) -> float:
    if is_constant(u) or is_constant(p):
        return NAN
    return kendall(smoothed(u, w), smoothed(p, w))


@twin(-1, 1, 1)
@defined_on_finite_maps
def pearson(u: Map, p: Map) -> float:
    if is_constant(u) or is_constant(p):
        return NAN
    return correlation(values(u), values(p))
