"""Training of one network: epochs, accuracies, and the state that survives an interruption."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from ..datasets import Split, inputs_of
from ..identity import refuse_other
from ..published import PGD, Settings
from ..regimes import REGIMES, pgd_images
from . import checkpoints


@dataclass(frozen=True)
class Course:
    """What a network is trained on and how.

    Attributes
    ----------
    split, samples
        The training split, and the indices of the samples to train on.
    regime, settings
        One of ``REGIMES`` and its settings.
    batch_size
        Samples per batch.
    """

    split: Split
    samples: NDArray[np.int64]
    regime: str
    settings: Settings
    batch_size: int


class Training:
    """A network in training, with everything needed to continue after an interruption."""

    def __init__(self, network: nn.Module, device: torch.device, *, learning_rate: float, seed: int) -> None:
        self.network = network.to(device).train()
        self.device = device
        self.optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
        self.random = torch.Generator().manual_seed(seed)  # draws the order and the starts of attacks
        self.n_epochs = 0
        # Of the current epoch: the order of the samples, and how many of them are done.
        self.order = torch.empty(0, dtype=torch.int64)
        self.n_done = 0

    def epoch(self, course: Course, after_batch: Callable[[], None]) -> None:
        """Train on the remaining samples of this epoch, in random order."""
        samples, size = course.samples, course.batch_size
        if not self.n_done:
            self.order = torch.randperm(len(samples), generator=self.random)
        order = samples[self.order.numpy()]
        starts = range(self.n_done, len(order), size)
        with tqdm(starts, desc=f"epoch {self.n_epochs + 1}", unit="batch", disable=None) as progress:
            for start in progress:
                loss = self._step(course, order[start : start + size])
                self.n_done = min(start + size, len(order))
                after_batch()
                progress.set_postfix(loss=f"{loss:.3f}", refresh=False)
        self.n_epochs += 1
        self.n_done = 0

    def _step(self, course: Course, samples: NDArray[np.int64]) -> float:
        images, labels = load_batch(course.split, samples, self.device)
        self.optimizer.zero_grad()
        loss = 0.0
        for part in REGIMES[course.regime](self.network, images, labels, course.settings, self.random):
            torch.autograd.backward(part)
            loss += part.item()
        if not math.isfinite(loss):
            raise ValueError(
                f"the loss is {loss} in epoch {self.n_epochs + 1}; try a smaller --learning-rate"
            )
        self.optimizer.step()
        return loss

    def save(self, path: Path, options: Mapping[str, Any]) -> None:
        """Replace the state at `path`, which also names the settings that led to it."""
        cuda = torch.cuda.get_rng_state_all() if self.device.type == "cuda" else []
        state = {
            "options": {name: str(value) for name, value in options.items()},
            "n_epochs": self.n_epochs,
            "order": self.order,
            "n_done": self.n_done,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": [self.random.get_state(), torch.get_rng_state(), *cuda],
        }
        checkpoints.write(path, state)

    def resume(self, path: Path, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        """Restore the state at `path` if it was made with the same settings.

        Raises
        ------
        ValueError
            If it is not the state of a training, or of one with other settings.
        """
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            stored = state["options"]
        except Exception as error:  # on other bytes the unpickler fails in any way
            raise ValueError(
                f"{path} cannot be read as an unfinished training; delete it to start over"
            ) from error
        remedy = "use the same settings to continue, or delete the file to start over"
        refuse_other(path, stored, options, defaults, remedy=remedy)
        self.n_epochs, self.order, self.n_done = state["n_epochs"], state["order"], state["n_done"]
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        own, shared, *cuda = state["random"]
        self.random.set_state(own)
        torch.set_rng_state(shared)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


def accuracies(
    network: nn.Module,
    split: Split,
    samples: NDArray[np.int64],
    settings: PGD,
    *,
    device: torch.device,
    seed: int,
) -> tuple[float, float]:
    """Return the fractions of `samples` classified correctly, without perturbation and under PGD."""
    random = torch.Generator().manual_seed(seed)
    height, width = split.shape
    at_once = max(1, 2**18 // (height * width))
    n_natural = n_pgd = 0
    with tqdm(total=len(samples), desc="accuracy", unit="sample", disable=None) as progress:
        for start in range(0, len(samples), at_once):
            images, labels = load_batch(split, samples[start : start + at_once], device)
            attacked = pgd_images(network, images, labels, settings, random)
            with torch.no_grad():
                n_natural += int((network(images).argmax(1) == labels).sum())
                n_pgd += int((network(attacked).argmax(1) == labels).sum())
            progress.update(len(labels))
    return n_natural / len(samples), n_pgd / len(samples)


def load_batch(
    split: Split, samples: NDArray[np.int64], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images and labels of `samples` as tensors."""
    labels = torch.from_numpy(split.labels[samples]).to(device)
    return inputs_of(split.images[samples], torch.float32, device), labels
