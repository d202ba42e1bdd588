"""Datasets of foreign HDF5 files: found without following links, and checked before they are read."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..pairfile.checks import check_stored
from ..pairfile.opening import load_filters, open_hdf5, reading
from ..pairfile.variables import Variable
from .columns import check_column, column_values
from .netcdf import Decode, decoded_type, decoder
from .scales import named_axes, reading_order
from .source import Rows, Source, common_type


def open_file(path: Path, stack: contextlib.ExitStack) -> h5py.File:
    """Open an HDF5 file until the stack ends."""
    # The cache keeps a chunk that holds many samples while they are read one by one.
    return stack.enter_context(open_hdf5(path, rdcc_nbytes=2**26))


def open_rows(path: Path, file: h5py.File, name: str, what: str = "maps", kinds: str = "iuf") -> Source:
    """Find a dataset with one row per sample, or a group with one dataset per sample.

    Members of a group are in the order in which h5py lists them, like in ViRelAy. `what` names the rows
    in the message that refuses their type.
    """
    with reading(path):
        node = find(path, file, name)
        if isinstance(node, h5py.Dataset):
            check_dataset(path, node, what, kinds)
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
                along=lambda rows, axis: _rows(
                    path, node, decode, rows, (order[axis], *order[:axis], *order[axis + 1 :])
                ),
                node=node,
                axes=None if axes is None else tuple(axes[axis] for axis in order),
            )
        keys = tuple(node)
        row_shape: tuple[int, ...] = ()
        members: list[tuple[h5py.Dataset, Decode | None]] = []
        for key in keys:
            member = find(path, node, key)
            if not isinstance(member, h5py.Dataset):
                raise FormatError(
                    f"{path}: '{name}' holds the group '{key}'; name a dataset, or a group with one dataset "
                    f"per sample; it has: {listed(file)}"
                )
            check_dataset(path, member, what, kinds)
            if key == keys[0]:
                row_shape = member.shape
            if member.shape != row_shape:
                raise FormatError(
                    f"{path}: '{name}/{key}' is {member.shape} but '{name}/{keys[0]}' is {row_shape}; a pair "
                    "file holds maps of one size: resize them, or make one file for each size"
                )
            members.append((member, decoder(f"{path}, dataset '{name}/{key}',", member.dtype, member.attrs)))
        types = [decoded_type(member.dtype, decode) for member, decode in members]
    words = f"{path}, group '{name.strip('/') or '/'}',"
    return Source(
        words,
        node.name,
        (len(keys), *row_shape),
        common_type(words, types) if types else np.dtype(np.float32),
        lambda rows: _members(path, members, rows),
        keys=keys,
        node=node,
    )


def open_column(path: Path, file: h5py.File, name: str, what: str) -> Source:
    """Find an array with one value per sample, of a type that `check_column` takes or refuses."""
    return open_rows(path, file, name, what, "iufbSUO")


def read_values(rows: Source, n: int, what: str) -> NDArray[Any]:
    """Read one value per sample."""
    check_column(rows.words, rows.shape, rows.dtype, n, what)
    return column_values(rows.words, rows.read(slice(None)), what)


def find(path: Path, start: h5py.Group, name: str) -> h5py.Dataset | h5py.Group:
    """Walk to an object through hard links only: any other link could lead to another file."""
    node = start
    for part in filter(None, name.split("/")):
        link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            raise ValueError(f"{path} has no dataset '{name}'; it has: {listed(start.file)}")
        if not isinstance(link, h5py.HardLink):
            raise FormatError(f"{path}: '{part}' in '{name}' is a link; name what it leads to instead")
        node = node[part]
    if not isinstance(node, h5py.Dataset | h5py.Group):
        raise FormatError(f"{path}: '{name}' is a data type; name a dataset; it has: {listed(start.file)}")
    return node


def check_dataset(
    path: Path, dataset: h5py.Dataset, what: str, kinds: str, *, reversed_too: bool = False
) -> None:
    """Refuse a dataset that is stored elsewhere, has another type, or is smaller than its shape.

    `reversed_too` allows a dataset of MATLAB, whose axes are reversed.
    """
    name = dataset.name.lstrip("/")
    if dataset.is_virtual or dataset.external:
        raise FormatError(f"{path}: '{name}' keeps its values in other files; copy them into this one")
    if dataset.dtype.kind not in kinds:
        raise FormatError(
            f"{path}: '{name}' is {dataset.dtype}; {what} must be integers or floating-point numbers"
        )
    if dataset.shape is None:
        raise FormatError(f"{path}: '{name}' is empty; it must have one row per sample")
    if not reversed_too and _is_reversed(dataset):
        raise FormatError(
            f"{path}: '{name}' was saved by MATLAB or Octave, whose axes are reversed in HDF5: "
            f"numpy.save('u.npy', h5py.File({path.name!r})[{name!r}][()].T)"
        )
    if dataset.shape == ():
        return
    variable = Variable(name, dataset.id)
    check_stored(path, variable, dataset.shape[0])
    load_filters(path, variable.filter_codes())


def _is_reversed(dataset: h5py.Dataset) -> bool:
    return "MATLAB_class" in dataset.attrs or "OCTAVE_NEW_FORMAT" in dataset.parent.attrs


def _rows(
    path: Path, dataset: h5py.Dataset, decode: Decode | None, rows: Rows, order: tuple[int, ...]
) -> NDArray[Any]:
    """Read rows along the first of the axes in `order`, and return the axes in that order."""
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


def _members(path: Path, members: list[tuple[h5py.Dataset, Decode | None]], rows: Rows) -> NDArray[Any]:
    chosen = members[rows] if isinstance(rows, slice) else [members[position] for position in rows]
    with reading(path):
        values = [np.asarray(member[()]) for member, _ in chosen]
    return np.stack(
        [one if decode is None else decode(one) for one, (_, decode) in zip(values, chosen, strict=True)]
    )


def dataset_names(file: h5py.File, limit: int = 13) -> list[str]:
    """Return the names of the first datasets in a file, without those that are coordinates of others."""
    names: list[str] = []
    coordinates: set[str] = set()

    def note(name: str, node: object) -> bool | None:
        if isinstance(node, h5py.Dataset) and not node.is_scale:
            names.append(name)
            coordinates.update(_coordinates(node.attrs))
        return True if len(names) == limit else None

    coordinates.update(_coordinates(file.attrs))
    file.visititems(note)  # follows hard links only, and visits each object once
    return [name for name in names if name.rsplit("/", 1)[-1] not in coordinates] or names


def _coordinates(attrs: Mapping[str, Any]) -> list[str]:
    """Return the names in the attribute ``coordinates`` of the CF conventions."""
    text = attrs.get("coordinates", "")
    text = text.decode(errors="replace") if isinstance(text, bytes) else text
    return text.split() if isinstance(text, str) else []


def listed(file: h5py.File) -> str:
    """Return the names of the first datasets as a message shows them."""
    names = dataset_names(file)
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "") if names else "nothing"
