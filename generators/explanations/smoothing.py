"""Explanations that smooth another explanation: over a ball around the input, or by softplus."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from ..networks.activations import softened
from ..networks.smoothness import check_softened
from ..options import Option
from .attribution import PATTERN_ATTRIBUTION
from .averages import INTEGRATED_GRADIENTS, N_DRAWS, check_not_negative
from .gradients import GRADIENT, INPUT_X_GRADIENT, REDUCTIONS
from .points import mean_over_points, random_draws
from .record import Explain, Explanation
from .relevance import LRP
from .rules import DEEP_LIFT, GUIDED_BACKPROP


def uniform_smooth(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    seeds: Sequence[Sequence[int]],
    base: str = "gradient",
    n_draws: int = 64,
    radius: float = 1.0,
    reduction: str = "abs_sum",
    chunk_size: int | None = None,
    differentiable: bool = False,
    **of_base: Any,
) -> torch.Tensor:
    """Return the mean of `base` over points uniform in the l2 ball around the input.

    Points are not clamped to [0, 1]. The map of each draw is reduced to one value per pixel and scaled to
    unit l2 norm before averaging, as the certificates require, so the result (sample, 1, height, width) has
    an l2 norm from 0 to 1: near 1 where all draws have the same map, small where they differ. The reduction
    abs_sum gives non-negative maps, sum (over the channels, with signs) signed ones, for which a certificate
    says less at the same norm. A map of zeros stays zero. `base` is one of ``BASES``, with its options in
    `of_base`.

    References
    ----------
    Wang and Kong, "Certified l2 Attribution Robustness via Uniformly Smoothed Attributions", 2024,
    arXiv:2405.06361, section 3. Its bound needs each draw to be reduced and scaled.
    """
    check_not_negative("radius", radius)
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be {' or '.join(REDUCTIONS)}, got {reduction!r}")
    reduce = REDUCTIONS[reduction]
    explain = _base(base, chunk_size, of_base)

    def place(uniform: torch.Tensor, normal: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        length = torch.linalg.vector_norm(normal, dim=(2, 3, 4), keepdim=True)
        return torch.ones_like(uniform), radius * uniform ** (
            1 / math.prod(images.shape[1:])
        ) * normal / length

    def term(
        moved: torch.Tensor, points: torch.Tensor, labels: torch.Tensor, differentiable: bool
    ) -> torch.Tensor:
        maps = reduce(explain(model, points, labels, differentiable=differentiable))[:, None]
        # In float32 the norm of a large map has errors that make the bound above 1, that of a tiny one is 0.
        length = torch.linalg.vector_norm(maps, dim=(1, 2, 3), keepdim=True, dtype=torch.float64)
        scaled: torch.Tensor = maps / length.masked_fill(length == 0, 1).to(maps)
        return scaled

    return mean_over_points(
        term,
        random_draws(images, seeds, n_draws, place),
        images,
        labels,
        n_points=n_draws,
        chunk_size=chunk_size,
        differentiable=differentiable,
    )


def certificate_facts(image_shape: Sequence[int], reduction: str) -> dict[str, float]:
    """Return what a certificate of maps of ``uniform_smooth`` needs besides the map, radius and n_draws.

    The ball is in the input space, so `dim` is the number of values of an image (channel, height, width), not
    that of a map. `bound` is the largest l2 norm that the map of a draw can have.
    """
    return {"dim": math.prod(image_shape), "bound": 1.0, "nonnegative": int(reduction == "abs_sum")}


def beta_smooth(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    base: str = "gradient",
    beta: float = 1.0,
    chunk_size: int | None = None,
    differentiable: bool = False,
    **of_base: Any,
) -> torch.Tensor:
    """Return `base` of the network whose ReLUs are softplus(x) = ln(1 + exp(beta x)) / beta.

    Other piecewise-linear activations are softened likewise (see ``networks.activations.with_softplus``).
    `base` is one of ``BASES``, with its options in `of_base`.

    Raises
    ------
    ValueError
        If something in the network stays piecewise linear.

    References
    ----------
    Dombrowski et al., "Explanations Can Be Manipulated and Geometry Is to Blame", NeurIPS 2019, section 4;
    they take beta between 0.8 and 1.
    """
    explain = _base(base, chunk_size, of_base)
    check_softened(model, images)
    return explain(softened(model, beta), images, labels, differentiable=differentiable)


# Explanations that can be smoothed: those that neither draw points nor smooth another one.
BASES = {
    "gradient": GRADIENT,
    "input_x_gradient": INPUT_X_GRADIENT,
    "integrated_gradients": INTEGRATED_GRADIENTS,
    "deep_lift": DEEP_LIFT,
    "lrp": LRP,
    "guided_backprop": GUIDED_BACKPROP,
    "pattern_attribution": PATTERN_ATTRIBUTION,
}


def _base(name: str, chunk_size: int | None, parameters: Mapping[str, Any]) -> Explain:
    """Return the explanation to be smoothed, with the chunk size of the one that smooths it."""
    if name not in BASES:
        raise ValueError(f"base {name!r} cannot be smoothed; use one of {', '.join(BASES)}")
    base = BASES[name]
    explain = partial(base, **parameters)
    return partial(explain, chunk_size=chunk_size) if base.chunks else explain


BASE = Option(
    "base",
    "explanation that uniform_smooth and beta_smooth smooth, with its options; default: gradient",
    None,
    arguments=(("choices", tuple(BASES)),),
)
RADIUS = Option("radius", "radius of the l2 ball of uniform_smooth; default: 1", above=0)
REDUCTION = Option(
    "reduction",
    "how uniform_smooth reduces the channels of each draw: abs_sum gives non-negative maps, sum signed ones; "
    "default: abs_sum",
    None,
    arguments=(("choices", tuple(REDUCTIONS)),),
)
BETA = Option("beta", "beta of the softplus of beta_smooth; default: 1", above=0)

UNIFORM_SMOOTH = Explanation(
    uniform_smooth, (BASE, N_DRAWS, RADIUS, REDUCTION), draws=True, chunks=True, bases=BASES
)
BETA_SMOOTH = Explanation(beta_smooth, (BASE, BETA), chunks=True, bases=BASES)
