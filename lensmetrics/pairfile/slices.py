"""`Slice`: consecutive samples of a pair file, whose maps can be read without opening the file with HDF5."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .format import BESIDE_MAPS, IMAGES, MAPS, REDUCTIONS, checksums, row_checksums
from .header import Columns, Layout
from .opening import load_filters, opened

# The size of a block of maps: large enough that opening the file costs little per pair, small enough to
# stay in a CPU cache.
BLOCK_BYTES = 4 * 2**20


class Block(NamedTuple):
    """The maps of some samples, verified and reduced: NaN where a sample has a status."""

    first: NDArray[np.floating]  # the unperturbed maps, or the targets
    perturbed: NDArray[np.floating]
    status: list[str]  # "" for each sample, "incomplete" or "checksum"
    images: tuple[NDArray[Any], NDArray[Any]] | None  # unperturbed and perturbed, if they were asked for


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
    image_checksum: NDArray[np.uint32] | None = field(repr=False)
    against: str = "unperturbed"  # the map that is read beside the perturbed one, or "target"
    with_images: bool = False  # whether to read both images too, if the file has them

    @classmethod
    def of(cls, path: Path, layout: Layout, columns: Columns) -> "Slice":
        """Return all samples of a file."""
        known = (columns.sample, columns.label, columns.complete, columns.checksum, columns.image_checksum)
        return cls(path, 0, layout, *known)

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
            image_checksum=None if self.image_checksum is None else self.image_checksum[rows],
        )

    def __len__(self) -> int:
        return len(self.sample)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of every map."""
        height, width = self.layout.shape[-2:]
        return height, width

    @property
    def reads_beside(self) -> bool:
        """Whether images, targets and outputs are read and verified too."""
        return self.against != "unperturbed" or self.with_images

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
        return self.read(start, stop, buffer=buffer)[:3]

    def read(self, start: int, stop: int, *, buffer: NDArray[np.floating] | None = None) -> Block:
        """Do what `read_block` does, and read the target and the images if this slice is to have them.

        What `image_checksum` covers is verified then too: the status of a sample is "checksum" if any of it
        is damaged.
        """
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
        beside = self._read_beside(start, stop, status)
        if self.layout.n_channels == 1:
            unperturbed, perturbed = unperturbed[:, 0], perturbed[:, 0]
        elif self.layout.n_channels is not None:
            reduce = REDUCTIONS[self.layout.reduction]
            with np.errstate(over="ignore", invalid="ignore"):  # maps may hold inf and NaN
                unperturbed, perturbed = reduce(unperturbed), reduce(perturbed)
        first = unperturbed if self.against == "unperturbed" else beside[self.against]
        for row, problem in enumerate(status):
            if problem:
                first[row] = perturbed[row] = np.nan
        both = self.with_images and all(name in beside for name in IMAGES)
        images = (beside[IMAGES[0]], beside[IMAGES[1]]) if both else None
        return Block(first, perturbed, status, images)

    def _read_beside(self, start: int, stop: int, status: list[str]) -> dict[str, NDArray[Any]]:
        """Read what is stored beside the maps, if any of it is wanted; note in `status` what is damaged."""
        if not self.reads_beside:
            return {}
        load_filters(self.path, self.layout.filters)
        expected = None if self.image_checksum is None else self.image_checksum[start:stop]
        with opened(self.path) as file:
            found, sound = read_beside(file, self.start + start, stop - start, expected)
        for row, is_sound in enumerate(sound):
            if not status[row] and not is_sound:
                status[row] = "checksum"
        return found

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


def read_beside(
    file: h5py.File, start: int, n: int, expected: NDArray[np.uint32] | None
) -> tuple[dict[str, NDArray[Any]], list[bool]]:
    """Read images, targets and outputs of n samples from position start on.

    Returns
    -------
    found
        The values by name, as far as the file has them.
    sound
        For each sample whether all can be decoded and match `expected`, their checksum, if it is known.
    """
    unreadable: set[int] = set()
    found = {}
    for name in BESIDE_MAPS:
        if name in file:
            found[name] = np.empty((n, *file[name].shape[1:]), file[name].dtype.newbyteorder("<"))
            unreadable |= read_rows(file[name], start, found[name])
    sound = [row not in unreadable for row in range(n)]
    if found and expected is not None:
        pairs = zip(row_checksums(list(found.values())), expected.tolist(), strict=True)
        sound = [known == stored and sound[row] for row, (known, stored) in enumerate(pairs)]
    return found, sound


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
