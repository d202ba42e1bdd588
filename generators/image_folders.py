"""Datasets in folders of image files: with ``labels.csv``, or one folder per class."""

import csv
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from .splits import Dataset, Split, checked_labels, decoded

SPLITS = {"train": ("train",), "test": ("test", "val")}
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".webp", ".tif", ".tiff")


def read_folder(parent: Path, split: str, dataset: Dataset, size: int) -> Split | None:
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


def own_dataset(place: Path) -> Dataset:
    """Return what a folder of one's own says of its dataset.

    Class folders are numbered in the order of their names, over all splits. Of ``labels.csv`` there are at
    least as many classes as the largest class_index says.

    Raises
    ------
    FileNotFoundError
        If it is no folder with ``labels.csv`` or class folders.
    """
    splits = [place / name for names in SPLITS.values() for name in names]
    tables = [path for parent in (place, *splits) if (path := parent / "labels.csv").is_file()]
    if tables:
        largest = max(max(_labels(_rows(path), path)) for path in tables)
        return Dataset(max(0, largest) + 1, is_open=True)
    classes = sorted({name for split in splits for name in _with_images(split)} or _with_images(place))
    if not classes:
        raise FileNotFoundError(
            f"{place} is no dataset: expected labels.csv (columns file, class_index) or one folder of images "
            f"({', '.join(SUFFIXES)}) per class, in this folder or in train/ and test/ (or val/) in it"
        )
    return Dataset(len(classes), classes=tuple(classes))


def _with_images(parent: Path) -> list[str]:
    """Return the names of the folders in `parent` that have images."""
    folders = [path for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []
    return [path.name for path in folders if path.name[0] != "." and any(map(_is_image, path.iterdir()))]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _from_csv(path: Path, split: str | None, dataset: Dataset, size: int) -> Split:
    """Read the rows of `split` by the column split (or repo_split), or all rows if `split` is None."""
    rows = _rows(path)
    column = next((name for name in ("split", "repo_split") if name in rows[0]), None)
    if split is not None and column is not None:
        rows = [row for row in rows if row[column] in SPLITS[split]]
        if not rows:
            raise ValueError(f"{path}: no row has {' or '.join(SPLITS[split])} in column {column}")
    elif split not in (None, "test"):
        raise ValueError(_only_test(path))
    labels = checked_labels(_labels(rows, path), dataset, f"{path}: class_index")
    return _from_files([path.parent / row["file"] for row in rows], labels, dataset, size)


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as a table of UTF-8 text: {error}") from error
    if not rows or not {"file", "class_index"} <= set(rows[0]):
        raise ValueError(f"{path} must have the columns file and class_index, and at least one row")
    return rows


def _labels(rows: Sequence[Mapping[str, str | None]], path: Path) -> list[int]:
    try:
        if any(row["file"] is None for row in rows):
            raise ValueError("a row has no file")
        return [int(row["class_index"] or "") for row in rows]
    except ValueError as error:
        raise ValueError(f"{path}: every row must have a file and an integer class_index: {error}") from error


def _class_folders(parent: Path, dataset: Dataset, size: int) -> Split | None:
    """Read one folder per class, numbered in the order of names; return None if there are none."""
    if not parent.is_dir():
        return None
    folders = sorted(path for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))
    if dataset.classes:
        folders = [parent / name for name in dataset.classes]
    elif len(folders) != dataset.n_classes:  # otherwise the positions would not be the class indices
        return None
    paths: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        images = sorted(filter(_is_image, folder.iterdir())) if folder.is_dir() else []
        paths += images
        labels += [label] * len(images)
    return _from_files(paths, np.array(labels, dtype=np.int64), dataset, size) if paths else None


