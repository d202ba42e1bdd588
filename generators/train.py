"""Command: train a classifier under a regime and write a checkpoint.

Weights start fresh and Adam changes them; images are not augmented, the learning rate stays as it is. (RAR
trains its networks for gtsrb and flower17 with momentum, a schedule and weight decay.) Both accuracies are of
the test split, the second under PGD as published for the dataset, whatever the training was. With --samples
or --accuracy-samples the samples are spread evenly over the split, which may be sorted by class.

Every ten seconds the state is kept in FILE.pt.part: interrupted, the same command goes on there. The same
seed gives the same weights on a CPU, interrupted or not; a GPU adds in varying order.

Example: ``python -m generators.train --dataset fashion_mnist --data DIR --model small_cnn --training pgd
--epochs 5 --out pgd.pt``
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from .commands import (
    Parser,
    add_shared_options,
    command_line,
    device_of,
    fraction,
    option,
    part_path,
    positive_number,
    run,
    versions,
)
from .datasets import DATASETS, Split, inputs_of, read_split
from .networks import checkpoints
from .networks.models import build, check_images
from .regimes import BATCH_SIZES, PARAMETERS, PGD, PGD_SETTINGS, REGIMES, Settings, pgd_images, published

OPTIONS: dict[str, tuple[Any, str]] = {
    "eps": (fraction, "radius of the ball in which training attacks; 8/255 may be written"),
    "steps": (positive_number, "steps of the inner loop"),
    "step_size": (fraction, "length of such a step"),
    "n_points": (positive_number, "points of integrated gradients in the loss"),
    "inner_n_points": (positive_number, "points of integrated gradients in the inner loop"),
    "weight": (fraction, "of the attribution term"),
}
# They change how the work is done, not what comes out, and stay out of the recorded command.
NOT_RECORDED = ("download",)
SAVE_EVERY = 10  # seconds of training that a kill can cost


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="python -m generators.train", description=__doc__)
    add_shared_options(parser)
    parser.add_argument("--training", required=True, choices=REGIMES)
    parser.add_argument("--epochs", default=5, type=positive_number, help="default: 5")
    parser.add_argument(
        "--samples", type=positive_number, metavar="N", help="training samples; default: all of the split"
    )
    parser.add_argument("--batch-size", type=positive_number, help="default: as published for the dataset")
    parser.add_argument(
        "--learning-rate", default=1e-4, type=float, help="of Adam; default: 1e-4, as published"
    )
    for name, (kind, text) in OPTIONS.items():
        parser.add_argument(option(name), type=kind, help=f"{text}; default: as published for the dataset")
    parser.add_argument(
        "--chunk-size",
        default=Settings.chunk_size,
        type=positive_number,
        help="images in one pass of the network for integrated gradients; bounds the memory; more are faster "
        f"on a GPU; default: {Settings.chunk_size}",
    )
    parser.add_argument(
        "--accuracy-samples", type=positive_number, metavar="N", help="test samples; default: all"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.pt")
    return parser


def settings_of(options: argparse.Namespace) -> Settings:
    """The regime's settings: as given, otherwise as published.

    Raises
    ------
    ValueError
        If nothing is published, an option means nothing for the regime, or a value is out of range.
    """
    settings = published(options.dataset, options.training)
    given = {name: getattr(options, name) for name in OPTIONS if getattr(options, name) is not None}
    idle = [name for name in given if name not in PARAMETERS[options.training]]
    if idle:
        raise ValueError(f"{option(idle[0])} means nothing for training {options.training}; leave it out")
    for name in ("eps", "step_size"):
        if not 0 < given.get(name, 1) <= 1:
            raise ValueError(f"{option(name)} must be above 0 and at most 1, got {given[name]}")
    for name, value in (("weight", given.get("weight", 1)), ("learning_rate", options.learning_rate)):
        if not 0 < value < math.inf:
            raise ValueError(f"{option(name)} must be above 0, got {value}")
    return replace(settings, **given, chunk_size=options.chunk_size)


def used_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Those settings, by name, that shape this training."""
    values = asdict(settings_of(options))
    return {name: values[name] for name in PARAMETERS[options.training]}


