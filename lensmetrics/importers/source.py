"""`Source`: an array on disk with one row per sample, whatever kind of file it is in."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .scales import Axis

# The numbers of channels that maps may have.
CHANNELS = (1, 3, 4)
# A last axis that is at most as long as this may hold channels.
FEW = 4
# How much is read at a time where a part of it is wanted.
PIECE_BYTES = 2**24

Rows: TypeAlias = slice | NDArray[np.intp]
# Reads the only map of a file into a contiguous array; returns False, and leaves the array undefined, if the
# file is anything else than the one before.
Fill: TypeAlias = Callable[[str, NDArray[Any]], bool]


@dataclass(frozen=True)
class Source:
    """An array on disk with one row per sample; nothing is in memory until rows are read."""

    words: str  # what messages call it
    array: str  # its name in the file
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[Rows], NDArray[Any]]
    keys: tuple[str, ...] | None = None  # of a group with one dataset per sample
    node: h5py.Dataset | h5py.Group | None = None
    axes: tuple[Axis, ...] | None = None  # if the file names them, in the order in which they are read
    names: tuple[str, ...] | None = None  # of the samples, if the files tell: they become the column `name`
    refuse_changes: Callable[[], None] | None = None  # refuse files that were changed since they were opened
    along: Callable[[Rows, int], NDArray[Any]] | None = None  # reads rows of any axis, and puts it in front


def array_source(words: str, name: str, array: NDArray[Any]) -> Source:
    """Return an array, such as a memory-mapped one, as a source."""
    return Source(
        words,
        name,
        array.shape,
        array.dtype,
        array.__getitem__,
        along=lambda rows, axis: np.moveaxis(array[(slice(None),) * axis + (rows,)], axis, 0),
    )


def reordered(source: Source, rows: NDArray[np.intp]) -> Source:
    """Return these samples of a source, in this order."""
    return replace(
        source,
        shape=(len(rows), *source.shape[1:]),
        read=lambda chosen: source.read(rows[chosen]),
        along=None,
    )


def common_type(words: str, types: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    """Return a type that holds the values of arrays of these types, of which there is at least one."""
    common = np.result_type(*types)
    if common.kind == "f" and any(it.kind in "iu" and it.itemsize == 8 for it in types):
        names = " and ".join(dict.fromkeys(it.name for it in types))
        raise FormatError(f"{words} has arrays of {names}, whose values no one type holds: save all with one")
    return common


def picked(
    read: Callable[[Rows], NDArray[Any]],
    row_bytes: int,
    rows: Rows,
    pick: Callable[[NDArray[Any]], NDArray[Any]],
) -> NDArray[Any]:
    """Read rows of which only a part is wanted, a few at a time: the rest can be larger than memory."""
    length = max(1, PIECE_BYTES // max(row_bytes, 1))
    if isinstance(rows, slice):  # of which a mapped array reads only what is wanted
        starts = range(rows.start, rows.stop, length)
        pieces: list[Rows] = [slice(start, min(start + length, rows.stop)) for start in starts]
    else:
        pieces = [rows[start : start + length] for start in range(0, len(rows), length)]
    return np.concatenate([np.array(pick(read(piece))) for piece in pieces])
