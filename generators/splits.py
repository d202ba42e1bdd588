"""A split of a dataset in memory or in files: its images and labels, and what a dataset says of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .options import flag


class Images(Protocol):
    """The images of a split: indexing returns (sample, height, width[, channel]) uint8."""

    def __getitem__(self, index: Any, /) -> NDArray[np.uint8]: ...


class Split(NamedTuple):
    """One split in dataset order: images, class indices, and the (height, width) of an image."""

    images: Images
    labels: NDArray[np.int64]
    shape: tuple[int, int]

    @property
    def channels(self) -> int:
        """The number of colour channels."""
        return 1 if self.images[:1].ndim == 3 else 3


def evenly_spread(n_wanted: int | None, n: int, name: str) -> NDArray[np.int64]:
    """Return the indices of `n_wanted` of `n` samples at equal distances, or of all if it is None."""
    if n_wanted is None:
        return np.arange(n)
    if n_wanted > n:
        raise ValueError(f"{flag(name)} must be at most {n} (the samples of the split), got {n_wanted}")
    return np.arange(n_wanted) * n // n_wanted


@dataclass(frozen=True)
class Dataset:
    """Properties of a dataset.

    Attributes
    ----------
    n_classes
        Number of classes.
    channels
        Number of colour channels; 0: as the images have it.
    image_size
        Default height and width of images; those in an .npz keep their size; 0: as the images have it.
    files, folders
        Further names that are tried after ``NAME.npz`` and ``NAME/``.
    classes
        The names of the class folders, in the order of the class indices; empty if any names will do.
    is_open
        There may be more classes than have images.
    """

    n_classes: int
    channels: int = 0
    image_size: int = 0
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    is_open: bool = False

    def fits(self, n_classes: int) -> bool:
        """Return whether a network of so many classes can be one for this dataset."""
        return n_classes == self.n_classes or (self.is_open and n_classes > self.n_classes)

    def check(self, n_classes: int, name: str) -> None:
        """Refuse a network of so many classes if it is none for this dataset of that name.

        Raises
        ------
        ValueError
            If it is none.
        """
        if not self.fits(n_classes):
            least = "at least " * self.is_open
            raise ValueError(
                f"the model has {n_classes} classes, but {name} has {least}{self.n_classes}; choose another "
                "--model, or a folder whose labels.csv has its class indices"
            )


def checked_labels(labels: Any, dataset: Dataset, where: str) -> NDArray[np.int64]:
    """Return the labels if they are class indices of the dataset.

    Raises
    ------
    ValueError
        If they are not; it names their place, `where`.
    """
    result = np.asarray(labels)
    if not np.issubdtype(result.dtype, np.integer) or (
        result.size and not 0 <= result.min() <= result.max() < dataset.n_classes
    ):
        raise ValueError(f"{where} must be class indices, integers from 0 to {dataset.n_classes - 1}")
    return result.astype(np.int64)


class _Decoded:
    """Images that `read` returns one by one, resized and cropped when they are indexed."""

    def __init__(self, read: Callable[[int], Image.Image], n: int, mode: str, shape: tuple[int, int]) -> None:
        self._read = read
        self._n = n
        self._mode = mode
        self._shape = shape

    def __getitem__(self, index: Any, /) -> NDArray[np.uint8]:
        chosen = np.arange(self._n)[index]
        shape = (len(chosen), *self._shape, *((3,) if self._mode == "RGB" else ()))
        result = np.empty(shape, dtype=np.uint8)
        for row, position in enumerate(chosen):
            result[row] = np.asarray(self._fitted(self._read(int(position))))
        return result

    def _fitted(self, image: Image.Image) -> Image.Image:
        image = image.convert(self._mode)
        if image.size == self._shape[::-1]:
            return image
        size, shorter = min(self._shape), min(image.size)
        if shorter != size:  # PIL's bilinear filter widens with the reduction: it is antialiased
            width, height = (size * side // shorter for side in image.size)
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = (round((side - size) / 2) for side in image.size)
        return image.crop((left, top, left + size, top + size))


def decoded(
    read: Callable[[int], Image.Image], labels: NDArray[np.int64], channels: int, shape: tuple[int, int]
) -> Split:
    """Return a split whose images `read` returns one by one; they are resized and cropped to `shape`."""
    mode = "L" if channels == 1 else "RGB"
    return Split(_Decoded(read, len(labels), mode, shape), labels, shape)
