"""Scoring maps in memory."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..metrics.registry import Metrics, as_metrics
from ..pairs.arrays import Maps, aligned, as_numpy, is_data_array
from ..tables.columns import METRICS
from .assembly import columns_of_values
from .worker import score_block


def score(unperturbed: Maps, perturbed: Maps, metrics: Metrics) -> pd.DataFrame:
    """Score pairs of maps that are in memory.

    Parameters
    ----------
    unperturbed, perturbed
        Maps (sample, height, width) as arrays or tensors, or DataArrays with the dimensions sample, y
        and x in any order. (sample, 1, height, width) is accepted too: a single channel is dropped,
        not reduced. Masked elements count as NaN. Memory-mapped arrays are read a pair at a time.
    metrics
        One metric or several, as texts such as ``"lens_recall(k=1000,w=1)"`` or from
        :func:`get_metric` or :func:`lens_suite`.

    Returns
    -------
    DataFrame
        A row per pair: ``sample`` (the coordinate along the first dimension if there is one, else 0,
        1, ...), ``status`` (``ok``, or what made values undefined or doubtful, see
        :attr:`MapPair.status`) and a column per metric, named by its text.

    Raises
    ------
    ValueError
        If the shapes are not equal and three-dimensional, if the dimensions or coordinates of
        DataArrays differ, or if a metric does not fit the maps.

    Examples
    --------
    The second largest pixel of a map with a single row moves by one pixel in the first sample, and to
    the other end of the row in the second.

    >>> import numpy as np
    >>> import lensmetrics as lm
    >>> unperturbed = np.array([[[9, 8, 1, 0, 0]], [[9, 8, 1, 0, 0]]])
    >>> perturbed = np.array([[[9, 1, 8, 0, 0]], [[9, 1, 0, 0, 8]]])
    >>> lm.score(unperturbed, perturbed, ["topk_intersection(k=2)", "lens_recall(k=2,w=1)"])
       sample status  topk_intersection(k=2)  lens_recall(k=2,w=1)
    0       0     ok                     0.5                   1.0
    1       1     ok                     0.5                   0.5
    """
    chosen = as_metrics(metrics)
    unperturbed, perturbed = aligned(unperturbed, perturbed)
    u, p = _as_stack(unperturbed, "unperturbed"), _as_stack(perturbed, "perturbed")
    if u.shape != p.shape:
        raise ValueError(
            f"both arrays must have one shape, but 'unperturbed' is {u.shape} and 'perturbed' is {p.shape}"
        )
    named = (_sample_of(maps) for maps in (unperturbed, perturbed))
    sample = next((values for values in named if values is not None), np.arange(len(u)))
    values = np.empty((len(u), len(chosen)))
    status, *_ = score_block(u, p, chosen, values, lambda i: f"sample {sample[i]}")
    scores = pd.DataFrame({"sample": sample, "status": status, **columns_of_values(values, chosen)})
    scores.attrs[METRICS] = list(map(str, chosen))
    return scores


def _sample_of(maps: Maps) -> npt.NDArray[Any] | None:
    """Return the coordinate along the first dimension; None if there is none."""
    if not is_data_array(maps) or not maps.ndim or maps.dims[0] not in maps.coords:
        return None
    values: npt.NDArray[Any] = maps.coords[maps.dims[0]].values
    return values


def _as_stack(maps: Maps, name: str) -> npt.NDArray[Any]:
    """Return the maps as an array (sample, height, width)."""
    if is_data_array(maps) and not {*maps.dims} <= {"sample", "channel", "y", "x"}:
        raise ValueError(
            f"'{name}' has the dimensions {maps.dims}, which do not tell the samples apart: rename them to "
            "sample, y and x, in any order"
        )
    array = as_numpy(maps, f"array '{name}'")
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 3:
        hint = "use MapPair for a single pair, and reduce channels first"
        if array.ndim == 2:
            hint += "; for (sample, feature) pass array[:, None]: windows then run along the features"
        elif array.ndim == 4:
            hint += ": abs(maps).sum(axis=1) for (sample, channel, height, width), axis=-1 if they come last"
        raise ValueError(
            f"'{name}' must have three dimensions (sample, height, width), got shape {array.shape}; {hint}"
        )
    return array
