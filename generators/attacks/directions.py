"""Whether attacks find a direction at all, with a softening and an explanation."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from ..explanations import Explain
from ..networks.activations import with_softplus
from ..softening import Growth, Softening, beta_at
from .losses import smooth_maps


def check_softening(
    model: nn.Module,
    explain: Explain,
    images: torch.Tensor,
    labels: torch.Tensor,
    softening: Sequence[Softening],
    steps: int,
) -> None:
    """Refuse a softening with which maps have no gradient, or one that is no number.

    A piecewise-linear network has no second derivative, so its gradient has no derivative: an attack on it
    would not move, and look like robustness. Products with the input have one. So it is measured, at points
    near the images, because the images themselves may be special, such as black.

    Raises
    ------
    ValueError
        If that is so for all images, at the first or the last step.
    """
    for item, beta in _betas(softening, steps):
        network = model if beta == math.inf else with_softplus(model, beta)
        gradient, logits = _gradient(network, explain, images, labels)
        grows = f", which is {beta:.3g} at a step" if isinstance(item, Growth) else ""
        if not (gradient.isfinite().all() and logits.isfinite().all()):
            raise ValueError(
                f"--softening {_text(item)}{grows}: numbers of this network leave what {images.dtype} holds; "
                "take a value nearer to 1, the published one"
            )
        if not gradient.any():
            raise ValueError(
                f"--softening {_text(item)}{grows}: maps of this explanation then change with the image only "
                "in jumps, so that no direction is found; take a smaller value, such as 1 or 10"
            )


def _betas(softening: Sequence[Softening], steps: int) -> Iterator[tuple[Softening, float]]:
    """Yield every item with its beta, or with those of its first and its last step."""
    for item in softening:
        for beta in sorted({beta_at(item, 0, steps), beta_at(item, steps - 1, steps)}):
            yield item, beta


def _gradient(
    network: nn.Module, explain: Explain, images: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradient of a random sum of each map, near its image, and the logits there.

    Logits that overflow can leave a finite gradient, that of slopes which are 0 and 1.
    """
    random = torch.Generator()
    random.manual_seed(0)
    noise, weights = (torch.rand(images.shape, generator=random).to(images) for _ in range(2))
    near = (0.9 * images + 0.1 * noise).requires_grad_(True)
    maps = smooth_maps(network, explain, near, labels)
    (gradient,) = torch.autograd.grad((maps * weights[:, 0]).sum(), near, materialize_grads=True)
    with torch.no_grad():
        return gradient, network(near)


def _text(item: Softening) -> str:
    return str(item) if isinstance(item, Growth) else f"{item:g}"
