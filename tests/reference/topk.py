"""Further comparisons of the top-k sets: the twins."""

import math

from tests.reference.maps import (
    NAN,
    Map,
    Pixel,
    defined_on_finite_maps,
    is_constant,
    near,
    pixels,
    ranks_pixels,
    top_k,
    twin,
)


@twin(0, 1, 1)
@ranks_pixels
def topk_iou(u: Map, p: Map, *, k: int) -> float:
    s, t = top_k(u, k), top_k(p, k)
    return len(s & t) / len(s | t)


@twin(0, math.inf, 0)
@ranks_pixels
def topk_distance(u: Map, p: Map, *, k: int) -> float:
    s, t = top_k(u, k), top_k(p, k)
    to_s = [min(math.dist(pixel, other) for other in s) for pixel in t]
    to_t = [min(math.dist(pixel, other) for other in t) for pixel in s]
    return (math.fsum(to_s) / k + math.fsum(to_t) / k) / 2


def density(a: Map, found: set[Pixel], w: int) -> list[float]:
    """Return the share of every pixel's window, as large at the border as inside, that is in the set."""
    return [sum(near(pixel, other, w) for other in found) / (2 * w + 1) ** 2 for pixel in pixels(a)]


@twin(0, 1, 1)
@ranks_pixels
def fss(u: Map, p: Map, *, k: int, w: int) -> float:
    of_s, of_t = density(u, top_k(u, k), w), density(p, top_k(p, k), w)
    difference = math.fsum((a - b) ** 2 for a, b in zip(of_s, of_t, strict=True))
    return 1 - difference / math.fsum(a**2 + b**2 for a, b in zip(of_s, of_t, strict=True))


def sign(value: float) -> int:
    return 1 if value > 0 else -1 if value < 0 else 0


@twin(0, 1, 1)
@defined_on_finite_maps
def sign_agreement(u: Map, p: Map, *, k: int) -> float:
    if is_constant(abs(u)) or is_constant(abs(p)):
        return NAN
    common = top_k(abs(u), k) & top_k(abs(p), k)
    return sum(sign(u[pixel]) == sign(p[pixel]) for pixel in common) / k
