"""Attacks by random noise, which need no gradient."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from ..options import Option
from .acceptance import remaining
from .batch import Batch, normal, select
from .best import Best, Found
from .iterate import Ball, best_iterate
from .record import EPS, WALK, Attack

# What random_sign returns where the noise changes the label.
ON_LABEL_CHANGE = ("leave", "keep", "halve")
_HALVINGS = 8


def random_sign(batch: Batch, *, eps: float, on_label_change: str = "leave") -> tuple[Found, ...]:
    """Add eps times the sign of normal noise, one draw per sample.

    Where that changes the label, `on_label_change` decides: "leave" returns the unperturbed image, "keep" the
    perturbed one, and "halve" halves the perturbation, which stays in the ball, until the label stays; after
    eight times the unperturbed image is returned.

    References
    ----------
    Kamath et al., "Rethinking Robustness of Model Attributions", AAAI 2024.
    """
    images = batch.images
    perturbed = torch.clamp(images + eps * normal(batch.randoms, images).sign(), 0, 1)
    keeps = batch.keeps_label(perturbed)
    if on_label_change == "keep":
        keeps = torch.ones_like(keeps)
    elif on_label_change == "halve":
        for _ in range(_HALVINGS):
            if keeps.all():
                break
            perturbed = select(keeps, perturbed, images + (perturbed - images) / 2)
            keeps = batch.keeps_label(perturbed)
    keeps = keeps & batch.is_perturbed(perturbed)  # eps may be too small to change a number
    counts = keeps.cpu().numpy().astype(np.int32)
    return (Found(select(keeps, perturbed, images), counts, counts),)


def random_walk(
    batch: Batch, *, eps: float, steps: int, step_size: float, acceptance: Sequence[str] = ("kendall",)
) -> tuple[Found, ...]:
    """Step by the sign of normal noise: the best of `steps` random images, stronger than random_sign.

    References
    ----------
    The attack called random in the code of Ghorbani, Abid, Zou, "Interpretation of Neural Networks Is
    Fragile", AAAI 2019.
    """
    best = Best(batch, remaining(acceptance))
    ball = Ball(batch.images, eps, "linf")

    def direction(network: nn.Module, current: torch.Tensor) -> torch.Tensor:
        return normal(batch.randoms, current)

    return best_iterate(batch, best, ball, direction, steps, step_size, (math.inf,), None)


_ON_LABEL_CHANGE = Option(
    "on_label_change",
    "what random_sign stores where the noise changes the label: leave (default), the unperturbed map; keep, "
    "the perturbed one; halve, that of the noise halved until the label stays, at most 8 times",
    None,
    arguments=(("choices", ON_LABEL_CHANGE),),
)

RANDOM_SIGN = Attack(random_sign, (EPS, _ON_LABEL_CHANGE), needs_map=False, needs_gradient=False)
RANDOM_WALK = Attack(random_walk, WALK, needs_gradient=False)
