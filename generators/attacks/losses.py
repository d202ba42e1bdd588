"""Losses of attribution maps that directed attacks minimize, one value per sample.

Every loss takes `maps` (sample, height, width) that each sum to 1. Samples do not influence one another, so
the gradient of the sum consists of the gradients of the samples.
"""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import max_pool2d

from ..explanations import Explain, abs_sum


def smooth_maps(
    model: nn.Module, explanation: Explain, images: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """Return the ``shares`` of the maps of `images`, with a graph back to the images."""
    attributions = explanation(model, images, labels, differentiable=True)
    if not attributions.requires_grad:
        raise ValueError(
            "this explanation has no gradient with respect to the image, which this attack needs; use "
            "another explanation, or an attack by noise"
        )
    return shares(abs_sum(attributions))


def shares(maps: torch.Tensor) -> torch.Tensor:
    """Divide each map by its sum, or else a paler map with the same order would lower the loss."""
    total = maps.sum((1, 2), keepdim=True)
    return maps / torch.where(total > 0, total, 1)  # keep a map of zeros free of NaN


def value_and_gradient(
    loss: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of each sample and its gradient with respect to the sample's image."""
    inputs = images.detach().requires_grad_(True)
    values = loss(inputs)
    (gradient,) = torch.autograd.grad(values.sum(), inputs)
    return values.detach(), gradient


def inside(maps: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the sum over the pixels of `mask`, times the number of all pixels."""
    return (maps * mask).sum((1, 2)) * maps[0].numel()


def centers(maps: torch.Tensor) -> torch.Tensor:
    """Return row and column, in pixels, of the center of mass of each map: (sample, 2)."""
    height, width = maps.shape[1:]
    rows, columns = torch.arange(height).to(maps), torch.arange(width).to(maps)
    return torch.stack([(maps.sum(2) * rows).sum(1), (maps.sum(1) * columns).sum(1)], dim=1)


def squared_shift(maps: torch.Tensor, origin: torch.Tensor) -> torch.Tensor:
    """Return the squared distance, in pixels, of each map's center of mass from its row in `origin`."""
    return (centers(maps) - origin).square().sum(1)


def squared_error(values: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return the mean squared difference of each sample's values (map or output) from those `wanted`."""
    return (values - wanted).square().flatten(1).mean(1)


def target_map_loss(
    model: nn.Module,
    explanation: Explain,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    targets: torch.Tensor,
    output: torch.Tensor,
    map_weight: float,
    output_weight: float,
    on_logits: bool,
) -> torch.Tensor:
    """Return the weighted sum of the squared errors of maps and outputs that target_map minimizes."""
    maps = smooth_maps(model, explanation, images, labels)
    found = output_of(model, images, on_logits)
    return map_weight * squared_error(maps, targets) + output_weight * squared_error(found, output)


def output_of(model: nn.Module, images: torch.Tensor, on_logits: bool) -> torch.Tensor:
    """Return the softmax of the model's logits, or the logits."""
    logits: torch.Tensor = model(images)
    return logits if on_logits else logits.softmax(1)


def top_mask(maps: torch.Tensor, k: int) -> torch.Tensor:
    """Return a mask of each map's k largest pixels; ties go to the lower flat index, as in lensmetrics."""
    flat = maps.flatten(1)
    order = torch.argsort(flat, dim=1, descending=True, stable=True)
    mask = torch.zeros_like(flat, dtype=torch.bool)
    mask.scatter_(1, order[:, :k], True)
    return mask.reshape(maps.shape)


def dilated(mask: torch.Tensor, w: int) -> torch.Tensor:
    """Return a mask of the pixels within Chebyshev distance w of `mask` (sample, height, width)."""
    return max_pool2d(mask.float(), 2 * w + 1, stride=1, padding=w) > 0


def region_mask(region: tuple[int, int, int, int], shape: tuple[int, int]) -> torch.Tensor:
    """Return a mask of the rectangle `region`: top, left, height, width in pixels.

    Raises
    ------
    ValueError
        If the rectangle has no pixels or extends beyond a map of this `shape` (height, width).
    """
    top, left, height, width = region
    if min(top, left) < 0 or min(height, width) < 1 or top + height > shape[0] or left + width > shape[1]:
        raise ValueError(
            f"the region (top, left, height, width) must have pixels and be inside the map of "
            f"{shape[0]}x{shape[1]}, got {region}"
        )
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[top : top + height, left : left + width] = True
    return mask
