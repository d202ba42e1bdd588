"""Attacks on attributions: ``ATTACKS`` maps a name to the function that perturbs a batch of images.

Every function takes ``(model, images, labels, randoms)``: images (sample, channel, height, width) in [0, 1]
that the model classifies as `labels`, and one random generator per sample, so that results do not depend on
how samples are batched. It returns images in [0, 1] that lie in the ball of radius ``eps`` around them, l_inf
or for l2_topk l2; target_map has no ball. Samples do not influence one another.

All but random_sign take steps and return the best iterate by the metric `acceptance`, which is measured on
the map of the model itself. The directed ones find their direction on a copy of the model with softplus
(beta = 1) for ReLU. With `restarts` above 1, all runs but the first start at a random point of the ball, and
the best iterate of all runs is returned. Published code mixes the last image with the best map; here image
and map always belong together.

A perturbed image counts only if the model still gives its label. A sample for which none counts comes back
unperturbed, bit for bit: its perturbation is exactly 0 and its two maps are equal. It resisted, and leaving
it out would make the attack look stronger than it is.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..explanations import Explanation
from ..networks.models import set_beta, with_softplus
from .acceptance import Best, keeps_label, remains, select
from .iterate import Ball, Randoms, normal
from .losses import (
    centers,
    dilated,
    inside,
    output_of,
    region_mask,
    shares,
    smooth_maps,
    squared_error,
    squared_shift,
    target_map_loss,
    top_mask,
    value_and_gradient,
)

# A centre of mass that is closer to where it was, in pixels, has not moved.
_UNMOVED = 1e-3

# From the current images to the way each of them should go; only the sign counts in the l_inf ball.
Direction = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Settings:
    """Published radius, pixels attacked, number of steps and step size in the l_inf ball."""

    eps: float
    attack_k: int
    steps: int
    step_size: float


# Chen et al., "Robust Attribution Regularization", NeurIPS 2019; imagenet: steps of Ghorbani, Abid, Zou,
# "Interpretation of Neural Networks Is Fragile", AAAI 2019. None of these attacks cifar10: it follows gtsrb,
# whose images are as large.
SETTINGS = {
    "mnist": Settings(eps=0.3, attack_k=200, steps=100, step_size=0.01),
    "fashion_mnist": Settings(eps=0.1, attack_k=100, steps=100, step_size=0.01),
    "gtsrb": Settings(eps=8 / 255, attack_k=100, steps=50, step_size=1 / 255),
    "flower17": Settings(eps=8 / 255, attack_k=1000, steps=100, step_size=1 / 255),
    "cifar10": Settings(eps=8 / 255, attack_k=100, steps=50, step_size=1 / 255),
    "imagenet": Settings(eps=8 / 255, attack_k=1000, steps=300, step_size=0.5 / 255),
}

# Dombrowski et al. step in images divided by the standard deviations of ImageNet's channels: their learning
# rates times the mean of these are steps in [0, 1].
_PIXEL = 0.226


@dataclass(frozen=True)
class TargetMapSettings:
    """Published settings of target_map, whose parameters have these names."""

    steps: int
    learning_rate: float
    beta_start: float = 10.0
    beta_end: float = 100.0
    output_weight: float = 1e6
    on_logits: bool = False


# Dombrowski et al., "Explanations can be manipulated and geometry is to blame", NeurIPS 2019, supplement:
# by explanation for VGG-16, which serves what is not named, and by network for the gradient.
_TARGET_MAP_BY_EXPLANATION = {
    "gradient": TargetMapSettings(1500, 1e-3 * _PIXEL),
    "input_x_gradient": TargetMapSettings(1500, 1e-3 * _PIXEL),
    "integrated_gradients": TargetMapSettings(500, 5e-3 * _PIXEL),
    "lrp": TargetMapSettings(1500, 2e-4 * _PIXEL, beta_start=math.inf, beta_end=math.inf),
    "guided_backprop": TargetMapSettings(1500, 1e-3 * _PIXEL),
    "beta_smooth": TargetMapSettings(500, 2.5e-4 * _PIXEL),
}
_TARGET_MAP_BY_MODEL = {
    "alexnet": TargetMapSettings(4000, 1e-3 * _PIXEL, output_weight=10.0, on_logits=True),
    "resnet18": TargetMapSettings(2000, 1e-3 * _PIXEL, output_weight=10.0, on_logits=True),
    "densenet121": TargetMapSettings(2000, 5e-4 * _PIXEL, 30.0, 300.0, output_weight=10.0, on_logits=True),
}


def published(attack: str, dataset: str, model: str, explanation: str) -> Mapping[str, Any]:
    """The published parameters of an attack, by name; some may be none of its parameters."""
    if attack == "target_map":
        if explanation == "gradient" and model in _TARGET_MAP_BY_MODEL:
            return asdict(_TARGET_MAP_BY_MODEL[model])
        by_explanation = _TARGET_MAP_BY_EXPLANATION
        return asdict(by_explanation.get(explanation, by_explanation["gradient"]))
    settings = asdict(SETTINGS[dataset])
    if attack == "l2_topk":  # radius and step size are of the l_inf ball
        del settings["eps"], settings["step_size"]
    return settings


def random_sign(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, randoms: Randoms, *, eps: float
) -> torch.Tensor:
    """One draw per sample of eps times the sign of normal noise; it counts if the label stays.

    References
    ----------
    Kamath et al., "Rethinking Robustness of Model Attributions", AAAI 2024.
    """
    perturbed = torch.clamp(images + eps * normal(randoms, images).sign(), 0, 1)
    return select(keeps_label(model, perturbed, labels), perturbed, images)


def random_walk(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    randoms: Randoms,
    *,
    explanation: Explanation,
    eps: float,
    steps: int,
    step_size: float,
    acceptance: str = "kendall",
) -> torch.Tensor:
    """Steps by the sign of normal noise: the best of `steps` random images, stronger than random_sign.

    References
    ----------
    The attack called random in the code of Ghorbani, Abid, Zou, "Interpretation of Neural Networks Is
    Fragile", AAAI 2019.
    """
    best = Best(model, explanation, images, labels, remains(acceptance))
    ball = Ball(images, eps, "linf")
    return _best_iterate(best, ball, lambda current: normal(randoms, current), randoms, steps, step_size)


def topk(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    randoms: Randoms,
    *,
    explanation: Explanation,
    eps: float,
    steps: int,
    step_size: float,
    attack_k: int,
    acceptance: str = "kendall",
    restarts: int = 1,
) -> torch.Tensor:
    """Take attribution away from the top `attack_k` pixels of the unperturbed map.

    References
    ----------
    Ghorbani, Abid, Zou, "Interpretation of Neural Networks Is Fragile", AAAI 2019, algorithm 1; step size,
    softplus and acceptance by Kendall as in Chen et al., "Robust Attribution Regularization", NeurIPS 2019.
    """
    best = Best(model, explanation, images, labels, remains(acceptance))
    target = top_mask(best.unperturbed, attack_k)
    downhill = _downhill(model, explanation, labels, lambda maps: inside(maps, target))
    return _best_iterate(best, Ball(images, eps, "linf"), downhill, randoms, steps, step_size, restarts)


def topk_lens(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    randoms: Randoms,
    *,
    explanation: Explanation,
    eps: float,
    steps: int,
    step_size: float,
    attack_k: int,
    attack_w: int = 1,
    acceptance: str = "kendall",
    restarts: int = 1,
) -> torch.Tensor:
    """Take attribution away from all pixels within Chebyshev distance `attack_w` of the top `attack_k`.

    References
    ----------
    Kamath et al., "Rethinking Robustness of Model Attributions", AAAI 2024.
    """
    best = Best(model, explanation, images, labels, remains(acceptance))
    target = dilated(top_mask(best.unperturbed, attack_k), attack_w)
    downhill = _downhill(model, explanation, labels, lambda maps: inside(maps, target))
    return _best_iterate(best, Ball(images, eps, "linf"), downhill, randoms, steps, step_size, restarts)


def mass_center(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    randoms: Randoms,
    *,
    explanation: Explanation,
    eps: float,
    steps: int,
    step_size: float,
    acceptance: str = "kendall",
    restarts: int = 1,
) -> torch.Tensor:
    """Move the map's centre of mass away from where it is in the unperturbed map.

    The softplus copy's centre differs from the model's at the image itself, and that sets the first
    direction. Where the two agree to a thousandth of a pixel, the gradient is zero or rounding: such a sample
    takes a step of random sign instead, drawn from its own generator.

    References
    ----------
    Ghorbani, Abid, Zou, "Interpretation of Neural Networks Is Fragile", AAAI 2019, algorithm 1.
    """
    best = Best(model, explanation, images, labels, remains(acceptance))
    origin = centers(shares(best.unperturbed.to(images)))
    smooth = with_softplus(model)

    def direction(current: torch.Tensor) -> torch.Tensor:
        def loss(inputs: torch.Tensor) -> torch.Tensor:
            return squared_shift(smooth_maps(smooth, explanation, inputs, labels), origin)

        squared, uphill = value_and_gradient(loss, current)
        for sample in torch.nonzero(squared < _UNMOVED**2).flatten().tolist():
            uphill[sample] = normal(randoms[sample : sample + 1], current)[0]
        return uphill

    return _best_iterate(best, Ball(images, eps, "linf"), direction, randoms, steps, step_size, restarts)


def target_region(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    randoms: Randoms,
    *,
    explanation: Explanation,
    eps: float,
    steps: int,
    step_size: float,
    region: tuple[int, int, int, int],
    acceptance: str = "kendall",
    restarts: int = 1,
) -> torch.Tensor:
    """Move attribution into the rectangle `region`: top, left, height, width in pixels.

    References
    ----------
    Ghorbani, Abid, Zou, "Interpretation of Neural Networks Is Fragile", AAAI 2019, algorithm 1.
    """
    target = region_mask(region, (images.shape[2], images.shape[3])).to(images.device)
    best = Best(model, explanation, images, labels, remains(acceptance))
    downhill = _downhill(model, explanation, labels, lambda maps: -inside(maps, target))
    return _best_iterate(best, Ball(images, eps, "linf"), downhill, randoms, steps, step_size, restarts)


def target_map(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    randoms: Randoms,
    *,
    explanation: Explanation,
    targets: torch.Tensor,
    steps: int = 1500,
    learning_rate: float = 1e-3 * _PIXEL,
    beta_start: float = 10.0,
    beta_end: float = 100.0,
    map_weight: float = 1e11,
    output_weight: float = 1e6,
    on_logits: bool = False,
) -> torch.Tensor:
    """Make each map look like its map in `targets` (sample, height, width), leaving the output as it is.

    Adam on the image, clamped to [0, 1] but in no ball, minimises `map_weight` times the mean squared error
    of the map plus `output_weight` times that of the output: the softmax, or the logits with `on_logits`.
    Maps are divided by their sums, so that their error, and the balance of the two, depends on the image
    size; the weights are meant for 224x224. Beta grows from `beta_start` towards `beta_end`; with both
    infinite the model itself takes the place of its copy. Of all iterates that keep their label, the one
    whose map on the model itself comes closest to its target is returned; the released code returns the
    last, and checks no label.

    References
    ----------
    Dombrowski et al., "Explanations can be manipulated and geometry is to blame", NeurIPS 2019, section 2 and
    supplement. The released code steps in images divided by the standard deviation of ImageNet's channels:
    learning rates here are the published ones times 0.226, its mean.
    """
    if targets.shape != (len(images), *images.shape[2:]):
        raise ValueError(
            f"targets must hold one map per image, shape {(len(images), *images.shape[2:])}, "
            f"got {tuple(targets.shape)}"
        )
    targets = shares(targets.to(images))

    def error(unperturbed: torch.Tensor, perturbed: torch.Tensor) -> NDArray[np.float64]:
        result: NDArray[np.float64] = squared_error(shares(perturbed.to(targets)), targets).cpu().numpy()
        return result

    best = Best(model, explanation, images, labels, error)
    grows = math.isfinite(beta_start)
    smooth = with_softplus(model, beta_start) if grows else model
    with torch.no_grad():
        output = output_of(model, images, on_logits)

    def loss(inputs: torch.Tensor) -> torch.Tensor:
        return target_map_loss(
            smooth,
            explanation,
            inputs,
            labels,
            targets=targets,
            output=output,
            map_weight=map_weight,
            output_weight=output_weight,
            on_logits=on_logits,
        )

    current = images.clone()
    adam = torch.optim.Adam([current], lr=learning_rate)
    for step in range(steps):
        if grows:
            set_beta(smooth, beta_start * (beta_end / beta_start) ** (step / steps))
        current.grad = value_and_gradient(loss, current)[1]
        adam.step()
        current.clamp_(0, 1)
        best.offer(current)
    return best.images


def l2_topk(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    randoms: Randoms,
    *,
    explanation: Explanation,
    eps: float,
    steps: int,
    step_size: float,
    attack_k: int,
    acceptance: str = "kendall",
    restarts: int = 1,
) -> torch.Tensor:
    """As topk, in the l2 ball of radius `eps`: steps have the l2 length `step_size`.

    Certificates of attributions (Wang, Kong, "Certified l2 Attribution Robustness via Uniformly Smoothed
    Attributions", 2024) hold in l2 balls; this attack tries to break them.
    """
    best = Best(model, explanation, images, labels, remains(acceptance))
    target = top_mask(best.unperturbed, attack_k)
    downhill = _downhill(model, explanation, labels, lambda maps: inside(maps, target))
    return _best_iterate(best, Ball(images, eps, "l2"), downhill, randoms, steps, step_size, restarts)


def _downhill(
    model: nn.Module,
    explanation: Explanation,
    labels: torch.Tensor,
    loss: Callable[[torch.Tensor], torch.Tensor],
) -> Direction:
    """Against the gradient of the loss of the softplus copy's maps."""
    smooth = with_softplus(model)

    def of_images(inputs: torch.Tensor) -> torch.Tensor:
        return loss(smooth_maps(smooth, explanation, inputs, labels))

    return lambda current: -value_and_gradient(of_images, current)[1]


def _best_iterate(
    best: Best,
    ball: Ball,
    direction: Direction,
    randoms: Randoms,
    steps: int,
    step_size: float,
    restarts: int = 1,
) -> torch.Tensor:
    """Offer every iterate of every run to `best`, and return what it has kept."""
    for run in range(restarts):
        current = ball.images if run == 0 else ball.random_point(randoms)
        for _ in range(steps):
            current = ball.step(current, direction(current), step_size)
            best.offer(current)
    return best.images


Attack = Callable[..., torch.Tensor]
ATTACKS: dict[str, Attack] = {
    "random_sign": random_sign,
    "random_walk": random_walk,
    "topk": topk,
    "topk_lens": topk_lens,
    "mass_center": mass_center,
    "target_region": target_region,
    "target_map": target_map,
    "l2_topk": l2_topk,
}
