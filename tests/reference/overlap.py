"""Overlap of top-k sets: the twins."""

import math

from tests.reference.maps import NAN, Map, diverse_top_k, neighbourhood, pixels, ranks_pixels, top_k, twin


@twin(0, 1, 1)
@ranks_pixels
def topk_intersection(u: Map, p: Map, *, k: int) -> float:
    return len(top_k(u, k) & top_k(p, k)) / k


@twin(0, 1, 1)
@ranks_pixels
def lens_recall(u: Map, p: Map, *, k: int, w: int) -> float:
    return len(neighbourhood(u, top_k(u, k), w) & top_k(p, k)) / k


@twin(0, 1, 1)
@ranks_pixels
def lens_precision(u: Map, p: Map, *, k: int, w: int) -> float:
    return len(top_k(u, k) & neighbourhood(p, top_k(p, k), w)) / k


@twin(0, 2, 0)
@ranks_pixels
def lens_distance(u: Map, p: Map, *, k: int, w: int) -> float:
    s, t = top_k(u, k), top_k(p, k)
    return (len(s - neighbourhood(p, t, w)) + len(t - neighbourhood(u, s, w))) / k


@twin(1, math.inf, None)
@ranks_pixels
def n_diverse(u: Map, p: Map, *, k: int, w: int) -> float:
    return min(len(diverse_top_k(u, k, w)), len(diverse_top_k(p, k, w)))


@twin(0, 1, 1)
@ranks_pixels
def topk_div_intersection(u: Map, p: Map, *, k: int, w: int) -> float:
    s, t = set(diverse_top_k(u, k, w)), set(diverse_top_k(p, k, w))
    return len(s & t) / max(len(s), len(t))


@twin(0, 1, 1)
@ranks_pixels
def lens_recall_div(u: Map, p: Map, *, k: int, w: int) -> float:
    s, t = set(diverse_top_k(u, k, w)), set(diverse_top_k(p, k, w))
    near_s = neighbourhood(u, s, w)
    return NAN if near_s == set(pixels(u)) else len(near_s & t) / len(t)


@twin(0, 1, 1)
@ranks_pixels
def lens_precision_div(u: Map, p: Map, *, k: int, w: int) -> float:
    s, t = set(diverse_top_k(u, k, w)), set(diverse_top_k(p, k, w))
    near_t = neighbourhood(p, t, w)
    return NAN if near_t == set(pixels(p)) else len(s & near_t) / len(s)


@twin(0, 1, None)
@ranks_pixels
def lens_recall_chance(u: Map, p: Map, *, k: int, w: int) -> float:
    return len(neighbourhood(u, top_k(u, k), w)) / len(pixels(u))


@twin(0, 1, None)
@ranks_pixels
def lens_precision_chance(u: Map, p: Map, *, k: int, w: int) -> float:
    return len(neighbourhood(p, top_k(p, k), w)) / len(pixels(p))


def above_chance(raw: float, chance: float) -> float:
    """Return the share of what chance leaves; NaN where chance leaves nothing."""
    return NAN if chance == 1 else (raw - chance) / (1 - chance)


@twin(-math.inf, 1, 1)
@ranks_pixels
def lens_recall_adjusted(u: Map, p: Map, *, k: int, w: int) -> float:
    return above_chance(lens_recall(u, p, k=k, w=w), lens_recall_chance(u, p, k=k, w=w))


@twin(-math.inf, 1, 1)
@ranks_pixels
def lens_precision_adjusted(u: Map, p: Map, *, k: int, w: int) -> float:
    return above_chance(lens_precision(u, p, k=k, w=w), lens_precision_chance(u, p, k=k, w=w))
