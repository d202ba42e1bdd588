"""What lensmetrics is measured against: other tools for the same numbers, one pair at a time.

`plain_suite` is the manner of scripts that were written for one paper: numpy's sort for every set, Python
sets of flat indices for the windows, which go on in the next row at the border of a map. The others are what
a user of a library would write.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.ndimage import binary_dilation
from scipy.stats import kendalltau, spearmanr

Map = npt.NDArray[np.float32]


def scipy_kendall(unperturbed: Map, perturbed: Map) -> list[float]:
    """Return Kendall's tau-b of the two maps by scipy."""
    return [float(kendalltau(unperturbed.reshape(-1), perturbed.reshape(-1)).statistic)]


def scipy_spearman(unperturbed: Map, perturbed: Map) -> list[float]:
    """Return Spearman's rho by scipy."""
    return [float(spearmanr(unperturbed.reshape(-1), perturbed.reshape(-1)).statistic)]


def pandas_kendall(unperturbed: Map, perturbed: Map) -> list[float]:
    """Return Kendall's tau-b by pandas."""
    return [float(_series(unperturbed).corr(_series(perturbed), method="kendall"))]


def pandas_spearman(unperturbed: Map, perturbed: Map) -> list[float]:
    """Return Spearman's rho by pandas."""
    return [float(_series(unperturbed).corr(_series(perturbed), method="spearman"))]


def torchmetrics_spearman(unperturbed: Map, perturbed: Map) -> list[float]:
    """Return Spearman's rho by torchmetrics, an ImportError where it is not installed."""
    import torch
    from torchmetrics.functional import spearman_corrcoef

    maps = (torch.from_numpy(values.reshape(-1)) for values in (unperturbed, perturbed))
    return [float(spearman_corrcoef(*maps))]


def numpy_topk(unperturbed: Map, perturbed: Map, k: int) -> list[float]:
    """Return top-k intersection by numpy's partial sort, without an order among the k."""
    top_u, top_p = (np.argpartition(v.reshape(-1), -k)[-k:] for v in (unperturbed, perturbed))
    return [float(np.isin(top_u, top_p, assume_unique=True).mean())]


def numpy_sets(unperturbed: Map, perturbed: Map, k: int, windows: Sequence[int]) -> list[float]:
    """Return top-k intersection, and for every w LENS recall and precision, by numpy and scipy.ndimage."""
    top_u, top_p = (np.argsort(v.reshape(-1))[-k:] for v in (unperturbed, perturbed))
    values = [float(np.isin(top_u, top_p).mean())]
    mask_u, mask_p = (_mask(top, unperturbed.shape) for top in (top_u, top_p))
    for w in windows:
        square = np.ones((2 * w + 1, 2 * w + 1), bool)
        values += [
            float((binary_dilation(mask_u, square) & mask_p).sum() / k),
            float((mask_u & binary_dilation(mask_p, square)).sum() / k),
        ]
    return values


def numpy_and_scipy(unperturbed: Map, perturbed: Map, k: int, windows: Sequence[int]) -> list[float]:
    """Return the values of `numpy_sets`, then tau-b and rho."""
    sets = numpy_sets(unperturbed, perturbed, k, windows)
    return [*sets, *scipy_kendall(unperturbed, perturbed), *scipy_spearman(unperturbed, perturbed)]


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


def _series(values: Map) -> "pd.Series[float]":
    return pd.Series(values.reshape(-1))


def _mask(pixels: npt.NDArray[np.intp], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    mask = np.zeros(shape, bool)
    mask.reshape(-1)[pixels] = True
    return mask


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
