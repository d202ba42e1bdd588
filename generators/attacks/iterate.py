"""The balls that attacks stay in, and random numbers drawn per sample."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

Randoms = Sequence[np.random.Generator]


@dataclass(frozen=True)
class Ball:
    """The images of [0, 1] whose distance from `images` is at most `eps` in the norm "linf" or "l2"."""

    images: torch.Tensor
    eps: float
    norm: str

    def step(self, current: torch.Tensor, direction: torch.Tensor, size: float) -> torch.Tensor:
        """Go by `size` along `direction` and back into the ball: by its sign (linf) or unit vector (l2)."""
        if self.norm == "linf":
            return self._inside(current + size * direction.sign())
        length = _lengths(direction)
        return self._inside(current + size * direction / torch.where(length > 0, length, 1))

    def random_point(self, randoms: Randoms) -> torch.Tensor:
        """A point for each sample, uniform in its ball, then clamped to [0, 1]."""
        return self._inside(self.images + torch.stack([self._offset(random) for random in randoms]))

    def _offset(self, random: np.random.Generator) -> torch.Tensor:
        shape = self.images.shape[1:]
        if self.norm == "linf":
            offset = random.uniform(-self.eps, self.eps, shape)
        else:
            normal = random.standard_normal(shape)
            radius = self.eps * random.uniform() ** (1 / normal.size)
            offset = radius * normal / np.linalg.norm(normal)
        return torch.from_numpy(offset).to(self.images)

    def _inside(self, points: torch.Tensor) -> torch.Tensor:
        if self.norm == "linf":
            lower, upper = (self.images - self.eps).clamp_min(0), (self.images + self.eps).clamp_max(1)
            return torch.clamp(points, lower, upper)
        change = points - self.images
        # The images lie in [0, 1], so that clamping afterwards takes no point further away from them.
        factor = self.eps / _lengths(change).clamp_min(self.eps)
        return torch.clamp(self.images + factor * change, 0, 1)


def normal(randoms: Randoms, like: torch.Tensor) -> torch.Tensor:
    """Normal noise of the shape of `like`, each sample's from its own generator."""
    noise = np.stack([random.standard_normal(like.shape[1:]) for random in randoms])
    return torch.from_numpy(noise).to(like)


def _lengths(values: torch.Tensor) -> torch.Tensor:
    """Each sample's l2 norm, shaped to multiply or divide the samples."""
    lengths: torch.Tensor = torch.linalg.vector_norm(values.flatten(1), dim=1)
    return lengths[:, None, None, None]