def read_pictures(paths: Sequence[Path], dataset: Dataset, size: int) -> tuple[Split, list[str]]:
    """Read image files as viewers show them, as images of the dataset, all with the label 0.

    They are turned upright, as their EXIF data says, put on white where they are not opaque, resized and
    center-cropped to `size`; 0 takes the size that all of them have. Of several frames the first is taken.

    Returns
    -------
    Split
        The images.
    list of str
        What was changed, a sentence each.

    Raises
    ------
    ValueError
        If a file is not an image of 8 bits per channel, or `size` is 0 and their sizes differ.
    """
    found = [_picture(path) for path in paths]
    pictures = [picture for picture, _ in found]
    notes = list(dict.fromkeys(note for _, sentences in found for note in sentences))
    channels = dataset.channels or _channels({picture.mode for picture in pictures})
    sizes = {
        (picture.height, picture.width): path
        for picture, path in zip(reversed(pictures), reversed(paths), strict=True)
    }
    shape = (size, size) if size else _only(sizes)
    return decoded(pictures.__getitem__, np.zeros(len(paths), np.int64), channels, shape), notes


def _picture(path: Path) -> tuple[Image.Image, list[str]]:
    """Return an image as viewers show it, and sentences on what was changed."""
    with _opened(path) as image:
        _refuse_deep(path, image)
        n_frames = getattr(image, "n_frames", 1)
        try:
            shown = ImageOps.exif_transpose(image)
        except (OSError, SyntaxError, ValueError) as error:
            raise _unreadable(path, error) from error
    notes = [f"{path} has {n_frames} frames; the first one is taken"] * (n_frames > 1)
    if shown.mode not in ("RGBA", "LA", "PA") and "transparency" not in shown.info:
        return shown, notes
    above = shown.convert("RGBA")
    if above.getchannel("A").getextrema()[0] != 255:
        notes.append(f"{path} has pixels that are not opaque; they are put on white")
    on_white = Image.alpha_composite(Image.new("RGBA", above.size, "white"), above)
    return on_white.convert("L" if shown.mode in ("L", "LA") else "RGB"), notes


def _from_files(paths: Sequence[Path], labels: NDArray[np.int64], dataset: Dataset, size: int) -> Split:
    def read(index: int) -> Image.Image:
        with _opened(paths[index]) as image:
            try:
                image.load()
            except (OSError, SyntaxError, ValueError) as error:
                raise _unreadable(paths[index], error) from error
            return image

    channels, shape = dataset.channels, (size, size)
    if not (channels and size):
        found, sizes = _surveyed(tuple(paths))
        channels, shape = channels or found, shape if size else _only(sizes)
    return decoded(read, labels, channels, shape)


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} cannot be read as an image: {error}")


@lru_cache(maxsize=4)  # a sweep asks for each of its files
def _surveyed(paths: tuple[Path, ...]) -> tuple[int, dict[tuple[int, int], Path]]:
    """Return the number of channels of images, and the first image of each (height, width)."""
    modes: set[str] = set()
    sizes: dict[tuple[int, int], Path] = {}
    for path in paths:
        with _opened(path) as image:
            modes.add(image.mode)
            sizes.setdefault((image.height, image.width), path)
            _refuse_deep(path, image)
    return _channels(modes), sizes


def _refuse_deep(path: Path, image: Image.Image) -> None:
    if image.mode[0] in "IF":
        raise ValueError(f"{path} has more than 8 bits per channel; save it with 8")


def _channels(modes: Collection[str]) -> int:
    return 1 if set(modes) <= {"1", "L"} else 3


def _only(sizes: Mapping[tuple[int, int], Path]) -> tuple[int, int]:
    """Return the one size of all images."""
    if len(sizes) > 1:
        (one, first), (other, second), *_ = sizes.items()
        raise ValueError(
            f"the images have {len(sizes)} sizes, such as {one[0]}x{one[1]} ({first}) and "
            f"{other[0]}x{other[1]} ({second}); give --image-size, to which the shorter side is resized "
            "before the center is cropped"
        )
    return next(iter(sizes))
