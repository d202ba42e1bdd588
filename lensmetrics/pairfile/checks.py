"""Checks of a pair file, made while it is opened."""

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .format import IMAGES, MAPS, OUTPUTS
from .opening import load_filters
from .variables import Variable, find_variable

# HDF5 allows no larger chunk, so no producer can store a larger map compressed.
LARGEST_MAP_BYTES = 2**32
# HDF5 decodes whole chunks, and a few bytes can decode to any size: the memory that a compressed file may
# make its reader allocate at a time.
LARGEST_DECODED_BYTES = 2**28


def find_maps(path: Path, file: h5py.File) -> list[Variable]:
    """Return the unperturbed and the perturbed maps."""
    maps = [find_variable(path, file, name) for name in MAPS]
    first, second = maps
    if first.shape != second.shape:
        raise FormatError(f"{path}: 'unperturbed' is {first.shape} but 'perturbed' is {second.shape}")
    if first.ndim not in (3, 4) or 0 in first.shape:
        raise FormatError(
            f"{path}: 'unperturbed' and 'perturbed' are {first.shape}; "
            "they must be (sample, y, x) or (sample, channel, y, x), none of them 0"
        )
    for maps_ in maps:
        if maps_.dtype.kind != "f" or maps_.dtype.itemsize not in (4, 8):
            raise FormatError(f"{path}: '{maps_.name}' is {maps_.dtype}; maps must be float32 or float64")
    if first.dtype.itemsize != second.dtype.itemsize:
        raise FormatError(
            f"{path}: 'unperturbed' is {first.dtype} but 'perturbed' is {second.dtype}; "
            "store both in the same type"
        )
    return maps


def read_column(
    path: Path,
    file: h5py.File,
    name: str,
    n: int,
    dtype: type[np.generic],
    complete: NDArray[np.bool_] | None = None,
) -> NDArray[Any]:
    """Read one value per sample; integers of complete samples must be in the range of that type."""
    column = find_variable(path, file, name)
    kinds, words = ("f", "floating-point numbers") if issubclass(dtype, np.floating) else ("iu", "integers")
    _check_column(path, column, n, column.dtype.kind in kinds, words)
    stored = column.read()
    if stored.dtype == dtype:
        return stored
    if issubclass(dtype, np.integer):
        limits = np.iinfo(dtype)
        values = stored if complete is None else stored[complete]
        for value in (int(values.min()), int(values.max())) if len(values) else ():
            if not limits.min <= value <= limits.max:
                raise FormatError(
                    f"{path}: '{name}' holds {value}; it must hold integers from {limits.min} to {limits.max}"
                )
    with np.errstate(over="ignore"):
        return stored.astype(dtype, copy=False)


def read_names(path: Path, file: h5py.File, n: int) -> NDArray[np.object_]:
    """Read the sample names: strings of fixed or variable length, or rows of single characters."""
    column = find_variable(path, file, "name")
    characters = column.dtype == np.dtype("S1") and column.ndim == 2
    if characters:
        if len(column) != n:
            raise FormatError(f"{path}: 'name' is {column.shape} but 'unperturbed' has {n} samples")
        check_stored(path, column, n)
        length = column.shape[1]
        if column.chunks is not None:
            _check_decoded(path, column, n * length)
        load_filters(path, column.filter_codes())
        letters = np.ascontiguousarray(column.dataset[()])
        stored = letters.view(f"S{length}").reshape(n) if length else [b""] * n
    else:
        kind = h5py.check_string_dtype(column.dtype)
        _check_column(path, column, n, kind is not None, "texts")
        stored = _texts(path, column.dataset) if column.dtype == object else column.dataset[()]
    names = np.empty(n, object)
    try:
        names[:] = [item.partition(b"\0")[0].decode() for item in stored]
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: 'name' holds {error.object!r}, which is not UTF-8") from None
    return names


