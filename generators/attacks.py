"""Attacks on attributions: ``ATTACKS`` maps a name to the function that perturbs a batch of images.

Every function takes ``(model, images, labels, randoms)``: images (sample, channel, height, width) in [0, 1]
that the model classifies as `labels`, and one random generator per sample, so that results do not depend on
how samples are batched. It returns images in the l_inf ball of radius ``eps`` around them and in [0, 1].
Samples do not influence one another.

A perturbed image counts only if the model still gives its label. A sample for which none counts comes back
unperturbed, bit for bit: its perturbation is exactly 0 and its two maps are equal. It resisted, and leaving
it out would make the attack look stronger than it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import kendalltau
from torch import nn

from .explanations import Explanation, abs_sum
from .models import with_softplus


@dataclass(frozen=True)
class Settings:
    """Defaults of the directed attacks: pixels attacked, number of steps, step size."""

    attack_k: int
    steps: int
    step_size: float


# Chen et al., "Robust Attribution Regularization", NeurIPS 2019
SETTINGS = {
    "mnist": Settings(attack_k=200, steps=100, step_size=0.01),
    "fashion_mnist": Settings(attack_k=100, steps=100, step_size=0.01),
}


def random_sign(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    randoms: Sequence[np.random.Generator],
    *,
    eps: float,
) -> torch.Tensor:
    """One draw per sample of eps times the sign of normal noise.

    References
    ----------
    Kamath et al., "Rethinking Robustness of Model Attributions", AAAI 2024.
    """
    noise = np.stack([random.standard_normal(images.shape[1:]) for random in randoms])
    signs = torch.from_numpy(np.sign(noise)).to(images)
    perturbed = torch.clamp(images + eps * signs, 0, 1)
    return _where(_keeps_label(model, perturbed, labels), perturbed, images)


def topk(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    randoms: Sequence[np.random.Generator],
    *,
    explanation: Explanation,
    eps: float,
    steps: int,
    step_size: float,
    attack_k: int,
) -> torch.Tensor:
    """Signed-gradient steps that take attribution away from the top `attack_k` pixels of the unperturbed map.

    The direction comes from the softplus copy of the model, the maps that iterates are judged by from the
    model itself. Of all iterates that keep their label the one whose map has the smallest Kendall tau with
    the unperturbed map is returned; tau must be below 1, and an undefined tau (constant map) never is. Both
    maps are compared as float32, as they are stored: rounding beyond that would order pixels that tie.

    References
    ----------
    Ghorbani, Abid, Zou, "Interpretation of Neural Networks Is Fragile", AAAI 2019; step size, softplus
    (beta = 1) and acceptance by Kendall as in Chen et al., "Robust Attribution Regularization",
    NeurIPS 2019.
    """
    smooth = with_softplus(model)
    unperturbed = abs_sum(explanation(model, images, labels)).float()
    target = top_mask(unperturbed, attack_k)
    lower, upper = (images - eps).clamp_min(0), (images + eps).clamp_max(1)
    current = best = images
    best_tau = np.ones(len(images))
    for _ in range(steps):
        direction = topk_loss_gradient(smooth, explanation, current, labels, target)
        current = torch.clamp(current - step_size * direction.sign(), lower, upper)
        tau = _kendall(unperturbed, abs_sum(explanation(model, current, labels)).float())
        better = _keeps_label(model, current, labels).cpu().numpy() & (tau < best_tau)
        best_tau = np.where(better, tau, best_tau)
        best = _where(torch.from_numpy(better).to(images.device), current, best)
    return best


def topk_loss(
    model: nn.Module,
    explanation: Explanation,
    images: torch.Tensor,
    labels: torch.Tensor,
    target: torch.Tensor,
) -> torch.Tensor:
    """Per sample: the share of the map in the pixels of `target`, times the number of pixels.

    Dividing by the map's own sum matters: without it the easiest way down is a paler map with the same order.
    """
    maps = abs_sum(explanation(model, images, labels, differentiable=True))
    total = maps.sum((1, 2), keepdim=True)
    total = torch.where(total > 0, total, 1)  # a map of zeros has no direction, and must not give NaN
    return (maps / total * target).sum((1, 2)) * maps[0].numel()


def topk_loss_gradient(
    model: nn.Module,
    explanation: Explanation,
    images: torch.Tensor,
    labels: torch.Tensor,
    target: torch.Tensor,
) -> torch.Tensor:
    """Gradient of each sample's ``topk_loss`` with respect to its image."""
    inputs = images.detach().requires_grad_(True)
    (result,) = torch.autograd.grad(topk_loss(model, explanation, inputs, labels, target).sum(), inputs)
    return result


def top_mask(maps: torch.Tensor, k: int) -> torch.Tensor:
    """True at each map's k largest pixels; ties go to the lower flat index, as everywhere in lensmetrics."""
    flat = maps.flatten(1)
    order = torch.argsort(flat, dim=1, descending=True, stable=True)
    mask = torch.zeros_like(flat, dtype=torch.bool)
    mask.scatter_(1, order[:, :k], True)
    return mask.reshape(maps.shape)


def _kendall(unperturbed: torch.Tensor, perturbed: torch.Tensor) -> NDArray[np.float64]:
    pairs = zip(unperturbed.cpu().numpy(), perturbed.cpu().numpy(), strict=True)
    return np.array([kendalltau(u, p).statistic for u, p in pairs])


def _keeps_label(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        predictions: torch.Tensor = model(images).argmax(1)
    return predictions == labels


def _where(accepted: torch.Tensor, new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    return torch.where(accepted[:, None, None, None], new, old)


Attack = Callable[..., torch.Tensor]
ATTACKS: dict[str, Attack] = {"random_sign": random_sign, "topk": topk}
