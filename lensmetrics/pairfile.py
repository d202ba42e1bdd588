"""The pair file, format 1: its names, and the checks that every reader makes.

A pair file is a netCDF-4 file with the maps of one condition before and after an attack. What may
be wrong with one is found here, once, and said in one sentence; the code behind it trusts the file.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .layout import part_path

FORMAT = "lensmetrics-pairs"
VERSION = 1
MAPS = ("unperturbed", "perturbed")
INTEGERS = ("label", "prediction", "prediction_perturbed")
NORMS = ("perturbation_linf", "perturbation_l2")
IMAGES = ("image", "image_perturbed")

# How channels become one value per pixel; the maps come as (sample, channel, y, x).
REDUCTIONS: dict[str, Callable[[NDArray[np.floating]], NDArray[np.floating]]] = {
    "abs_sum": lambda maps: np.abs(maps).sum(axis=1),
    "sum": lambda maps: maps.sum(axis=1),
    "abs_max": lambda maps: np.abs(maps).max(axis=1),
}

# HDF5 allows no larger chunk, so no producer can store a larger map compressed.
LARGEST_MAP_BYTES = 2**32
# HDF5 decodes whole chunks, and a few bytes of a file can decode to any number: this is what a file that
# is compressed may make its reader take at a time.
LARGEST_DECODED_BYTES = 2**28


class FormatError(ValueError):
    """A file is not what its reader needs; the message says what came and what is allowed."""


def checksums(
    unperturbed: NDArray[np.floating],
    perturbed: NDArray[np.floating],
    sample: NDArray[np.int64],
    label: NDArray[np.int64] | None,
) -> list[int]:
    """CRC-32 of every sample: its two maps, then its number and, where there is one, its label.

    The maps are C-contiguous, little-endian, one sample along the first axis.
    """
    columns = [sample] if label is None else [sample, label]
    views = []
    for array in (unperturbed, perturbed, np.stack(columns, axis=1).astype("<i8")):
        # Slices of one flat view hand rows to zlib without copies and without an array object each.
        views.append((array.reshape(-1).view(np.uint8).data, array.nbytes // max(len(array), 1)))
    result = []
    for row in range(len(sample)):
        value = 0
        for view, length in views:
            value = zlib.crc32(view[row * length : (row + 1) * length], value)
        result.append(value)
    return result


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading; whatever is wrong with it comes out as one sentence."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; give a pair file")
    if not path.exists():
        part = part_path(path)
        hint = f", but {part} does: finish it with PairWriter.resume" if part.exists() else ""
        raise FileNotFoundError(f"{path} does not exist{hint}")
    if path.stat().st_size == 0:
        raise FormatError(f"{path} is empty (0 bytes); a pair file is an HDF5 file: make or copy it again")
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            yield file
    except (FormatError, IndexError):
        raise
    except PermissionError as error:
        raise PermissionError(f"{path} may not be read: allow it with chmod, or read a copy") from error
    except BlockingIOError as error:
        raise BlockingIOError(f"{path} is being written by another process; wait until it ends") from error
    # h5py reports damage as any of these, depending on what the damaged bytes were.
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        if not h5py.is_hdf5(path):
            raise FormatError(
                f"{path} is not an HDF5 file; convert .npy or .npz arrays with 'lensmetrics import'"
            ) from error
        raise FormatError(f"{path} is truncated or damaged ({error}): make or copy it again") from error


def member_names(path: Path, file: h5py.File) -> set[str]:
    """Names in the file, none of them a link: before anything is looked up, as one could lead anywhere."""
    kinds: dict[str, int] = {}
    file.id.links.iterate(
        lambda name, info: kinds.update({name.decode("utf-8", "surrogateescape"): info.type}), info=True
    )
    for name, kind in kinds.items():
        if kind != h5py.h5l.TYPE_HARD:
            raise FormatError(
                f"{path}: {name!r} is a link; a pair file holds its data itself: copy the values into it"
            )
    return set(kinds)


def find_dataset(path: Path, file: h5py.File, name: str) -> h5py.Dataset:
    """Return the dataset of that name, whose values must lie in this file."""
    try:
        # Takes half the time of file[name], and one that is read only remembers its shape.
        dataset = h5py.Dataset(h5py.h5d.open(file.id, name.encode()), readonly=True)
    except (KeyError, OSError, RuntimeError, TypeError, ValueError):
        if name not in file:
            held = sorted(file)
            names = ", ".join(map(repr, held[:20])) + (", ..." if len(held) > 20 else "")
            raise FormatError(f"{path} has no dataset '{name}'; it has: {names or 'nothing'}") from None
        dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise FormatError(
            f"{path}: '{name}' must be a dataset stored in this file, not a group, a virtual dataset or "
            "external data; copy the values into the file"
        )
    return dataset


def read_column(path: Path, file: h5py.File, name: str, n: int, dtype: type[np.generic]) -> NDArray[Any]:
    """Read one value per sample."""
    dataset = find_dataset(path, file, name)
    if dataset.shape != (n,):
        raise FormatError(f"{path}: '{name}' is {dataset.shape} but 'unperturbed' has {n} samples")
    kinds, words = ("f", "floating-point") if issubclass(dtype, np.floating) else ("iu", "whole")
    if dataset.dtype.kind not in kinds:
        raise FormatError(f"{path}: '{name}' is {dataset.dtype}; it must hold {words} numbers")
    check_stored(path, dataset, n)
    if dataset.chunks is not None:
        _check_decoded(path, dataset, n * dataset.dtype.itemsize)
    load_filters(path, filter_codes(dataset))
    stored = np.empty(n, dataset.dtype)
    dataset.id.read(h5py.h5s.ALL, h5py.h5s.ALL, stored)  # dataset[()] takes twice as long
    return stored.astype(dtype, copy=False)


def _name(dataset: h5py.Dataset) -> str:
    name: str = dataset.name.lstrip("/")
    return name


def check_image(path: Path, dataset: h5py.Dataset, n: int) -> None:
    name = _name(dataset)
    if dataset.ndim not in (3, 4) or 0 in dataset.shape or dataset.shape[0] != n:
        raise FormatError(
            f"{path}: '{name}' is {dataset.shape}; it must be ({n}, y, x) or ({n}, channel, y, x)"
        )
    if dataset.dtype != np.uint8 and dataset.dtype.kind != "f":
        raise FormatError(f"{path}: '{name}' is {dataset.dtype}; images must be uint8 or float32")


def check_stored(path: Path, dataset: h5py.Dataset, n_needed: int) -> None:
    """Refuse a shape that the bytes in the file do not bear out, before memory is taken for it."""
    row_bytes = math.prod(dataset.shape[1:]) * dataset.dtype.itemsize
    if dataset.chunks is not None:
        _check_decoded(path, dataset, math.prod(dataset.chunks) * dataset.dtype.itemsize)
        stored = dataset.id.get_num_chunks() * math.prod(dataset.chunks) * dataset.dtype.itemsize
        needed = n_needed * row_bytes
    else:
        stored = dataset.id.get_storage_size()
        # A contiguous dataset is stored whole or, where nothing was written yet, not at all.
        needed = dataset.shape[0] * row_bytes if n_needed or stored else 0
    if stored < needed:
        raise FormatError(
            f"{path} is truncated or damaged: '{_name(dataset)}' is {dataset.shape} and needs {needed} "
            f"bytes, {stored} are there; make or copy it again"
        )
    if row_bytes >= LARGEST_MAP_BYTES:
        raise FormatError(f"{path}: '{_name(dataset)}' is {dataset.shape}; one sample may take at most 4 GiB")
    if dataset.chunks is not None:
        _check_decoded(path, dataset, row_bytes)


def _check_decoded(path: Path, dataset: h5py.Dataset, n_bytes: int) -> None:
    if n_bytes > LARGEST_DECODED_BYTES:
        raise FormatError(
            f"{path}: '{_name(dataset)}' is stored in chunks that must be decoded {n_bytes} bytes at a time, "
            f"at most {LARGEST_DECODED_BYTES} can be: store it in smaller chunks, or without chunks"
        )


def filter_codes(dataset: h5py.Dataset) -> list[int]:
    if dataset.chunks is None:
        return []
    properties = dataset.id.get_create_plist()
    return [properties.get_filter(position)[0] for position in range(properties.get_nfilters())]


def load_filters(path: Path, codes: list[int]) -> None:
    """Make the filters that a file was compressed with available in this process."""
    if all(map(h5py.h5z.filter_avail, codes)):
        return
    try:
        import hdf5plugin  # noqa: F401 - the import registers its filters
    except ImportError as error:
        raise FormatError(
            f"{path} is compressed with a filter that h5py lacks: pip install 'lensmetrics[zstd]'"
        ) from error
    missing = [code for code in codes if not h5py.h5z.filter_avail(code)]
    if missing:
        raise FormatError(
            f"{path} is compressed with HDF5 filters {missing}, which hdf5plugin lacks too; use gzip or zstd"
        )
