"""Datasets as arrays: ``DATASETS`` maps a name to the function that reads one split of it."""

import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray


class Split(NamedTuple):
    """One split in dataset order.

    ``images`` are (sample, height, width) or (sample, height, width, channel) uint8; ``labels`` are
    class indices.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


def inputs_of(images: NDArray[np.uint8], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Network inputs (sample, channel, height, width) in [0, 1] from stored images."""
    channels_last = images[..., None] if images.ndim == 3 else images
    tensor = torch.from_numpy(np.ascontiguousarray(channels_last.transpose(0, 3, 1, 2)))
    return tensor.to(device=device, dtype=dtype) / 255


def _read_npz(name: str, folder: Path, split: str) -> Split:
    path = folder / f"{name}.npz"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; --data must name the folder that holds {name}.npz "
            "(arrays x_train, y_train, x_test, y_test)"
        )
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            images, labels = arrays[f"x_{split}"], arrays[f"y_{split}"]
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, EOFError) as error:
        raise ValueError(f"{path} cannot be read as x_{split} and y_{split} arrays: {error}") from error
    if images.dtype != np.uint8 or images.ndim != 3 or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{path}: x_{split} must be uint8 (sample, height, width) with one y_{split} each, "
            f"got {images.dtype} {images.shape} and {labels.shape}"
        )
    return Split(images, labels.astype(np.int64))


DATASETS: dict[str, Callable[[Path, str], Split]] = {
    "fashion_mnist": partial(_read_npz, "fashion_mnist"),
    "mnist": partial(_read_npz, "mnist"),
}
