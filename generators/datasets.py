"""Datasets by name: ``DATASETS`` describes each one, ``read_split`` reads one split of it.

The first of these that exists is read: ``NAME.npz``; a folder of images with ``labels.csv``; class folders;
the files of torchvision's dataset of that name, which torchvision downloads on request. A name that is not
in the table is that of a folder of one's own, in the folder of the data.
"""

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from .image_folders import own_dataset, read_folder
from .splits import Dataset, checked_labels, decoded
from .splits import Split as Split

DATASETS = {
    "fashion_mnist": Dataset(n_classes=10, channels=1, image_size=28),
    "mnist": Dataset(n_classes=10, channels=1, image_size=28),
    "gtsrb": Dataset(n_classes=43, channels=3, image_size=32, files=("gtsrb32_subset.npz",)),
    "cifar10": Dataset(n_classes=10, channels=3, image_size=32),
    "flower17": Dataset(n_classes=17, channels=3, image_size=128),
    # SqueezeNet's size in the papers on attribution robustness
    "imagenet": Dataset(n_classes=1000, channels=3, image_size=227, folders=("imagenet_val",)),
}


def described(name: str, folder: Path) -> Dataset:
    """Return the properties of a dataset: those of the table, or of the folder `name` in `folder`.

    Raises
    ------
    FileNotFoundError
        If it is not in the table, and there is no folder with images of that name.
    """
    return DATASETS[name] if name in DATASETS else own_dataset(folder / name)


