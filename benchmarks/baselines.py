"""What lensmetrics is measured against.

`kendalltau` and `spearmanr` are scipy's. `plain_suite` computes the set metrics of the LENS suite
the way scripts do that were written for one paper: numpy's sort for every set, Python lists of flat
indices for the windows, one pair and one metric at a time.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import kendalltau, spearmanr

__all__ = ["kendalltau", "plain_suite", "spearmanr"]

Map = npt.NDArray[np.float32]


def plain_suite(unperturbed: Map, perturbed: Map, k: int, windows: Sequence[int]) -> list[float]:
    """Return top-k intersection and, for every w, the five windowed set metrics."""
    width = unperturbed.shape[1]
    u, p = unperturbed.reshape(-1), perturbed.reshape(-1)
    top_u = set(np.argsort(u)[-k:].tolist())
    top_p = set(np.argsort(p)[-k:].tolist())
    values = [len(top_u & top_p) / k]
    for w in windows:
        near_u = _window(top_u, w, width, u.size)
        near_p = _window(top_p, w, width, u.size)
        div_u = _diverse(u, k, w, width)
        div_p = _diverse(p, k, w, width)
        values += [
            len(near_u & top_p) / k,
            len(top_u & near_p) / k,
            len(div_u & div_p) / k,
            len(_window(div_u, w, width, u.size) & div_p) / k,
            len(div_u & _window(div_p, w, width, u.size)) / k,
        ]
    return values


def _window(pixels: set[int], w: int, width: int, n: int) -> set[int]:
    steps = [a * width + b for a in range(-w, w + 1) for b in range(-w, w + 1)]
    return {pixel + step for pixel in pixels for step in steps if 0 <= pixel + step < n}


def _diverse(values: Map, k: int, w: int, width: int) -> set[int]:
    candidates = np.argsort(values)[::-1]
    picked: set[int] = set()
    while len(picked) < k and candidates.size:
        best = int(candidates[0])
        picked.add(best)
        candidates = candidates[~np.isin(candidates, list(_window({best}, w, width, values.size)))]
    return picked
