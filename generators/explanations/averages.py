"""Explanations: ``EXPLANATIONS`` maps a name to the function that attributes a class logit to the input.

Every function takes ``(model, images, labels)`` and returns signed attributions of the shape of `images`
(sample, channel, height, width). Its baseline, where it has one, is black. Samples do not influence one
another. Keywords that several share:

differentiable
    The result carries a graph back to `images`, so that attacks can take its gradient. Only on a network
    with smooth activations (``models.with_softplus``) does that gradient know about second derivatives.
seeds
    One per sample, each for ``numpy.random.default_rng``: the same seeds draw the same noise at every call.
chunk_size
    At most this many images in one pass of the network, also in the pass back through a differentiable
    result. By default each pass takes one point of every sample, and a differentiable result keeps the graph
    of all points.
"""

import functools
import inspect
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn

from ..networks.models import with_softplus
from .points import Term, mean_over_points, random_draws
from .rules import deep_lift, guided, inputs_of, lrp

# (model, images, labels, *, parameters by keyword) -> signed attributions
Explanation = Callable[..., torch.Tensor]


def gradient(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, differentiable: bool = False
) -> torch.Tensor:
    """The gradient of the label's logit with respect to the input.

    References
    ----------
    Simonyan, Vedaldi, Zisserman, "Deep Inside Convolutional Networks", ICLR workshop 2014, section 3.
    """
    with torch.enable_grad():
        inputs = inputs_of(images, differentiable)
        logits = model(inputs).gather(1, labels[:, None])
        (result,) = torch.autograd.grad(logits.sum(), inputs, create_graph=differentiable)
    return result


def input_x_gradient(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, differentiable: bool = False
) -> torch.Tensor:
    """The input times the gradient of the label's logit.

    References
    ----------
    Shrikumar et al., "Not Just a Black Box", arXiv:1605.01713, section 2.
    """
    return images * gradient(model, images, labels, differentiable=differentiable)


def guided_backprop(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, differentiable: bool = False
) -> torch.Tensor:
    """The gradient of the label's logit where every ReLU passes back only what is positive.

    In a softplus copy the positive part is multiplied by softplus' own derivative.

    References
    ----------
    Springenberg et al., "Striving for Simplicity", ICLR workshop 2015, section 3.4; for softplus: Dombrowski
    et al., "Explanations Can Be Manipulated and Geometry Is to Blame", NeurIPS 2019.
    """
    with guided(model):
        return gradient(model, images, labels, differentiable=differentiable)


