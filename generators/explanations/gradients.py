"""Explanations by one gradient, and the reduction of attributions to a map."""

from collections.abc import Callable, Mapping

import torch
from torch import nn

from .forms import FORM, is_dombrowski, normalization
from .record import Explanation

# (logits, labels) -> the number of each image that is explained
Score = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def leaf(images: torch.Tensor, differentiable: bool) -> torch.Tensor:
    """Return the tensor to differentiate by: `images` if the result is to keep their graph, else a copy."""
    return images if differentiable and images.requires_grad else images.detach().requires_grad_(True)


def gradient(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    form: str = "standard",
    differentiable: bool = False,
) -> torch.Tensor:
    """Return the gradient of the label's logit with respect to the input.

    The form dombrowski differentiates by the normalized input.

    References
    ----------
    Simonyan, Vedaldi, Zisserman, "Deep Inside Convolutional Networks", ICLR workshop 2014, section 3.
    """
    result = gradient_of(logit, model, images, labels, differentiable=differentiable)
    return normalization(model, images, "gradient")[1] * result if is_dombrowski(form) else result


def input_x_gradient(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    form: str = "standard",
    differentiable: bool = False,
) -> torch.Tensor:
    """Return the input times the gradient of the label's logit.

    The form dombrowski takes the normalized input in both; its standard deviation cancels.

    References
    ----------
    Shrikumar et al., "Not Just a Black Box", arXiv:1605.01713, section 2.
    """
    result = gradient_of(logit, model, images, labels, differentiable=differentiable)
    if is_dombrowski(form):
        return (images - normalization(model, images, "input_x_gradient")[0]) * result
    return images * result


def gradient_of(
    score: Score,
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    differentiable: bool,
    times_score: bool = False,
) -> torch.Tensor:
    """Return the gradient of the score of each image; the pass back starts at 1, or at the score itself."""
    with torch.enable_grad():
        inputs = leaf(images, differentiable)
        scores = score(model(inputs), labels)
        start = scores if times_score else torch.ones_like(scores)
        (result,) = torch.autograd.grad(scores, inputs, start, create_graph=differentiable)
    return result


def logit(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the label's logit of each image."""
    return logits.gather(1, labels[:, None])[:, 0]


def probability(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the label's softmax of each image."""
    return logit(logits.softmax(1), labels)


def abs_sum(attributions: torch.Tensor) -> torch.Tensor:
    """Return one value per pixel (sample, height, width): absolute values summed over the channels."""
    return attributions.abs().sum(1)


def channel_sum(attributions: torch.Tensor) -> torch.Tensor:
    """Return one value per pixel (sample, height, width): values summed over the channels, with signs."""
    return attributions.sum(1)


# How attributions become maps, by name; the names are those of pair files.
REDUCTIONS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {"abs_sum": abs_sum, "sum": channel_sum}

GRADIENT = Explanation(gradient, (FORM,), ends_with_images=True)
INPUT_X_GRADIENT = Explanation(input_x_gradient, (FORM,), ends_with_images=True)
