"""Arrays in .npy and .npz files, mapped rather than read."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layout import check_space
from .pairfile import FormatError

_HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf")
_OR_HDF5 = ", or an HDF5 file or FILE:NAME for one array of it"


def open_array(
    path: Path, role: str, wanted: str | None, beside: Path, stack: contextlib.ExitStack
) -> NDArray[Any]:
    """Memory-map the array of a .npy, or a named one of an .npz."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; give a .npy or .npz file{_OR_HDF5}")
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give a .npy or .npz file{_OR_HDF5}")
    if path.suffix in _HDF5_SUFFIXES:
        raise FormatError(f"{path} is truncated or no HDF5 file: make or copy it again")
    if not zipfile.is_zipfile(path):
        if path.suffix == ".npz":
            raise FormatError(f"{path} is truncated or no .npz file: save it again with numpy.savez")
        if wanted is not None:
            raise ValueError(f"{path} is no .npz: it has no array named {wanted!r}; leave the name out")
        return mapped(path, str(path))
    # numpy maps files, not members of an archive, so the member becomes a file.
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".lensmetrics-import-", dir=beside)))
    unpacked = folder / f"{role}.npy"
    try:
        with zipfile.ZipFile(path) as archive:
            member = _choose(path, archive, role, wanted)
            check_space(beside, archive.getinfo(member).file_size, f"'{member}' of {path}, unpacked,")
            with archive.open(member) as source, unpacked.open("wb") as sink:
                shutil.copyfileobj(source, sink, length=2**20)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise FormatError(f"{path} is truncated or damaged ({error}): save or copy it again") from error
    return mapped(unpacked, f"{path}, array '{member.removesuffix('.npy')}',")


def _choose(path: Path, archive: zipfile.ZipFile, role: str, wanted: str | None) -> str:
    members = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}
    if wanted is None:
        wanted = next(iter(members)) if len(members) == 1 else role
    if wanted not in members:
        raise FormatError(f"{path} has no array {wanted!r}; it has: {', '.join(members) or 'none'}; name one")
    return members[wanted]


def mapped(path: Path, words: str) -> NDArray[Any]:
    try:
        with np.errstate(over="ignore"):  # a header may claim any shape; it is refused below
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except PermissionError as error:
        raise PermissionError(f"{words} may not be read: allow it with chmod, or read a copy") from error
    except (ValueError, EOFError, SyntaxError, OverflowError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise FormatError(
            f"{words} is not an array that can be mapped ({reason}); save a numeric array with numpy.save"
        ) from error
    if array.dtype.kind not in "iuf":
        raise FormatError(f"{words} is {array.dtype}; maps must be integers or floating-point numbers")
    return array
