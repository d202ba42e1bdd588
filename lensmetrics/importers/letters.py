"""Axes that the user names, a letter each: they settle what an array alone does not tell."""

import math
import re
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from ..errors import FormatError
from .source import Rows, Source, picked

# What each letter names, in the order in which a pair file stores them; F or T takes the place of H and W.
LETTERS = {
    "N": "sample",
    "C": "channel",
    "H": "height",
    "W": "width",
    "F": "feature",
    "T": "time",
    "K": "class",
}
_PLANES = ({"H", "W"}, {"F"}, {"T"})


def checked_letters(axes: object) -> str:
    """Return letters of axes in capitals; refuse what does not name the axes of maps."""
    if not isinstance(axes, str):
        raise TypeError(f"axes must be a text, such as 'NHWC', got {axes!r}")
    letters = axes.upper()
    if "D" in letters or "Z" in letters:
        raise ValueError(
            f"axes={axes!r} names a volume, and maps are planes: save one slice of each volume, such as "
            "array[:, 0], or numpy.abs(array).sum over its depth"
        )
    known = ", ".join(f"{letter} {word}" for letter, word in LETTERS.items())
    if not re.fullmatch(f"[{''.join(LETTERS)}]+", letters) or len(set(letters)) < len(letters):
        raise ValueError(
            f"axes={axes!r} must be one letter for each axis of the array, each once, such as axes='NHWC': "
            f"{known}"
        )
    if set(letters) - {"N", "C", "K"} not in _PLANES:
        raise ValueError(
            f"axes={axes!r} must have H and W, or F, or T, so that maps are H x W, 1 x F or 1 x T; if two "
            "other axes form a map, such as time and feature, call them H and W"
        )
    return letters


def named(source: Source, letters: str, class_index: int | None) -> Source:
    """View rows as ([channel,] height, width), from an array whose axes have these letters.

    Letters without N are those of one map, or of the file of each sample.
    """
    words, stored = source.words, source.shape
    if source.names is not None:  # a folder, say, whose files may have an axis N of length 1 anywhere
        letters = "N" + letters.replace("N", "")
    elif "N" not in letters and len(stored) == len(letters):
        source, letters = _one_map(source), "N" + letters
    if len(letters) != len(source.shape):
        raise ValueError(
            f"{words} is {stored}, which are {len(stored)} axes, but axes={letters!r} names {len(letters)}"
        )
    if 0 in source.shape:
        raise FormatError(f"{words} is {stored}; no axis may be 0 long")
    lengths = dict(zip(letters, source.shape, strict=True))
    choice = _class(words, stored, letters, lengths, class_index)
    at = letters.index("N")
    if at and source.along is None:
        raise FormatError(
            f"{words} is {stored}; its samples do not come first, and such files are read sample by sample: "
            f"save numpy.moveaxis(array, {at}, 0)"
        )
    # Rows are read with the samples in front, then the class is chosen.
    others = letters.replace("N", "")
    left = others.replace("K", "")
    plane = "".join(letter for letter in "HWFT" if letter in left)
    has_channels = lengths.get("C", 1) > 1
    moved = (("C",) if has_channels else ()) + tuple(plane)

    def arranged(values: NDArray[Any]) -> NDArray[Any]:
        kept = [letter for letter in left if letter in moved]
        values = values[index].transpose(0, *(1 + kept.index(letter) for letter in moved))
        return values if len(plane) == 2 else values[..., None, :]

    index = (
        slice(None),
        *(choice if letter == "K" else slice(None) if letter in moved else 0 for letter in others),
    )
    along = source.along
    rows_of = source.read if along is None or not at else lambda rows: along(rows, at)

    def read(rows: Rows) -> NDArray[Any]:
        if lengths.get("K", 1) == 1:
            return arranged(rows_of(rows))
        row_bytes = source.dtype.itemsize * math.prod(source.shape) // lengths["N"]
        return picked(rows_of, row_bytes, rows, arranged)

    sizes = tuple(lengths[letter] for letter in moved)
    if len(plane) == 1:
        sizes = (*sizes[:-1], 1, sizes[-1])
    axes = None
    if source.axes is not None:
        by_letter = dict(zip(letters, source.axes, strict=True))
        axes = tuple(by_letter[letter] for letter in ("N", *moved))
    return replace(source, shape=(lengths["N"], *sizes), read=read, along=None, axes=axes)


def _one_map(source: Source) -> Source:
    """View an array without an axis of samples as one sample."""
    return replace(
        source,
        shape=(1, *source.shape),
        read=lambda rows: source.read(slice(None))[None][rows],
        along=None,
        keys=None,
        axes=None,
    )


def _class(
    words: str, stored: tuple[int, ...], letters: str, lengths: dict[str, int], class_index: int | None
) -> int:
    """Return the position on the axis of classes."""
    if "K" not in letters:
        if class_index is not None:
            raise ValueError(
                f"class_index={class_index} chooses along an axis of classes: name it K, as in axes='NHWCK'"
            )
        return 0
    n = lengths["K"]
    if class_index is None and n > 1:
        raise ValueError(
            f"{words} is {stored} with {n} classes: say which to take, class_index=0 to class_index={n - 1}"
        )
    index = 0 if class_index is None else class_index
    if not 0 <= index < n:
        raise ValueError(f"{words} has {n} classes: class_index must be 0 to {n - 1}, got {class_index}")
    return index
