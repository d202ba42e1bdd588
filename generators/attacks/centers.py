"""The attack that moves the center of mass of a map."""

from collections.abc import Sequence

import torch
from torch import nn

from ..softening import Softening
from .acceptance import remaining
from .batch import Batch, normal, select
from .best import Best, Found
from .iterate import Ball, best_iterate
from .losses import centers, shares, smooth_maps, squared_shift, value_and_gradient
from .record import RUNS, WALK, Attack

# A center of mass that has moved by less than this, in pixels, counts as unmoved.
_UNMOVED = 1e-3


def mass_center(
    batch: Batch,
    *,
    eps: float,
    steps: int,
    step_size: float,
    acceptance: Sequence[str] = ("kendall",),
    softening: Sequence[Softening] = (1.0,),
    restarts: int | None = None,
) -> tuple[Found, ...]:
    """Move the map's center of mass away from where it is in the unperturbed map.

    At the image itself, the center of the softplus copy differs from that of the model, which sets the first
    direction. Where the two agree to a thousandth of a pixel, the gradient is zero or rounding: such a sample
    takes a step of random sign instead, by noise that is drawn once from its own generator.

    References
    ----------
    Ghorbani, Abid, Zou, "Interpretation of Neural Networks Is Fragile", AAAI 2019, algorithm 1.
    """
    best = Best(batch, remaining(acceptance))
    origin = centers(shares(best.unperturbed.to(batch.images)))
    noise = normal(batch.randoms, batch.images)

    def direction(network: nn.Module, current: torch.Tensor) -> torch.Tensor:
        def loss(inputs: torch.Tensor) -> torch.Tensor:
            return squared_shift(smooth_maps(network, batch.explain, inputs, batch.labels), origin)

        squared, uphill = value_and_gradient(loss, current)
        return select(squared < _UNMOVED**2, noise, uphill)

    ball = Ball(batch.images, eps, "linf")
    return best_iterate(batch, best, ball, direction, steps, step_size, softening, restarts)


MASS_CENTER = Attack(mass_center, (*WALK, *RUNS))
