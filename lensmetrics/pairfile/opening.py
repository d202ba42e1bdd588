"""Open HDF5 files, and turn the errors of h5py into one-sentence messages."""

import os
import stat
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import h5py

from ..disk import file_kind, part_path
from ..errors import FormatError

# The errors with which h5py reports damage, depending on what the damaged bytes were.
_DAMAGE = (OSError, KeyError, RuntimeError, TypeError, ValueError)
_PACKAGE = __name__.partition(".")[0]


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open a pair file for reading; report whatever is wrong with it in one sentence."""
    try:
        status = path.stat()
        is_likely = stat.S_ISREG(status.st_mode) and status.st_size > 0
    except (OSError, ValueError):
        is_likely = False
    if not is_likely:
        _refuse(path)
    try:
        file = open_hdf5(path)
    except FormatError as error:
        if h5py.is_hdf5(path):
            raise
        if _is_parquet(path):
            raise FormatError(
                f"{path} is a Parquet table, not a pair file: summarize or report it"
            ) from error
        raise FormatError(
            f"{path} is not an HDF5 file; convert .npy or .npz arrays with 'lensmetrics import'"
        ) from error
    with reading(path), file:
        yield file


def _refuse(path: Path) -> None:
    """Say what is at a path, unless it is a file that holds something."""
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
        raise FormatError(
            f"{path} is empty (0 bytes); a pair file is an HDF5 file: regenerate or copy it again"
        )


def open_hdf5(path: Path, **options: Any) -> h5py.File:
    """Open an HDF5 file for reading; turn the errors of h5py into one-sentence messages."""
    try:
        if options:
            return h5py.File(path, "r", locking="best-effort", **options)
        return h5py.File(h5py.h5f.open(os.fsencode(path), h5py.h5f.ACC_RDONLY, _access()))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} does not exist") from error
    except PermissionError as error:
        raise PermissionError(f"{path} may not be read: allow it with chmod, or read a copy") from error
    except BlockingIOError as error:
        raise BlockingIOError(f"{path} is being written by another process; wait until it ends") from error
    except _DAMAGE as error:
        raise FormatError(_damaged(path, error)) from error


@cache
def _access() -> h5py.h5p.PropFAID:
    """Return how h5py opens a file for reading; finding that out takes as long as half of opening it."""
    properties = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    properties.set_libver_bounds(h5py.h5f.LIBVER_EARLIEST, h5py.h5f.LIBVER_LATEST)
    properties.set_file_locking(True, True)  # best effort
    return properties


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Report errors that h5py raises as damage to the file; other errors are mistakes of this package."""
    try:
        yield
    except _DAMAGE as error:
        if isinstance(error, FormatError) or not raised_by_h5py(error):
            raise
        raise FormatError(_damaged(path, error)) from error


def _damaged(path: Path, error: Exception) -> str:
    # The text of a KeyError would be in quotes.
    reason = error.args[0] if isinstance(error, KeyError) and error.args else error
    return f"{path} is truncated or damaged ({reason}): regenerate or copy it again"


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def raised_by_h5py(error: BaseException) -> bool:
    """Return whether h5py raised an error, and not code of this package that h5py called or that calls it."""
    innermost = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package in ("h5py", _PACKAGE):  # both call NumPy, which may be what raises
            innermost = package
    return innermost == "h5py"


def member_names(path: Path, file: h5py.File) -> set[str]:
    """Return the names in the file; refuse links before a name is looked up, as they could lead anywhere."""
    kinds: dict[str, int] = {}
    file.id.links.iterate(
        lambda name, info: kinds.update({name.decode("utf-8", "surrogateescape"): info.type}), info=True
    )
    for name, kind in kinds.items():
        if kind != h5py.h5l.TYPE_HARD:
            raise FormatError(
                f"{path}: {name!r} is a link; a pair file must hold its data itself: copy the values into it"
            )
    return set(kinds)


def load_filters(path: Path, codes: list[int]) -> None:
    """Make filters available in this process, or say what to install."""
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
