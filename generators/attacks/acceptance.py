"""Which perturbed images count, and which of them is best."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import lensmetrics as lm

from ..explanations import Explanation, abs_sum

# Metrics that may choose the best iterate, with the score of a map that has not changed: 1 where less is
# better for the attacker, 0 where more is.
ACCEPTANCE = {
    "kendall": 1,
    "spearman": 1,
    "topk_intersection": 1,
    "lens_recall": 1,
    "lens_precision": 1,
    "mass_center_shift": 0,
}

# From the unperturbed and the perturbed maps (sample, height, width) to one number per sample, lower where
# the attack does better.
Remains = Callable[[torch.Tensor, torch.Tensor], NDArray[np.float64]]


def acceptance_metric(text: str) -> lm.Metric:
    """The metric that `text` names, such as ``kendall`` or ``lens_recall(k=100,w=1)``.

    Raises
    ------
    ValueError
        If it is none of ``ACCEPTANCE``, or its parameters are wrong.
    """
    metric = lm.parse_metric(text)
    if metric.name not in ACCEPTANCE:
        raise ValueError(f"acceptance must be one of {', '.join(ACCEPTANCE)}, got {text}")
    return metric


def remains(acceptance: str) -> Remains:
    """How much of a map the metric `acceptance` finds in another: its score, or minus the shift."""
    metric = acceptance_metric(acceptance)
    sign = 1 if ACCEPTANCE[metric.name] == 1 else -1

    def of(unperturbed: torch.Tensor, perturbed: torch.Tensor) -> NDArray[np.float64]:
        pairs = zip(unperturbed.cpu().numpy(), perturbed.cpu().numpy(), strict=True)
        return np.array([sign * metric(lm.MapPair(u, p)) for u, p in pairs])

    return of


class Best:
    """The best image of each sample among those offered: what an attack returns.

    An image counts if the model still gives its label and less `remains` of its map than of the unperturbed
    one; NaN never is less. Maps are compared as float32, as they are stored: rounding beyond that would order
    pixels that tie.
    """

    def __init__(
        self,
        model: nn.Module,
        explanation: Explanation,
        images: torch.Tensor,
        labels: torch.Tensor,
        remains: Remains,
    ) -> None:
        self._model = model
        self._explanation = explanation
        self._labels = labels
        self._remains = remains
        self.images = images
        self.unperturbed = self._maps(images)
        self._least = remains(self.unperturbed, self.unperturbed)

    def offer(self, images: torch.Tensor) -> None:
        """Keep those of `images` that count and of which less remains than of all before."""
        left = self._remains(self.unperturbed, self._maps(images))
        keeps = keeps_label(self._model, images, self._labels)
        better = keeps.cpu().numpy() & (left < self._least)
        self._least = np.where(better, left, self._least)
        self.images = select(torch.from_numpy(better).to(images.device), images, self.images)

    def _maps(self, images: torch.Tensor) -> torch.Tensor:
        return abs_sum(self._explanation(self._model, images, self._labels)).detach().float()


def keeps_label(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Whether the model gives each image its label."""
    with torch.no_grad():
        predictions: torch.Tensor = model(images).argmax(1)
    return predictions == labels


def select(accepted: torch.Tensor, new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    """The samples of `new` where `accepted`, of `old` elsewhere."""
    return torch.where(accepted[:, None, None, None], new, old)
