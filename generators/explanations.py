"""Explanations: ``EXPLANATIONS`` maps a name to the function that attributes a class logit to the input.

Every function takes ``(model, images, labels)`` and returns signed attributions of the shape of `images`
(sample, channel, height, width). With ``differentiable=True`` the result carries a graph, so that attacks
can take its gradient. Samples do not influence one another.
"""

from collections.abc import Callable

import torch
from torch import nn

# (model, images, labels, *, differentiable) -> signed attributions
Explanation = Callable[..., torch.Tensor]


def gradient(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, differentiable: bool = False
) -> torch.Tensor:
    """The gradient of the label's logit with respect to the input."""
    inputs = images if images.requires_grad else images.detach().requires_grad_(True)
    logits = model(inputs).gather(1, labels[:, None])
    (result,) = torch.autograd.grad(logits.sum(), inputs, create_graph=differentiable)
    return result


def integrated_gradients(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    n_points: int = 100,
    differentiable: bool = False,
) -> torch.Tensor:
    """The input times the mean gradient at (k / n_points) * input, k = 1..n_points: the baseline is black.

    References
    ----------
    Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", ICML 2017; the right-hand
    Riemann sum is the one of Chen et al., "Robust Attribution Regularization", NeurIPS 2019.
    """
    total = torch.zeros_like(images)
    for k in range(1, n_points + 1):
        total = total + gradient(model, images * (k / n_points), labels, differentiable=differentiable)
    return images * (total / n_points)


EXPLANATIONS: dict[str, Explanation] = {
    "gradient": gradient,
    "integrated_gradients": integrated_gradients,
}


def abs_sum(attributions: torch.Tensor) -> torch.Tensor:
    """One value per pixel (sample, height, width): the sum of absolute values over the channels."""
    return attributions.abs().sum(1)
