"""Correct the attributes of a finished pair file: the file is replaced by a copy that has others."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..disk import check_space, check_writable, copy_file, lock, replacing
from ..errors import FormatError
from .attributes import CHECKSUM, checked_attrs, metadata_checksum
from .header import read_header
from .layout import LIBVER, column_bytes
from .opening import raised_by_h5py
from .store import PairStore

_OF_THE_FILE = ("format", "format_version", CHECKSUM)


def corrected(store: PairStore, changes: Mapping[str, Any], removed: Collection[str] = ()) -> dict[str, Any]:
    """Return the attributes that the file will have.

    Raises
    ------
    ValueError, TypeError
        If a name or a value is not allowed, the file has no attribute that is to be removed, or it is
        unfinished.
    FormatError
        If the attributes are damaged: a new checksum would declare them good.
    """
    for name in (*changes, *removed):
        if name in _OF_THE_FILE:
            raise ValueError(f"attribute '{name}' belongs to the file format and cannot be changed")
    checked = checked_attrs(changes)
    missing = [name for name in removed if name not in store.attrs]
    if missing:
        own = ", ".join(name for name in store.attrs if name not in _OF_THE_FILE)
        raise ValueError(f"{store.path} has no attribute '{missing[0]}' to remove; it has: {own or 'none'}")
    if store.path.name.endswith(".part"):
        raise ValueError(f"{store.path} is not finished: finish it with PairWriter.resume first")
    if store.metadata_damaged:
        raise FormatError(
            f"{store.metadata_damaged}; if it was changed on purpose, delete the attribute {CHECKSUM}"
        )
    kept = {name: value for name, value in store.attrs.items() if name not in removed}
    return kept | checked


def differ(old: Any, new: Any) -> bool:
    """Return whether two values of an attribute differ, or their types; NaN equals NaN."""
    return repr(old) != repr(new)


def check_replaceable(path: Path) -> None:
    """Raise an OSError that says why, if a file cannot be replaced by a changed copy."""
    target = path.resolve() if path.is_symlink() else path
    check_writable(target)
    if not os.access(path, os.W_OK):
        raise PermissionError(f"{path} may not be written: allow it with chmod, or correct a copy")
    found = target.stat()
    stored = getattr(found, "st_blocks", -1) * 512
    n_bytes = found.st_size if stored < 0 else min(found.st_size, stored)
    check_space(target.parent, n_bytes + column_bytes(0), f"a copy of {path}, which then replaces it,")


def replace_attrs(store: PairStore, attrs: Mapping[str, Any]) -> None:
    """Replace the file of `store` by a copy with these attributes, and a new `checksum_metadata`.

    Maps and all other variables are copied byte for byte. A kill leaves the old file or the new one, and
    perhaps an unfinished copy, ``.NAME.correcting``, which the next correction of the file replaces. A
    link stays a link; its target is replaced.

    Raises
    ------
    BlockingIOError
        If another process is writing the file, or has changed it since it was read.
    OSError
        If the copy cannot be written.
    FormatError
        If HDF5 cannot change the file; it stays as it was.
    """
    path = store.path
    taken = f"{path} is being written by another process; wait until it ends"
    target = path.resolve() if path.is_symlink() else path
    try:
        with target.open("r+b") as file:
            lock(file)
            # Whoever held the lock before may have replaced the file, or its contents.
            if not os.path.samestat(os.fstat(file.fileno()), target.stat()):
                raise BlockingIOError(taken)
            with replacing(target, target.with_name(f".{target.name}.correcting")) as part:
                copy_file(file, part)
                _change(part, store, attrs)
    except (BlockingIOError, FileNotFoundError) as error:
        raise BlockingIOError(taken) from error


def _change(part: Path, store: PairStore, attrs: Mapping[str, Any]) -> None:
    """Give a copy of the file of `store` other attributes, and read it again to see that it is sound."""
    header = read_header(part)
    if header.fingerprint != store.fingerprint:
        raise BlockingIOError
    try:
        with h5py.File(part, "r+", libver=LIBVER, locking="best-effort") as file:
            for name in header.attrs:
                if name not in attrs:
                    del file.attrs[name]
            for name, value in attrs.items():
                if name != CHECKSUM and (name not in header.attrs or differ(header.attrs[name], value)):
                    file.attrs[name] = value
        header = read_header(part)
        checksum = metadata_checksum(header.attrs, header.columns.covered())
        with h5py.File(part, "r+", libver=LIBVER, locking="best-effort") as file:
            file.attrs.create(CHECKSUM, checksum, dtype=np.int64)
        header = read_header(part)
    except (OSError, RuntimeError, ValueError) as error:
        if not isinstance(error, FormatError) and not raised_by_h5py(error):
            raise
        raise FormatError(
            f"HDF5 cannot change a copy of {store.path}, which is as it was: {error}"
        ) from error
    expected = {name: value for name, value in attrs.items() if name != CHECKSUM}
    found = {name: value for name, value in header.attrs.items() if name != CHECKSUM}
    if header.metadata_damaged or differ(sorted(found.items()), sorted(expected.items())):
        raise FormatError(f"{store.path}: HDF5 did not store the attributes as given; the file is as it was")
