"""HDF5 files of other projects, netCDF-4 files among them."""

import contextlib
from pathlib import Path
from typing import Any

import h5py
from numpy.typing import NDArray

from ..errors import FormatError
from ..pairfile.format import FORMAT
from ..pairfile.opening import reading
from .datasets import dataset_names, listed, open_column, open_file, open_rows, read_values
from .filling import cannot_fill, filler_at
from .matching import refuse_other_coordinates
from .names import EACH
from .netcdf import decoder
from .source import Fill, Source


def is_hdf5(path: Path) -> bool:
    """Return whether a file is an HDF5 file."""
    return bool(h5py.is_hdf5(path))


def open_maps(
    path: Path, role: str, wanted: str | None, *, beside: Path, stack: contextlib.ExitStack
) -> Source:
    """Find the dataset or group of maps in an HDF5 file."""
    file = open_file(path, stack)
    if _is_pair_file(path, file):
        # Its maps alone would lose their sample numbers, statuses and reduction.
        raise FormatError(
            f"{path} is a pair file already: score it as it is; to pair maps of two pair files, read them "
            "with lensmetrics.PairStore and write matching samples with lensmetrics.PairWriter"
        )
    if wanted is None:
        wanted = _choose(path, file, role)
    elif wanted.endswith(EACH):  # as in other kinds of files; only the group of the whole file needs it
        wanted = wanted.removesuffix(EACH)
    return open_rows(path, file, wanted)


def filler(path: Path, source: Source) -> Fill:
    """Return a function that reads files whose only difference is in the values of one contiguous dataset."""
    dataset = source.node
    if not isinstance(dataset, h5py.Dataset) or source.axes is not None:
        return cannot_fill
    with reading(path):
        start = dataset.id.get_offset()  # None for chunks, and for values that were never written
        is_decoded = decoder(source.words, dataset.dtype, dataset.attrs) is not None
    return cannot_fill if start is None or is_decoded else filler_at(path, source, start)


def read_column(
    path: Path, wanted: str | None, what: str, maps: Source, *, beside: Path, stack: contextlib.ExitStack
) -> tuple[str, NDArray[Any]]:
    """Read one value for each of these maps; return also the name of the array in messages."""
    file = open_file(path, stack)
    name = _choose(path, file, what) if wanted is None else wanted
    rows = open_column(path, file, name, what)
    refuse_other_coordinates(maps, rows)
    return rows.words, read_values(rows, maps.shape[0], what)


def _is_pair_file(path: Path, file: h5py.File) -> bool:
    with reading(path):
        return str(file.attrs.get("format")) == FORMAT


def _choose(path: Path, file: h5py.File, role: str) -> str:
    """Return the name of the only dataset, or of the one that is named like the role."""
    with reading(path):
        names = dataset_names(file)
        if len(names) == 1:
            return names[0]
        if role in file:
            return role
    each = f"; if each is one sample, all of them: '{path}:{EACH}'" if len(names) > 1 else ""
    raise ValueError(f"{path} has no dataset '{role}'; it has: {listed(file)}; name one: {path}:NAME{each}")
