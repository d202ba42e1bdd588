"""Explanations that average gradients over many points of the input."""

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from ..options import Option, positive_integer
from .forms import FORM, is_dombrowski, normalization
from .gradients import Score, gradient, gradient_of, logit, probability
from .points import Term, mean_over_points, random_draws
from .record import Explanation


def integrated_gradients(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    n_points: int = 100,
    form: str = "standard",
    chunk_size: int | None = None,
    differentiable: bool = False,
) -> torch.Tensor:
    """Return the input times the mean gradient at (k / n_points) * input, k = 1..n_points.

    The baseline is black. The form dombrowski explains the softmax of the label, not its logit, and its
    baseline is the mean image by which the network normalizes: normalized, it is 0.

    References
    ----------
    Sundararajan, Taly, Yan, "Axiomatic Attribution for Deep Networks", ICML 2017; the right-hand
    Riemann sum is the one of Chen et al., "Robust Attribution Regularization", NeurIPS 2019.
    """
    theirs = is_dombrowski(form)
    baseline = normalization(model, images, "integrated_gradients")[0] if theirs else images.new_zeros(())

    def draws(rows: slice, per_pass: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        fractions = torch.arange(1, n_points + 1, dtype=torch.float64) / n_points
        for part in torch.split(fractions.to(images), per_pass):
            scale = part[:, None, None, None, None]
            yield scale, (1 - scale) / scale * baseline

    mean = mean_over_points(
        _gradient_term(model, probability if theirs else logit),
        draws,
        images,
        labels,
        n_points=n_points,
        chunk_size=chunk_size,
        differentiable=differentiable,
    )
    return (images - baseline) * mean


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
    """Return the mean gradient under normal noise of standard deviation `sigma`.

    Noisy points are not clamped to [0, 1].

    References
    ----------
    Smilkov et al., "SmoothGrad: removing noise by adding noise", arXiv:1706.03825, section 3: noise of 10 to
    20 % of the input's range, which is 1 here, and little gain beyond 50 draws.
    """
    check_not_negative("sigma", sigma)

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
    """Return the mean of a noisy input times the gradient at a random point between black and that input.

    Without noise (the default, as in shap and captum) this is a Monte-Carlo estimate of integrated gradients.

    References
    ----------
    Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS 2017, and Erion et al.,
    Nature Machine Intelligence 3, 2021 (expected gradients); in the form of captum's GradientShap.
    """
    check_not_negative("sigma", sigma)

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


def _gradient_term(model: nn.Module, score: Score = logit) -> Term:
    """Return the term for `mean_over_points` that is the gradient of the score at each point."""

    def term(
        moved: torch.Tensor, points: torch.Tensor, labels: torch.Tensor, differentiable: bool
    ) -> torch.Tensor:
        return gradient_of(score, model, points, labels, differentiable=differentiable)

    return term


def check_not_negative(name: str, value: float) -> None:
    """Refuse a negative or undefined parameter."""
    if not value >= 0:
        raise ValueError(f"{name} must be at least 0, got {value}")


N_POINTS = Option(
    "n_points",
    "points of integrated_gradients; default: 100, or 30 in the form dombrowski",
    positive_integer,
    inside=("attack_n_points", "points inside the attack, where they cost most; default: --n-points"),
)
N_DRAWS = Option(
    "n_draws",
    "draws that smooth_grad, uniform_smooth and gradient_shap average; default: 50, 64 and 50; certificates "
    "of uniform_smooth need 1,000 to 10,000",
    positive_integer,
    inside=("attack_n_draws", "draws inside the attack; default: --n-draws"),
)
INDEPENDENT_DRAWS = Option(
    "independent_draws",
    "give the perturbed map of an explanation that draws its own draws; default: both maps of a pair have "
    "the same, and so look more alike than two independent estimates",
    None,
    arguments=(("action", "store_true"), ("default", None)),
)
SIGMA = Option(
    "sigma",
    "standard deviation of the noise of smooth_grad and gradient_shap; default: 0.15 and 0",
    least=0,
)

INTEGRATED_GRADIENTS = Explanation(integrated_gradients, (N_POINTS, FORM), chunks=True, ends_with_images=True)
SMOOTH_GRAD = Explanation(smooth_grad, (N_DRAWS, SIGMA), draws=True, chunks=True)
GRADIENT_SHAP = Explanation(gradient_shap, (N_DRAWS, SIGMA), draws=True, chunks=True)
