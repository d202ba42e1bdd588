"""Integrated gradients of a training loss, and the attribution terms of regimes that are made of them."""

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import cross_entropy

# The function that is attributed: from logits and labels to one number per image.
Output = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def sum_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy summed over the samples."""
    return cross_entropy(logits, labels, reduction="sum")


def sample_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of each sample."""
    return cross_entropy(logits, labels, reduction="none")


def _probability(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return logits.softmax(1).gather(1, labels[:, None])[:, 0]


def _best_wrong_probability(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the probability of the best wrong class at each point; along a path the class may change."""
    wrong = logits.detach().scatter(1, labels[:, None], -math.inf).argmax(1)
    return _probability(logits, wrong)


def path_attributions(
    model: nn.Module,
    start: torch.Tensor,
    end: torch.Tensor,
    labels: torch.Tensor,
    n_points: int,
    *outputs: Output,
    jitter: torch.Tensor | None = None,
) -> list[torch.Tensor]:
    """Return integrated gradients of `outputs` from `start` to `end`, with a graph to `end` and parameters.

    This is (end - start) times the mean gradient at start + (k / n_points) (end - start), k = 1..n_points.
    `jitter`, numbers from 0 to 1 for each sample and point, is subtracted from k: drawn at random, few points
    have the mean of many. All points of all samples pass the network at once.
    """
    change = end - start
    steps = torch.arange(1, n_points + 1, dtype=end.dtype, device=end.device)
    fractions = (steps if jitter is None else steps - jitter) / n_points
    points = start[:, None] + fractions[..., None, None, None] * change[:, None]
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
    model: nn.Module,
    images: torch.Tensor,
    attacked: torch.Tensor,
    labels: torch.Tensor,
    n_points: int,
    jitter: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the l1 norm of each sample's IG^CE from `images` to `attacked`.

    The cross-entropy is not clipped; the released code clips probabilities at 1e-10.
    """
    (change,) = path_attributions(model, images, attacked, labels, n_points, sample_loss, jitter=jitter)
    return change.abs().flatten(1).sum(1)


def class_contrast(
    model: nn.Module,
    attacked: torch.Tensor,
    labels: torch.Tensor,
    n_points: int,
    jitter: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return L_CACR of each sample: KL(u, softmax(NCA)) - KL(u, softmax(TCA)), u uniform over pixels.

    TCA and NCA are integrated gradients from black of the softmax output of the true class and of the best
    wrong one, summed over channels with their sign. L_CACR is low if few pixels explain the true class.
    """
    black = torch.zeros_like(attacked)
    outputs = (_probability, _best_wrong_probability)
    true, wrong = path_attributions(model, black, attacked, labels, n_points, *outputs, jitter=jitter)
    return _from_uniform(wrong) - _from_uniform(true)


def _from_uniform(attributions: torch.Tensor) -> torch.Tensor:
    pixels = attributions.sum(1).flatten(1)
    return -pixels.log_softmax(1).mean(1) - math.log(pixels.shape[1])


def weighted_change(
    model: nn.Module,
    images: torch.Tensor,
    attacked: torch.Tensor,
    labels: torch.Tensor,
    n_points: int,
    jitter: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return L_WACR of each sample: the change of the attribution, weighted by the attribution before.

    BaseAttr is IG from black to `images` of the true class's softmax output and DeltaAttr is -IG^CE from
    `images` to `attacked`: BaseAttr * DeltaAttr summed where their signs agree, abs(DeltaAttr) elsewhere.
    """
    black = torch.zeros_like(images)
    (base,) = path_attributions(model, black, images, labels, n_points, _probability, jitter=jitter)
    (change,) = path_attributions(model, images, attacked, labels, n_points, sample_loss, jitter=jitter)
    delta = -change
    agree = base.sign() == delta.sign()
    return torch.where(agree, base * delta, delta.abs()).flatten(1).sum(1)
