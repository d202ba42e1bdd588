"""Training regimes: ``REGIMES`` maps a name to the function that yields the loss of one batch.

Every function takes ``(model, images, labels, settings, random)``, images in [0, 1], and yields parts of the
loss: first the cross-entropy, then the attribution term, if the regime has one. Their sum is the loss; taking
the gradient of each part before requesting the next bounds the memory.

The cross-entropy that is trained uses the model in its current mode, which is training mode in a training
step. Inner loops and integrated gradients use evaluation mode, with fixed batch-norm statistics and without
dropout: the mode in which the model will be used, and in which samples do not influence one another
(MadryLab/robustness attacks that way). Second derivatives are those of the network itself: a ReLU contributes
none, the softmax does. The released code does the same; softplus is for attacks on finished networks.

Sources: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018 (pgd); Chen
et al., "Robust Attribution Regularization", NeurIPS 2019 (ig_norm, ig_sum_norm; "RAR"); Sarkar, Sarkar,
Balasubramanian, "Enhanced Regularizers for Attributional Robustness", AAAI 2021 (art).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from .paths import change_norm, class_contrast, sum_loss, weighted_change
from .published import PGD, Settings


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode, and restore its mode at the end."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


# From images to the number to be raised, summed over the samples.
Objective = Callable[[torch.Tensor], torch.Tensor]


def random_start(images: torch.Tensor, settings: PGD, random: torch.Generator) -> torch.Tensor:
    """Return points uniform in the ball around `images`, clamped to [0, 1]."""
    start = torch.rand(images.shape, generator=random, dtype=images.dtype).to(images.device)
    return (images + settings.eps * (2 * start - 1)).clamp(0, 1)


def _ascend(objective: Objective, images: torch.Tensor, start: torch.Tensor, settings: PGD) -> torch.Tensor:
    """Take sign steps from `start` that raise `objective`, in the ball around `images` and in [0, 1]."""
    lower, upper = (images - settings.eps).clamp_min(0), (images + settings.eps).clamp_max(1)
    current = torch.clamp(start, lower, upper)
    for _ in range(settings.steps):
        current.requires_grad_(True)
        (direction,) = torch.autograd.grad(objective(current), current)
        current = torch.clamp(current.detach() + settings.step_size * direction.sign(), lower, upper)
    return current


def pgd_images(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, settings: PGD, random: torch.Generator
) -> torch.Tensor:
    """Return images that raise the cross-entropy, from a random start in the ball, clamped to [0, 1]."""
    start = random_start(images, settings, random)
    with evaluating(model):
        return _ascend(lambda current: sum_loss(model(current), labels), images, start, settings)


def ig_images(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    settings: Settings,
    random: torch.Generator,
    *,
    loss_weight: float,
    norm_weight: float,
) -> torch.Tensor:
    """Return images x' that raise loss_weight * CE(x') + norm_weight * the l1 norm of IG^CE(x -> x')."""
    start = random_start(images, settings, random)
    n_points = settings.inner_n_points
    jitter = _jitter(settings, (len(images), settings.steps, n_points), images, random)
    found = []
    with evaluating(model):
        for x, y, x_start, x_jitter in _chunks(settings, n_points, images, labels, start, jitter):
            objective = partial(
                _ig_objective, model, x, y, n_points, loss_weight, norm_weight, iter(x_jitter.unbind(1))
            )
            found.append(_ascend(objective, x, x_start, settings))
    return torch.cat(found)


def _ig_objective(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    n_points: int,
    loss_weight: float,
    norm_weight: float,
    jitter: Iterator[torch.Tensor],
    current: torch.Tensor,
) -> torch.Tensor:
    norm = norm_weight * change_norm(model, images, current, labels, n_points, next(jitter)).sum()
    return norm + loss_weight * sum_loss(model(current), labels) if loss_weight else norm


def _jitter(
    settings: Settings, shape: tuple[int, ...], images: torch.Tensor, random: torch.Generator
) -> torch.Tensor:
    """Return the jitter of all samples, drawn at once, so that it does not depend on the chunks."""
    if not settings.jitter:
        return images.new_zeros(shape)
    return torch.rand(shape, generator=random, dtype=images.dtype).to(images.device)


def ramped(settings: Settings, n_steps: int) -> Settings:
    """Return the settings after a number of training steps: in the ramp, a smaller ball and smaller steps."""
    if n_steps >= settings.eps_ramp:
        return settings
    part = (n_steps + 1) / settings.eps_ramp
    return replace(settings, eps=part * settings.eps, step_size=part * settings.step_size)


def _chunks(settings: Settings, n_points: int, *tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """Split the samples into groups of at most `chunk_size` points, but at least one sample."""
    size = max(1, settings.chunk_size // n_points)
    return zip(*(torch.split(tensor, size) for tensor in tensors), strict=True)


def natural(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, settings: PGD, random: torch.Generator
) -> Iterator[torch.Tensor]:
    """Yield the cross-entropy of the images themselves, averaged over the batch."""
    yield cross_entropy(model(images), labels)


def pgd(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, settings: PGD, random: torch.Generator
) -> Iterator[torch.Tensor]:
    """Yield the cross-entropy of PGD images, averaged over the batch."""
    yield cross_entropy(model(pgd_images(model, images, labels, settings, random)), labels)


def ig_norm(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, settings: Settings, random: torch.Generator
) -> Iterator[torch.Tensor]:
    """Yield CE(x) + weight * l1 norm of IG^CE(x -> x'), summed over the batch; x' maximizes the norm."""
    attacked = ig_images(model, images, labels, settings, random, loss_weight=0, norm_weight=1)
    yield sum_loss(model(images), labels)
    yield from _norm_parts(model, images, attacked, labels, settings, random)


def ig_sum_norm(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, settings: Settings, random: torch.Generator
) -> Iterator[torch.Tensor]:
    """Yield CE(x') + weight * l1 norm of IG^CE(x -> x'), summed over the batch; x' maximizes all of it."""
    weight = settings.weight
    attacked = ig_images(model, images, labels, settings, random, loss_weight=1, norm_weight=weight)
    yield sum_loss(model(attacked), labels)
    yield from _norm_parts(model, images, attacked, labels, settings, random)


def art(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, settings: Settings, random: torch.Generator
) -> Iterator[torch.Tensor]:
    """Yield CE(x') + weight * (``class_contrast`` + ``weighted_change``), summed; x' as in ``ig_sum_norm``.

    The first of the two terms is numerically nothing, in the released code as here: a softmax over the small
    attributions of all pixels is flat. On the trained networks of this project it is 3e-6 (pgd) and 3e-5
    (natural) per image where the second is .2 and 4. So this is pgd with a weighted change of attributions.

    The released code has flower17 only, with 20 points and 5 in the inner loop; it sums over the batch as
    well. Adam is invariant to a constant factor.
    """
    weight, n_points = settings.weight, settings.n_points
    attacked = ig_images(model, images, labels, settings, random, loss_weight=1, norm_weight=weight)
    yield sum_loss(model(attacked), labels)
    jitter = _jitter(settings, (len(images), n_points), images, random)
    for x, x_attacked, y, x_jitter in _chunks(settings, n_points, images, attacked, labels, jitter):
        with evaluating(model):
            part = weight * class_contrast(model, x_attacked, y, n_points, x_jitter).sum()
        yield part
        with evaluating(model):
            part = weight * weighted_change(model, x, x_attacked, y, n_points, x_jitter).sum()
        yield part


def _norm_parts(
    model: nn.Module,
    images: torch.Tensor,
    attacked: torch.Tensor,
    labels: torch.Tensor,
    settings: Settings,
    random: torch.Generator,
) -> Iterator[torch.Tensor]:
    n_points = settings.n_points
    jitter = _jitter(settings, (len(images), n_points), images, random)
    for x, x_attacked, y, x_jitter in _chunks(settings, n_points, images, attacked, labels, jitter):
        with evaluating(model):
            part = settings.weight * change_norm(model, x, x_attacked, y, n_points, x_jitter).sum()
        yield part


Regime = Callable[[nn.Module, torch.Tensor, torch.Tensor, Settings, torch.Generator], Iterator[torch.Tensor]]
REGIMES: dict[str, Regime] = {
    "natural": natural,
    "pgd": pgd,
    "ig_norm": ig_norm,
    "ig_sum_norm": ig_sum_norm,
    "art": art,
}
LOOP = ("eps", "steps", "step_size")
_ATTRIBUTION = (*LOOP, "n_points", "inner_n_points", "weight", "eps_ramp", "jitter")
# The settings that affect the loss of a regime.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "natural": (),
    "pgd": (*LOOP, "eps_ramp"),
    "ig_norm": _ATTRIBUTION,
    "ig_sum_norm": _ATTRIBUTION,
    "art": _ATTRIBUTION,
}
