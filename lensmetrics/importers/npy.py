"""Arrays in .npy files, memory-mapped rather than read, except for many small files."""

import contextlib
import functools
import io
import math
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .columns import check_column, column_values
from .filling import cannot_fill, filler_at
from .foreign import what_it_is
from .source import Fill, Source, array_source

_NPY = b"\x93NUMPY"
# What NumPy raises on a header that is damaged, or claims more than there is.
_UNREADABLE = (ValueError, EOFError, SyntaxError, OverflowError, TypeError)


class _Header(NamedTuple):
    shape: tuple[int, ...]
    order: Literal["C", "F"]
    dtype: np.dtype[Any]
    n_bytes: int  # of the header itself


def open_maps(
    path: Path, role: str, wanted: str | None, *, beside: Path, stack: contextlib.ExitStack
) -> Source:
    """Map the array in a .npy file, or say what the file is."""
    array = _only_array(path, wanted)
    return array_source(str(path), "", array)


def read_column(
    path: Path, wanted: str | None, what: str, maps: Source, *, beside: Path, stack: contextlib.ExitStack
) -> tuple[str, NDArray[Any]]:
    """Read one value for each of these maps; return also the name of the array in messages."""
    array = _only_array(path, wanted)
    check_column(str(path), array.shape, array.dtype, maps.shape[0], what)
    return str(path), column_values(str(path), np.array(array), what)


def is_npy(path: Path) -> bool:
    """Return whether a file begins like a .npy file."""
    try:
        with path.open("rb") as file:
            return file.read(len(_NPY)) == _NPY
    except PermissionError as error:
        raise PermissionError(f"{path} may not be read: allow it with chmod, or read a copy") from error


def filler(path: Path, source: Source) -> Fill:
    """Return a function that reads files with the header of this one.

    It takes a fraction of the time of `numpy.load`, which parses every header.
    """
    if not is_npy(path):
        return cannot_fill
    with path.open("rb") as file:
        header = _header(file)
    if header.order == "F" and len(header.shape) > 1:
        return cannot_fill
    return filler_at(path, source, header.n_bytes)


def parsed(data: bytes, words: str) -> NDArray[Any]:
    """Return the array in the bytes of a .npy file."""
    if not data.startswith(_NPY):
        raise FormatError(_no_array(words))
    try:
        # Arrays saved by one program have one header, and parsing it takes longer than the rest.
        is_first = data[len(_NPY)] == 1
        start = 10 if is_first else 12
        header = _cached_header(data[: start + int.from_bytes(data[8:start], "little")])
        if not header.dtype.hasobject:
            array = _values(data, header)
    except (*_UNREADABLE, IndexError) as error:
        raise FormatError(_damaged(words, error)) from error
    if header.dtype.hasobject:
        raise FormatError(_objects(words))
    _refuse_trailing(data[header.n_bytes + array.nbytes :], words)
    return array


def mapped(path: Path, words: str) -> NDArray[Any]:
    """Memory-map the .npy file at a path, which may turn out to be another kind of file."""
    if not is_npy(path):
        raise FormatError(what_it_is(path) if words == str(path) else _no_array(words))
    with path.open("rb") as file:
        _refuse_objects(file, words)
    try:
        with np.errstate(over="ignore"):  # a header may claim any shape; it is refused below
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except _UNREADABLE as error:
        raise FormatError(_damaged(words, error)) from error
    end = int(getattr(array, "offset", 0)) + array.nbytes
    n_more = path.stat().st_size - end
    if n_more > 0:
        with path.open("rb") as file:
            file.seek(end)
            _refuse_trailing(file.read(len(_NPY)), words, n_more)
    return array


def _only_array(path: Path, wanted: str | None) -> NDArray[Any]:
    if wanted is not None and is_npy(path):
        raise ValueError(f"{path} is not an .npz file: it has no array named {wanted!r}; leave the name out")
    return mapped(path, str(path))


def _header(file: IO[bytes]) -> _Header:
    is_first = np.lib.format.read_magic(file) == (1, 0)
    # Version 3 differs from version 2 in the encoding of field names only.
    read = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
    shape, is_fortran, dtype = read(file)
    return _Header(shape, "F" if is_fortran else "C", dtype, file.tell())


def _values(data: bytes | bytearray, header: _Header) -> NDArray[Any]:
    """View the array in the bytes of a file."""
    size = math.prod(header.shape)
    array = np.frombuffer(data, header.dtype, size, header.n_bytes) if size else np.empty(0, header.dtype)
    return array.reshape(header.shape, order=header.order)


def _refuse_objects(file: IO[bytes], words: str) -> None:
    """Refuse objects, which a header tells; a damaged header says nothing."""
    has_objects = False
    with contextlib.suppress(*_UNREADABLE):
        has_objects = _header(file).dtype.hasobject
    if has_objects:
        raise FormatError(_objects(words))


def _refuse_trailing(more: bytes, words: str, n_more: int | None = None) -> None:
    """Refuse bytes after the array, of which these are the first: NumPy silently reads the first array."""
    if more.startswith(_NPY):
        raise FormatError(
            f"{words} holds more than one array (np.save was called several times on one file): load them "
            "one by one and save them as one array"
        )
    if more:
        n_more = len(more) if n_more is None else n_more
        raise FormatError(f"{words} has {n_more} bytes after its array: save it again with numpy.save")


@functools.lru_cache(maxsize=4)
def _cached_header(data: bytes) -> _Header:
    return _header(io.BytesIO(data))


def _objects(words: str) -> str:
    return (
        f"{words} holds Python objects (a dict, or arrays of several sizes), which import does not open, "
        "because opening them runs code: save arrays of numbers, a dict of them with "
        "numpy.savez('u.npz', **it)"
    )


def _no_array(words: str) -> str:
    return f"{words} is not a NumPy array: save a numeric array with numpy.savez"


def _damaged(words: str, error: Exception) -> str:
    reason = " ".join(str(error).split())
    return f"{words} is truncated or damaged ({reason}): save it again with numpy.save, or copy it again"
