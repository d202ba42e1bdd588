"""Datasets by name: ``DATASETS`` describes each one, ``read_split`` reads one split of it.

The first of these that exists is read: ``NAME.npz``; a folder of images with ``labels.csv``; class folders;
the files of torchvision's dataset of that name, which torchvision downloads on request.
"""

import csv
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image


class Images(Protocol):
    """The images of a split: indexing returns (sample, height, width[, channel]) uint8."""

    def __getitem__(self, index: Any, /) -> NDArray[np.uint8]: ...


class Split(NamedTuple):
    """One split in dataset order: images, class indices, and the (height, width) of an image."""

    images: Images
    labels: NDArray[np.int64]
    shape: tuple[int, int]


@dataclass(frozen=True)
class Dataset:
    """Properties of a dataset.

    Attributes
    ----------
    n_classes, channels
        Number of classes and of colour channels.
    image_size
        Default height and width of images; those in an .npz keep their size.
    files, folders
        Further names that are tried after ``NAME.npz`` and ``NAME/``.
    """

    n_classes: int
    channels: int
    image_size: int
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


DATASETS = {
    "fashion_mnist": Dataset(n_classes=10, channels=1, image_size=28),
    "mnist": Dataset(n_classes=10, channels=1, image_size=28),
    "gtsrb": Dataset(n_classes=43, channels=3, image_size=32, files=("gtsrb32_subset.npz",)),
    "cifar10": Dataset(n_classes=10, channels=3, image_size=32),
    "flower17": Dataset(n_classes=17, channels=3, image_size=128),
    # SqueezeNet's size in the papers on attribution robustness
    "imagenet": Dataset(n_classes=1000, channels=3, image_size=227, folders=("imagenet_val",)),
}

