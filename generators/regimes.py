"""Training regimes: ``REGIMES`` maps a name to the function that gives the loss of one batch.

Every function takes ``(model, images, labels, settings, random)``, images in [0, 1], and yields parts of the
loss. Their sum is the loss; taking each part's gradient before asking for the next bounds the memory.

The cross-entropy that is trained sees the model as it comes, in a training step in training mode. Inner loops
and integrated gradients see it in evaluation mode, with fixed batch-norm statistics and without dropout: as
it will be used, and so that samples do not influence one another (MadryLab/robustness attacks that way).
Second derivatives are those of the network itself: a ReLU adds none, the softmax does. The released code
does the same; softplus is for attacks on finished networks.

Sources: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018 (pgd); Chen
et al., "Robust Attribution Regularization", NeurIPS 2019 (ig_norm, ig_sum_norm; "RAR"); Sarkar, Sarkar,
Balasubramanian, "Enhanced Regularizers for Attributional Robustness", AAAI 2021 (art).
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn.functional import cross_entropy


@dataclass(frozen=True)
class PGD:
    """Sign steps in the l_inf ball of radius `eps` (inputs are in [0, 1])."""

    eps: float
    steps: int
    step_size: float


@dataclass(frozen=True)
class Settings(PGD):
    """The inner loop, and what the regimes on integrated gradients need besides.

    Attributes
    ----------
    n_points, inner_n_points
        Points of integrated gradients in the loss and, fewer, in the inner loop.
    weight
        Of the attribution term: lambda or beta in the papers.
    chunk_size
        Images that pass the network at once with a graph for second derivatives. One sample with all its
        points always does. On a CPU 50 to 500 are equally fast.
    """

    n_points: int
    inner_n_points: int
    weight: float
    chunk_size: int = 250


_COLOUR = PGD(eps=8 / 255, steps=7, step_size=2 / 255)

# RAR, section 5 and released configurations; cifar10, which it has not, is Madry et al.'s.
# Every checkpoint's PGD accuracy is measured with these.
PGD_SETTINGS = {
    "mnist": PGD(eps=0.3, steps=40, step_size=0.01),
    "fashion_mnist": PGD(eps=0.1, steps=20, step_size=0.01),
    "gtsrb": _COLOUR,
    "flower17": _COLOUR,
    "cifar10": _COLOUR,
}
BATCH_SIZES = {"mnist": 50, "fashion_mnist": 50, "gtsrb": 64, "flower17": 16, "cifar10": 128}
N_POINTS = 50
# The released code takes every fifth point in its inner loop for the first two, every tenth for the others.
_INNER_N_POINTS = {"mnist": 10, "fashion_mnist": 10, "gtsrb": 5, "flower17": 5, "cifar10": 5}
# Weights for cifar10 are those of gtsrb, which is 32x32 too.
_WEIGHTS = {
    "ig_norm": {"mnist": 1.0, "fashion_mnist": 1.0, "gtsrb": 1.0, "flower17": 0.1, "cifar10": 1.0},
    "ig_sum_norm": {"mnist": 0.1, "fashion_mnist": 0.1, "gtsrb": 1.0, "flower17": 0.1, "cifar10": 1.0},
    "art": dict.fromkeys(PGD_SETTINGS, 0.1),
}


def published(dataset: str, training: str) -> Settings:
    """Published settings of a regime on a dataset (a regime without attribution term has weight 0).

    Raises
    ------
    ValueError
        If there are none.
    """
    if dataset not in PGD_SETTINGS:
        raise ValueError(
            f"no settings for training on {dataset} are published, so it is not offered; take weights from "
            f"elsewhere, or train on one of {', '.join(PGD_SETTINGS)}"
        )
    loop = PGD_SETTINGS[dataset]
    weight = _WEIGHTS[training][dataset] if training in _WEIGHTS else 0.0
    return Settings(
        loop.eps,
        loop.steps,
        loop.step_size,
        n_points=N_POINTS,
        inner_n_points=_INNER_N_POINTS[dataset],
        weight=weight,
    )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, and afterwards in the mode it had."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


# --- the inner loop

# Images in, one number out.
Objective = Callable[[torch.Tensor], torch.Tensor]


def _random_start(images: torch.Tensor, settings: PGD, random: torch.Generator) -> torch.Tensor:
    start = torch.rand(images.shape, generator=random, dtype=images.dtype).to(images.device)
    return (images + settings.eps * (2 * start - 1)).clamp(0, 1)


def _ascend(objective: Objective, images: torch.Tensor, start: torch.Tensor, settings: PGD) -> torch.Tensor:
    """Sign steps that raise `objective` from `start`, in the ball around `images` and in [0, 1]."""
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
    """Images that raise the cross-entropy, from a uniform random start in the ball, clamped to [0, 1]."""
    start = _random_start(images, settings, random)
    with evaluating(model):
        return _ascend(lambda current: _sum_loss(model(current), labels), images, start, settings)


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
    """Images x' that raise loss_weight * CE(x') + norm_weight * the l1 norm of IG^CE(x -> x')."""
    start = _random_start(images, settings, random)
    n_points = settings.inner_n_points
    found = []
    with evaluating(model):
        for x, y, x_start in _chunks(settings, n_points, images, labels, start):
            objective = partial(_ig_objective, model, x, y, n_points, loss_weight, norm_weight)
            found.append(_ascend(objective, x, x_start, settings))
    return torch.cat(found)


def _ig_objective(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    n_points: int,
    loss_weight: float,
    norm_weight: float,
    current: torch.Tensor,
) -> torch.Tensor:
    norm = norm_weight * change_norm(model, images, current, labels, n_points).sum()
    return norm + loss_weight * _sum_loss(model(current), labels) if loss_weight else norm


# --- integrated gradients and the terms made of them

# What integrated gradients are taken of: logits and labels in, one number per image out.
Output = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _sum_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return cross_entropy(logits, labels, reduction="sum")


def _loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return cross_entropy(logits, labels, reduction="none")


def _probability(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return logits.softmax(1).gather(1, labels[:, None])[:, 0]


def _best_wrong_probability(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Of the best wrong class at each point: along a path it may change."""
    wrong = logits.detach().scatter(1, labels[:, None], -math.inf).argmax(1)
    return _probability(logits, wrong)


def path_attributions(
    model: nn.Module,
    start: torch.Tensor,
    end: torch.Tensor,
    labels: torch.Tensor,
    n_points: int,
    *outputs: Output,
) -> list[torch.Tensor]:
    """Integrated gradients of each of `outputs` from `start` to `end`, with a graph to `end` and parameters.

    (end - start) times the mean gradient at start + (k / n_points) (end - start), k = 1..n_points. All points
    of all samples pass the network at once.
    """
    change = end - start
    fractions = torch.arange(1, n_points + 1, dtype=end.dtype, device=end.device) / n_points
    points = start[:, None] + fractions[:, None, None, None] * change[:, None]
    flat = points.flatten(0, 1)
    flat = flat if flat.requires_grad else flat.requires_grad_(True)
    logits = model(flat)
    repeated = labels.repeat_interleave(n_points)
    found = []
    for output in outputs:
        (gradient,) = torch.autograd.grad(output(logits, repeated).sum(), flat, create_graph=True)
        found.append(change * gradient.view_as(points).mean(1))
    return found


def change_norm(
    model: nn.Module, images: torch.Tensor, attacked: torch.Tensor, labels: torch.Tensor, n_points: int
) -> torch.Tensor:
    """The l1 norm of each sample's IG^CE from `images` to `attacked`.

    The cross-entropy is not clipped; the released code holds it where the probability is below 1e-10.
    """
    (change,) = path_attributions(model, images, attacked, labels, n_points, _loss)
    return change.abs().flatten(1).sum(1)


def class_contrast(
    model: nn.Module, attacked: torch.Tensor, labels: torch.Tensor, n_points: int
) -> torch.Tensor:
    """L_CACR of each sample: KL(u, softmax(NCA)) - KL(u, softmax(TCA)), u uniform over pixels.

    TCA and NCA are integrated gradients from black of the softmax output of the true class and of the best
    wrong one, summed over channels with their sign. Low where few pixels explain the true class.
    """
    black = torch.zeros_like(attacked)
    outputs = (_probability, _best_wrong_probability)
    true, wrong = path_attributions(model, black, attacked, labels, n_points, *outputs)
    return _from_uniform(wrong) - _from_uniform(true)


def _from_uniform(attributions: torch.Tensor) -> torch.Tensor:
    pixels = attributions.sum(1).flatten(1)
    return -pixels.log_softmax(1).mean(1) - math.log(pixels.shape[1])


def weighted_change(
    model: nn.Module, images: torch.Tensor, attacked: torch.Tensor, labels: torch.Tensor, n_points: int
) -> torch.Tensor:
    """L_WACR of each sample: what the perturbation does to the attribution, weighted by what was there.

    BaseAttr is IG from black to `images` of the true class's softmax output and DeltaAttr is -IG^CE from
    `images` to `attacked`: BaseAttr * DeltaAttr summed where their signs agree, abs(DeltaAttr) elsewhere.
    """
    black = torch.zeros_like(images)
    (base,) = path_attributions(model, black, images, labels, n_points, _probability)
    (change,) = path_attributions(model, images, attacked, labels, n_points, _loss)
    delta = -change
    agree = base.sign() == delta.sign()
    return torch.where(agree, base * delta, delta.abs()).flatten(1).sum(1)


def _chunks(settings: Settings, n_points: int, *tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """Samples in groups with at most `chunk_size` points, one sample at least."""
    size = max(1, settings.chunk_size // n_points)
    return zip(*(torch.split(tensor, size) for tensor in tensors), strict=True)


# --- the regimes


def natural(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, settings: PGD, random: torch.Generator
) -> Iterator[torch.Tensor]:
    """Cross-entropy on the images as they are; mean over the batch."""
    yield cross_entropy(model(images), labels)


def pgd(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, settings: PGD, random: torch.Generator
) -> Iterator[torch.Tensor]:
    """Cross-entropy on PGD images; mean over the batch."""
    yield cross_entropy(model(pgd_images(model, images, labels, settings, random)), labels)


def ig_norm(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, settings: Settings, random: torch.Generator
) -> Iterator[torch.Tensor]:
    """CE(x) + weight * l1 norm of IG^CE(x -> x'), summed over the batch; x' maximises the norm."""
    attacked = ig_images(model, images, labels, settings, random, loss_weight=0, norm_weight=1)
    yield _sum_loss(model(images), labels)
    yield from _norm_parts(model, images, attacked, labels, settings)


def ig_sum_norm(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, settings: Settings, random: torch.Generator
) -> Iterator[torch.Tensor]:
    """CE(x') + weight * l1 norm of IG^CE(x -> x'), summed over the batch; x' maximises all of it."""
    weight = settings.weight
    attacked = ig_images(model, images, labels, settings, random, loss_weight=1, norm_weight=weight)
    yield _sum_loss(model(attacked), labels)
    yield from _norm_parts(model, images, attacked, labels, settings)


def art(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, settings: Settings, random: torch.Generator
) -> Iterator[torch.Tensor]:
    """CE(x') + weight * (``class_contrast`` + ``weighted_change``), summed; x' as in ``ig_sum_norm``.

    The released code has only flowers, there with 20 points and 5 in the inner loop, and sums over the batch
    too; Adam does not see a constant factor.
    """
    weight, n_points = settings.weight, settings.n_points
    attacked = ig_images(model, images, labels, settings, random, loss_weight=1, norm_weight=weight)
    yield _sum_loss(model(attacked), labels)
    for x, x_attacked, y in _chunks(settings, n_points, images, attacked, labels):
        with evaluating(model):
            part = weight * class_contrast(model, x_attacked, y, n_points).sum()
        yield part
        with evaluating(model):
            part = weight * weighted_change(model, x, x_attacked, y, n_points).sum()
        yield part


def _norm_parts(
    model: nn.Module,
    images: torch.Tensor,
    attacked: torch.Tensor,
    labels: torch.Tensor,
    settings: Settings,
) -> Iterator[torch.Tensor]:
    for x, x_attacked, y in _chunks(settings, settings.n_points, images, attacked, labels):
        with evaluating(model):
            part = settings.weight * change_norm(model, x, x_attacked, y, settings.n_points).sum()
        yield part


Regime = Callable[[nn.Module, torch.Tensor, torch.Tensor, Settings, torch.Generator], Iterator[torch.Tensor]]
REGIMES: dict[str, Regime] = {
    "natural": natural,
    "pgd": pgd,
    "ig_norm": ig_norm,
    "ig_sum_norm": ig_sum_norm,
    "art": art,
}
_LOOP = ("eps", "steps", "step_size")
_ATTRIBUTION = (*_LOOP, "n_points", "inner_n_points", "weight")
# The settings that shape a regime's loss.
PARAMETERS: dict[str, tuple[str, ...]] = {
    "natural": (),
    "pgd": _LOOP,
    "ig_norm": _ATTRIBUTION,
    "ig_sum_norm": _ATTRIBUTION,
    "art": _ATTRIBUTION,
}
