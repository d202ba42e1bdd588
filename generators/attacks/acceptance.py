"""The metric that measures how much of a map an attack has left."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

import lensmetrics as lm

# Metrics that may choose the best iterate, with the score of an unchanged map: 1 if lower scores are better
# for the attacker, 0 if higher ones are.
ACCEPTANCE = {
    "kendall": 1,
    "spearman": 1,
    "topk_intersection": 1,
    "lens_recall": 1,
    "lens_precision": 1,
    "mass_center_shift": 0,
}

# From unperturbed and perturbed maps (sample, height, width) to one number per sample, lower if the attack
# does better.
Remaining = Callable[[torch.Tensor, torch.Tensor], NDArray[np.float64]]


def acceptance_metric(text: str) -> lm.Metric:
    """Return the metric that `text` names, such as ``kendall`` or ``lens_recall(k=100,w=1)``.

    Raises
    ------
    ValueError
        If it is not one of ``ACCEPTANCE``, or its parameters are wrong.
    """
    metric = lm.parse_metric(text)
    if metric.name not in ACCEPTANCE:
        raise ValueError(f"acceptance must be one of {', '.join(ACCEPTANCE)}, got {text}")
    return metric


def remaining(acceptance: Sequence[str]) -> list[Remaining]:
    """Return the functions that measure how much of a map is left, by each of the metrics `acceptance`."""
    return [_remaining(metric) for metric in acceptance]


def _remaining(acceptance: str) -> Remaining:
    """Return the function that measures how much of a map is left, by the metric `acceptance`.

    This is its score, or the negative score if higher scores are better for the attacker.
    """
    metric = acceptance_metric(acceptance)
    sign = 1 if ACCEPTANCE[metric.name] == 1 else -1

    def of(unperturbed: torch.Tensor, perturbed: torch.Tensor) -> NDArray[np.float64]:
        pairs = zip(unperturbed.cpu().numpy(), perturbed.cpu().numpy(), strict=True)
        return np.array([sign * metric(lm.MapPair(u, p)) for u, p in pairs])

    return of
