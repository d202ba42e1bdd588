"""How attacks search: the batch under attack, the ball that bounds it, and the best image found so far."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..explanations import Explain, abs_sum, with_logits
from ..networks.activations import set_beta, with_softplus
from ..softening import Growth, Softening, beta_at
from .acceptance import Remaining
from .losses import smooth_maps, value_and_gradient

Randoms = Sequence[np.random.Generator]
# From a network, softened or not, and the current images to the direction in which each of them should move.
Direction = Callable[[nn.Module, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Batch:
    """Images under attack and what belongs to them.

    Attributes
    ----------
    model, images, labels
        Images (sample, channel, height, width) in [0, 1] that the model classifies as `labels`.
    randoms
        One random generator per sample, so that results do not depend on how samples are batched.
    explanation
        The explanation under attack; None for attacks that do not look at maps.
    starts
        Images found in a smaller ball. Each counts like an iterate, and the first is where runs start that
        would start at the images.
    """

    model: nn.Module
    images: torch.Tensor
    labels: torch.Tensor
    randoms: Randoms
    explanation: Explain | None = None
    starts: tuple[torch.Tensor, ...] = ()

    @property
    def explain(self) -> Explain:
        """The explanation under attack.

        Raises
        ------
        TypeError
            If there is none.
        """
        if self.explanation is None:
            raise TypeError("this attack needs an explanation")
        return self.explanation

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        """Return the maps of `images` on the model itself, as float32."""
        return self.maps_and_labels(images)[0]

    def maps_and_labels(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the maps of `images` on the model itself, as float32, and the labels that it gives them."""
        attributions, logits = with_logits(self.explain, self.model, images, self.labels)
        return abs_sum(attributions).detach().float(), logits.argmax(1)

    def keeps_label(self, images: torch.Tensor) -> torch.Tensor:
        """Return whether the model classifies each image as its label."""
        with torch.no_grad():
            predictions: torch.Tensor = self.model(images).argmax(1)
        return predictions == self.labels


@dataclass(frozen=True)
class Found:
    """What an attack returns, by one acceptance.

    Attributes
    ----------
    images
        The best images (sample, channel, height, width); the unperturbed one where none was better.
    n_accepted
        How many perturbed images of each sample kept the label, over all runs.
    best_step
        The step of the best image, counted from 1 over all runs; 0 for the unperturbed one.
    """

    images: torch.Tensor
    n_accepted: NDArray[np.int32]
    best_step: NDArray[np.int32]


class Best:
    """The best image of each sample among those offered, by each acceptance: what an attack returns.

    An image counts if the model still gives its label and less remains of its map than of the unperturbed
    one; NaN is never less. Maps are compared as float32, the type in which they are stored: with more digits,
    rounding would order pixels that tie in the file.
    """

    def __init__(self, batch: Batch, remaining: Sequence[Remaining]) -> None:
        self._batch = batch
        self._remaining = remaining
        self.unperturbed = batch.maps(batch.images)
        self._least = [left(self.unperturbed, self.unperturbed) for left in remaining]
        self._n_steps = 0
        none = np.zeros(len(batch.images), np.int32)
        self.found = tuple(Found(batch.images, none, none) for _ in remaining)

    def offer_start(self, images: torch.Tensor) -> None:
        """Offer images that were given, not found by a step; unperturbed ones are not counted."""
        self._offer(images, 0, (images != self._batch.images).flatten(1).any(1))

    def offer(self, images: torch.Tensor) -> None:
        """Keep those of `images`, of a next step, that count and leave less than all images before."""
        self._n_steps += 1
        self._offer(images, self._n_steps, torch.ones_like(self._batch.labels, dtype=torch.bool))

    def _offer(self, images: torch.Tensor, step: int, is_counted: torch.Tensor) -> None:
        maps, labels = self._batch.maps_and_labels(images)
        keeps = ((labels == self._batch.labels) & is_counted).cpu().numpy()
        found = []
        for i, (remaining, before) in enumerate(zip(self._remaining, self.found, strict=True)):
            left = remaining(self.unperturbed, maps)
            better = keeps & (left < self._least[i])
            self._least[i] = np.where(better, left, self._least[i])
            found.append(
                Found(
                    select(torch.from_numpy(better).to(images.device), images, before.images),
                    before.n_accepted + keeps.astype(np.int32),
                    np.where(better, np.int32(step), before.best_step),
                )
            )
        self.found = tuple(found)


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
    """Offer every iterate of every run to `best` and return the best.

    Runs take the items of `softening` in turn, over and over. One run with each of them starts at the images,
    later ones start at random points of the ball. Starts that the batch has are offered first.
    """
    starts = [ball.inside(start.to(ball.images)) for start in batch.starts]
    for start in starts:
        best.offer_start(start)
    first = starts[0] if starts else ball.images
    for run in range(n_runs(softening, restarts)):
        beta = softening[run % len(softening)]
        network = batch.model if beta == math.inf else with_softplus(batch.model, beta_at(beta, 0, steps))
        current = first if run < len(softening) else ball.random_point(batch.randoms)
        for step in range(steps):
            if isinstance(beta, Growth):
                set_beta(network, beta_at(beta, step, steps))
            current = ball.step(current, direction(network, current), step_size)
            best.offer(current)
    return best.found


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


def normal(randoms: Randoms, like: torch.Tensor) -> torch.Tensor:
    """Return normal noise of the shape of `like`, each sample's from its own generator."""
    noise = np.stack([random.standard_normal(like.shape[1:]) for random in randoms])
    return torch.from_numpy(noise).to(like)


def select(accepted: torch.Tensor, new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    """Return the samples of `new` where `accepted`, of `old` elsewhere."""
    return torch.where(accepted[:, None, None, None], new, old)


def _lengths(values: torch.Tensor) -> torch.Tensor:
    """Return the l2 norm of each sample, shaped to multiply or divide the samples."""
    lengths: torch.Tensor = torch.linalg.vector_norm(values.flatten(1), dim=1)
    return lengths[:, None, None, None]
