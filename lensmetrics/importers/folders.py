"""Maps with a file per sample: a folder, a glob or a list of files becomes one `Source`.

All files have one shape and one type, which the first of them decides; the others are opened once, when
their rows are read.
"""

import contextlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .filling import cannot_fill
from .kinds import kind_of
from .listing import Given, SampleFile, refuse_changes, sample_files, shown
from .scales import NAMED
from .source import Fill, Rows, Source


def open_folder(
    given: Given, role: str, wanted: str | None, output: Path, *, letters: str | None = None
) -> Source:
    """Find the maps of a folder, a glob or a list of files, each of which holds the map of one sample.

    Parameters
    ----------
    role, wanted
        As for `OpenMaps`: unperturbed or perturbed, and the name of the array in each file.
    output
        The file that will be written, which is not read if it lies there.
    letters
        What the axes of the arrays are, see `letters.named`. An axis of samples, N, must have length 1 and
        is dropped; without letters the first of four or more axes is one. A file that names its axes
        decides for itself.

    Returns
    -------
    Source
        With `names`, in their natural order. Its `refuse_changes` refuses files that were written, added
        or removed since.
    """
    files = sample_files(given, output)
    first = Path(files[0].path)
    head, kind = _head(first), kind_of(first)

    def open_file(path: Path, stack: contextlib.ExitStack) -> Source:
        # Asking every kind takes longer than reading a small map.
        reader = kind if path.suffix == first.suffix and _head(path) == head else kind_of(path)
        return reader.open_maps(path, role, wanted, beside=output.parent, stack=stack)

    folder = _Folder(files, open_file, letters, kind.filler)
    if len(files) == 1 and len(folder.shape) > 2 and letters is None:
        raise ValueError(
            f"{shown(given)} holds one file, {files[0].path}, of {folder.shape}: give that file if it has "
            "all samples; if it is one map, say what its axes are, as in axes='CHW'"
        )
    return Source(
        shown(given),
        folder.array,
        (len(files), *folder.shape),
        folder.dtype,
        folder.read,
        names=tuple(file.name for file in files),
        refuse_changes=lambda: refuse_changes(given, output, files),
    )


class _Folder:
    """Files of one shape and one type, one per row."""

    def __init__(
        self,
        files: Sequence[SampleFile],
        open_file: Callable[[Path, contextlib.ExitStack], Source],
        letters: str | None,
        filler: Callable[[Path, Source], Fill] | None,
    ) -> None:
        self._files, self._open_file, self._letters = files, open_file, letters
        self._first = Path(files[0].path)
        with contextlib.ExitStack() as stack:
            source = open_file(self._first, stack)
            self.array, self.dtype = source.array, source.dtype
            self.shape = tuple(source.shape[axis] for axis in self._axes(self._first, source))
            self._fill = cannot_fill if filler is None else filler(self._first, source)

    def read(self, rows: Rows) -> NDArray[Any]:
        """Read the files of these rows."""
        files = self._files[rows] if isinstance(rows, slice) else [self._files[row] for row in rows]
        block = np.empty((len(files), *self.shape), self.dtype)
        for row, file in zip(block, files, strict=True):
            try:
                if not self._fill(file.path, row):
                    row[...] = self._read(Path(file.path))
            except FileNotFoundError as error:
                raise FormatError(
                    f"{file.path} was removed while its folder was read: import again"
                ) from error
        return block

    def _read(self, path: Path) -> NDArray[Any]:
        with contextlib.ExitStack() as stack:
            source = self._open_file(path, stack)
            axes = self._axes(path, source)
            shape = tuple(source.shape[axis] for axis in axes)
            if shape != self.shape:
                raise FormatError(
                    f"{path} is {shape} but {self._first} is {self.shape}; a pair file holds maps of one "
                    "size: resize them, or make one file for each size"
                )
            if not _holds(self.dtype, source.dtype):
                raise FormatError(
                    f"{path} is {source.dtype} but {self._first} is {self.dtype}: save all with one type"
                )
            every = source.read(slice(None))
            left_out = [axis for axis in range(every.ndim) if axis not in axes]
            return every.transpose(*left_out, *axes).reshape(shape)

    def _axes(self, path: Path, source: Source) -> tuple[int, ...]:
        """Return the axes of the map in a file, without that of samples, which must have length 1."""
        at = _sample_axis(source, self._letters)
        axes = tuple(axis for axis in range(len(source.shape)) if axis != at)
        if at is not None and source.shape[at] != 1:
            raise FormatError(
                f"{path} is {source.shape}, but each of several files holds the map of one sample: save all "
                "as one array, numpy.concatenate([numpy.load(file) for file in files])"
            )
        if self._letters is not None or source.axes is None:
            return axes
        # A file may name the axes of a map and store them in another order.
        names = [source.axes[axis].name for axis in axes]
        known = next((wanted[1:] for wanted in NAMED if sorted(wanted[1:]) == sorted(names)), None)
        return axes if known is None else tuple(axes[names.index(name)] for name in known)


def _head(path: Path) -> bytes:
    """Return the bytes with which all files of a kind begin; none of a file that may not be read."""
    with contextlib.suppress(PermissionError), io.FileIO(str(path)) as file:
        return file.read(4) or b""
    return b""


def _sample_axis(source: Source, letters: str | None) -> int | None:
    """Return which axis of a file is that of samples; a file may have none, since it holds one sample."""
    names_samples = source.axes is not None and source.axes[0].name == "sample"
    if source.keys is not None or source.names is not None or names_samples:
        return 0
    if letters is None:
        return 0 if len(source.shape) >= 4 else None
    return letters.index("N") if "N" in letters and len(letters) == len(source.shape) else None


def _holds(dtype: np.dtype[Any], other: np.dtype[Any]) -> bool:
    """Return whether a type holds the values of another one, and they mean the same."""
    if dtype.kind == other.kind == "f":
        return np.can_cast(other, dtype)
    # Integers of two types are often levels of two scales, such as 0 to 255 and 0 to 65535.
    return dtype.newbyteorder("=") == other.newbyteorder("=")
