"""Convolutions with fixed weights: the values and derivatives of torch's, and no gradient of the weights."""

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d
from torch.nn.utils.parametrizations import weight_norm
from torch.utils._python_dispatch import TorchDispatchMode

from generators.networks.convolutions import fix_weights


class OwnConvolution(nn.Conv2d):
    """Halves its weights where it convolves."""

    def _conv_forward(self, input: Any, weight: Any, bias: Any) -> Any:
        return super()._conv_forward(input, weight / 2, bias)


class OwnForward(nn.Conv2d):
    """Centers its weights, as weight standardization does."""

    def forward(self, input: Any) -> Any:
        return self._conv_forward(input, self.weight - self.weight.mean(), self.bias)


class BiasOfImage(nn.Conv2d):
    """Has a bias that depends on the image."""

    def forward(self, input: Any) -> Any:
        return self._conv_forward(
            input, self.weight, self.bias * input.mean() if self.bias is not None else None
        )


def patched() -> Any:
    """A layer whose convolution somebody has replaced."""
    layer: Any = nn.Conv2d(2, 4, 3)
    layer._conv_forward = lambda values, weight, bias: conv2d(values, 3 * weight, bias)
    return layer


LAYERS = [
    nn.Conv2d(2, 4, 3),
    nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False),
    nn.Conv2d(2, 4, (3, 2), stride=(1, 2), padding=(0, 2), dilation=(2, 1), groups=2),
    nn.Conv2d(2, 4, 3, padding="same"),
    nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"),
    OwnConvolution(2, 4, 3),
    OwnForward(2, 4, 3),
    BiasOfImage(2, 4, 3),
    weight_norm(nn.Conv2d(2, 4, 3)),
    patched(),
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


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: str(layer).splitlines()[0])
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


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_parameters_in_training_keep_their_gradient(name: str) -> None:
    layer: Any = nn.Conv2d(2, 4, 3).requires_grad_(False)
    layer.get_parameter(name).requires_grad_(True)
    plain = copy.deepcopy(layer)
    fix_weights(layer)
    images = torch.rand((3, 2, 8, 9), requires_grad=True)
    for one in (layer, plain):
        one(images).square().sum().backward()
    expected = plain.get_parameter(name).grad
    assert expected is not None
    assert torch.equal(layer.get_parameter(name).grad, expected)
