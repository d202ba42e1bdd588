"""The batch of images under attack, and how its values move between device and host."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..explanations import Explain, abs_sum, with_logits

Randoms = Sequence[np.random.Generator]


@dataclass(frozen=True)
class Batch:
    """Images under attack and what belongs to them.

    Attributes
    ----------
    model, images, labels
        Images (sample, channel, height, width) in [0, 1] that the model classifies as `labels`.
    randoms
        One random generator per sample, so that results do not depend on how samples are batched.
    explanation
        The explanation under attack; None for attacks that do not look at maps.
    starts
        Images found in a smaller ball. Each counts like an iterate, and the first is where runs start that
        would start at the images.
    """

    model: nn.Module
    images: torch.Tensor
    labels: torch.Tensor
    randoms: Randoms
    explanation: Explain | None = None
    starts: tuple[torch.Tensor, ...] = ()

    @property
    def explain(self) -> Explain:
        """The explanation under attack.

        Raises
        ------
        TypeError
            If there is none.
        """
        if self.explanation is None:
            raise TypeError("this attack needs an explanation")
        return self.explanation

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        """Return the maps of `images` on the model itself, as float32: magnitudes, also of signed ones."""
        return self.maps_and_labels(images)[0]

    def maps_and_labels(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the maps of `images` on the model itself, as float32, and the labels that it gives them."""
        attributions, logits = with_logits(self.explain, self.model, images, self.labels)
        return abs_sum(attributions).detach().float(), logits.argmax(1)

    def is_perturbed(self, images: torch.Tensor) -> torch.Tensor:
        """Return whether each image differs from its unperturbed one; one with NaN is none at all."""
        # The largest of values among which is NaN is NaN, which is not above 0.
        return (images - self.images).abs().flatten(1).amax(1) > 0

    def keeps_label(self, images: torch.Tensor) -> torch.Tensor:
        """Return whether the model classifies each image as its label."""
        with torch.no_grad():
            predictions: torch.Tensor = self.model(images).argmax(1)
        return predictions == self.labels


def normal(randoms: Randoms, like: torch.Tensor) -> torch.Tensor:
    """Return normal noise of the shape of `like`, each sample's from its own generator."""
    return on_device(np.stack([random.standard_normal(like.shape[1:]) for random in randoms]), like)


def select(accepted: torch.Tensor, new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    """Return the samples of `new` where `accepted`, of `old` elsewhere."""
    return torch.where(accepted[:, None, None, None], new, old)


def on_device(values: NDArray[Any], like: torch.Tensor) -> torch.Tensor:
    """Return the values on the device of `like`, numbers in its type, without waiting for a GPU.

    Only pinned memory can be copied while a GPU works.
    """
    host = torch.from_numpy(values)
    host = host.to(like.dtype) if host.is_floating_point() else host
    return host.pin_memory().to(like.device, non_blocking=True) if like.is_cuda else host


def on_host(*tensors: torch.Tensor) -> Callable[[], list[NDArray[Any]]]:
    """Begin to copy tensors to the host; return a function that waits for the copies, in any thread."""
    copies = [tensor.to("cpu", non_blocking=True) for tensor in tensors]
    copied = None
    if any(tensor.is_cuda for tensor in tensors):
        make_event: Any = torch.cuda.Event
        copied = make_event()
        copied.record()

    def arrays() -> list[NDArray[Any]]:
        if copied is not None:
            copied.synchronize()
        return [copy.numpy() for copy in copies]

    return arrays
