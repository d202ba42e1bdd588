"""Convolutions whose weights are fixed, for second derivatives with respect to images."""

from typing import Any

import torch
from torch import nn
from torch.nn.functional import conv2d


def fix_weights(network: nn.Module) -> None:
    """Let the convolutions of a network compute no gradient of their weights.

    The double backward pass of torch computes it even if the weights need none, which is a sixth of an attack
    step on SqueezeNet. Values and gradients of the images stay the same. Layers with a convolution of their
    own keep it.
    """
    for part in network.modules():
        if isinstance(part, nn.Conv2d) and _is_plain(part):
            setattr(part, "_conv_forward", _Fixed(part))  # noqa: B010


def _is_plain(layer: nn.Conv2d) -> bool:
    """Return whether the layer convolves as torch does, on an image padded with zeros."""
    function: Any = layer._conv_forward  # of the layer itself, or of its class
    is_own = getattr(function, "__func__", None) is not nn.Conv2d._conv_forward
    return not is_own and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)


def transposed(
    upstream: torch.Tensor, layer: nn.Conv2d, weight: torch.Tensor, shape: torch.Size
) -> torch.Tensor:
    """Return the pass back through a layer with another weight, to inputs of this shape."""
    apply: Any = _Transposed.apply
    settings = (layer.stride, layer.padding, layer.dilation, layer.groups)
    result: torch.Tensor = apply(upstream, weight, shape, settings)
    return result


class _Fixed:
    """The convolution of a layer, with the weights that it is called with."""

    def __init__(self, layer: nn.Conv2d) -> None:
        self._settings: tuple[Any, ...] = (layer.stride, layer.padding, layer.dilation, layer.groups)

    def __call__(self, values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        is_fixed = not weight.requires_grad and (bias is None or not bias.requires_grad)
        if values.ndim != 4 or not is_fixed or not values.requires_grad:
            return conv2d(values, weight, bias, *self._settings)
        convolution: Any = _Convolution.apply
        result: torch.Tensor = convolution(values, weight, bias, self._settings)
        return result


class _Convolution(torch.autograd.Function):
    is_smooth = True

    @staticmethod
    def forward(
        ctx: Any, values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, settings: Any
    ) -> torch.Tensor:
        ctx.save_for_backward(weight)
        ctx.shape, ctx.settings = values.shape, settings
        return conv2d(values, weight, bias, *settings)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (weight,) = ctx.saved_tensors
        apply: Any = _Transposed.apply
        return apply(upstream, weight, ctx.shape, ctx.settings), None, None, None


class _Transposed(torch.autograd.Function):
    """The pass back through a convolution, which is linear: its own pass back is the convolution."""

    is_smooth = True

    @staticmethod
    def forward(
        ctx: Any, upstream: torch.Tensor, weight: torch.Tensor, shape: torch.Size, settings: Any
    ) -> torch.Tensor:
        ctx.save_for_backward(weight)
        ctx.settings = settings
        stride, padding, dilation, groups = settings
        values = upstream.new_empty(shape)  # their shape alone matters
        backward = torch.ops.aten.convolution_backward
        result: torch.Tensor = backward(
            upstream,
            values,
            weight,
            None,
            stride,
            padding,
            dilation,
            False,
            (0, 0),
            groups,
            (True, False, False),
        )[0]
        return result

    @staticmethod
    def backward(ctx: Any, of_result: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (weight,) = ctx.saved_tensors
        return conv2d(of_result, weight, None, *ctx.settings), None, None, None
