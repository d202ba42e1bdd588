"""Initial weights: those of torch, or those with which RAR begins."""

import math
from typing import Any

import torch
from torch import nn

from .models import rar_cnn

# The networks that RAR's initial weights are for.
RAR_NETWORKS = ("rar_cnn", "small_cnn")
INITIAL_WEIGHTS = ("rar", "torch")


def published_initial_weights(model: str) -> str:
    """Return the initial weights with which the network was published; ours begin with those of torch."""
    return "rar" if model == "rar_cnn" else "torch"


def draw_rar_weights(network: nn.Module) -> None:
    """Draw weights as RAR does: normal with standard deviation .1, truncated at two of them; biases are .1.

    In a narrower network the deviations grow by the square root of the ratio of inputs, so that every layer
    returns values of the same size as in `rar_cnn`. Most layers begin with weights 2 to 4 times as large as
    those of He et al.; the networks are rougher than from torch's weights, at the same accuracy.

    References
    ----------
    Chen et al., "Robust Attribution Regularization", NeurIPS 2019, MNIST/model.py of the released code.
    """
    with torch.device("meta"):
        published = rar_cnn()
    for layer, original in zip(_layers(network), _layers(published), strict=True):
        deviation = 0.1 * math.sqrt(original.weight[0].numel() / layer.weight[0].numel())
        nn.init.trunc_normal_(layer.weight, std=deviation, a=-2 * deviation, b=2 * deviation)
        nn.init.constant_(layer.bias, 0.1)


def _layers(network: nn.Module) -> list[Any]:
    return [part for part in network.modules() if isinstance(part, nn.Conv2d | nn.Linear)]
