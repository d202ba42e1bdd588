"""What may be wrong with a pair file, found while it is opened."""

from __future__ import annotations

import math
import stat
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..disk import file_kind, part_path
from ..errors import FormatError
from .format import IMAGES, OUTPUTS

# HDF5 allows no larger chunk, so no producer can store a larger map compressed.
LARGEST_MAP_BYTES = 2**32
# HDF5 decodes whole chunks, and a few bytes of a file can decode to any number: this is what a file that
# is compressed may make its reader take at a time.
LARGEST_DECODED_BYTES = 2**28


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open a file for reading; whatever is wrong with it comes out as one sentence."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; give a pair file")
    if not path.exists():
        part = part_path(path)
        hint = f", but {part} does: finish it with PairWriter.resume" if part.exists() else ""
        raise FileNotFoundError(f"{path} does not exist{hint}")
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise FormatError(f"{path} is {file_kind(status.st_mode)}; give a pair file")
    if status.st_size == 0:
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
        if not raised_by_h5py(error):
            raise
        if not h5py.is_hdf5(path):
            if _is_parquet(path):
                raise FormatError(
                    f"{path} is a Parquet table, not a pair file: summarize or report it"
                ) from error
            raise FormatError(
                f"{path} is not an HDF5 file; convert .npy or .npz arrays with 'lensmetrics import'"
            ) from error
        raise FormatError(f"{path} is truncated or damaged ({error}): make or copy it again") from error


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def raised_by_h5py(error: BaseException) -> bool:
    """Tell what h5py says of a file from a mistake in this package, which is no damage to the file."""
    innermost = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package in ("h5py", __package__):  # either may call NumPy, which then raises
            innermost = package
    return innermost == "h5py"


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
            held = sorted(map(repr, file))  # bytes where a name is not UTF-8
            names = ", ".join(held[:20]) + (", ..." if len(held) > 20 else "")
            raise FormatError(f"{path} has no dataset '{name}'; it has: {names or 'nothing'}") from None
        dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise FormatError(
            f"{path}: '{name}' must be a dataset stored in this file, not a group, a virtual dataset or "
            "external data; copy the values into the file"
        )
    return dataset


def read_column(
    path: Path,
    file: h5py.File,
    name: str,
    n: int,
    dtype: type[np.generic],
    complete: NDArray[np.bool_] | None = None,
) -> NDArray[Any]:
    """Read one value per sample; where samples are complete, an integer must be one of that type."""
    dataset = find_dataset(path, file, name)
    kinds, words = ("f", "floating-point numbers") if issubclass(dtype, np.floating) else ("iu", "integers")
    held = dataset.dtype  # asking h5py takes a while
    _check_column(path, dataset, n, held.kind in kinds, words)
    stored = np.empty(n, held)
    dataset.id.read(h5py.h5s.ALL, h5py.h5s.ALL, stored)  # dataset[()] takes twice as long
    if held == dtype:
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
    """Read the names of the samples: texts of fixed or variable length, or rows of single characters."""
    dataset = find_dataset(path, file, "name")
    characters = dataset.dtype == np.dtype("S1") and dataset.ndim == 2
    if characters:
        if len(dataset) != n:
            raise FormatError(f"{path}: 'name' is {dataset.shape} but 'unperturbed' has {n} samples")
        check_stored(path, dataset, n)
        length = dataset.shape[1]
        if dataset.chunks is not None:
            _check_decoded(path, dataset, n * length)
        load_filters(path, filter_codes(dataset))
        stored = np.ascontiguousarray(dataset[()]).view(f"S{length}").reshape(n) if length else [b""] * n
    else:
        kind = h5py.check_string_dtype(dataset.dtype)
        _check_column(path, dataset, n, kind is not None, "texts")
        stored = _texts(path, dataset) if dataset.dtype == object else dataset[()]
    names = np.empty(n, object)
    try:
        names[:] = [item.partition(b"\0")[0].decode() for item in stored]
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: 'name' holds {error.object!r}, which is not UTF-8") from None
    return names


def _texts(path: Path, dataset: h5py.Dataset) -> list[bytes]:
    """Read texts of variable length, of which each may claim to be as long as the file."""
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


def _check_column(path: Path, dataset: h5py.Dataset, n: int, is_right: bool, words: str) -> None:
    """Refuse a column of another length or kind, or that is not there, before memory is taken for it."""
    if dataset.shape != (n,):
        raise FormatError(f"{path}: '{_name(dataset)}' is {dataset.shape} but 'unperturbed' has {n} samples")
    if not is_right:
        raise FormatError(f"{path}: '{_name(dataset)}' is {dataset.dtype}; it must hold {words}")
    check_stored(path, dataset, n)
    if dataset.chunks is not None:
        _check_decoded(path, dataset, n * dataset.dtype.itemsize)
    load_filters(path, filter_codes(dataset))


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


def check_beside(path: Path, datasets: dict[str, h5py.Dataset], maps: h5py.Dataset) -> None:
    """Check what lies beside the maps: images, target and outputs."""
    n = len(maps)
    for name, dataset in datasets.items():
        if name in IMAGES:
            check_image(path, dataset, n)
        elif name == "target":
            expected = (n, *maps.shape[-2:])
            if dataset.shape != expected or dataset.dtype.newbyteorder("=") != maps.dtype.newbyteorder("="):
                raise FormatError(
                    f"{path}: 'target' is {dataset.shape} {dataset.dtype}; it must be {expected} "
                    f"{maps.dtype}, as the maps"
                )
        elif dataset.ndim != 2 or dataset.shape[0] != n or not dataset.shape[1] or dataset.dtype.kind != "f":
            raise FormatError(
                f"{path}: '{name}' is {dataset.shape} {dataset.dtype}; it must be ({n}, class) "
                "floating-point numbers"
            )
    shapes = [datasets[name].shape for name in OUTPUTS if name in datasets]
    if len(set(shapes)) > 1:
        raise FormatError(f"{path}: 'output' is {shapes[0]} but 'output_perturbed' is {shapes[1]}")


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
