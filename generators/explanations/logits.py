"""The logits of the images together with their attributions, without a second pass where one suffices."""

from functools import partial
from typing import Any

import torch
from torch import nn

from .record import Explain, Explanation


def with_logits(
    explain: Explain, model: nn.Module, images: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the attributions of `images` and the logits (sample, class) that `model` gives them.

    The logits are those of the explanation's own pass if it ends with the images (see ``Explanation``), else
    those of one more pass. They have no graph, and the device is not waited for.
    """
    method = explain.func if isinstance(explain, partial) else explain
    if not (isinstance(method, Explanation) and method.ends_with_images):
        return explain(model, images, labels), _logits(model, images)
    last: list[torch.Tensor] = []

    def keep(module: nn.Module, args: Any, output: torch.Tensor) -> None:
        last[:] = [output.detach()]

    handle = model.register_forward_hook(keep)
    try:
        attributions = explain(model, images, labels)
    finally:
        handle.remove()
    # A pass of fewer samples than there are images was one of several groups of images.
    if not last or len(last[0]) < len(images):
        return attributions, _logits(model, images)
    return attributions, last[0][len(last[0]) - len(images) :]


def _logits(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = model(images)
    return result
