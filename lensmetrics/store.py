"""`PairStore`: one pair file, read."""

from __future__ import annotations

import copy
import hashlib
import math
import operator
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .attributes import read_attrs
from .pairfile import (
    IMAGES,
    INTEGERS,
    MAPS,
    NORMS,
    REDUCTIONS,
    FormatError,
    check_image,
    check_stored,
    checksums,
    filter_codes,
    find_dataset,
    load_filters,
    member_names,
    opened,
    read_column,
)

if TYPE_CHECKING:
    import xarray as xr

    from .pairs import MapPair

__all__ = ["FormatError", "PairStore", "verify"]

# Large enough that opening the file costs little per pair, small enough to stay in a CPU cache.
_BLOCK_BYTES = 4 * 2**20


class PairStore:
    """One pair file, opened for reading.

    The attributes and the columns (everything but the maps and images) are read once; no file
    handle is kept, so a store can be pickled and sent to another process. Maps are read, checked
    against their checksums and reduced to one value per pixel when they are asked for.

    Parameters
    ----------
    path
        A pair file. The ``.part`` of an unfinished one can be read too, once its writer has ended:
        its samples that are not complete are missing.

    Raises
    ------
    FormatError
        If the file is not a pair file of version 1, or is damaged.
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it cannot be opened.
    BlockingIOError
        If another process is writing the file.

    Attributes
    ----------
    path
        Where the file is.
    attrs
        The file's attributes as plain Python values (netCDF does not tell a sequence of one from a
        single value, so that comes as the value).
    shape
        (height, width) of every map, in pixels.
    n_channels
        Length of the channel axis of the stored maps, None if they have none.
    reduction
        How channels become one value per pixel: ``abs_sum`` (the default), ``sum`` or ``abs_max``.
    sample
        Index of each sample in its source dataset, (n,) int64.
    label, prediction, prediction_perturbed
        (n,) int64, None if the file does not have them.
    complete
        (n,) bool, False where a sample was never finished.
    fingerprint
        A hash of the attributes, the layout and what says which maps these are: number, label and
        checksum of every sample, and whether it is complete.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._first = 0  # position in the file of what is at position 0 here
        with opened(self.path) as file:
            names = member_names(self.path, file)
            self.attrs = read_attrs(self.path, file)
            self.reduction = str(self.attrs.get("reduction", "abs_sum"))
            if self.reduction not in REDUCTIONS:
                raise FormatError(
                    f"{self.path}: unknown reduction {self.reduction!r}; allowed: {', '.join(REDUCTIONS)}"
                )
            maps = self._find_maps(file)
            self._dtype = maps[0].dtype.newbyteorder("<")
            self._stored_shape: tuple[int, ...] = maps[0].shape[1:]
            self.shape: tuple[int, int] = maps[0].shape[-2:]
            self.n_channels: int | None = maps[0].shape[1] if maps[0].ndim == 4 else None
            n = len(maps[0])

            self.sample = read_column(self.path, file, "sample", n, np.int64)
            self.complete = read_column(self.path, file, "complete", n, np.uint8) != 0
            self._checksum = read_column(self.path, file, "checksum", n, np.uint32)
            columns = {
                name: read_column(self.path, file, name, n, np.int64) for name in INTEGERS if name in names
            }
            self.label = columns.get("label")
            self.prediction = columns.get("prediction")
            self.prediction_perturbed = columns.get("prediction_perturbed")
            for name in NORMS:
                if name in names:
                    read_column(self.path, file, name, n, np.float32)

            n_complete = int(self.complete.sum())
            images = [find_dataset(self.path, file, name) for name in IMAGES if name in names]
            for image in images:
                check_image(self.path, image, n)
            for dataset in (*maps, *images):
                check_stored(self.path, dataset, n_complete)
            # Where uncompressed maps begin in the file; None where HDF5 has to decode them.
            plain = [dataset.chunks is None and dataset.dtype == self._dtype for dataset in maps]
            self._offsets = [dataset.id.get_offset() for dataset in maps] if all(plain) else [None, None]
            self._filters = sorted({code for dataset in (*maps, *images) for code in filter_codes(dataset)})
            load_filters(self.path, self._filters)
        self._check_samples()
        self.fingerprint = self._fingerprint()

    def _fingerprint(self) -> str:
        described = (sorted(self.attrs.items()), self._stored_shape, self._dtype.str, self.label is None)
        found = hashlib.blake2b(repr(described).encode(), digest_size=16)
        for column in (self.sample, self.complete, self._checksum, self.label):
            found.update(b"" if column is None else column.tobytes())
        return found.hexdigest()

    def _find_maps(self, file: h5py.File) -> list[h5py.Dataset]:
        maps = [find_dataset(self.path, file, name) for name in MAPS]
        first, second = maps
        if first.shape != second.shape:
            raise FormatError(
                f"{self.path}: 'unperturbed' is {first.shape} but 'perturbed' is {second.shape}"
            )
        if first.ndim not in (3, 4) or 0 in first.shape:
            raise FormatError(
                f"{self.path}: 'unperturbed' and 'perturbed' are {first.shape}; "
                "they must be (sample, y, x) or (sample, channel, y, x), none of them 0"
            )
        for name, dataset in zip(MAPS, maps, strict=True):
            if dataset.dtype.kind != "f" or dataset.dtype.itemsize not in (4, 8):
                raise FormatError(
                    f"{self.path}: '{name}' is {dataset.dtype}; maps must be float32 or float64"
                )
        if first.dtype.itemsize != second.dtype.itemsize:
            raise FormatError(
                f"{self.path}: 'unperturbed' is {first.dtype} but 'perturbed' is {second.dtype}; "
                "store both in the same type"
            )
        return maps

    def _check_samples(self) -> None:
        numbers = np.sort(self.sample[self.complete])
        repeated = numbers[1:][numbers[1:] == numbers[:-1]]
        if len(repeated):
            first, again = np.flatnonzero(self.complete & (self.sample == repeated[0]))[:2]
            raise FormatError(
                f"{self.path}: sample {repeated[0]} is stored twice, at positions {first} and {again}; "
                "a file may hold each sample once"
            )

    def __len__(self) -> int:
        return len(self.sample)

    def __repr__(self) -> str:
        height, width = self.shape
        n_complete = int(self.complete.sum())
        return f"PairStore('{self.path}': {n_complete} of {len(self)} samples complete, {height}x{width})"

    def __iter__(self) -> Iterator[MapPair]:
        from .pairs import MapPair

        for start, stop in self._blocks():
            unperturbed, perturbed, _ = self.read_block(start, stop)
            yield from map(MapPair, unperturbed, perturbed)

    def part(self, start: int, stop: int) -> PairStore:
        """The samples at positions start to stop - 1, as a store that is small to send to another process.

        It has the attributes and the fingerprint of the whole file, which is not opened again, and
        `to_xarray` still gives the whole.
        """
        part = copy.copy(self)
        part._first += start
        for name in ("sample", "complete", "_checksum", *INTEGERS):
            column = getattr(self, name)
            setattr(part, name, None if column is None else column[start:stop])
        return part

    def _blocks(self) -> Iterator[tuple[int, int]]:
        length = max(1, _BLOCK_BYTES // self.buffer(1).nbytes)
        for start in range(0, len(self), length):
            yield start, min(start + length, len(self))

    def __getitem__(self, index: int) -> MapPair:
        from .pairs import MapPair  # its kernels take a while to import, and few readers need them

        position = self._position(index)
        unperturbed, perturbed, _ = self.read_block(position, position + 1)
        return MapPair(unperturbed[0], perturbed[0])

    def _position(self, index: int) -> int:
        position = operator.index(index)
        if not -len(self) <= position < len(self):
            raise IndexError(f"{self.path} has {len(self)} samples; there is none at position {index}")
        return position % len(self)

    def read_block(
        self, start: int, stop: int, *, verify: bool = True, buffer: NDArray[np.floating] | None = None
    ) -> tuple[NDArray[np.floating], NDArray[np.floating], list[str]]:
        """Maps of the samples at positions start to stop - 1, after the channel reduction.

        Parameters
        ----------
        start, stop
            0 <= start <= stop <= number of samples.
        verify
            Compare every sample with its checksum.
        buffer
            What `buffer` returned for at least as many samples. The maps then live in it, and are
            gone with the next block; memory that is new for each block can cost more than reading.

        Returns
        -------
        unperturbed, perturbed
            (stop - start, height, width), of the file's own float type. The maps of a sample with
            a status are NaN.
        status
            For each sample "" or what is wrong with it: "incomplete", "checksum".
        """
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"{self.path} has {len(self)} samples; there is no block from {start} to {stop}")
        block = (self.buffer(stop - start) if buffer is None else buffer)[:, : stop - start]
        unreadable: set[int] = set()
        if None in self._offsets:
            unreadable = self._decode(start, block)
        else:
            self._read_plain(start, block)

        expected = self._checksum[start:stop].tolist()
        found = expected
        if verify:
            label = None if self.label is None else self.label[start:stop]
            found = checksums(block[0], block[1], self.sample[start:stop], label)
        status = ["" if complete else "incomplete" for complete in self.complete[start:stop].tolist()]
        for row in range(len(status)):
            if not status[row] and (found[row] != expected[row] or row in unreadable):
                status[row] = "checksum"
        unperturbed, perturbed = block
        if self.n_channels is not None:
            reduce = REDUCTIONS[self.reduction]
            with np.errstate(over="ignore", invalid="ignore"):  # maps may hold inf and NaN
                unperturbed, perturbed = reduce(unperturbed), reduce(perturbed)
        for row, problem in enumerate(status):
            if problem:
                unperturbed[row] = perturbed[row] = np.nan
        return unperturbed, perturbed, status

    def buffer(self, n_samples: int) -> NDArray[np.floating]:
        """Memory for blocks of up to n_samples, for a loop of `read_block` calls."""
        return np.empty((2, n_samples, *self._stored_shape), dtype=self._dtype)

    def _read_plain(self, start: int, block: NDArray[np.floating]) -> None:
        """Read contiguous maps as bytes: to open the file with HDF5 would cost 20 times as much."""
        row_bytes = math.prod(self._stored_shape) * self._dtype.itemsize
        with self.path.open("rb", buffering=0) as file:
            for maps, offset in zip(block, self._offsets, strict=True):
                rest = maps.reshape(-1).view(np.uint8).data
                file.seek(offset + (self._first + start) * row_bytes)
                while rest.nbytes:  # one call reads at most 2 GiB
                    n_read = file.readinto(rest)
                    if not n_read:
                        raise FormatError(f"{self.path} has lost its end since it was opened: copy it again")
                    rest = rest[n_read:]

    def _decode(self, start: int, block: NDArray[np.floating]) -> set[int]:
        """Read maps through HDF5; return the rows that it could not decode."""
        load_filters(self.path, self._filters)
        unreadable: set[int] = set()
        with opened(self.path) as file:
            for name, maps in zip(MAPS, block, strict=True):
                unreadable |= _read_rows(file[name], self._first + start, maps)
        return unreadable

    def read_image(self, index: int) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
        """Unperturbed and perturbed input of one sample.

        Returns
        -------
        image, image_perturbed
            (height, width) or (channel, height, width), uint8 or float; None where the file holds
            no such image or the sample is not complete.
        """
        position = self._position(index)
        if not self.complete[position]:
            return None, None
        load_filters(self.path, self._filters)
        with opened(self.path) as file:
            at = self._first + position
            image, image_perturbed = (file[name][at] if name in file else None for name in IMAGES)
        return image, image_perturbed

    def to_xarray(self) -> xr.Dataset:
        """Open the file as a lazy xarray dataset: all variables as stored, channels not reduced.

        Nothing is verified; ``complete`` says which samples hold values. Close the dataset when
        done with it.
        """
        import xarray as xr

        load_filters(self.path, self._filters)
        return xr.open_dataset(self.path, engine="h5netcdf", driver_kwds={"locking": "best-effort"})


def verify(
    path: str | os.PathLike[str], progress: Callable[[], object] | None = None
) -> list[tuple[int, int, str]]:
    """Read a whole pair file and say which samples are missing or damaged.

    Calls `progress` after every block of some megabytes.

    Returns
    -------
    list
        (position in the file, sample, "incomplete" or "checksum") for every such sample, in the
        order of the file. Empty for a sound file.

    Raises
    ------
    FormatError
        As `PairStore` does, where the file as a whole cannot be read.
    """
    store = PairStore(path)
    status = []
    for start, stop in store._blocks():
        status += store.read_block(start, stop)[2]
        if progress is not None:
            progress()
    samples = store.sample.tolist()
    return [(position, samples[position], problem) for position, problem in enumerate(status) if problem]


def _read_rows(dataset: h5py.Dataset, start: int, block: NDArray[np.floating]) -> set[int]:
    """Fill the block from position start on; return the rows that could not be read."""
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
