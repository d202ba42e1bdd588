"""Arrays in .npy and .npz files, memory-mapped rather than read."""

import contextlib
import lzma
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..disk import check_space
from ..errors import FormatError
from .columns import check_column, column_values
from .foreign import what_archive_it_is, what_it_is
from .source import Source, array_source

_N_NAMED = 12
_NPY = b"\x93NUMPY"
# What zipfile and its decoders raise on damaged bytes: bz2 raises OSError, a password RuntimeError, a
# dictionary of gigabytes MemoryError.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    MemoryError,
)


def open_maps(
    path: Path, role: str, wanted: str | None, *, beside: Path, stack: contextlib.ExitStack
) -> Source:
    """Find the array of maps in a .npy or .npz file."""
    words, member, array = _open_array(path, role, wanted, beside, stack)
    return array_source(words, member, array)


def read_column(
    path: Path, wanted: str | None, what: str, maps: Source, *, beside: Path, stack: contextlib.ExitStack
) -> tuple[str, NDArray[Any]]:
    """Read one value for each of these maps; return also the name of the array in messages."""
    words, _, array = _open_array(path, what, wanted, beside, stack)
    check_column(words, array.shape, array.dtype, maps.shape[0], what)
    return words, column_values(words, np.array(array), what)


def _open_array(
    path: Path, role: str, wanted: str | None, beside: Path, stack: contextlib.ExitStack
) -> tuple[str, str, NDArray[Any]]:
    """Memory-map the array of a .npy, or a named one of an .npz.

    Return also its name in messages, and its name in the archive.
    """
    try:
        with path.open("rb") as file:
            first = file.read(len(_NPY))
    except PermissionError as error:
        raise PermissionError(f"{path} may not be read: allow it with chmod, or read a copy") from error
    if first == _NPY or not _is_archive(path):
        if first == _NPY and wanted is not None:
            raise ValueError(
                f"{path} is not an .npz file: it has no array named {wanted!r}; leave the name out"
            )
        return str(path), "", _mapped(path, str(path))
    # NumPy maps files, not members of an archive, so the member is unpacked into a file.
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".lensmetrics-import-", dir=beside)))
    unpacked = folder / f"{role}.npy"
    with _decoding(path):
        archive = stack.enter_context(zipfile.ZipFile(path))
    member = _choose(path, archive, role, wanted)
    check_space(beside, archive.getinfo(member).file_size, f"'{member}' of {path}, unpacked,")
    with unpacked.open("wb") as sink:
        for block in _blocks(path, archive, member):
            sink.write(block)
    words = f"{path}, array '{member.removesuffix('.npy')}',"
    return words, member, _mapped(unpacked, words)


def _is_archive(path: Path) -> bool:
    with _decoding(path):
        return zipfile.is_zipfile(path)


def _blocks(path: Path, archive: zipfile.ZipFile, member: str) -> Iterator[bytes]:
    if archive.getinfo(member).flag_bits & 1:
        raise FormatError(f"{path} is encrypted, which import does not open: save it without a password")
    with _decoding(path):
        source = archive.open(member)
    with source:
        while True:
            with _decoding(path):
                block = source.read(2**20)
            if not block:
                return
            yield block


@contextlib.contextmanager
def _decoding(path: Path) -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FormatError(f"{path} is truncated or damaged ({reason}): save or copy it again") from error


def _choose(path: Path, archive: zipfile.ZipFile, role: str, wanted: str | None) -> str:
    names = archive.namelist()
    members = {name.removesuffix(".npy"): name for name in names if name.endswith(".npy")}
    if not members:
        raise FormatError(what_archive_it_is(path, names))
    if {"format", "shape", "data"} <= set(members):
        raise FormatError(
            f"{path} is a sparse matrix of SciPy: "
            f"numpy.save('u.npy', scipy.sparse.load_npz({path.name!r}).toarray())"
        )
    name = wanted or (next(iter(members)) if len(members) == 1 else role)
    if name in members:
        return members[name]
    listed = ", ".join(list(members)[:_N_NAMED]) + (", ..." if len(members) > _N_NAMED else "")
    several = "" if wanted else "; if each is one sample, save numpy.stack of all of them as one array"
    raise ValueError(f"{path} has no array {name!r}; it has {len(members)}: {listed}; name one{several}")


def _mapped(path: Path, words: str) -> NDArray[Any]:
    """Memory-map the .npy file at a path, which may turn out to be another kind of file."""
    with path.open("rb") as file:
        if file.read(len(_NPY)) != _NPY:
            if words != str(path):
                raise FormatError(f"{words} is not a NumPy array: save a numeric array with numpy.savez")
            raise FormatError(what_it_is(path))
    if _holds_objects(path):
        raise FormatError(
            f"{words} holds Python objects (a dict, or arrays of several sizes), which import does not open, "
            "because opening them runs code: save arrays of numbers, a dict of them with "
            "numpy.savez('u.npz', **it)"
        )
    try:
        with np.errstate(over="ignore"):  # a header may claim any shape; it is refused below
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, SyntaxError, OverflowError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise FormatError(
            f"{words} is truncated or damaged ({reason}): save it again with numpy.save, or copy it again"
        ) from error
    _refuse_trailing(path, words, int(getattr(array, "offset", 0)) + array.nbytes)
    return array


def _holds_objects(path: Path) -> bool:
    """Return whether the header of a .npy file says so; a damaged header says nothing."""
    with path.open("rb") as file, contextlib.suppress(ValueError, EOFError, SyntaxError, TypeError):
        is_first = np.lib.format.read_magic(file) == (1, 0)
        # Version 3 differs from version 2 in the encoding of field names only.
        read = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
        return read(file)[2].hasobject
    return False


def _refuse_trailing(path: Path, words: str, end: int) -> None:
    """Refuse bytes after the array: of several arrays, NumPy silently reads the first."""
    n_more = path.stat().st_size - end
    if n_more <= 0:
        return
    with path.open("rb") as file:
        file.seek(end)
        another = file.read(len(_NPY)) == _NPY
    if another:
        raise FormatError(
            f"{words} holds more than one array (np.save was called several times on one file): load them "
            "one by one and save them as one array"
        )
    raise FormatError(f"{words} has {n_more} bytes after its array: save it again with numpy.save")
