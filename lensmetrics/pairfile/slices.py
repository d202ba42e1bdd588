"""`Slice`: consecutive samples of a pair file, whose maps can be read without opening the file with HDF5."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .format import MAPS, REDUCTIONS, checksums
from .header import Columns, Layout
from .opening import load_filters, opened

# The size of a block of maps: large enough that opening the file costs little per pair, small enough to
# stay in a CPU cache.
BLOCK_BYTES = 4 * 2**20


@dataclass(frozen=True, eq=False)
class Slice:
    """Consecutive samples of one pair file: their maps, and what is needed to verify them.

    It is small, so that it can be sent to another process.
    """

    path: Path
    start: int  # position in the file of the first sample
    layout: Layout
    sample: NDArray[np.int64]
    label: NDArray[np.int64] | None
    complete: NDArray[np.bool_]
    checksum: NDArray[np.uint32] = field(repr=False)

    @classmethod
    def of(cls, path: Path, layout: Layout, columns: Columns) -> "Slice":
        """Return all samples of a file."""
        return cls(path, 0, layout, columns.sample, columns.label, columns.complete, columns.checksum)

    def cut(self, start: int, stop: int) -> "Slice":
        """Return the samples at positions start to stop - 1 of this slice."""
        rows = slice(start, stop)
        return replace(
            self,
            start=self.start + start,
            sample=self.sample[rows],
            label=None if self.label is None else self.label[rows],
            complete=self.complete[rows],
            checksum=self.checksum[rows],
        )

    def __len__(self) -> int:
        return len(self.sample)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of every map."""
        height, width = self.layout.shape[-2:]
        return height, width

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Yield the positions, start and stop, of blocks of about `BLOCK_BYTES`."""
        length = max(1, BLOCK_BYTES // self.buffer(1).nbytes)
        for start in range(0, len(self), length):
            yield start, min(start + length, len(self))

    def buffer(self, n_samples: int) -> NDArray[np.floating]:
        """Return memory for blocks of up to n_samples, to reuse in a loop of `read_block` calls."""
        return np.empty((2, n_samples, *self.layout.shape), dtype=self.layout.dtype)

    def read_block(
        self, start: int, stop: int, *, buffer: NDArray[np.floating] | None = None
    ) -> tuple[NDArray[np.floating], NDArray[np.floating], list[str]]:
        """Read, verify and reduce the maps of some samples; see `PairStore.read_block`."""
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"{self.path} has {len(self)} samples; there is no block from {start} to {stop}")
        block = (self.buffer(stop - start) if buffer is None else buffer)[:, : stop - start]
        unreadable: set[int] = set()
        if self.layout.offsets is None:
            unreadable = self._decode(start, block)
        else:
            self._read_plain(self.layout.offsets, start, block)

        label = None if self.label is None else self.label[start:stop]
        found = checksums(block[0], block[1], self.sample[start:stop], label)
        expected = self.checksum[start:stop].tolist()
        status = ["" if complete else "incomplete" for complete in self.complete[start:stop].tolist()]
        for row in range(len(status)):
            if not status[row] and (found[row] != expected[row] or row in unreadable):
                status[row] = "checksum"
        unperturbed, perturbed = block
        if self.layout.n_channels == 1:
            unperturbed, perturbed = unperturbed[:, 0], perturbed[:, 0]
        elif self.layout.n_channels is not None:
            reduce = REDUCTIONS[self.layout.reduction]
            with np.errstate(over="ignore", invalid="ignore"):  # maps may hold inf and NaN
                unperturbed, perturbed = reduce(unperturbed), reduce(perturbed)
        for row, problem in enumerate(status):
            if problem:
                unperturbed[row] = perturbed[row] = np.nan
        return unperturbed, perturbed, status

    def _read_plain(self, offsets: tuple[int, int], start: int, block: NDArray[np.floating]) -> None:
        """Read contiguous maps as bytes, because opening the file with HDF5 would take 20 times as long."""
        row_bytes = math.prod(self.layout.shape) * self.layout.dtype.itemsize
        with self.path.open("rb", buffering=0) as file:
            for maps, offset in zip(block, offsets, strict=True):
                rest = maps.reshape(-1).view(np.uint8).data
                file.seek(offset + (self.start + start) * row_bytes)
                while rest.nbytes:  # one call reads at most 2 GiB
                    n_read = file.readinto(rest)
                    if not n_read:
                        raise FormatError(
                            f"{self.path} was truncated after it was opened: regenerate or copy it again"
                        )
                    rest = rest[n_read:]

    def _decode(self, start: int, block: NDArray[np.floating]) -> set[int]:
        """Read maps with HDF5; return the rows that it cannot decode."""
        load_filters(self.path, self.layout.filters)
        unreadable: set[int] = set()
        with opened(self.path) as file:
            for name, maps in zip(MAPS, block, strict=True):
                unreadable |= read_rows(file[name], self.start + start, maps)
        return unreadable


def read_rows(dataset: h5py.Dataset, start: int, block: NDArray[Any]) -> set[int]:
    """Fill the block with rows from position start on; return those that cannot be decoded."""
    if len(block) == 0:
        return set()
    try:
        dataset.read_direct(block, np.s_[start : start + len(block)])
        return set()
    except OSError:
        if dataset.chunks is None:
            raise
    # A chunk that cannot be decompressed costs its own samples, not the block.
    unreadable = set()
    for row in range(len(block)):
        try:
            dataset.read_direct(block, np.s_[start + row], np.s_[row])
        except OSError:
            unreadable.add(row)
    return unreadable
