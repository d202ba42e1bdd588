"""Check that two arrays hold the same samples and pixels, as far as their files tell."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..pairfile.opening import reading
from .datasets import check_dataset
from .netcdf import decoder
from .scales import Axis
from .source import Source


def refuse_other_samples(first: Source, second: Source) -> None:
    """Refuse maps of two HDF5 files if member names or an ``index`` show that their samples differ."""
    if first.keys is not None and second.keys is not None:
        refuse_other_keys(first.words, second.words, first.keys, second.keys)
    if first.node is None or second.node is None or first.shape[0] != second.shape[0]:
        return
    indices = [_index_beside(source.node, source.shape[0]) for source in (first, second)]
    if indices[0] is None or indices[1] is None or np.array_equal(indices[0], indices[1]):
        return
    row = int((indices[0] != indices[1]).argmax())
    raise FormatError(
        f"{first.words} and {second.words} have an 'index' beside them, which is "
        f"{indices[0][row]} and {indices[1][row]} in row {row}, so these may be maps of different samples: "
        "sort both files alike, or remove 'index' from one of them if it means something else"
    )


def refuse_other_keys(first: str, second: str, keys: tuple[str, ...], others: tuple[str, ...]) -> None:
    """Refuse two groups whose members do not have the same names in the same order."""
    if keys != others:
        n_common = len({*keys} & {*others})
        raise FormatError(
            f"{first} and {second} have {len(keys)} and {len(others)} samples by their names, of which "
            f"{n_common} are in both; give the same samples the same names"
        )


def _index_beside(node: h5py.Dataset | h5py.Group, n: int) -> NDArray[Any] | None:
    """Return the nearest ``index`` in the group or one above it that holds an integer per sample."""
    with reading(Path(node.file.filename)):
        group = node.parent
        while True:
            link = group.get("index", getlink=True)
            found = group["index"] if isinstance(link, h5py.HardLink) else None
            if isinstance(found, h5py.Dataset) and found.shape in ((n,), (n, 1)) and found.dtype.kind in "iu":
                check_dataset(Path(node.file.filename), found, "indices", "iu")
                values: NDArray[Any] = found[()]
                return values.reshape(-1)
            if group.name == "/":
                return None
            group = group.parent


def refuse_other_axes(first: Source, second: Source, *, matched: bool) -> None:
    """Refuse maps whose files give different axis names, or different coordinates along an axis.

    `matched` means that the samples were paired by something other than their position.
    """
    if first.axes is None or second.axes is None:
        return
    names, others = axis_names(first), axis_names(second)
    if names[0] != others[0] or (len(names) == len(others) and names != others):
        raise FormatError(
            f"{first.words} has the axes {listed(names)} but {second.words} has {listed(others)}: bring "
            "both to the same axes in the same order, with ds.transpose or ds.rename of xarray"
        )
    refuse_other_coordinates(first, second, start=1 if matched else 0)


def refuse_other_coordinates(first: Source, second: Source, start: int = 0) -> None:
    """Refuse arrays with different coordinates along an axis of the same name, from axis `start` on."""
    if first.axes is None or second.axes is None:
        return
    for axis in first.axes[start:]:
        other = next((it for it in second.axes if it.name == axis.name), None)
        if other is None:
            continue
        values, other_values = _read_coordinate(axis), _read_coordinate(other)
        if values is None or other_values is None or len(values) != len(other_values):
            continue  # a difference in length is reported elsewhere
        different = _differ(values, other_values)
        if different.any():
            at = int(different.argmax())
            difference = f"which is {_value(values[at])} and {_value(other_values[at])} at position {at}"
        elif _unit(axis) != _unit(other) and any(" since " in str(_unit(it)) for it in (axis, other)):
            difference = f"whose units are {_unit(axis)!r} and {_unit(other)!r}"
        else:
            continue
        what = "samples" if axis is first.axes[0] else "pixels or channels"
        raise FormatError(
            f"{first.words} and {second.words} differ in the coordinate '{axis.name}', {difference}, so they "
            f"do not hold the same {what} in the same order: bring both files to the same values in one "
            f"order, such as with ds.sortby('{axis.name}') of xarray, or drop a coordinate without meaning"
        )


def sample_numbers(first: Source, second: Source) -> NDArray[np.int64] | None:
    """Return the integer coordinate of the sample axis if both files have the same one, else None."""
    if first.axes is None or second.axes is None:
        return None
    if _unit(first.axes[0]) is not None or _read_coordinate(second.axes[0]) is None:
        return None
    values = _read_coordinate(first.axes[0])
    if values is None or values.dtype.kind not in "iu" or len(np.unique(values)) != len(values):
        return None
    if (values < 0).any() or (values > np.iinfo(np.int64).max).any():
        return None
    return values.astype(np.int64)


def _differ(values: NDArray[Any], others: NDArray[Any]) -> NDArray[np.bool_]:
    if (values.dtype.kind == "S") != (others.dtype.kind == "S"):
        return np.ones(len(values), dtype=bool)
    different: NDArray[np.bool_] = values != others
    if values.dtype.kind == others.dtype.kind == "f":
        different &= ~(np.isnan(values) & np.isnan(others))
    return different


def _value(value: Any) -> str:
    return repr(value.decode(errors="replace")) if isinstance(value, bytes) else str(value)


def axis_names(source: Source) -> tuple[str, ...]:
    """Return the names of the axes, none if the file does not name them."""
    return () if source.axes is None else tuple(axis.name for axis in source.axes)


def listed(names: tuple[str, ...]) -> str:
    """Return names of axes as a message shows them."""
    return f"({', '.join(names)})"


def _read_coordinate(axis: Axis) -> NDArray[Any] | None:
    """Return the values along an axis, texts as bytes; None if the file has none."""
    dataset = axis.coordinate
    if dataset is None:
        return None
    path = Path(dataset.file.filename)
    with reading(path):
        check_dataset(path, dataset, "coordinates", "iufbSUO")
        values: NDArray[Any] = dataset[()]
        if values.dtype.kind in "SUO":
            return np.array([it if isinstance(it, bytes) else str(it).encode() for it in values], dtype=bytes)
        decode = decoder(f"{path}, dataset '{dataset.name}',", dataset.dtype, dataset.attrs)
    return values if decode is None else decode(values)


def _unit(axis: Axis) -> str | None:
    """Return the unit of an axis: netCDF counts times from a date that only the unit tells."""
    if axis.coordinate is None:
        return None
    with reading(Path(axis.coordinate.file.filename)):
        unit = axis.coordinate.attrs.get("units")
    if unit is None:
        return None
    return unit.decode(errors="replace") if isinstance(unit, bytes) else str(unit)
