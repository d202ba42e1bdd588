"""Many arrays of one file, each the map of one sample, as one source."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .names import sample_arrays
from .source import Rows, Source, common_type


def each_is_a_sample(path: Path, names: Sequence[str], wanted: str, find: Callable[[str], Source]) -> Source:
    """Take all arrays below a name, in natural order, as the samples; the rest of their names is theirs."""
    found = sample_arrays(path, names, wanted)
    if not found:
        raise ValueError(f"{path} has no arrays '{wanted}'; it has: {', '.join(names[:12]) or 'none'}")
    parts = {name: find(array) for name, array in found.items()}
    return stacked(f"{path}, {len(parts)} arrays,", wanted, parts, names=tuple(found))


def stacked(
    words: str, array: str, parts: Mapping[Any, Source], names: tuple[str, ...] | None = None
) -> Source:
    """Return sources of one shape as the rows of one source; the keys are for messages."""
    sources = list(parts.values())
    shape = sources[0].shape
    for key, part in parts.items():
        if part.shape != shape:
            raise FormatError(
                f"{words} whose element {key!r} is {part.shape} but {next(iter(parts))!r} is {shape}; a pair "
                "file holds maps of one size: resize them, or, if these are batches, save numpy.concatenate "
                "of them"
            )
    dtype = common_type(words, [part.dtype for part in sources])

    def read(rows: Rows) -> NDArray[Any]:
        chosen = sources[rows] if isinstance(rows, slice) else [sources[row] for row in rows]
        block = np.empty((len(chosen), *shape), dtype)
        for row, part in zip(block, chosen, strict=True):
            row[...] = part.read(slice(None))
        return block

    return Source(words, array, (len(sources), *shape), dtype, read, names=names)