def recorded(options: argparse.Namespace) -> dict[str, Any]:
    """Every option that matters, defaults filled in."""
    used = used_settings(options)
    kept = {
        name: used.get(name) if name in OPTIONS else value
        for name, value in vars(options).items()
        if name not in NOT_RECORDED
    }
    batch_size = options.batch_size or BATCH_SIZES[options.dataset]
    return kept | {"batch_size": batch_size, "device": device_of(options.device).type}


def recorded_command(options: argparse.Namespace) -> str:
    """The command that makes this checkpoint again, defaults written out."""
    return command_line("generators.train", recorded(options))


def evenly_spread(n_wanted: int | None, n: int, name: str) -> NDArray[np.int64]:
    """Indices of `n_wanted` of `n` samples, at equal distances; all where it is None."""
    if n_wanted is None:
        return np.arange(n)
    if n_wanted > n:
        raise ValueError(f"{option(name)} must be at most {n} (the samples of the split), got {n_wanted}")
    return np.arange(n_wanted) * n // n_wanted


def accuracies(
    network: nn.Module,
    split: Split,
    samples: NDArray[np.int64],
    settings: PGD,
    *,
    device: torch.device,
    seed: int,
) -> tuple[float, float]:
    """Fractions of `samples` classified correctly: as they are, and after PGD."""
    random = torch.Generator().manual_seed(seed)
    height, width = split.shape
    at_once = max(1, 2**18 // (height * width))
    n_natural = n_pgd = 0
    with tqdm(total=len(samples), desc="accuracy", unit="sample", disable=None) as progress:
        for start in range(0, len(samples), at_once):
            images, labels = _batch(split, samples[start : start + at_once], device)
            attacked = pgd_images(network, images, labels, settings, random)
            with torch.no_grad():
                n_natural += int((network(images).argmax(1) == labels).sum())
                n_pgd += int((network(attacked).argmax(1) == labels).sum())
            progress.update(len(labels))
    return n_natural / len(samples), n_pgd / len(samples)


class Training:
    """A network in training with all that is needed to go on after an interruption."""

    def __init__(self, network: nn.Module, device: torch.device, *, learning_rate: float, seed: int) -> None:
        self.network = network.to(device).train()
        self.device = device
        self.optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
        self.random = torch.Generator().manual_seed(seed)  # draws the order and the starts of attacks
        self.n_epochs = 0
        # Of the epoch in work: the order of the samples, and how many of them are done.
        self.order = torch.empty(0, dtype=torch.int64)
        self.n_done = 0

    def epoch(
        self,
        split: Split,
        samples: NDArray[np.int64],
        regime: str,
        settings: Settings,
        batch_size: int,
        after_batch: Callable[[], None],
    ) -> None:
        """Go through what is left of `samples` in this epoch, in random order."""
        if not self.n_done:
            self.order = torch.randperm(len(samples), generator=self.random)
        order = samples[self.order.numpy()]
        starts = range(self.n_done, len(order), batch_size)
        with tqdm(starts, desc=f"epoch {self.n_epochs + 1}", unit="batch", disable=None) as progress:
            for start in progress:
                images, labels = _batch(split, order[start : start + batch_size], self.device)
                self.optimizer.zero_grad()
                loss = 0.0
                for part in REGIMES[regime](self.network, images, labels, settings, self.random):
                    torch.autograd.backward(part)
                    loss += part.item()
                if not math.isfinite(loss):
                    raise ValueError(
                        f"the loss is {loss} in epoch {self.n_epochs + 1}; try a smaller --learning-rate"
                    )
                self.optimizer.step()
                self.n_done = min(start + batch_size, len(order))
                after_batch()
                progress.set_postfix(loss=f"{loss:.3f}", refresh=False)
        self.n_epochs += 1
        self.n_done = 0

    def save(self, path: Path, options: dict[str, Any]) -> None:
        """Write the state, and what was asked for, in place of an older state."""
        cuda = torch.cuda.get_rng_state_all() if self.device.type == "cuda" else []
        state = {
            "options": _texts(options),
            "n_epochs": self.n_epochs,
            "order": self.order,
            "n_done": self.n_done,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": [self.random.get_state(), torch.get_rng_state(), *cuda],
        }
        checkpoints.write(path, state)

    def resume(self, path: Path, options: dict[str, Any]) -> None:
        """Take over the state in `path`, if the same options led to it.

        Raises
        ------
        ValueError
            If it is no state of a training, or of another one.
        """
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            begun = state["options"]
        except Exception as error:  # on bytes that are no state the unpickler fails in any way
            raise ValueError(
                f"{path} cannot be read as an unfinished training; delete it to begin anew"
            ) from error
        wanted = _texts(options)
        differs = [
            f"{option(name)} is {wanted.get(name)}, there {begun.get(name)}"
            for name in sorted(wanted.keys() | begun.keys())
            if wanted.get(name) != begun.get(name)
        ]
        if differs:
            raise ValueError(
                f"{path} was begun by another command: {'; '.join(differs)}. Run that command again, or "
                "delete the file to begin anew"
            )
        self.n_epochs, self.order, self.n_done = state["n_epochs"], state["order"], state["n_done"]
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        own, shared, *cuda = state["random"]
        self.random.set_state(own)
        torch.set_rng_state(shared)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


def train(options: argparse.Namespace) -> None:
    """Train, measure both accuracies on the test split, write the checkpoint."""
    checkpoints.reserve(options.out)
    with checkpoints.locked(options.out):
        _train(options)


def _train(options: argparse.Namespace) -> None:
    settings, wanted = settings_of(options), recorded(options)
    device, seed, path = device_of(options.device), options.seed, options.out
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"{path} exists already: delete it, or choose another name")
    split, test = (
        read_split(
            options.dataset, options.data, name, image_size=options.image_size, download=options.download
        )
        for name in ("train", "test")
    )
    samples = evenly_spread(options.samples, len(split.labels), "samples")
    measured = evenly_spread(options.accuracy_samples, len(test.labels), "accuracy_samples")

    torch.manual_seed(seed)  # for weights and dropout
    dataset = DATASETS[options.dataset]
    network = build(options.model, dataset.n_classes)
    check_images(network, dataset.channels, *split.shape)
    if any(getattr(module, "aux_logits", False) for module in network.modules()):
        raise ValueError(f"{options.model} has auxiliary outputs, which are not trained here; choose another")
    training = Training(network, device, learning_rate=options.learning_rate, seed=seed)
    part = part_path(path)
    if part.exists():
        training.resume(part, wanted)
    training.save(part, wanted)
    saved = time.monotonic()

    def save_sometimes() -> None:
        nonlocal saved
        if time.monotonic() - saved > SAVE_EVERY:
            training.save(part, wanted)
            saved = time.monotonic()

    while training.n_epochs < options.epochs:
        training.epoch(
            split, samples, options.training, settings, wanted["batch_size"], after_batch=save_sometimes
        )
        training.save(part, wanted)

    network.eval().requires_grad_(False)
    attack = PGD_SETTINGS[options.dataset]
    natural, pgd = accuracies(network, test, measured, attack, device=device, seed=seed)
    used = used_settings(options)
    facts = {
        **{name: wanted[name] for name in ("dataset", "model", "training", "seed", "epochs")},
        **{name: wanted[name] for name in ("batch_size", "learning_rate")},
        "samples": len(samples),
        "shape": split.shape,
        "settings": used,
        "natural_accuracy": natural,
        "pgd_accuracy": pgd,
        "pgd_settings": asdict(attack),
        "accuracy_samples": len(measured),
        "command": recorded_command(options),
        "versions": versions(),
    }
    checkpoints.save(path, network, facts)
    print(
        f"{path}: natural accuracy {natural:.4f}, PGD accuracy {pgd:.4f} (eps {attack.eps:g}, {attack.steps} "
        f"steps of {attack.step_size:g}) on {len(measured)} test samples"
    )


def _batch(
    split: Split, samples: NDArray[np.int64], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.from_numpy(split.labels[samples]).to(device)
    return inputs_of(split.images[samples], torch.float32, device), labels


def _texts(options: dict[str, Any]) -> dict[str, str]:
    """What tells two trainings apart; where the file lies does not."""
    return {name: str(value) for name, value in options.items() if name != "out"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(lambda: train(parser().parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
