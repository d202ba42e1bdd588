"""Explanations by one gradient, and the reduction of attributions to a map."""

import torch
from torch import nn

from .record import Explanation


def leaf(images: torch.Tensor, differentiable: bool) -> torch.Tensor:
    """Return the tensor to differentiate by: `images` if the result is to keep their graph, else a copy."""
    return images if differentiable and images.requires_grad else images.detach().requires_grad_(True)


def gradient(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, differentiable: bool = False
) -> torch.Tensor:
    """Return the gradient of the label's logit with respect to the input.

    References
    ----------
    Simonyan, Vedaldi, Zisserman, "Deep Inside Convolutional Networks", ICLR workshop 2014, section 3.
    """
    with torch.enable_grad():
        inputs = leaf(images, differentiable)
        logits = model(inputs).gather(1, labels[:, None])
        (result,) = torch.autograd.grad(logits.sum(), inputs, create_graph=differentiable)
    return result


def input_x_gradient(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, differentiable: bool = False
) -> torch.Tensor:
    """Return the input times the gradient of the label's logit.

    References
    ----------
    Shrikumar et al., "Not Just a Black Box", arXiv:1605.01713, section 2.
    """
    return images * gradient(model, images, labels, differentiable=differentiable)


def abs_sum(attributions: torch.Tensor) -> torch.Tensor:
    """Return one value per pixel (sample, height, width): absolute values summed over the channels."""
    return attributions.abs().sum(1)


GRADIENT = Explanation(gradient, ends_with_images=True)
INPUT_X_GRADIENT = Explanation(input_x_gradient, ends_with_images=True)
