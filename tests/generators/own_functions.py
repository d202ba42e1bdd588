"""A model, explanations and attacks of somebody's own, as options name them."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from generators.networks.activations import with_softplus

WIDTH = 6


class Hugging(nn.Module):
    """Returns an object with logits, as networks of Hugging Face do."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, pixel_values: torch.Tensor) -> Any:
        return SimpleNamespace(logits=self.inner(pixel_values))


def network(n_classes: int = 3, channels: int = 3) -> nn.Module:
    """The same weights at every call: it gives each of three classes to some random images."""
    made = nn.Sequential(
        nn.Conv2d(channels, WIDTH, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(16 * WIDTH, n_classes),
    )
    random = torch.Generator().manual_seed(61)
    with torch.no_grad():
        for tensor in made.parameters():
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=random))
    return made


def factory() -> nn.Module:
    return network()


def of_classes(*, n_classes: int) -> nn.Module:
    return network(n_classes)


def gray(n_classes: int) -> nn.Module:
    return network(n_classes, channels=1)


def hugging() -> nn.Module:
    return Hugging(network())


def fresh() -> nn.Module:
    """Other weights at every call."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 3))


def half() -> nn.Module:
    """Weights of a type that numpy lacks."""
    return network().to(torch.bfloat16)


def called_module() -> nn.Module:
    """A layer has the name that DataParallel puts before all names."""
    made = nn.Sequential()
    made.add_module("module", network())
    return made


def tuples() -> nn.Module:
    class Tuples(nn.Module):
        def forward(self, images: torch.Tensor) -> Any:
            return (images.flatten(1),)

    return Tuples()


def failing(*given: Any, **keywords: Any) -> Any:
    """Has a mistake, of a kind that says little by itself."""
    return keywords["lost"]


def first_only() -> nn.Module:
    return nn.Sequential(network(), nn.Unflatten(0, (1, -1)), nn.Flatten())


def tuples_in_training() -> nn.Module:
    class TuplesInTraining(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, images: torch.Tensor) -> Any:
            return (self.inner(images), None) if self.training else self.inner(images)

    return TuplesInTraining()


def misreading() -> nn.Module:
    class Misreading(nn.Module):
        def forward(self, images: torch.Tensor) -> Any:
            raise AttributeError("no such layer")

    return Misreading()


def no_network() -> str:
    return "network"


def needs_width(width: int) -> nn.Module:
    return nn.Linear(width, 1)


def brightness(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The image itself as one channel."""
    return images.sum(1, keepdim=True)


def squared(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, differentiable: bool = False
) -> torch.Tensor:
    """The squared gradient."""
    inputs = images if differentiable else images.detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(
        model(inputs).gather(1, labels[:, None]).sum(), inputs, create_graph=differentiable
    )
    return slope**2


def seeded(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, seeds: Sequence[Any], scale: float = 0.1
) -> torch.Tensor:
    noise = np.stack([np.random.default_rng(seed).standard_normal(images.shape[1:]) for seed in seeds])
    return images + scale * torch.from_numpy(noise).to(images)


def unseeded(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return images + torch.rand(images.shape)


def mixing(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return images - images.mean(0)


def undefined(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return images * torch.nan


def overwriting(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """As brightness, but it spoils its argument."""
    found = images.sum(1, keepdim=True)
    images.zero_().requires_grad_()
    return found


def training(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    model.train()
    return images


def flat(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return images.sum((1, 2, 3))


def needs_layer(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, layer: str) -> torch.Tensor:
    return images


def seeds_third(model: nn.Module, images: torch.Tensor, seeds: Any) -> torch.Tensor:
    return images


def eps_fourth(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, eps: float) -> torch.Tensor:
    return images


def brighter(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, randoms: Any, *, eps: float
) -> torch.Tensor:
    return (images + eps).clamp(0, 1)


def away(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    randoms: Any,
    *,
    explanation: Any,
    eps: float,
    steps: int = 2,
) -> torch.Tensor:
    """Sign steps down the sum of the map of a smooth copy."""
    current, smooth = images, with_softplus(model)
    for _ in range(steps):
        inputs = current.detach().requires_grad_(True)
        maps = explanation(smooth, inputs, labels, differentiable=True)
        (slope,) = torch.autograd.grad(maps.abs().sum(), inputs)
        current = current - eps / steps * slope.sign()
    return current.clamp(0, 1)


def inverted_in_place(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, randoms: Any
) -> torch.Tensor:
    return images.mul_(-1).add_(1)


def inverted(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, randoms: Any) -> torch.Tensor:
    return 1 - images


def too_far(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, randoms: Any, *, eps: float
) -> torch.Tensor:
    return images * 0 + images.mean()


def too_bright(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, randoms: Any) -> torch.Tensor:
    return images + 1


def nothing(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, randoms: Any) -> None:
    return None


NUMBER = 3
