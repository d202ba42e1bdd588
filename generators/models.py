"""Networks: ``MODELS`` maps a name to the function that builds one with fresh weights."""

import copy
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import max_pool2d


class MaxPool2x2(nn.Module):
    """2x2 max pooling that compares in float32: of values that agree so far, the first is taken.

    On a plain background whole windows hold one value up to rounding. Compared in full, which of them takes
    the gradient would change with the processor, and visibly move attributions from pixel to pixel.
    """

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Halve height and width."""
        _, first = max_pool2d(values.detach().float(), 2, return_indices=True)
        return values.flatten(2).gather(2, first.flatten(2)).reshape(first.shape)


def _cnn_28(conv1: int, conv2: int, fc: int) -> nn.Sequential:
    """conv5x5 - pool - conv5x5 - pool - fc - fc10 for one-channel 28x28 inputs, as in RAR and LENS."""
    return nn.Sequential(
        nn.Conv2d(1, conv1, 5, padding=2),
        nn.ReLU(),
        MaxPool2x2(),
        nn.Conv2d(conv1, conv2, 5, padding=2),
        nn.ReLU(),
        MaxPool2x2(),
        nn.Flatten(),
        nn.Linear(conv2 * 7 * 7, fc),
        nn.ReLU(),
        nn.Linear(fc, 10),
    )


def small_cnn() -> nn.Module:
    """The published form with widths 16, 32 and 64: a checkpoint takes 460 KB and trains on a CPU."""
    return _cnn_28(16, 32, 64)


def rar_cnn() -> nn.Module:
    """The published form with the published widths 32, 64 and 1024."""
    return _cnn_28(32, 64, 1024)


MODELS: dict[str, Callable[[], nn.Module]] = {"small_cnn": small_cnn, "rar_cnn": rar_cnn}


def with_softplus(model: nn.Module, beta: float = 1.0) -> nn.Module:
    """A copy of `model` whose ReLUs are softplus(x) = ln(1 + exp(beta x)) / beta.

    ReLU's second derivative is zero everywhere, so an attack on gradients needs this copy to see where to go.

    Raises
    ------
    ValueError
        If the model holds no ``nn.ReLU`` module: functional calls cannot be replaced, and an
        attack on the unchanged network would be weak without any sign of it.
    """
    smooth = copy.deepcopy(model)
    n_replaced = 0
    for parent in list(smooth.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.ReLU):
                setattr(parent, name, nn.Softplus(beta))
                n_replaced += 1
    if n_replaced == 0:
        raise ValueError(f"{type(model).__name__} has no nn.ReLU module to replace by softplus")
    return smooth
