"""Training regimes: ``REGIMES`` maps a name to the loss it minimises on one batch.

Sources: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018 (pgd);
settings from Chen et al., "Robust Attribution Regularization", NeurIPS 2019.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cross_entropy


@dataclass(frozen=True)
class PGD:
    """Projected gradient descent in the l_inf ball of radius `eps` (inputs are in [0, 1])."""

    eps: float
    n_steps: int
    step_size: float


# Published settings per dataset; also what a checkpoint's PGD accuracy is measured with.
PGD_SETTINGS = {
    "mnist": PGD(eps=0.3, n_steps=40, step_size=0.01),
    "fashion_mnist": PGD(eps=0.1, n_steps=20, step_size=0.01),
}


def pgd_images(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, settings: PGD, random: torch.Generator
) -> torch.Tensor:
    """Images that raise the cross-entropy, from a uniform random start in the ball, clamped to [0, 1]."""
    start = torch.rand(images.shape, generator=random, dtype=images.dtype).to(images.device)
    lower, upper = (images - settings.eps).clamp_min(0), (images + settings.eps).clamp_max(1)
    current = torch.clamp(images + settings.eps * (2 * start - 1), lower, upper)
    for _ in range(settings.n_steps):
        current.requires_grad_(True)
        (direction,) = torch.autograd.grad(cross_entropy(model(current), labels), current)
        current = torch.clamp(current.detach() + settings.step_size * direction.sign(), lower, upper)
    return current


def natural(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, settings: PGD, random: torch.Generator
) -> torch.Tensor:
    """Cross-entropy on the images as they are."""
    return cross_entropy(model(images), labels)


def pgd(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, settings: PGD, random: torch.Generator
) -> torch.Tensor:
    """Cross-entropy on PGD images."""
    return cross_entropy(model(pgd_images(model, images, labels, settings, random)), labels)


Regime = Callable[[nn.Module, torch.Tensor, torch.Tensor, PGD, torch.Generator], torch.Tensor]
REGIMES: dict[str, Regime] = {"natural": natural, "pgd": pgd}
