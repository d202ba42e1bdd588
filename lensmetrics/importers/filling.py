"""Quick reading of many small files that differ from the first one only in the values of its array."""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .source import Fill, Source

# Larger files are mapped, not read.
_MOST_BYTES = 2**26


def cannot_fill(path: str, target: NDArray[Any]) -> bool:
    """Leave a file to who reads any."""
    return False


def filler_at(path: Path, source: Source, start: int) -> Fill:
    """Return a function that reads the values of files like this one, whose array begins at byte `start`.

    A file in which every byte before and after the values is that of the first file means the same, whatever
    its kind. The function returns False, and leaves the array undefined, if a file is anything else.
    """
    if path.stat().st_size > _MOST_BYTES:
        return cannot_fill
    data = path.read_bytes()
    values = np.ascontiguousarray(source.read(slice(None))).tobytes()
    stop = start + len(values)
    if data[start:stop] != values:
        return cannot_fill
    first, last = data[:start], data[stop:]
    before, after = bytearray(len(first)), bytearray(len(last) + 1)

    def fill(path: str, target: NDArray[Any]) -> bool:
        # What may not be read is left to who can say so.
        with contextlib.suppress(PermissionError), io.FileIO(path) as file:
            return (
                file.readinto(before) == len(first)
                and before == first
                and file.readinto(target.data) == target.nbytes
                and file.readinto(after) == len(last)
                and after[: len(last)] == last
            )
        return False

    return fill
