"""Small trainings for tests: their data, their command, their interruption."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from generators import train
from generators.networks import checkpoints
from generators.regimes import REGIMES

BRIEF = ("--steps", "2", "--step-size", "0.05", "--n-points", "3", "--inner-n-points", "2")


def bright_rows(n: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images whose class is the row that is bright, sorted by class."""
    random = np.random.default_rng(seed)
    labels = np.sort(np.arange(n) % 10)
    images = random.integers(0, 60, (n, 28, 28), dtype=np.uint8)
    images[np.arange(n), 2 * labels + 4] += 150
    return images, labels


def write_datasets(path: Path) -> None:
    """Write fashion_mnist.npz, 200 bright rows, and cifar10.npz, 12 images of noise."""
    (x_train, y_train), (x_test, y_test) = bright_rows(200, 0), bright_rows(40, 1)
    np.savez(path / "fashion_mnist.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    random = np.random.default_rng(2)
    np.savez(
        path / "cifar10.npz",
        x_train=random.integers(0, 255, (12, 8, 8, 3), dtype=np.uint8),
        y_train=np.arange(12) % 10,
        x_test=random.integers(0, 255, (4, 8, 8, 3), dtype=np.uint8),
        y_test=np.arange(4),
    )


def arguments(folder: Path, out: str, *more: str, length: tuple[str, str] = ("--epochs", "2")) -> list[str]:
    """Options of a training, natural unless `more` says otherwise."""
    return [
        *("--dataset", "fashion_mnist", "--data", str(folder), "--model", "small_cnn", "--device", "cpu"),
        *(*length, "--batch-size", "20", "--learning-rate", "0.003", "--training", "natural"),
        *("--accuracy-samples", "20", "--out", str(folder / out), *more),
    ]


def run_train(folder: Path, out: str, *more: str, length: tuple[str, str] = ("--epochs", "2")) -> int:
    """Train and return the exit status."""
    return train.main(arguments(folder, out, *more, length=length))


def load_checkpoint(
    path: Path, model: str = "small_cnn", dataset: str = "fashion_mnist"
) -> tuple[Any, dict[str, Any]]:
    """Return the network of a checkpoint, and what the file says of it."""
    return checkpoints.load(path, dataset=dataset, model=model)


def assert_same_weights(one: Path, other: Path) -> None:
    """Compare two checkpoints bit by bit."""
    first, second = load_checkpoint(one)[0].state_dict(), load_checkpoint(other)[0].state_dict()
    assert first.keys() == second.keys()
    assert all((first[name] == second[name]).all() for name in first)


def interrupt_in_epoch(monkeypatch: pytest.MonkeyPatch, regime: str, n_batches: int) -> None:
    """Raise KeyboardInterrupt in the batch after `n_batches`."""
    whole = REGIMES[regime]
    calls: list[Any] = []

    @functools.wraps(whole)
    def interrupted(*args: Any) -> Any:
        if len(calls) == n_batches:
            raise KeyboardInterrupt
        calls.append(args)
        return whole(*args)

    monkeypatch.setitem(REGIMES, regime, interrupted)
