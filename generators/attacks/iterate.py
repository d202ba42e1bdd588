"""How attacks search: the ball around the images, and the runs of steps in it."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..networks.activations import set_beta, with_softplus
from ..softening import Growth, Softening, beta_at
from .batch import Batch, Randoms
from .best import Best, Found
from .losses import smooth_maps, value_and_gradient

# From a network, softened or not, and the current images to the direction in which each of them should move.
Direction = Callable[[nn.Module, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Ball:
    """The images in [0, 1] whose distance from `images` is at most `eps` in the norm "linf" or "l2"."""

    images: torch.Tensor
    eps: float
    norm: str

    def step(self, current: torch.Tensor, direction: torch.Tensor, size: float) -> torch.Tensor:
        """Return a step of `size` by the sign (linf) or unit vector (l2) of `direction`, inside the ball."""
        if self.norm == "linf":
            return self.inside(current + size * direction.sign())
        length = _lengths(direction)
        return self.inside(current + size * direction / torch.where(length > 0, length, 1))

    def random_point(self, randoms: Randoms) -> torch.Tensor:
        """Return a point for each sample, uniform in its ball, then clamped to [0, 1]."""
        return self.inside(self.images + torch.stack([self._offset(random) for random in randoms]))

    def _offset(self, random: np.random.Generator) -> torch.Tensor:
        shape = self.images.shape[1:]
        if self.norm == "linf":
            offset = random.uniform(-self.eps, self.eps, shape)
        else:
            normal = random.standard_normal(shape)
            radius = self.eps * random.uniform() ** (1 / normal.size)
            offset = radius * normal / np.linalg.norm(normal)
        return torch.from_numpy(offset).to(self.images)

    def inside(self, points: torch.Tensor) -> torch.Tensor:
        """Return the points moved into the ball, each to the nearest or, in l2, towards its center."""
        if self.norm == "linf":
            lower, upper = (self.images - self.eps).clamp_min(0), (self.images + self.eps).clamp_max(1)
            return torch.clamp(points, lower, upper)
        change = points - self.images
        # The images are in [0, 1], so clamping afterwards moves no point away from them.
        factor = self.eps / _lengths(change).clamp_min(self.eps)
        return torch.clamp(self.images + factor * change, 0, 1)


def downhill(batch: Batch, loss: Callable[[torch.Tensor], torch.Tensor]) -> Direction:
    """Return the direction against the gradient of a loss of maps."""

    def direction(network: nn.Module, current: torch.Tensor) -> torch.Tensor:
        def of_images(inputs: torch.Tensor) -> torch.Tensor:
            return loss(smooth_maps(network, batch.explain, inputs, batch.labels))

        return -value_and_gradient(of_images, current)[1]

    return direction


def best_iterate(
    batch: Batch,
    best: Best,
    ball: Ball,
    direction: Direction,
    steps: int,
    step_size: float,
    softening: Sequence[Softening],
    restarts: int | None,
) -> tuple[Found, ...]:
    """Return the best iterate of every run.

    Runs take the items of `softening` in turn, over and over. One run with each of them starts at the images,
    later ones start at random points of the ball. The batch's own starts count too, and the first of them is
    where runs start that would start at the images.
    """
    starts = [ball.inside(start.to(ball.images)) for start in batch.starts]

    def iterates() -> Iterator[torch.Tensor]:
        for run in range(n_runs(softening, restarts)):
            beta = softening[run % len(softening)]
            network = batch.model if beta == math.inf else with_softplus(batch.model, beta_at(beta, 0, steps))
            is_first = run < len(softening)
            current = (starts or [ball.images])[0] if is_first else ball.random_point(batch.randoms)
            for step in range(steps):
                if isinstance(beta, Growth):
                    set_beta(network, beta_at(beta, step, steps))
                current = ball.step(current, direction(network, current), step_size)
                yield current

    return best.among(iterates(), starts)


def n_runs(softening: Sequence[Softening], restarts: int | None) -> int:
    """Return the number of runs, by default one with each item of `softening`.

    Raises
    ------
    ValueError
        If there are fewer runs than items.
    """
    if restarts is None:
        return len(softening)
    if restarts < len(softening):
        raise ValueError(
            f"--restarts {restarts} is too few for the {len(softening)} values of --softening, which take a "
            "run each; leave it out, or give a larger one"
        )
    return restarts


def _lengths(values: torch.Tensor) -> torch.Tensor:
    """Return the l2 norm of each sample, shaped to multiply or divide the samples."""
    lengths: torch.Tensor = torch.linalg.vector_norm(values.flatten(1), dim=1)
    return lengths[:, None, None, None]
