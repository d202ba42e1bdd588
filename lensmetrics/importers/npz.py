"""Arrays in .npz files: one of them, or all of them if each is the map of one sample."""

import contextlib
import lzma
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..disk import check_space
from ..errors import FormatError
from . import npy
from .columns import check_column, column_values
from .foreign import what_archive_it_is
from .names import EACH, sample_arrays
from .source import Rows, Source, array_source

# Larger arrays are unpacked into a file and mapped.
_IN_MEMORY = 2**21
# From so many square arrays of one size on, each is taken for the map of one sample. Two may be something
# else of the same shape: maps and images, or unperturbed and perturbed ones.
_FEW = 3
_N_NAMED = 12
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


def is_npz(path: Path) -> bool:
    """Return whether a file is a zip archive, and no .npy file."""
    if npy.is_npy(path):
        return False
    with _decoding(path):
        return zipfile.is_zipfile(path)


def open_maps(
    path: Path, role: str, wanted: str | None, *, beside: Path, stack: contextlib.ExitStack
) -> Source:
    """Find the array of maps in an .npz file, or take all arrays, each of which is one sample."""
    archive, members = _opened(path, stack)
    if wanted is None and _is_one_per_sample(path, archive, members, role):
        wanted = EACH
    if wanted is not None and wanted.endswith(EACH) and wanted not in members:
        return _one_per_sample(path, archive, members, wanted)
    name = _choose(path, archive, members, role, wanted)
    array = _array(path, archive, name, members[name], beside, stack)
    return array_source(_words(path, name), members[name], array)


def read_column(
    path: Path, wanted: str | None, what: str, maps: Source, *, beside: Path, stack: contextlib.ExitStack
) -> tuple[str, NDArray[Any]]:
    """Read one value for each of these maps; return also the name of the array in messages."""
    archive, members = _opened(path, stack)
    name = _choose(path, archive, members, what, wanted)
    array, words = _array(path, archive, name, members[name], beside, stack), _words(path, name)
    check_column(words, array.shape, array.dtype, maps.shape[0], what)
    return words, column_values(words, np.array(array), what)


def _opened(path: Path, stack: contextlib.ExitStack) -> tuple[zipfile.ZipFile, dict[str, str]]:
    """Open an archive; return also its arrays by name."""
    with _decoding(path):
        archive = stack.enter_context(zipfile.ZipFile(path))
    names = archive.namelist()
    members = {name.removesuffix(".npy"): name for name in names if name.endswith(".npy")}
    if not members:
        raise FormatError(what_archive_it_is(path))
    if {"format", "shape", "data"} <= set(members):
        raise FormatError(
            f"{path} is a sparse matrix of SciPy: "
            f"numpy.save('u.npy', scipy.sparse.load_npz({path.name!r}).toarray())"
        )
    return archive, members


def _words(path: Path, name: str) -> str:
    return f"{path}, array '{name}',"


def _choose(
    path: Path, archive: zipfile.ZipFile, members: Mapping[str, str], role: str, wanted: str | None
) -> str:
    name = wanted or (next(iter(members)) if len(members) == 1 else role)
    if name in members:
        return name
    each = "" if wanted else f"; if each is one sample, say so: '{path}:{EACH}'"
    raise ValueError(f"{path} has no array {name!r}; it has {_listed(members)}; name one{each}")


def _listed(members: Mapping[str, str]) -> str:
    names = ", ".join(list(members)[:_N_NAMED]) + (", ..." if len(members) > _N_NAMED else "")
    return f"{len(members)}: {names}"


def _is_one_per_sample(path: Path, archive: zipfile.ZipFile, members: Mapping[str, str], role: str) -> bool:
    """Return whether an archive holds many square arrays of one size, which cannot be rows of flat maps."""
    if role in members or len(members) < _FEW:
        return False
    if len({archive.getinfo(member).file_size for member in members.values()}) > 1:
        return False
    name, member = next(iter(members.items()))
    shape = npy.parsed(b"".join(_blocks(path, archive, member)), _words(path, name)).shape
    return len(shape) == 2 and shape[0] == shape[1]


def _one_per_sample(path: Path, archive: zipfile.ZipFile, members: Mapping[str, str], wanted: str) -> Source:
    """Take all arrays below a name as the samples; they are unpacked when their rows are read."""
    by_name = sample_arrays(path, members, wanted)
    if not by_name:
        raise ValueError(f"{path} has no arrays '{wanted}'; it has {_listed(members)}")
    if len(members) < len(archive.namelist()):
        raise FormatError(f"{path} holds arrays of one name, or something else: save one array per sample")
    names = list(by_name)
    n_bytes = archive.getinfo(members[by_name[names[0]]]).file_size

    def read_one(name: str) -> NDArray[Any]:
        member = members[by_name[name]]
        if archive.getinfo(member).file_size != n_bytes:  # before it is unpacked
            raise FormatError(
                f"{path}: the arrays '{names[0]}' and '{name}' have different sizes or types; a pair file "
                "holds maps of one size: resize them, or make one file for each size"
            )
        return npy.parsed(b"".join(_blocks(path, archive, member)), _words(path, name))

    first = read_one(names[0])

    def read(rows: Rows) -> NDArray[Any]:
        chosen = names[rows] if isinstance(rows, slice) else [names[row] for row in rows]
        block = np.empty((len(chosen), *first.shape), first.dtype)
        for row, name in zip(block, chosen, strict=True):
            one = read_one(name)
            if one.shape != first.shape or one.dtype != first.dtype:
                raise FormatError(
                    f"{path}: '{names[0]}' is {first.shape}, {first.dtype}, but '{name}' is {one.shape}, "
                    f"{one.dtype}; a pair file holds maps of one size and type: make one file for each"
                )
            row[...] = one
        return block

    return Source(str(path), wanted, (len(names), *first.shape), first.dtype, read, names=tuple(names))


def _array(
    path: Path,
    archive: zipfile.ZipFile,
    name: str,
    member: str,
    beside: Path,
    stack: contextlib.ExitStack,
) -> NDArray[Any]:
    """Return an array of an archive; NumPy maps files only, so a large one is unpacked into a file."""
    size = archive.getinfo(member).file_size
    if size <= _IN_MEMORY:
        return npy.parsed(b"".join(_blocks(path, archive, member)), _words(path, name))
    check_space(beside, size, f"'{member}' of {path}, unpacked,")
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".lensmetrics-import-", dir=beside)))
    unpacked = folder / "array.npy"
    with unpacked.open("wb") as sink:
        for block in _blocks(path, archive, member):
            sink.write(block)
    return npy.mapped(unpacked, _words(path, name))


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