SPLITS = {"train": ("train",), "test": ("test", "val")}
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".webp", ".tif", ".tiff")


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
        One of ``DATASETS``.
    folder
        The folder with ``NAME.npz`` or ``NAME/``, or ``NAME/`` itself, or the root of torchvision's datasets.
    split
        ``"train"`` or ``"test"``: the arrays of this name in ``NAME.npz``; the rows of ``labels.csv`` with
        this word (or ``val`` for the test split) in the column ``split`` or ``repo_split``; the class folders
        in the folder of this name (or ``val``). If the splits are not marked, all images are for testing.
    image_size
        Height and width of the images: the shorter side is resized to it (bilinear, with antialiasing) and
        the center is cropped. Default: the stored size of an .npz, else that of the dataset.
    download
        Let torchvision download the dataset if `folder` does not have it.

    Raises
    ------
    FileNotFoundError
        If `folder` does not have the dataset.
    ValueError
        If a file cannot be read, or there is no such split.
    """
    dataset = DATASETS[name]
    arrays = _npz(name, folder)
    if arrays is not None:
        return _read_npz(arrays, split, dataset, image_size)
    size = image_size or dataset.image_size
    for parent in (*(folder / inner for inner in (name, *dataset.folders)), folder):
        read = _read_folder(parent, split, dataset, size)
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
    arrays = _npz(name, folder)
    if arrays is None or image_size is not None:
        size = image_size or DATASETS[name].image_size
        return size, size
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
    labels = _checked(labels, dataset, f"{path}: y_{split}")
    height, width = images.shape[1:3]
    if image_size is None or (height, width) == (image_size, image_size):
        return Split(images, labels, (height, width))
    return _decoded(lambda index: Image.fromarray(images[index]), labels, dataset, image_size)


def _checked(labels: Any, dataset: Dataset, where: str) -> NDArray[np.int64]:
    result = np.asarray(labels)
    if not np.issubdtype(result.dtype, np.integer) or (
        result.size and not 0 <= result.min() <= result.max() < dataset.n_classes
    ):
        raise ValueError(f"{where} must be class indices, integers from 0 to {dataset.n_classes - 1}")
    return result.astype(np.int64)


class _Decoded:
    """Images that `read` returns one by one, resized and cropped when they are indexed."""

    def __init__(self, read: Callable[[int], Image.Image], n: int, mode: str, size: int) -> None:
        self._read = read
        self._n = n
        self._mode = mode
        self._size = size

    def __getitem__(self, index: Any, /) -> NDArray[np.uint8]:
        chosen = np.arange(self._n)[index]
        shape = (len(chosen), self._size, self._size, *((3,) if self._mode == "RGB" else ()))
        result = np.empty(shape, dtype=np.uint8)
        for row, position in enumerate(chosen):
            result[row] = np.asarray(self._fitted(self._read(int(position))))
        return result

    def _fitted(self, image: Image.Image) -> Image.Image:
        image = image.convert(self._mode)
        size, shorter = self._size, min(image.size)
        if shorter != size:  # PIL's bilinear filter widens with the reduction: it is antialiased
            width, height = (size * side // shorter for side in image.size)
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = (round((side - size) / 2) for side in image.size)
        return image.crop((left, top, left + size, top + size))


def _decoded(
    read: Callable[[int], Image.Image], labels: NDArray[np.int64], dataset: Dataset, size: int
) -> Split:
    mode = "L" if dataset.channels == 1 else "RGB"
    return Split(_Decoded(read, len(labels), mode, size), labels, (size, size))


def _from_files(paths: Sequence[Path], labels: NDArray[np.int64], dataset: Dataset, size: int) -> Split:
    def read(index: int) -> Image.Image:
        try:
            with Image.open(paths[index]) as image:
                image.load()
                return image
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise ValueError(f"{paths[index]} cannot be read as an image: {error}") from error

    return _decoded(read, labels, dataset, size)


def _read_folder(parent: Path, split: str, dataset: Dataset, size: int) -> Split | None:
    """Read the split of a folder of images; return None if `parent` is not such a folder."""
    if (parent / "labels.csv").is_file():
        return _from_csv(parent / "labels.csv", split, dataset, size)
    for place in (parent / name for name in SPLITS[split]):
        if (place / "labels.csv").is_file():
            return _from_csv(place / "labels.csv", None, dataset, size)
        if (read := _class_folders(place, dataset, size)) is not None:
            return read
    read = _class_folders(parent, dataset, size)
    if read is not None and split != "test":
        raise ValueError(_only_test(parent))
    return read


def _only_test(path: Path) -> str:
    return (
        f"{path} does not mark images for training, so all are for testing; use folders train/ and test/, or "
        "a column split in labels.csv"
    )


def _from_csv(path: Path, split: str | None, dataset: Dataset, size: int) -> Split:
    """Read the rows of `split` by the column split (or repo_split), or all rows if `split` is None."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as a table of UTF-8 text: {error}") from error
    columns = set(rows[0]) if rows else set()
    if not {"file", "class_index"} <= columns:
        raise ValueError(f"{path} must have the columns file and class_index, and at least one row")
    column = next((name for name in ("split", "repo_split") if name in columns), None)
    if split is not None and column is not None:
        rows = [row for row in rows if row[column] in SPLITS[split]]
        if not rows:
            raise ValueError(f"{path}: no row has {' or '.join(SPLITS[split])} in column {column}")
    elif split not in (None, "test"):
        raise ValueError(_only_test(path))
    try:
        labels = [int(row["class_index"]) for row in rows]
        paths = [path.parent / row["file"] for row in rows]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: every row must have a file and an integer class_index: {error}") from error
    return _from_files(paths, _checked(labels, dataset, f"{path}: class_index"), dataset, size)


def _class_folders(parent: Path, dataset: Dataset, size: int) -> Split | None:
    """Read one folder per class, numbered in the order of names; return None if there are none."""
    if not parent.is_dir():
        return None
    folders = sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(folders) != dataset.n_classes:  # with other folders the positions would not be the class indices
        return None
    paths: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        images = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        paths += images
        labels += [label] * len(images)
    return _from_files(paths, np.array(labels, dtype=np.int64), dataset, size) if paths else None


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
    return _decoded(lambda index: samples[index][0], _checked(labels, dataset, class_name), dataset, size)
