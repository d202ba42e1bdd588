"""Command: train a classifier under a regime and write a checkpoint.

Example: ``python -m generators.train --dataset fashion_mnist --data DIR --model small_cnn --training pgd
--epochs 5 --out pgd.pt``
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from . import checkpoints
from .commands import add_shared_options, command_line, device_of, positive_number, run, versions
from .datasets import DATASETS, Split, inputs_of
from .models import MODELS
from .regimes import PGD, PGD_SETTINGS, REGIMES, pgd_images


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(prog="python -m generators.train", description=__doc__)
    add_shared_options(parser)
    parser.add_argument("--training", required=True, choices=REGIMES)
    parser.add_argument("--epochs", default=5, type=positive_number, help="default: 5")
    parser.add_argument("--batch-size", default=50, type=positive_number, help="default: 50, as published")
    parser.add_argument(
        "--learning-rate", default=1e-4, type=float, help="of Adam; default: 1e-4, as published"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.pt")
    return parser


def accuracies(
    network: nn.Module, split: Split, settings: PGD, *, device: torch.device, seed: int
) -> tuple[float, float]:
    """Fractions of `split` classified correctly: as it is, and after PGD."""
    random = torch.Generator().manual_seed(seed)
    n_natural = n_pgd = 0
    for start in tqdm(range(0, len(split.labels), 500), desc="accuracy", disable=None):
        part = slice(start, start + 500)
        images = inputs_of(split.images[part], torch.float32, device)
        labels = torch.from_numpy(split.labels[part]).to(device)
        n_natural += int((network(images).argmax(1) == labels).sum())
        attacked = pgd_images(network, images, labels, settings, random)
        n_pgd += int((network(attacked).argmax(1) == labels).sum())
    return n_natural / len(split.labels), n_pgd / len(split.labels)


def train(options: argparse.Namespace) -> None:
    """Train, measure both accuracies on the test split, write the checkpoint."""
    device = device_of(options.device)
    if not options.learning_rate > 0:
        raise ValueError(f"--learning-rate must be above 0, got {options.learning_rate}")
    split = DATASETS[options.dataset](options.data, "train")
    test = DATASETS[options.dataset](options.data, "test")
    settings = PGD_SETTINGS[options.dataset]
    regime = REGIMES[options.training]
    checkpoints.reserve(options.out)

    torch.manual_seed(options.seed)
    network = MODELS[options.model]().to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=options.learning_rate)
    random = torch.Generator().manual_seed(options.seed)
    for epoch in range(options.epochs):
        order = torch.randperm(len(split.labels), generator=random).numpy()
        starts = range(0, len(order), options.batch_size)
        progress = tqdm(starts, desc=f"epoch {epoch + 1}/{options.epochs}", disable=None)
        for start in progress:
            batch = order[start : start + options.batch_size]
            images = inputs_of(split.images[batch], torch.float32, device)
            labels = torch.from_numpy(split.labels[batch]).to(device)
            loss = regime(network, images, labels, settings, random)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)

    network.eval().requires_grad_(False)
    natural, pgd = accuracies(network, test, settings, device=device, seed=options.seed)
    facts = {
        "dataset": options.dataset,
        "model": options.model,
        "training": options.training,
        "seed": options.seed,
        "epochs": options.epochs,
        "natural_accuracy": natural,
        "pgd_accuracy": pgd,
        "command": command_line("generators.train", {**vars(options), "device": device.type}),
        "versions": versions(),
    }
    checkpoints.save(options.out, network, facts)
    print(f"{options.out}: natural accuracy {natural:.4f}, PGD accuracy {pgd:.4f} (eps {settings.eps})")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = parser().parse_args(argv)
    return run(lambda: train(options))


if __name__ == "__main__":
    sys.exit(main())