def _texts(path: Path, dataset: h5py.Dataset) -> list[bytes]:
    """Read strings of variable length; in a damaged file each may claim to be as long as the file."""
    n_bytes = path.stat().st_size
    at_once = max(1, LARGEST_DECODED_BYTES // n_bytes)
    texts: list[bytes] = []
    total = 0
    for start in range(0, len(dataset), at_once):
        texts += dataset[start : start + at_once].tolist()
        total += sum(map(len, texts[start:]))
        if total > n_bytes:
            raise FormatError(f"{path} is damaged: 'name' holds more text than the file has bytes")
    return texts


def _check_column(path: Path, dataset: Variable, n: int, is_right: bool, words: str) -> None:
    """Refuse a column of another length or kind, or one not stored, before memory is allocated for it."""
    if dataset.shape != (n,):
        raise FormatError(f"{path}: '{dataset.name}' is {dataset.shape} but 'unperturbed' has {n} samples")
    if not is_right:
        raise FormatError(f"{path}: '{dataset.name}' is {dataset.dtype}; it must hold {words}")
    check_stored(path, dataset, n)
    if dataset.chunks is not None:
        _check_decoded(path, dataset, n * dataset.dtype.itemsize)
    load_filters(path, dataset.filter_codes())


def _check_image(path: Path, dataset: Variable, n: int) -> None:
    name = dataset.name
    if dataset.ndim not in (3, 4) or 0 in dataset.shape or dataset.shape[0] != n:
        raise FormatError(
            f"{path}: '{name}' is {dataset.shape}; it must be ({n}, y, x) or ({n}, channel, y, x)"
        )
    if dataset.dtype != np.uint8 and dataset.dtype.kind != "f":
        raise FormatError(f"{path}: '{name}' is {dataset.dtype}; images must be uint8 or float32")


def check_samples(path: Path, sample: NDArray[np.int64], complete: NDArray[np.bool_]) -> None:
    """Refuse a file in which two complete samples have one number."""
    numbers = np.sort(sample[complete])
    repeated = numbers[1:][numbers[1:] == numbers[:-1]]
    if len(repeated):
        first, again = np.flatnonzero(complete & (sample == repeated[0]))[:2]
        raise FormatError(
            f"{path}: sample {repeated[0]} is stored twice, at positions {first} and {again}; "
            "a file may hold each sample once"
        )


def check_beside(path: Path, datasets: dict[str, Variable], maps: Variable) -> None:
    """Check images, target and outputs against the maps."""
    n = len(maps)
    for name, dataset in datasets.items():
        if name in IMAGES:
            _check_image(path, dataset, n)
        elif name == "target":
            expected = (n, *maps.shape[-2:])
            if dataset.shape != expected or dataset.dtype.newbyteorder("=") != maps.dtype.newbyteorder("="):
                raise FormatError(
                    f"{path}: 'target' is {dataset.shape} {dataset.dtype}; it must be {expected} "
                    f"{maps.dtype}, like the maps"
                )
        elif dataset.ndim != 2 or dataset.shape[0] != n or not dataset.shape[1] or dataset.dtype.kind != "f":
            raise FormatError(
                f"{path}: '{name}' is {dataset.shape} {dataset.dtype}; it must be ({n}, class) "
                "floating-point numbers"
            )
    shapes = [datasets[name].shape for name in OUTPUTS if name in datasets]
    if len(set(shapes)) > 1:
        raise FormatError(f"{path}: 'output' is {shapes[0]} but 'output_perturbed' is {shapes[1]}")


def check_stored(path: Path, dataset: Variable, n_needed: int) -> None:
    """Refuse a shape that needs more bytes than the file holds, before memory is allocated for it."""
    row_bytes = math.prod(dataset.shape[1:]) * dataset.dtype.itemsize
    if dataset.chunks is not None:
        _check_decoded(path, dataset, math.prod(dataset.chunks) * dataset.dtype.itemsize)
        stored = dataset.id.get_num_chunks() * math.prod(dataset.chunks) * dataset.dtype.itemsize
        needed = n_needed * row_bytes
    else:
        stored = dataset.id.get_storage_size()
        # A contiguous dataset is stored as a whole or, before anything is written, not at all.
        needed = dataset.shape[0] * row_bytes if n_needed or stored else 0
    if stored < needed:
        raise FormatError(
            f"{path} is truncated or damaged: '{dataset.name}' is {dataset.shape} and needs {needed} "
            f"bytes, {stored} are there; regenerate or copy it again"
        )
    if row_bytes >= LARGEST_MAP_BYTES:
        raise FormatError(f"{path}: '{dataset.name}' is {dataset.shape}; one sample may take at most 4 GiB")
    if dataset.chunks is not None:
        _check_decoded(path, dataset, row_bytes)


def _check_decoded(path: Path, dataset: Variable, n_bytes: int) -> None:
    if n_bytes > LARGEST_DECODED_BYTES:
        raise FormatError(
            f"{path}: '{dataset.name}' is stored in chunks that must be decoded {n_bytes} bytes at a time; "
            f"at most {LARGEST_DECODED_BYTES} are allowed: store it in smaller chunks, or without chunks"
        )
