"""Convolutions with fixed weights: the values and derivatives of torch's, and no gradient of the weights."""

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from generators.networks.convolutions import fix_weights

LAYERS = [
    nn.Conv2d(2, 4, 3),
    nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False),
    nn.Conv2d(2, 4, (3, 2), stride=(1, 2), padding=(0, 2), dilation=(2, 1), groups=2),
    nn.Conv2d(2, 4, 3, padding="same"),
    nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"),
]


def count(self: Any, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
    """Compute the function of torch, and count it if it is a convolution."""
    self.n += function is torch.ops.aten.convolution.default
    return function(*args, **(kwargs or {}))


Convolutions: Any = type("Convolutions", (TorchDispatchMode,), {"n": 0, "__torch_dispatch__": count})


def second_derivative(network: Any, images: Any) -> tuple[Any, Any]:
    """The gradient of the output, and that of a function of it, with respect to the images."""
    at = images.clone().requires_grad_(True)
    (first,) = torch.autograd.grad(network(at).square().sum(), at, create_graph=True)
    return first.detach(), torch.autograd.grad(first.abs().sum(), at)[0]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_values_and_derivatives_are_those_of_torch(layer: Any) -> None:
    plain = nn.Sequential(copy.deepcopy(layer), nn.Softplus()).double().requires_grad_(False)
    fixed = copy.deepcopy(plain)
    fix_weights(fixed)
    images = torch.rand((3, 2, 8, 9), dtype=torch.float64)
    for kept in (fixed, copy.deepcopy(fixed)):
        assert torch.equal(kept(images), plain(images))
        for one, other in zip(second_derivative(kept, images), second_derivative(plain, images), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_no_gradient_of_the_weights_is_computed() -> None:
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Softplus()).requires_grad_(False)
    images = torch.rand((3, 2, 8, 9))
    with Convolutions() as plain:
        second_derivative(network, images)
    fix_weights(network)
    with Convolutions() as fixed:
        second_derivative(network, images)
    assert (fixed.n, plain.n) == (2, 3)


def test_weights_in_training_keep_their_gradient() -> None:
    layer: Any = nn.Conv2d(2, 4, 3)
    plain = copy.deepcopy(layer)
    fix_weights(layer)
    images = torch.rand((3, 2, 8, 9), requires_grad=True)
    for one in (layer, plain):
        one(images).square().sum().backward()
    assert layer.weight.grad is not None
    assert torch.equal(layer.weight.grad, plain.weight.grad)
