"""The metric that measures how much of a map an attack has left."""

from collections.abc import Callable, Sequence

import numpy as np
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

_Map = NDArray[np.float32]
# From the position of a sample in its batch, its unperturbed and its perturbed map (height, width) to one
# number per acceptance, lower if the attack does better.
Remaining = Callable[[int, _Map, _Map], Sequence[float]]


def acceptance_metric(text: str) -> lm.Metric:
    """Return the metric that `text` names, such as ``kendall`` or ``lens_recall(k=100,w=1)``.

    Raises
    ------
    ValueError
        If it is not one of ``ACCEPTANCE``, or its parameters are wrong.
    """
    if text.partition("(")[0].strip() not in ACCEPTANCE:
        raise ValueError(f"--acceptance must be one of {', '.join(ACCEPTANCE)}, got {text}")
    return lm.parse_metric(text)


def distinct_metrics(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the texts of metrics in the one form that names files and is compared.

    Raises
    ------
    ValueError
        If a text names no such metric, or the one that another text names.
    """
    metrics = tuple(str(acceptance_metric(text)) for text in texts)
    for metric in metrics:
        if metrics.count(metric) > 1:
            raise ValueError(f"--acceptance has {metric} twice; give each metric once")
    return metrics


def check_fit(acceptance: Sequence[str], shape: tuple[int, int]) -> None:
    """Refuse a metric of more pixels than maps of this shape (height, width) have, or one that is always 1.

    Raises
    ------
    ValueError
        If there is one.
    """
    n_pixels = shape[0] * shape[1]
    for text in acceptance:
        params = acceptance_metric(text).params
        k, w = int(params.get("k", 0)), int(params.get("w", 0))
        if k > n_pixels:
            raise ValueError(f"--acceptance {text}: k must be at most {n_pixels}, the number of pixels")
        if k == n_pixels or 0 < max(shape) - 1 <= w:
            raise ValueError(
                f"--acceptance {text} is 1 for any two maps of {shape[0]}x{shape[1]}, because k or w takes "
                "in all pixels, so it cannot choose an image; take smaller ones"
            )


def remaining(acceptance: Sequence[str]) -> Remaining:
    """Return the function that measures how much of a map is left, by each of the metrics `acceptance`.

    This is its score, or the negative score if higher scores are better for the attacker.
    """
    metrics = [acceptance_metric(text) for text in acceptance]
    signs = [1 if ACCEPTANCE[metric.name] == 1 else -1 for metric in metrics]

    def of(position: int, unperturbed: _Map, perturbed: _Map) -> list[float]:
        pair = lm.MapPair(unperturbed, perturbed)  # one for all metrics, which share its orders
        return [sign * metric(pair) for sign, metric in zip(signs, metrics, strict=True)]

    return of