def integrated_gradients(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    n_points: int = 100,
    chunk_size: int | None = None,
    differentiable: bool = False,
) -> torch.Tensor:
    """The input times the mean gradient at (k / n_points) * input, k = 1..n_points: the baseline is black.

    References
    ----------
    Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", ICML 2017; the right-hand
    Riemann sum is the one of Chen et al., "Robust Attribution Regularization", NeurIPS 2019.
    """

    def draws(rows: slice, per_pass: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        fractions = torch.arange(1, n_points + 1, dtype=torch.float64) / n_points
        for part in torch.split(fractions.to(images), per_pass):
            yield part[:, None, None, None, None], images.new_zeros(())

    mean = mean_over_points(
        _gradient_term(model),
        draws,
        images,
        labels,
        n_points=n_points,
        chunk_size=chunk_size,
        differentiable=differentiable,
    )
    return images * mean


def smooth_grad(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    seeds: Sequence[Sequence[int]],
    n_draws: int = 50,
    sigma: float = 0.15,
    chunk_size: int | None = None,
    differentiable: bool = False,
) -> torch.Tensor:
    """The mean gradient under normal noise of standard deviation `sigma`; noisy points are not clamped.

    References
    ----------
    Smilkov et al., "SmoothGrad: removing noise by adding noise", arXiv:1706.03825, section 3: noise of 10 to
    20 % of the input's range, which is 1 here, and little gain beyond 50 draws.
    """
    _check_not_negative("sigma", sigma)

    def place(uniform: torch.Tensor, normal: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.ones_like(uniform), sigma * normal

    return mean_over_points(
        _gradient_term(model),
        random_draws(images, seeds, n_draws, place),
        images,
        labels,
        n_points=n_draws,
        chunk_size=chunk_size,
        differentiable=differentiable,
    )


def gradient_shap(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    seeds: Sequence[Sequence[int]],
    n_draws: int = 50,
    sigma: float = 0.0,
    chunk_size: int | None = None,
    differentiable: bool = False,
) -> torch.Tensor:
    """The mean of noisy input times gradient at a random point between black and that noisy input.

    Without noise (the default, as in shap and captum) it is a Monte-Carlo estimate of integrated gradients.

    References
    ----------
    Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS 2017, and Erion et al.,
    Nature Machine Intelligence 3, 2021 (expected gradients); in the form of captum's GradientShap.
    """
    _check_not_negative("sigma", sigma)

    def place(uniform: torch.Tensor, normal: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return uniform, sigma * normal

    def term(
        moved: torch.Tensor, points: torch.Tensor, labels: torch.Tensor, differentiable: bool
    ) -> torch.Tensor:
        return moved * gradient(model, points, labels, differentiable=differentiable)

    return mean_over_points(
        term,
        random_draws(images, seeds, n_draws, place),
        images,
        labels,
        n_points=n_draws,
        chunk_size=chunk_size,
        differentiable=differentiable,
    )


def uniform_smooth(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    seeds: Sequence[Sequence[int]],
    base: str = "gradient",
    n_draws: int = 64,
    radius: float = 1.0,
    chunk_size: int | None = None,
    differentiable: bool = False,
) -> torch.Tensor:
    """The mean of `base` over points uniform in the l2 ball around the input, which are not clamped.

    Each draw's map is reduced by `abs_sum` and scaled to unit l2 norm before averaging, as the certificates
    need it; so the result is non-negative and has one channel (sample, 1, height, width). A map of zeros
    stays one. `base` is any explanation without noise of its own, with its defaults.

    References
    ----------
    Wang and Kong, "Certified l2 Attribution Robustness via Uniformly Smoothed Attributions", 2024,
    arXiv:2405.06361, section 3. Reducing and scaling each draw is what makes its bound hold.
    """
    _check_not_negative("radius", radius)
    explain = _base(base, chunk_size)

    def place(uniform: torch.Tensor, normal: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        length = torch.linalg.vector_norm(normal, dim=(2, 3, 4), keepdim=True)
        return torch.ones_like(uniform), radius * uniform ** (
            1 / math.prod(images.shape[1:])
        ) * normal / length

    def term(
        moved: torch.Tensor, points: torch.Tensor, labels: torch.Tensor, differentiable: bool
    ) -> torch.Tensor:
        maps = abs_sum(explain(model, points, labels, differentiable=differentiable))[:, None]
        length: torch.Tensor = torch.linalg.vector_norm(maps, dim=(1, 2, 3), keepdim=True)
        return maps / length.masked_fill(length == 0, 1)

    return mean_over_points(
        term,
        random_draws(images, seeds, n_draws, place),
        images,
        labels,
        n_points=n_draws,
        chunk_size=chunk_size,
        differentiable=differentiable,
    )


def beta_smooth(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    base: str = "gradient",
    beta: float = 1.0,
    chunk_size: int | None = None,
    differentiable: bool = False,
) -> torch.Tensor:
    """`base` of the network whose ReLUs are softplus(x) = ln(1 + exp(beta x)) / beta.

    `base` is any explanation without noise of its own, with its defaults.

    References
    ----------
    Dombrowski et al., "Explanations Can Be Manipulated and Geometry Is to Blame", NeurIPS 2019, section 4;
    they take beta between 0.8 and 1.
    """
    explain = _base(base, chunk_size)
    return explain(with_softplus(model, beta), images, labels, differentiable=differentiable)


EXPLANATIONS: dict[str, Explanation] = {
    "gradient": gradient,
    "input_x_gradient": input_x_gradient,
    "integrated_gradients": integrated_gradients,
    "smooth_grad": smooth_grad,
    "uniform_smooth": uniform_smooth,
    "beta_smooth": beta_smooth,
    "gradient_shap": gradient_shap,
    "deep_lift": deep_lift,
    "lrp": lrp,
    "guided_backprop": guided_backprop,
}


def is_differentiable(explanation: Explanation) -> bool:
    """Whether attacks can take its gradient: it has the keyword `differentiable`."""
    return "differentiable" in inspect.signature(explanation).parameters


def abs_sum(attributions: torch.Tensor) -> torch.Tensor:
    """One value per pixel (sample, height, width): the sum of absolute values over the channels."""
    return attributions.abs().sum(1)


def _gradient_term(model: nn.Module) -> Term:
    """The gradient at each point, for `mean_over_points`."""

    def term(
        moved: torch.Tensor, points: torch.Tensor, labels: torch.Tensor, differentiable: bool
    ) -> torch.Tensor:
        return gradient(model, points, labels, differentiable=differentiable)

    return term


def _base(name: str, chunk_size: int | None) -> Explanation:
    """What is to be smoothed, with the chunks of what smooths it."""
    parameters = {other: inspect.signature(function).parameters for other, function in EXPLANATIONS.items()}
    bases = [other for other, known in parameters.items() if "seeds" not in known and "base" not in known]
    if name not in bases:
        raise ValueError(f"base {name!r} cannot be smoothed; give one of {', '.join(bases)}")
    if "chunk_size" in parameters[name]:
        return functools.partial(EXPLANATIONS[name], chunk_size=chunk_size)
    return EXPLANATIONS[name]


def _check_not_negative(name: str, value: float) -> None:
    if not value >= 0:
        raise ValueError(f"{name} is {value}: give 0 or more")
