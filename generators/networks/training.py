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
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from ..datasets import Split, inputs_of
from ..identity import as_stored, refuse_other
from ..published import PGD, Optimizer, Settings
from ..rates import rate_at
from ..regimes import PARAMETERS, REGIMES, pgd_images, ramped
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
    batch_size, n_steps
        Samples per batch, and number of batches in the whole training.
    """

    split: Split
    samples: NDArray[np.int64]
    regime: str
    settings: Settings
    batch_size: int
    n_steps: int

    def batches_per_epoch(self) -> int:
        """Return the number of batches that have all samples once."""
        return math.ceil(len(self.samples) / self.batch_size)


class Training:
    """A network in training, with everything needed to continue after an interruption."""

    def __init__(self, network: nn.Module, device: torch.device, *, optimizer: Optimizer, seed: int) -> None:
        self.network = network.to(device).train()
        self.device = device
        self.optimizer = _optimizer(self.network, optimizer)
        self.scheduler = LambdaLR(self.optimizer, lambda step: rate_at(optimizer.learning_rate, step))
        self.random = torch.Generator().manual_seed(seed)  # draws the order and the starts of attacks
        self.n_epochs = 0
        # Of the current epoch: the order of the samples, and how many of them are done.
        self.order = torch.empty(0, dtype=torch.int64)
        self.n_done = 0
        # Of each epoch: the cross-entropy and the attribution term, summed over its batches.
        self.losses: list[list[float]] = []

    def n_steps(self, course: Course) -> int:
        """Return the number of batches that are done."""
        of_this_epoch = math.ceil(self.n_done / course.batch_size)
        return self.n_epochs * course.batches_per_epoch() + of_this_epoch

    def shares(self) -> list[float]:
        """Return the share of the attribution term in the loss, for each epoch."""
        return [term / (entropy + term or 1) for entropy, term in self.losses]

    def summary(self, course: Course) -> str:
        """Return a line about the last epoch."""
        n_batches = self.n_steps(course) - (len(self.losses) - 1) * course.batches_per_epoch()
        line = f"epoch {len(self.losses)}: mean loss of a batch {sum(self.losses[-1]) / n_batches:.4g}"
        if "weight" in PARAMETERS[course.regime]:
            line += f", of which the attribution term is {self.shares()[-1]:.2%}"
        return line

    def epoch(self, course: Course, after_batch: Callable[[], None]) -> None:
        """Train on the remaining samples of this epoch, in random order, up to the last step."""
        samples, size = course.samples, course.batch_size
        if not self.n_done:
            self.order = torch.randperm(len(samples), generator=self.random)
            self.losses.append([0.0, 0.0])
        order = samples[self.order.numpy()]
        starts = range(self.n_done, len(order), size)[: course.n_steps - self.n_steps(course)]
        with tqdm(starts, desc=f"epoch {self.n_epochs + 1}", unit="batch", disable=None) as progress:
            for start in progress:
                entropy, term = self._step(course, order[start : start + size])
                self.losses[-1] = [sum(pair) for pair in zip(self.losses[-1], (entropy, term), strict=True)]
                self.n_done = start + size
                if self.n_done >= len(order):
                    self.n_epochs, self.n_done = self.n_epochs + 1, 0
                after_batch()
                progress.set_postfix(loss=f"{entropy + term:.3f}", refresh=False)

    def _step(self, course: Course, samples: NDArray[np.int64]) -> tuple[float, float]:
        """Take one step and return the cross-entropy and the attribution term before it."""
        images, labels = load_batch(course.split, samples, self.device)
        settings = ramped(course.settings, self.n_steps(course))
        self.optimizer.zero_grad()
        losses = []
        for part in REGIMES[course.regime](self.network, images, labels, settings, self.random):
            torch.autograd.backward(part)
            losses.append(part.item())
        loss = sum(losses)
        if not math.isfinite(loss):
            raise ValueError(
                f"the loss is {loss} in epoch {self.n_epochs + 1}; try a smaller --learning-rate"
            )
        self.optimizer.step()
        self.scheduler.step()
        return losses[0], sum(losses[1:])

    def save(self, path: Path, options: Mapping[str, Any]) -> None:
        """Replace the state at `path`, which also names the settings that led to it."""
        cuda = torch.cuda.get_rng_state_all() if self.device.type == "cuda" else []
        state = {
            "options": {name: str(as_stored(value)) for name, value in options.items()},
            "n_epochs": self.n_epochs,
            "order": self.order,
            "n_done": self.n_done,
            "losses": self.losses,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
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
            if "losses" not in state:
                _complete(state)
        except Exception as error:  # on other bytes the unpickler fails in any way
            raise ValueError(
                f"{path} cannot be read as an unfinished training; delete it to start over"
            ) from error
        remedy = "use the same settings to continue, or delete the file to start over"
        refuse_other(path, stored, options, defaults, remedy=remedy)
        self.n_epochs, self.order, self.n_done = state["n_epochs"], state["order"], state["n_done"]
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if "scheduler" in state:  # older versions had constant rates only
            self.scheduler.load_state_dict(state["scheduler"])
        self.losses = state["losses"]
        own, shared, *cuda = state["random"]
        self.random.set_state(own)
        torch.set_rng_state(shared)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


def _optimizer(network: nn.Module, settings: Optimizer) -> torch.optim.Optimizer:
    """Return the optimizer with a rate of 1, which the scheduler multiplies."""
    if settings.momentum is None:
        return torch.optim.Adam(network.parameters(), lr=1.0)
    weights = [values for values in network.parameters() if values.ndim > 1]
    others = [values for values in network.parameters() if values.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": settings.weight_decay},
        {"params": others},
    ]
    return torch.optim.SGD(groups, lr=1.0, momentum=settings.momentum)


def _complete(state: dict[str, Any]) -> None:
    """Add what the state of an older version lacks: the losses so far, which are unknown."""
    if state["n_done"] and state["n_done"] == len(state["order"]):
        state["n_epochs"], state["n_done"] = state["n_epochs"] + 1, 0
    n_begun = state["n_epochs"] + (state["n_done"] > 0)
    state["losses"] = [[math.nan, math.nan]] * n_begun


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