def inputs_of(images: NDArray[np.uint8], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return network inputs (sample, channel, height, width) in [0, 1] from stored images."""
    channels_last = images[..., None] if images.ndim == 3 else images
    tensor = torch.from_numpy(np.ascontiguousarray(channels_last.transpose(0, 3, 1, 2)))
    return tensor.to(device=device, dtype=dtype) / 255


def read_split(
    name: str, folder: Path, split: str, *, image_size: int | None = None, download: bool = False
) -> Split:
    """Read the train or test split of dataset `name` in `folder`.

    Parameters
    ----------
    name
        One of ``DATASETS``, or a folder in `folder`.
    folder
        The folder with ``NAME.npz`` or ``NAME/``, or ``NAME/`` itself, or the root of torchvision's datasets.
    split
        ``"train"`` or ``"test"``: the arrays of this name in ``NAME.npz``; the rows of ``labels.csv`` with
        this word (or ``val`` for the test split) in the column ``split`` or ``repo_split``; the class folders
        in the folder of this name (or ``val``). If the splits are not marked, all images are for testing.
    image_size
        Height and width of the images: the shorter side is resized to it (bilinear, with antialiasing) and
        the center is cropped. Default: the stored size of an .npz, else that of the dataset, which for a
        folder of one's own is that of its images.
    download
        Let torchvision download the dataset if `folder` does not have it.

    Raises
    ------
    FileNotFoundError
        If `folder` does not have the dataset.
    ValueError
        If a file cannot be read, or there is no such split.
    """
    dataset = described(name, folder)
    if name not in DATASETS:
        read = read_folder(folder / name, split, dataset, image_size or 0)
        if read is None:
            raise ValueError(f"{folder / name} has no images for the {split} split, only for another")
        return read
    arrays = _npz(name, folder)
    if arrays is not None:
        return _read_npz(arrays, split, dataset, image_size)
    size = image_size or dataset.image_size
    for parent in (*(folder / inner for inner in (name, *dataset.folders)), folder):
        read = read_folder(parent, split, dataset, size)
        if read is not None:
            return read
    if name in _TORCHVISION:
        return _read_torchvision(name, folder, split, size, download=download)
    raise FileNotFoundError(_nothing_found(name, folder))


def image_shape(name: str, folder: Path, image_size: int | None) -> tuple[int, int]:
    """Return the height and width that `read_split` gives the test images, without reading their split.

    Raises
    ------
    ValueError
        If the file of arrays cannot be read.
    """
    if image_size is not None:
        return image_size, image_size
    if name not in DATASETS:
        return read_split(name, folder, "test").shape
    arrays = _npz(name, folder)
    if arrays is None:
        return DATASETS[name].image_size, DATASETS[name].image_size
    return _read_npz(arrays, "test", DATASETS[name], None).shape


def _npz(name: str, folder: Path) -> Path | None:
    files = (folder / file for file in (f"{name}.npz", *DATASETS[name].files))
    return next((file for file in files if file.is_file()), None)


def _nothing_found(name: str, folder: Path) -> str:
    dataset = DATASETS[name]
    files = " or ".join((f"{name}.npz", *dataset.files))
    folders = " or ".join(f"{inner}/" for inner in (name, *dataset.folders))
    sentence = (
        f"{folder} has no {name}: expected {files} (arrays x_train, y_train, x_test, y_test) or, in this "
        f"folder or in {folders}, images with labels.csv (columns file, class_index) or {dataset.n_classes} "
        "class folders, with or without train/ and test/ (or val/)"
    )
    if name not in _TORCHVISION:
        return f"{sentence}; give the right folder with --data"
    return f"{sentence}, or torchvision's files; give the right folder with --data, or add --download"


def _read_npz(path: Path, split: str, dataset: Dataset, image_size: int | None) -> Split:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            images, labels = arrays[f"x_{split}"], arrays[f"y_{split}"]
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, EOFError) as error:
        raise ValueError(f"{path} cannot be read as x_{split} and y_{split} arrays: {error}") from error
    n_dimensions, channels = (3, "") if dataset.channels == 1 else (4, ", 3")
    if (
        images.dtype != np.uint8
        or images.ndim != n_dimensions
        or images.shape[3:] not in ((), (3,))
        or labels.shape != images.shape[:1]
    ):
        raise ValueError(
            f"{path}: x_{split} must be uint8 (sample, height, width{channels}) with one y_{split} each, "
            f"got {images.dtype} {images.shape} and {labels.shape}"
        )
    labels = checked_labels(labels, dataset, f"{path}: y_{split}")
    height, width = images.shape[1:3]
    if image_size is None or (height, width) == (image_size, image_size):
        return Split(images, labels, (height, width))
    shape = (image_size, image_size)
    return decoded(lambda index: Image.fromarray(images[index]), labels, dataset.channels, shape)


# The class in torchvision.datasets, and its arguments for a split.
_TORCHVISION: dict[str, tuple[str, Callable[[str], dict[str, Any]]]] = {
    "fashion_mnist": ("FashionMNIST", lambda split: {"train": split == "train"}),
    "mnist": ("MNIST", lambda split: {"train": split == "train"}),
    "cifar10": ("CIFAR10", lambda split: {"train": split == "train"}),
    "gtsrb": ("GTSRB", lambda split: {"split": split}),
}


def _read_torchvision(name: str, folder: Path, split: str, size: int, *, download: bool) -> Split:
    class_name, arguments = _TORCHVISION[name]
    try:
        import torchvision.datasets
    except (ImportError, RuntimeError) as error:
        raise FileNotFoundError(f"{_nothing_found(name, folder)} (torchvision fails: {error})") from error
    kind = getattr(torchvision.datasets, class_name)
    try:
        samples = kind(folder, download=download, **arguments(split))
        labels = [samples[index][1] for index in range(len(samples))]
    except Exception as error:  # damaged raw files and pickles fail in any way
        if isinstance(error, RuntimeError) and not download:
            raise FileNotFoundError(_nothing_found(name, folder)) from error
        raise ValueError(f"torchvision cannot read {name} under {folder}: {error}") from error
    dataset = DATASETS[name]
    checked = checked_labels(labels, dataset, class_name)
    return decoded(lambda index: samples[index][0], checked, dataset.channels, (size, size))
