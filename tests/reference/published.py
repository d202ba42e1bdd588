"""The released scripts, on flat indices: the twins."""

from tests.reference.maps import NAN, Map, defined_on_finite_maps, flat, ordered, twin


def window_published(a: Map, index: int, w: int) -> set[int]:
    """Return the scripts' window: it runs over the right edge into the next row, and never has index 0."""
    height, width = a.shape
    window = {index + i * width + j for i in range(-w, w + 1) for j in range(-w, w + 1)}
    return {other for other in window if 0 < other < height * width}


def top_k_published(a: Map, k: int) -> list[int]:
    """Return the scripts' top set. They leave ties to chance; the package's tie rule breaks them here."""
    return flat(a, ordered(a))[:k]


def dilated_published(a: Map, found: list[int], w: int) -> set[int]:
    return {index for member in found for index in window_published(a, member, w)}


def diverse_top_k_published(a: Map, k: int, w: int, pool: int) -> list[int]:
    """Pick the scripts' top-k-div, step by step; IndexError where the pool is exhausted."""
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


@twin(0, 1, None)
@defined_on_finite_maps
def lens_recall_published(u: Map, p: Map, *, k: int, w: int) -> float:
    return len(dilated_published(u, top_k_published(u, k), w) & set(top_k_published(p, k))) / k


@twin(0, 1, None)
@defined_on_finite_maps
def lens_precision_published(u: Map, p: Map, *, k: int, w: int) -> float:
    return len(set(top_k_published(u, k)) & dilated_published(p, top_k_published(p, k), w)) / k


def sets_published(u: Map, p: Map, k: int, w: int, pool: int) -> tuple[list[int], list[int]] | None:
    """Return the scripts' diverse sets of both maps, or None where a pool is exhausted."""
    try:
        return diverse_top_k_published(u, k, w, pool), diverse_top_k_published(p, k, w, pool)
    except IndexError:
        return None


@twin(0, 1, None)
@defined_on_finite_maps
def topk_div_intersection_published(u: Map, p: Map, *, k: int, w: int, pool: int) -> float:
    found = sets_published(u, p, k, w, pool)
    return NAN if found is None else len(set(found[0]) & set(found[1])) / k


@twin(0, 1, None)
@defined_on_finite_maps
def lens_recall_div_published(u: Map, p: Map, *, k: int, w: int, pool: int) -> float:
    found = sets_published(u, p, k, w, pool)
    return NAN if found is None else len(dilated_published(u, found[0], w) & set(found[1])) / k


@twin(0, 1, None)
@defined_on_finite_maps
def lens_precision_div_published(u: Map, p: Map, *, k: int, w: int, pool: int) -> float:
    found = sets_published(u, p, k, w, pool)
    return NAN if found is None else len(set(found[0]) & dilated_published(p, found[1], w)) / k
