"""Maps in HDF5 files of other projects: found without following links, checked before they are read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from .pairfile import FORMAT, FormatError, check_stored, filter_codes, load_filters

Rows: TypeAlias = slice | NDArray[np.intp]


@dataclass(frozen=True)
class Source:
    """Something on disk with one row per sample; nothing is in memory until rows are read."""

    words: str  # how messages call it
    shape: tuple[int, ...]
    read: Callable[[Rows], NDArray[Any]]
    keys: tuple[str, ...] | None = None  # of a group with one dataset per sample


def open_file(path: Path, stack: contextlib.ExitStack) -> h5py.File:
    try:
        # The cache keeps a chunk that holds many samples while they are read one by one.
        return stack.enter_context(h5py.File(path, "r", locking="best-effort", rdcc_nbytes=2**26))
    except PermissionError as error:
        raise PermissionError(f"{path} may not be read: allow it with chmod, or read a copy") from error
    except BlockingIOError as error:
        raise BlockingIOError(f"{path} is being written by another process; wait until it ends") from error
    except OSError as error:
        raise _damaged(path, error) from error


def open_rows(path: Path, file: h5py.File, name: str, kinds: str = "iuf") -> Source:
    """Find a dataset with one row per sample, or a group with one dataset per sample.

    Members of a group come in the order in which h5py lists them, which is that of ViRelAy.
    """
    with reading(path):
        node = _find(path, file, name)
        if isinstance(node, h5py.Dataset):
            _check(path, node, kinds)
            if node.shape == ():
                raise FormatError(f"{path}: '{name}' is a single value; it must have one row per sample")
            return Source(f"{path}, dataset '{name}',", node.shape, lambda rows: _rows(path, node, rows))
        keys = tuple(node)
        row_shape: tuple[int, ...] = ()
        for key in keys:
            member = _find(path, node, key)
            if not isinstance(member, h5py.Dataset):
                raise FormatError(
                    f"{path}: '{name}' holds the group '{key}'; name a dataset, or a group with one dataset "
                    f"per sample; it has: {_listed(file)}"
                )
            _check(path, member, kinds)
            if key == keys[0]:
                row_shape = member.shape
            if member.shape != row_shape:
                raise FormatError(
                    f"{path}: '{name}/{key}' is {member.shape} but '{name}/{keys[0]}' is {row_shape}; a pair "
                    "file holds maps of one size: resize them, or make one file for each size"
                )
        shape = (len(keys), *row_shape)
    return Source(f"{path}, group '{name}',", shape, lambda rows: _members(path, node, keys, rows), keys)


def read_whole_numbers(path: Path, file: h5py.File, name: str, n: int) -> NDArray[np.int64]:
    rows = open_rows(path, file, name, kinds="iu")
    if rows.shape not in ((n,), (n, 1)):
        raise FormatError(f"{rows.words} is {rows.shape}; it must hold {n} whole numbers, one per sample")
    return rows.read(slice(None)).reshape(n).astype(np.int64)


def choose(path: Path, file: h5py.File, role: str) -> str:
    """Name of the maps where none was given: the only dataset, or the one called like the role."""
    with reading(path):
        if str(file.attrs.get("format")) == FORMAT:
            raise FormatError(
                f"{path} is a pair file already: score it, or name one of its datasets: {path}:unperturbed"
            )
        names = _dataset_names(file)
        if len(names) == 1:
            return names[0]
        if role not in file:
            raise FormatError(
                f"{path} has no dataset '{role}'; it has: {_listed(file)}; name one: {path}:NAME"
            )
    return role


def _find(path: Path, start: h5py.Group, name: str) -> h5py.Dataset | h5py.Group:
    """Walk to an object by hard links only: any other link could lead to another file."""
    node = start
    for part in filter(None, name.split("/")):
        link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            raise FormatError(f"{path} has no dataset '{name}'; it has: {_listed(start.file)}")
        if not isinstance(link, h5py.HardLink):
            raise FormatError(f"{path}: '{part}' in '{name}' is a link; name what it leads to instead")
        node = node[part]
    if not isinstance(node, h5py.Dataset | h5py.Group):
        raise FormatError(f"{path}: '{name}' is a data type; name a dataset; it has: {_listed(start.file)}")
    return node


def _check(path: Path, dataset: h5py.Dataset, kinds: str) -> None:
    """Refuse a dataset that lies elsewhere, holds no numbers, or is not as large as it says."""
    name = dataset.name.lstrip("/")
    if dataset.is_virtual or dataset.external:
        raise FormatError(f"{path}: '{name}' keeps its values in other files; copy them into this one")
    if dataset.dtype.kind not in kinds:
        words = "integers" if kinds == "iu" else "integers or floating-point numbers"
        raise FormatError(f"{path}: '{name}' is {dataset.dtype}; it must hold {words}")
    if dataset.shape is None:
        raise FormatError(f"{path}: '{name}' is empty; it must have one row per sample")
    if dataset.shape == ():
        return
    check_stored(path, dataset, dataset.shape[0])
    load_filters(path, filter_codes(dataset))


def _rows(path: Path, dataset: h5py.Dataset, rows: Rows) -> NDArray[Any]:
    with reading(path):
        if isinstance(rows, slice):
            values: NDArray[Any] = dataset[rows]
            return values
        values = np.empty((len(rows), *dataset.shape[1:]), dtype=dataset.dtype)
        for position in np.argsort(rows):  # in the order of the file, so that chunks are decoded once
            values[position] = dataset[rows[position]]
        return values


def _members(path: Path, group: h5py.Group, keys: tuple[str, ...], rows: Rows) -> NDArray[Any]:
    positions = range(len(keys))[rows] if isinstance(rows, slice) else rows
    with reading(path):
        return np.stack([np.asarray(group[keys[position]][()]) for position in positions])


def _dataset_names(file: h5py.File, limit: int = 13) -> list[str]:
    names: list[str] = []

    def note(name: str, node: object) -> bool | None:
        if isinstance(node, h5py.Dataset):
            names.append(name)
        return True if len(names) == limit else None

    file.visititems(note)  # hard links only, each object once
    return names


def _listed(file: h5py.File) -> str:
    names = _dataset_names(file)
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "") if names else "nothing"


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FormatError:
        raise
    # h5py reports damage as any of these, depending on what the damaged bytes were.
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> FormatError:
    return FormatError(f"{path} is truncated or damaged ({error}): make or copy it again")
