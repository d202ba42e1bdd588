"""`Source`: an array on disk with one row per sample, whatever kind of file it is in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from .scales import Axis

# The numbers of channels that maps may have.
CHANNELS = (1, 3, 4)
# A last axis that is at most as long as this may hold channels.
FEW = 4

Rows: TypeAlias = slice | NDArray[np.intp]


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
