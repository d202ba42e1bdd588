"""Explanations that replace rules of the backward pass: guided backpropagation and DeepLIFT.

The rules are tensor hooks of one forward pass and are removed before anyone differentiates the result. The
graph that remains is that of the rules' arithmetic and of the unchanged network, so its gradient is exact.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.functional import softplus

from ..networks.derived import Derived
from ..networks.kinks import Clamp, Soft, kinks_of
from ..networks.models import MaxPool2x2
from ..networks.smoothness import Hidden, rough_steps
from .forms import FORM, deviation, is_dombrowski
from .gradients import gradient, gradient_of, leaf, logit
from .record import Explanation

# (module, its input, its output, gradient of the output, gradient of the input) -> new gradient of the input
Rule = Callable[[nn.Module, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]

# Differences of outputs over differences of inputs are exact: both slopes are 0 or 1.
_EXACT = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Hardtanh, nn.Threshold, Clamp)
_SMOOTH = (nn.Softplus, nn.ELU, nn.GELU, nn.SiLU, nn.Mish, nn.Sigmoid, nn.Tanh)
MAX_POOLS = (nn.MaxPool2d, nn.AdaptiveMaxPool2d, MaxPool2x2)


@contextmanager
def with_rules(model: nn.Module, rule_of: Callable[[nn.Module], Rule | None]) -> Iterator[list[Any]]:
    """Apply `rule_of(module)` in backward passes that begin and end inside the `with`.

    The steps of autograd's graph that have a rule are added to the list that is returned. Values that do not
    depend on the images, such as a table of weights, have none.
    """
    handles: list[Any] = []
    in_place: list[Any] = []
    ruled: list[Any] = []

    def own_input(module: nn.Module, args: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return args[0].clone()  # the rule must not change the gradient that other users of the tensor get

    def watched(rule: Rule) -> Callable[[nn.Module, Any, Any], None]:
        def watch(module: nn.Module, args: Any, output: Any) -> None:
            (values,) = args
            if not values.requires_grad:
                return
            ruled.append(output.grad_fn)
            of_output: list[torch.Tensor] = []
            handles.append(output.register_hook(of_output.append))
            handles.append(
                values.register_hook(lambda of_input: rule(module, values, output, of_output.pop(), of_input))
            )

        return watch

    for module in model.modules():
        rule = rule_of(module)
        if rule is not None:
            handles.append(module.register_forward_pre_hook(own_input))
            handles.append(module.register_forward_hook(watched(rule)))
            if getattr(module, "inplace", False):
                in_place.append(module)
                handles.extend(_overwriting(module))
    for module in in_place:  # or else the rule would find its input overwritten
        module.inplace = False
    try:
        yield ruled
    finally:
        for module in in_place:
            module.inplace = True
        for handle in handles:
            handle.remove()


def _overwriting(module: nn.Module) -> list[Any]:
    """Let a module overwrite what it was given, after its other hooks, by what it returns."""
    given: list[torch.Tensor] = []
    return [
        module.register_forward_pre_hook(lambda module, args: given.append(args[0]), prepend=True),
        module.register_forward_hook(lambda module, args, output: given.pop().copy_(output)),
    ]


def passes_relevance(module: nn.Module) -> bool:
    """Return whether a module is ReLU, softplus, or another piecewise-linear activation that never falls."""
    if isinstance(module, nn.PReLU | Soft) and module.weight is not None and bool((module.weight < 0).any()):
        return False
    kinks = kinks_of(module)
    return isinstance(module, nn.Softplus) or (kinks is not None and kinks.never_falls)


_COVERED: Derived[None] = Derived()


@contextmanager
def guided(model: nn.Module, images: torch.Tensor) -> Iterator[None]:
    """Let every ReLU, or the softplus in its place, pass back positive gradients only.

    So does every other piecewise-linear activation that never falls, such as leaky ReLU.

    Raises
    ------
    ValueError
        If the network has none for these images, or if it has another piecewise-linear step.
    """

    def positive(
        module: nn.Module,
        values: torch.Tensor,
        output: torch.Tensor,
        of_output: torch.Tensor,
        of_input: torch.Tensor,
    ) -> torch.Tensor:
        return of_input.clamp_min(0)  # the activation's own derivative is not negative

    with with_rules(model, lambda module: positive if passes_relevance(module) else None) as ruled:
        _COVERED(model, "standard", lambda: _check_covered(model, images[:2], ruled))
        yield


def _check_covered(model: nn.Module, images: torch.Tensor, ruled: list[Any]) -> None:
    """Refuse a network with a piecewise-linear step, or a mask, outside the `ruled` steps."""
    name, inputs = type(model).__name__, images.detach().clone().requires_grad_(True)
    hidden = Hidden(inputs)
    with torch.enable_grad(), hidden.watching():
        logits = model(inputs)
    if not ruled:
        raise ValueError(f"{name} has no ReLU, so guided_backprop would equal its gradient; use gradient")
    found = rough_steps(inputs, logits, ruled) or hidden.found
    if found:
        raise ValueError(
            f"guided_backprop has no rule for {found[0]} of {name}: it knows ReLU and other piecewise-linear "
            "activations that never fall, as modules; use another explanation"
        )


def guided_backprop(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    form: str = "standard",
    differentiable: bool = False,
) -> torch.Tensor:
    """Return the gradient of the label's logit where every ReLU passes back positive gradients only.

    In a softplus copy the positive part is multiplied by the derivative of softplus. In the form dombrowski
    softplus takes the place of the positive part as well, and the pass back starts at the logit.

    Raises
    ------
    ValueError
        If the network has no ReLU, or a step that the method or its form does not know.

    References
    ----------
    Springenberg et al., "Striving for Simplicity", ICLR workshop 2015, section 3.4; for softplus: Dombrowski
    et al., "Explanations Can Be Manipulated and Geometry Is to Blame", NeurIPS 2019.
    """
    if not is_dombrowski(form):
        with guided(model, images):
            return gradient(model, images, labels, differentiable=differentiable)
    with guided_softly(model, images):
        result = gradient_of(logit, model, images, labels, differentiable=differentiable, times_score=True)
    return deviation(model, images, "guided_backprop") * result


def _is_activation(module: nn.Module) -> bool:
    return isinstance(module, _SMOOTH) or kinks_of(module) is not None


@contextmanager
def guided_softly(model: nn.Module, images: torch.Tensor) -> Iterator[None]:
    """Let softplus pass back softplus(R) times its derivative, and ReLU the positive part of R."""
    softened = [part for part in model.modules() if isinstance(part, nn.ReLU | nn.Softplus)]
    others = [
        type(part).__name__ for part in model.modules() if _is_activation(part) and part not in softened
    ]
    if others or not softened:
        raise ValueError(
            "guided_backprop in the form dombrowski knows ReLU and softplus, but the network has "
            f"{others[0] if others else 'neither'}; use the form standard"
        )

    def positive(
        module: nn.Module,
        values: torch.Tensor,
        output: torch.Tensor,
        of_output: torch.Tensor,
        of_input: torch.Tensor,
    ) -> torch.Tensor:
        if isinstance(module, nn.Softplus):
            return softplus(of_output, module.beta) * torch.sigmoid(module.beta * values)
        return of_output.relu() * (values >= 0)

    with with_rules(model, lambda module: positive if module in softened else None) as ruled:
        _COVERED(model, "dombrowski", lambda: _check_covered(model, images[:2], ruled))
        yield


def deep_lift(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, differentiable: bool = False
) -> torch.Tensor:
    """Return DeepLIFT contributions by the rescale rule with a black reference.

    Max pooling assigns what the image has over the reference to the largest pixel of the image, and what it
    lacks to the largest pixel of the reference. Contributions add up to the difference of the label's
    logit.

    Raises
    ------
    ValueError
        If they do not add up: the network has a step other than linear layers, activations and max pooling.

    Notes
    -----
    Without max pooling this equals captum's DeepLift. With max pooling captum 0.9 loses contributions: on
    ImageNet's SqueezeNet two thirds of the difference of logits were missing.

    References
    ----------
    Shrikumar, Greenside, Kundaje, "Learning Important Features Through Propagating Activation Differences",
    ICML 2017, section 3.5.1; Lundberg and Lee, NeurIPS 2017, for max pooling.
    """

    def rule_of(module: nn.Module) -> Rule | None:
        if isinstance(module, MAX_POOLS):
            return _rescale_max
        return _rescale if _is_activation(module) else None

    with torch.enable_grad(), with_rules(model, rule_of):
        inputs = leaf(images, differentiable)
        # In every layer the first sample is the reference for all others.
        logits = model(torch.cat([images.new_zeros((1, *images.shape[1:])), inputs]))
        scores = logits[1:].gather(1, labels[:, None])[:, 0]
        (multipliers,) = torch.autograd.grad(scores.sum(), inputs, create_graph=differentiable)
    result = images * multipliers
    missed = (result.detach().sum((1, 2, 3)) - scores.detach() + logits[0, labels].detach()).abs()
    missed = missed / result.detach().abs().sum((1, 2, 3))
    if (missed > 1e-3).any():
        raise ValueError(
            f"DeepLIFT has no rule for a step of {type(model).__name__}: contributions miss the difference "
            f"of logits by {float(missed.max()):.1%} of their size; use another explanation"
        )
    return result


def _rescale(
    module: nn.Module,
    values: torch.Tensor,
    output: torch.Tensor,
    of_output: torch.Tensor,
    of_input: torch.Tensor,
) -> torch.Tensor:
    """Apply the rescale rule: upstream times difference of outputs over difference of inputs."""
    inputs, reference = values[1:], values[:1]
    if isinstance(module, _EXACT):
        is_small = inputs == reference
        in_the_limit = of_input[1:]
    else:
        # Small differences have a noisy quotient; the slope half-way is off by the difference squared.
        is_small = (inputs - reference).abs() < torch.finfo(values.dtype).eps ** (1 / 3)
        in_the_limit = _vjp(module.forward, (inputs + reference) / 2, of_output[1:])
    quotient = (output[1:] - output[:1]) / torch.where(is_small, 1, inputs - reference)
    return _without_reference(torch.where(is_small, in_the_limit, of_output[1:] * quotient))


def _rescale_max(
    module: nn.Module,
    values: torch.Tensor,
    output: torch.Tensor,
    of_output: torch.Tensor,
    of_input: torch.Tensor,
) -> torch.Tensor:
    inputs, references = values[1:], values[:1].expand_as(values[1:])
    larger = torch.maximum(output[1:], output[:1])
    # Max pooling passes the gradient to the largest input; there inputs differ at least as much as
    # outputs, up to rounding.
    share = _vjp(module.forward, inputs, of_output[1:] * (larger - output[:1]))
    share = share + _vjp(module.forward, references, of_output[1:] * (output[1:] - larger))
    is_small = (inputs - references).abs() < 1e-6
    quotient = share / torch.where(is_small, 1, inputs - references)
    return _without_reference(torch.where(is_small, of_input[1:], quotient))


def _vjp(
    function: Callable[[torch.Tensor], torch.Tensor], at: torch.Tensor, upstream: torch.Tensor
) -> torch.Tensor:
    """Return the vector-Jacobian product, with a graph if the current backward pass builds one."""
    is_differentiable = torch.is_grad_enabled()
    with torch.enable_grad():
        at = at if is_differentiable else at.detach().requires_grad_(True)
        (result,) = torch.autograd.grad(function(at), at, upstream, create_graph=is_differentiable)
    return result


def _without_reference(gradient: torch.Tensor) -> torch.Tensor:
    """Return the gradient with zeros for the reference."""
    return torch.cat([torch.zeros_like(gradient[:1]), gradient])


DEEP_LIFT = Explanation(deep_lift, ends_with_images=True)
GUIDED_BACKPROP = Explanation(guided_backprop, (FORM,), ends_with_images=True)
