"""The attack that makes a map look like another one."""

import argparse
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from .. import published
from ..networks.activations import set_beta, with_softplus
from ..options import Option
from ..softening import Growth, Softening, beta_at
from ..softening import softening as parsed
from .batch import Batch
from .best import Best, Found
from .losses import output_of, shares, squared_error, target_map_loss, value_and_gradient
from .record import STEPS, Attack


def target_map(
    batch: Batch,
    *,
    targets: torch.Tensor,
    steps: int = 1500,
    learning_rate: float = 1e-3 * published.PIXEL,
    softening: Sequence[Softening] = (Growth(10, 100),),
    map_weight: float = 1e11,
    output_weight: float = 1e6,
    on_logits: bool = False,
) -> tuple[Found, ...]:
    """Make each map look like its map in `targets` (sample, height, width) and leave the output as it is.

    Maps are divided by their sums, so their error falls with the fourth power of the image's width; the
    weights are those published for 224x224, whose ratio is also that for 32x32 (see published.py). The one
    value of `softening` usually grows; if it is infinite, the model itself is used instead of its softplus
    copy. Max pooling is not softened.

    Among all iterates that keep their label, the one whose map on the model itself is closest to its target
    is returned; the released code returns the last one and does not check labels. It takes the target, and
    the output to be kept, from a softplus copy of beta 1000; here they are the model's own.

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
    wanted = targets.cpu()

    def error(position: int, unperturbed: NDArray[np.float32], perturbed: NDArray[np.float32]) -> list[float]:
        found = shares(torch.from_numpy(perturbed)[None].to(wanted))
        return [float(squared_error(found, wanted[position, None]))]

    best = Best(batch, error)
    _one(softening)
    (beta,) = softening
    is_soft = beta != math.inf
    smooth = with_softplus(model, beta_at(beta, 0, steps)) if is_soft else model
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

    def iterates() -> Iterator[torch.Tensor]:
        current = images.clone()
        adam = torch.optim.Adam([current], lr=learning_rate)
        for step in range(steps):
            if is_soft:
                set_beta(smooth, beta_at(beta, step, steps))
            current.grad = value_and_gradient(loss, current)[1]
            adam.step()
            current.clamp_(0, 1)
            yield current.clone()  # the next step overwrites it

    return best.among(iterates())


def _one(softening: Sequence[Softening]) -> None:
    if len(softening) != 1:
        shown = " ".join(map(str, softening))
        raise ValueError(f"--softening of target_map must be one value, such as 10:100 or inf, got {shown}")


_PUBLISHED = "default: as published for explanation and network"
TARGET_MAP = Attack(
    target_map,
    (
        STEPS,
        Option("learning_rate", f"of target_map's Adam; {_PUBLISHED}", above=0),
        Option(
            "softening",
            f"target_map: beta of the softplus in place of ReLU; 10:100 grows with the steps; {_PUBLISHED}",
            parsed,
            check=_one,
            arguments=(("nargs", "+"),),
        ),
        Option("map_weight", f"target_map: weight of the map's error; {_PUBLISHED}", least=0),
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
