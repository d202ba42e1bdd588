"""`PairStore`: one pair file, read."""

from __future__ import annotations

import copy
import hashlib
import math
import operator
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .attributes import CHECKSUM, COVERED, UNFINISHED, metadata_checksum, read_attrs
from .checks import (
    check_beside,
    check_stored,
    filter_codes,
    find_dataset,
    load_filters,
    member_names,
    opened,
    read_column,
    read_names,
)
from .format import BESIDE_MAPS, COUNTS, IMAGES, INTEGERS, MAPS, NORMS, REDUCTIONS, checksums, row_checksums

if TYPE_CHECKING:
    import xarray as xr

    from ..pairs.mappair import MapPair

__all__ = ["FormatError", "PairStore"]

# What is read of every sample when a file is opened, and cut by `part`.
_COLUMNS = ("sample", "complete", "_checksum", "_image_checksum", "name", *INTEGERS, *COUNTS)
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
        One channel is taken as it is.
    sample
        Index of each sample in its source dataset, (n,) int64.
    name
        What each sample is called in its source dataset, (n,) str objects, None if the file does
        not have names.
    label, prediction, prediction_perturbed
        (n,) int64, None if the file does not have them.
    n_accepted, best_step
        How many images the stored one was chosen from, and the step of the best, (n,) int32, None
        if the file does not have them.
    complete
        (n,) bool, False where a sample was never finished.
    not_attacked, label_changed
        (n,) bool: no perturbed image was accepted or the perturbation is 0, and the predictions
        differ; False where the file cannot tell, or the sample is not complete.
    metadata_damaged
        "" or a sentence: the attributes, or columns that no checksum of a sample covers, are not
        those that the file was finished with.
    fingerprint
        A hash of the attributes, the layout and what is stored of every sample but the maps and
        images themselves, which their checksums stand for.
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

            # First the largest of the columns that must be there.
            self.sample = read_column(self.path, file, "sample", n, np.int64)
            complete = read_column(self.path, file, "complete", n, np.uint8) != 0

            def column(name: str, dtype: type[np.generic]) -> NDArray[Any] | None:
                return read_column(self.path, file, name, n, dtype, complete) if name in names else None

            self.complete = complete
            self._checksum = read_column(self.path, file, "checksum", n, np.uint32, complete)
            self._image_checksum = column("image_checksum", np.uint32)
            self.name = read_names(self.path, file, n) if "name" in names else None
            self.label, self.prediction, self.prediction_perturbed = (
                column(name, np.int64) for name in INTEGERS
            )
            self.n_accepted, self.best_step = (column(name, np.int32) for name in COUNTS)
            # As stored: what is not 0 must not become 0.
            norms = {name: column(name, np.float64) for name in NORMS}
            self._norms = {name: values for name, values in norms.items() if values is not None}

            n_complete = int(complete.sum())
            beside = {name: find_dataset(self.path, file, name) for name in BESIDE_MAPS if name in names}
            check_beside(self.path, beside, maps[0])
            for dataset in (*maps, *beside.values()):
                check_stored(self.path, dataset, n_complete)
            # Where uncompressed maps begin in the file; None where HDF5 has to decode them.
            plain = [dataset.chunks is None and dataset.dtype == self._dtype for dataset in maps]
            self._offsets = [dataset.id.get_offset() for dataset in maps] if all(plain) else [None, None]
            codes = {code for dataset in (*maps, *beside.values()) for code in filter_codes(dataset)}
            self._filters = sorted(codes)
            load_filters(self.path, self._filters)
        self._check_samples()
        self.metadata_damaged = self._metadata_damaged()
        self.fingerprint = self._fingerprint()

    def _metadata_damaged(self) -> str:
        stored = self.attrs.get(CHECKSUM)
        if stored == UNFINISHED:
            del self.attrs[CHECKSUM]
        if stored in (None, UNFINISHED, metadata_checksum(self.attrs, self.covered_columns())):
            return ""
        return (
            f"{self.path}: {CHECKSUM} does not match: attributes, names, predictions or norms are not those "
            "that the file was finished with; make or copy it again"
        )

    def covered_columns(self) -> dict[str, NDArray[Any]]:
        """The columns that `checksum_metadata` covers, as far as the file has them."""
        columns = {name: self._norms.get(name) if name in NORMS else getattr(self, name) for name in COVERED}
        return {name: values for name, values in columns.items() if values is not None}

    def _fingerprint(self) -> str:
        columns: dict[str, NDArray[Any] | None] = {
            "sample": self.sample,
            "complete": self.complete,
            "checksum": self._checksum,
            "image_checksum": self._image_checksum,
            "label": self.label,
            **self.covered_columns(),
        }
        held = {name: values for name, values in columns.items() if values is not None}
        described = (sorted(self.attrs.items()), self._stored_shape, self._dtype.str, list(held))
        found = hashlib.blake2b(repr(described).encode(), digest_size=16)
        for values in held.values():
            found.update(repr(values.tolist()).encode() if values.dtype == object else values.tobytes())
        return found.hexdigest()

    @property
    def not_attacked(self) -> NDArray[np.bool_]:
        nothing = np.zeros(len(self), np.bool_)
        for values in self._norms.values() if self.n_accepted is None else [self.n_accepted]:
            nothing |= (values == 0) & self.complete
        return nothing

    @property
    def label_changed(self) -> NDArray[np.bool_]:
        if self.prediction is None or self.prediction_perturbed is None:
            return np.zeros(len(self), np.bool_)
        changed: NDArray[np.bool_] = (self.prediction != self.prediction_perturbed) & self.complete
        return changed

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
        from ..pairs.mappair import MapPair

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
        for name in _COLUMNS:
            column = getattr(self, name)
            setattr(part, name, None if column is None else column[start:stop])
        part._norms = {name: values[start:stop] for name, values in self._norms.items()}
        return part

    def _blocks(self) -> Iterator[tuple[int, int]]:
        length = max(1, _BLOCK_BYTES // self.buffer(1).nbytes)
        for start in range(0, len(self), length):
            yield start, min(start + length, len(self))

    def __getitem__(self, index: int) -> MapPair:
        from ..pairs.mappair import MapPair  # its kernels take a while to import, and few readers need them

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
        if self.n_channels == 1:
            unperturbed, perturbed = unperturbed[:, 0], perturbed[:, 0]
        elif self.n_channels is not None:
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

    def _images_sound(self, start: int, stop: int) -> list[bool]:
        """Compare images, targets and outputs with their checksum, where the file has one."""
        if self._image_checksum is None:
            return [True] * (stop - start)
        load_filters(self.path, self._filters)
        sound: list[bool] = []
        with opened(self.path) as file:
            datasets = [file[name] for name in BESIDE_MAPS if name in file]
            row_bytes = sum(math.prod(dataset.shape[1:]) * dataset.dtype.itemsize for dataset in datasets)
            length = max(1, _BLOCK_BYTES // max(row_bytes, 1))
            for first in range(start, stop, length) if datasets else ():
                sound += self._are_sound(datasets, first, min(first + length, stop))
        return sound or [True] * (stop - start)

    def _are_sound(self, datasets: list[h5py.Dataset], start: int, stop: int) -> list[bool]:
        assert self._image_checksum is not None
        unreadable: set[int] = set()
        blocks = []
        for dataset in datasets:
            block = np.empty((stop - start, *dataset.shape[1:]), dataset.dtype.newbyteorder("<"))
            unreadable |= _read_rows(dataset, self._first + start, block)
            blocks.append(block)
        expected = self._image_checksum[start:stop].tolist()
        pairs = zip(row_checksums(blocks), expected, strict=True)
        return [found == stored and row not in unreadable for row, (found, stored) in enumerate(pairs)]

    def to_xarray(self) -> xr.Dataset:
        """Open the file as a lazy xarray dataset: all variables as stored, channels not reduced.

        Nothing is verified; ``complete`` says which samples hold values. Close the dataset when
        done with it.
        """
        import xarray as xr

        load_filters(self.path, self._filters)
        return xr.open_dataset(self.path, engine="h5netcdf", driver_kwds={"locking": "best-effort"})


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
