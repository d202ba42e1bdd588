"""The attack that makes a map look like another one."""

import argparse
import math

import numpy as np
import torch
from numpy.typing import NDArray

from .. import published
from ..networks.activations import set_beta, with_softplus
from ..options import Option
from .iterate import Batch, Best, Found
from .losses import output_of, shares, squared_error, target_map_loss, value_and_gradient
from .record import STEPS, Attack


def target_map(
    batch: Batch,
    *,
    targets: torch.Tensor,
    steps: int = 1500,
    learning_rate: float = 1e-3 * published.PIXEL,
    beta_start: float = 10.0,
    beta_end: float = 100.0,
    map_weight: float = 1e11,
    output_weight: float = 1e6,
    on_logits: bool = False,
) -> tuple[Found, ...]:
    """Make each map look like its map in `targets` (sample, height, width) and leave the output as it is.

    Maps are divided by their sums, so their error, and its balance with that of the output, depends on the
    image size; the weights are meant for 224x224. Beta grows from `beta_start` towards `beta_end`; if both
    are infinite, the model itself is used instead of its softplus copy. Among all iterates that keep their
    label, the one whose map on the model itself is closest to its target is returned; the released code
    returns the last one and does not check labels.

    References
    ----------
    Dombrowski et al., "Explanations can be manipulated and geometry is to blame", NeurIPS 2019, section 2 and
    supplement. The released code steps in images divided by the standard deviations of ImageNet's channels:
    learning rates here are the published ones times 0.226, their mean.
    """
    model, images, labels = batch.model, batch.images, batch.labels
    if targets.shape != (len(images), *images.shape[2:]):
        raise ValueError(
            f"targets must hold one map per image, shape {(len(images), *images.shape[2:])}, "
            f"got {tuple(targets.shape)}"
        )
    targets = shares(targets.to(images))

    def error(unperturbed: torch.Tensor, perturbed: torch.Tensor) -> NDArray[np.float64]:
        result: NDArray[np.float64] = squared_error(shares(perturbed.to(targets)), targets).cpu().numpy()
        return result

    best = Best(batch, [error])
    grows = math.isfinite(beta_start)
    smooth = with_softplus(model, beta_start) if grows else model
    with torch.no_grad():
        output = output_of(model, images, on_logits)

    def loss(inputs: torch.Tensor) -> torch.Tensor:
        return target_map_loss(
            smooth,
            batch.explain,
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
    return best.found


_PUBLISHED = "default: as published for explanation and network"
TARGET_MAP = Attack(
    target_map,
    (
        STEPS,
        Option("learning_rate", f"of target_map's Adam; {_PUBLISHED}", above=0),
        Option(
            "beta_start",
            f"target_map: softplus beta of the first step; {_PUBLISHED}",
            above=0,
            may_be_infinite=True,
        ),
        Option(
            "beta_end",
            f"target_map: softplus beta towards the last step; {_PUBLISHED}",
            above=0,
            may_be_infinite=True,
        ),
        Option("map_weight", "target_map: weight of the map's error; default: 1e11", least=0),
        Option("output_weight", f"target_map: weight of the output's error; {_PUBLISHED}", least=0),
        Option(
            "on_logits",
            "target_map: keep the logits, not the softmax; default: as published for the network",
            None,
            arguments=(("action", argparse.BooleanOptionalAction),),
        ),
    ),
    published=published.target_map,
    needs_targets=True,
)
