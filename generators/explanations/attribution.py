"""PatternAttribution: the pass back of the gradient with each layer's weights times its pattern."""

import torch
from torch import nn

from ..networks.convolutions import transposed
from ..networks.derived import Derived
from ..networks.models import Normalize
from .gradients import gradient
from .patterns import BATCH_NORMS, SIGNAL, layers_of
from .record import Explanation
from .rules import Rule, with_rules

_CHECKED: Derived[None] = Derived()


def pattern_attribution(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, differentiable: bool = False
) -> torch.Tensor:
    """Return PatternAttribution of the label's logit, for a network that has patterns.

    In the pass back, the weights w of linear layers and convolutions are replaced by w a, a their pattern
    (see ``patterns``), element by element. Biases do not count. ReLU passes back where it is open, a softplus
    in its place as much as its derivative says, and max pooling passes to the largest value, all as in the
    gradient.

    Where the paper says nothing: batch norm passes back what it gets, because it is a neuron of one input,
    for which w a = 1, and nothing where its scale is 0; so does the normalization of the images. Additions of
    branches, concatenations and average pooling pass back as in the gradient.

    The pass starts at 1. The relevance of the paper starts at the logit, so it is this times the logit: one
    number for each image, which attacks divide out, and which only metrics of the values themselves, such as
    mse, would see.

    Raises
    ------
    ValueError
        If a layer has no pattern, or the network cannot be traced or has a step without a rule.

    References
    ----------
    Kindermans et al., "Learning how to explain neural networks: PatternNet and PatternAttribution", ICLR
    2018; for softplus Dombrowski et al., "Explanations can be manipulated and geometry is to blame", NeurIPS
    2019, whose code has one form of it.
    """
    _CHECKED(model, None, lambda: _check(model))
    with with_rules(model, _rule_of):
        return gradient(model, images, labels, differentiable=differentiable)


def _check(model: nn.Module) -> None:
    for name, layer in layers_of(model).items():
        if not hasattr(layer, SIGNAL):
            raise ValueError(
                f"{name} of {type(model).__name__} has no pattern, which pattern_attribution needs; fit "
                "patterns with generators.fit_patterns, or explanations.fit_patterns, and attach_patterns"
            )


def _rule_of(module: nn.Module) -> Rule | None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        return _through_layer
    if isinstance(module, Normalize):
        return _unchanged
    return _through_batch_norm if isinstance(module, BATCH_NORMS) else None


def _through_layer(
    module: nn.Module,
    values: torch.Tensor,
    output: torch.Tensor,
    of_output: torch.Tensor,
    of_input: torch.Tensor,
) -> torch.Tensor:
    weight: torch.Tensor = getattr(module, SIGNAL)
    if isinstance(module, nn.Conv2d):
        return transposed(of_output, module, weight, values.shape)
    return of_output @ weight


def _unchanged(
    module: nn.Module,
    values: torch.Tensor,
    output: torch.Tensor,
    of_output: torch.Tensor,
    of_input: torch.Tensor,
) -> torch.Tensor:
    return of_output.sum_to_size(values.shape)  # a gray image gets that of three channels


def _through_batch_norm(
    module: nn.Module,
    values: torch.Tensor,
    output: torch.Tensor,
    of_output: torch.Tensor,
    of_input: torch.Tensor,
) -> torch.Tensor:
    scale: torch.Tensor | None = getattr(module, "weight")  # noqa: B009
    if scale is None:
        return of_output
    is_alive = (scale != 0).to(of_output).reshape(-1, *[1] * (of_output.ndim - 2))
    return of_output * is_alive


PATTERN_ATTRIBUTION = Explanation(pattern_attribution, ends_with_images=True, needs_patterns=True)
