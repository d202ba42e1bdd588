"""Maps in HDF5 files of other projects: found without following links, checked before they are read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..pairfile.checks import check_stored
from ..pairfile.format import FORMAT
from ..pairfile.opening import filter_codes, load_filters, open_hdf5, reading
from .columns import check_column, integers
from .netcdf import Decode, decoded_type, decoder
from .scales import Axis, named_axes, reading_order

Rows: TypeAlias = slice | NDArray[np.intp]


@dataclass(frozen=True)
class Source:
    """Something on disk with one row per sample; nothing is in memory until rows are read."""

    words: str  # how messages call it
    array: str  # its name in the file
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[Rows], NDArray[Any]]
    keys: tuple[str, ...] | None = None  # of a group with one dataset per sample
    node: h5py.Dataset | h5py.Group | None = None
    axes: tuple[Axis, ...] | None = None  # where the file names them, in the order in which they are read


def open_file(path: Path, stack: contextlib.ExitStack) -> h5py.File:
    """Open an HDF5 file until the stack ends."""
    # The cache keeps a chunk that holds many samples while they are read one by one.
    return stack.enter_context(open_hdf5(path, rdcc_nbytes=2**26))


def open_rows(path: Path, file: h5py.File, name: str, what: str = "maps", kinds: str = "iuf") -> Source:
    """Find a dataset with one row per sample, or a group with one dataset per sample.

    Members of a group come in the order in which h5py lists them, which is that of ViRelAy. `what` the
    rows are is said where their type is refused.
    """
    with reading(path):
        node = _find(path, file, name)
        if isinstance(node, h5py.Dataset):
            _check(path, node, what, kinds)
            if node.shape == ():
                raise FormatError(f"{path}: '{name}' is a single value; it must have one row per sample")
            words = f"{path}, dataset '{name}',"
            decode = decoder(words, node.dtype, node.attrs)
            axes = named_axes(node)
            order = tuple(range(node.ndim)) if axes is None else reading_order(axes)
            return Source(
                words,
                node.name,
                tuple(node.shape[axis] for axis in order),
                decoded_type(node.dtype, decode),
                lambda rows: _rows(path, node, decode, rows, order),
                node=node,
                axes=None if axes is None else tuple(axes[axis] for axis in order),
            )
        keys = tuple(node)
        row_shape: tuple[int, ...] = ()
        members: list[tuple[h5py.Dataset, Decode | None]] = []
        for key in keys:
            member = _find(path, node, key)
            if not isinstance(member, h5py.Dataset):
                raise FormatError(
                    f"{path}: '{name}' holds the group '{key}'; name a dataset, or a group with one dataset "
                    f"per sample; it has: {_listed(file)}"
                )
            _check(path, member, what, kinds)
            if key == keys[0]:
                row_shape = member.shape
            if member.shape != row_shape:
                raise FormatError(
                    f"{path}: '{name}/{key}' is {member.shape} but '{name}/{keys[0]}' is {row_shape}; a pair "
                    "file holds maps of one size: resize them, or make one file for each size"
                )
            members.append((member, decoder(f"{path}, dataset '{name}/{key}',", member.dtype, member.attrs)))
        types = [decoded_type(member.dtype, decode) for member, decode in members]
    return Source(
        f"{path}, group '{name}',",
        node.name,
        (len(keys), *row_shape),
        np.result_type(*types) if types else np.dtype(np.float32),
        lambda rows: _members(path, members, rows),
        keys=keys,
        node=node,
    )


def read_integers(path: Path, file: h5py.File, name: str, n: int, what: str) -> NDArray[np.int64]:
    rows = open_rows(path, file, name, what, "iufbSUO")
    check_column(rows.words, rows.shape, rows.dtype, n, what)
    return integers(rows.words, rows.read(slice(None)), what)


def refuse_other_samples(first: Source, second: Source) -> None:
    """Refuse maps of two HDF5 files whose names or ``index`` say that row by row the samples differ."""
    if first.keys is not None and second.keys is not None:
        refuse_other_keys(first.words, second.words, first.keys, second.keys)
    if first.node is None or second.node is None or first.shape[0] != second.shape[0]:
        return
    indices = [_index_beside(source.node, source.shape[0]) for source in (first, second)]
    if indices[0] is None or indices[1] is None or np.array_equal(indices[0], indices[1]):
        return
    row = int((indices[0] != indices[1]).argmax())
    raise FormatError(
        f"{first.words} and {second.words} have an 'index' beside them, and in row {row} it says "
        f"{indices[0][row]} and {indices[1][row]}, so these may be maps of different samples: bring both "
        "files to one order, or take 'index' out of one where it means something else"
    )


def refuse_other_keys(first: str, second: str, keys: tuple[str, ...], others: tuple[str, ...]) -> None:
    if keys != others:
        n_common = len({*keys} & {*others})
        raise FormatError(
            f"{first} and {second} have {len(keys)} and {len(others)} samples by their names, of which "
            f"{n_common} are in both; give the same samples the same names"
        )


def _index_beside(node: h5py.Dataset | h5py.Group, n: int) -> NDArray[Any] | None:
    """The ``index`` in the same group, or in one above it, where it holds an integer per sample."""
    with reading(Path(node.file.filename)):
        group = node.parent
        while True:
            link = group.get("index", getlink=True)
            found = group["index"] if isinstance(link, h5py.HardLink) else None
            if isinstance(found, h5py.Dataset) and found.shape in ((n,), (n, 1)) and found.dtype.kind in "iu":
                _check(Path(node.file.filename), found, "indices", "iu")
                values: NDArray[Any] = found[()]
                return values.reshape(-1)
            if group.name == "/":
                return None
            group = group.parent


def is_pair_file(path: Path, file: h5py.File) -> bool:
    with reading(path):
        return str(file.attrs.get("format")) == FORMAT


def choose(path: Path, file: h5py.File, role: str) -> str:
    """Name of the array where none was given: the only dataset, or the one called like the role."""
    with reading(path):
        names = _dataset_names(file)
        if len(names) == 1:
            return names[0]
        if role in file:
            return role
    raise ValueError(f"{path} has no dataset '{role}'; it has: {_listed(file)}; name one: {path}:NAME")


def _find(path: Path, start: h5py.Group, name: str) -> h5py.Dataset | h5py.Group:
    """Walk to an object by hard links only: any other link could lead to another file."""
    node = start
    for part in filter(None, name.split("/")):
        link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            raise ValueError(f"{path} has no dataset '{name}'; it has: {_listed(start.file)}")
        if not isinstance(link, h5py.HardLink):
            raise FormatError(f"{path}: '{part}' in '{name}' is a link; name what it leads to instead")
        node = node[part]
    if not isinstance(node, h5py.Dataset | h5py.Group):
        raise FormatError(f"{path}: '{name}' is a data type; name a dataset; it has: {_listed(start.file)}")
    return node


def _check(path: Path, dataset: h5py.Dataset, what: str, kinds: str) -> None:
    """Refuse a dataset that lies elsewhere, holds no numbers, or is not as large as it says."""
    name = dataset.name.lstrip("/")
    if dataset.is_virtual or dataset.external:
        raise FormatError(f"{path}: '{name}' keeps its values in other files; copy them into this one")
    if dataset.dtype.kind not in kinds:
        raise FormatError(
            f"{path}: '{name}' is {dataset.dtype}; {what} must be integers or floating-point numbers"
        )
    if dataset.shape is None:
        raise FormatError(f"{path}: '{name}' is empty; it must have one row per sample")
    if _is_reversed(dataset):
        raise FormatError(
            f"{path}: '{name}' was saved by MATLAB or Octave, whose axes HDF5 shows in reverse: "
            f"numpy.save('u.npy', h5py.File({path.name!r})[{name!r}][()].T)"
        )
    if dataset.shape == ():
        return
    check_stored(path, dataset, dataset.shape[0])
    load_filters(path, filter_codes(dataset))


def _is_reversed(dataset: h5py.Dataset) -> bool:
    return "MATLAB_class" in dataset.attrs or "OCTAVE_NEW_FORMAT" in dataset.parent.attrs


def _rows(
    path: Path, dataset: h5py.Dataset, decode: Decode | None, rows: Rows, order: tuple[int, ...]
) -> NDArray[Any]:
    """Read rows along the first axis of this order; the result has its axes in this order."""
    before = (slice(None),) * order[0]
    others = [axis for axis in range(dataset.ndim) if axis != order[0]]
    with reading(path):
        if isinstance(rows, slice):
            values: NDArray[Any] = np.moveaxis(dataset[(*before, rows)], order[0], 0)
        else:
            values = np.empty((len(rows), *(dataset.shape[axis] for axis in others)), dtype=dataset.dtype)
            for position in np.argsort(rows):  # in the order of the file, so that chunks are decoded once
                values[position] = dataset[(*before, rows[position])]
    values = values.transpose(0, *(1 + others.index(axis) for axis in order[1:]))
    return values if decode is None else decode(values)


def read_coordinate(axis: Axis) -> NDArray[Any] | None:
    """The values along an axis, texts as bytes; None where the file has none."""
    dataset = axis.coordinate
    if dataset is None:
        return None
    path = Path(dataset.file.filename)
    with reading(path):
        _check(path, dataset, "coordinates", "iufbSUO")
        values: NDArray[Any] = dataset[()]
        if values.dtype.kind in "SUO":
            return np.array([it if isinstance(it, bytes) else str(it).encode() for it in values], dtype=bytes)
        decode = decoder(f"{path}, dataset '{dataset.name}',", dataset.dtype, dataset.attrs)
    return values if decode is None else decode(values)


def unit(axis: Axis) -> str | None:
    """The unit of the values along an axis: netCDF counts times from a date that only the unit says."""
    if axis.coordinate is None or "units" not in axis.coordinate.attrs:
        return None
    with reading(Path(axis.coordinate.file.filename)):
        said = axis.coordinate.attrs["units"]
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)


def _members(path: Path, members: list[tuple[h5py.Dataset, Decode | None]], rows: Rows) -> NDArray[Any]:
    chosen = members[rows] if isinstance(rows, slice) else [members[position] for position in rows]
    with reading(path):
        values = [np.asarray(member[()]) for member, _ in chosen]
    return np.stack(
        [one if decode is None else decode(one) for one, (_, decode) in zip(values, chosen, strict=True)]
    )


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
