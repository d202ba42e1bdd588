"""Pair the samples of two arrays, and check that both hold the same pixels, as far as their files tell."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..pairfile.attributes import is_text
from ..pairfile.opening import reading
from .datasets import check_dataset
from .identities import IN_ORDER, Identities, Match, match
from .netcdf import decoder
from .scales import Axis
from .source import Source

_NAMES = "their names"


def match_sources(first: Source, second: Source, unmatched: str) -> tuple[Match, dict[str, NDArray[Any]]]:
    """Pair the samples by what identifies them in both files, by position if nothing does.

    Return also the columns `sample` and `name` that this gives, in the order of the first array.

    Raises
    ------
    FormatError
        If samples have no partner, or two kinds of identities contradict each other.
    """
    both = [_identities(source) for source in (first, second)]
    common = [
        (both[0][what], both[1][what])
        for what in both[0]
        if what in both[1] and both[0][what].are_texts == both[1][what].are_texts
    ]
    by_coordinate = any(what.startswith("the coordinate") for what in both[0].keys() & both[1].keys())
    if not common:
        refuse_other_coordinates(first, second)
        alone = [identities for identities in both if identities]
        return IN_ORDER, _columns(alone[0].values()) if len(alone) == 1 else {}
    found = match(*common[0], unmatched)
    for one, other in common[1:]:
        different = found.taken(0, one.values) != found.taken(1, other.values)
        if different.any():
            row = int(different.argmax())
            raise FormatError(
                f"{first.words} and {second.words} have the same samples by {common[0][0].what}, but sample "
                f"{found.taken(0, common[0][0].values)[row]} is {found.taken(0, one.values)[row]} and "
                f"{found.taken(1, other.values)[row]} by {one.what}: correct one of them"
            )
    if found is IN_ORDER and not by_coordinate:
        refuse_other_coordinates(first, second)
    else:
        refuse_other_coordinates(first, second, start=1)
    return found, _columns(one for one, _ in common)


def one_sided(first: Source, second: Source) -> list[str]:
    """Say that samples are paired by position if only one file tells which its samples are."""
    both = [(source, list(_identities(source))) for source in (first, second)]
    (source, kinds), (other, others) = sorted(both, key=lambda it: not it[1])
    if not kinds or others:
        return []
    words = source.words.removesuffix(",")
    order = f"in the order of {words}, which has {kinds[0]}"
    if kinds[0] == _NAMES:
        order = f"in the order of the names in {words}"
    return [
        f"samples are paired by position, {order}, because {other.words} does not say which its samples are"
    ]


def _columns(identities: Iterable[Identities]) -> dict[str, NDArray[Any]]:
    """Return what identifies the samples as columns of a pair file: the best numbers and the best texts."""
    columns: dict[str, NDArray[Any]] = {}
    for one in identities:
        column = "name" if one.are_texts else "sample"
        if column not in columns and _can_be_stored(one):
            columns[column] = one.values
    return columns


def _identities(source: Source) -> dict[str, Identities]:
    """Return everything in a file that identifies the samples of an array, the best first."""
    found: list[tuple[str, NDArray[Any] | None, str]] = []
    names = source.names if source.names is not None else source.keys
    if names is not None:
        found.append((_NAMES, np.array(names, dtype=object), ""))
    if source.node is not None:
        found.append(("the 'index' beside them", _index_beside(source.node, source.shape[0]), ""))
    if source.axes is not None:
        axis, unit = source.axes[0], _unit(source.axes[0]) or ""
        what = f"the coordinate '{axis.name}'{' in ' * bool(unit)}{unit}"
        found.append((what, _as_identities(_read_coordinate(axis)), unit))
    return {
        what: Identities(source.words, what, values, unit)
        for what, values, unit in found
        if values is not None
    }


def _as_identities(values: NDArray[Any] | None) -> NDArray[Any] | None:
    """Return integers and texts; other coordinates say where samples lie, not which they are."""
    if values is None or values.dtype.kind not in "iuS":
        return None
    if values.dtype.kind != "S":
        return values
    texts = np.empty(len(values), dtype=object)
    texts[:] = [value.decode(errors="surrogateescape") for value in values.tolist()]
    return texts


def _can_be_stored(identities: Identities) -> bool:
    """Return whether a pair file can hold these as numbers or names of its samples."""
    values = identities.values
    if identities.are_texts:
        good = all(text and "\0" not in text and is_text(text) for text in values)
    else:
        good = not (identities.unit or (values < 0).any() or (values > np.iinfo(np.int64).max).any())
    return good and len(np.unique(values)) == len(values)


def refuse_other_keys(first: str, second: str, keys: tuple[str, ...], others: tuple[str, ...]) -> None:
    """Refuse two groups whose members do not have the same names in the same order."""
    if keys != others:
        n_common = len({*keys} & {*others})
        raise FormatError(
            f"{first} and {second} have {len(keys)} and {len(others)} samples by their names, of which "
            f"{n_common} are in both; give the same samples the same names"
        )


def refuse_other_axes(first: Source, second: Source) -> None:
    """Refuse maps whose files give different names to their axes."""
    if first.axes is None or second.axes is None:
        return
    names, others = axis_names(first), axis_names(second)
    if names[0] != others[0] or (len(names) == len(others) and names != others):
        raise FormatError(
            f"{first.words} has the axes {listed(names)} but {second.words} has {listed(others)}: bring "
            "both to the same axes in the same order, with ds.transpose or ds.rename of xarray"
        )


def _index_beside(node: h5py.Dataset | h5py.Group, n: int) -> NDArray[Any] | None:
    """Return the nearest ``index`` in the group or one above it with an integer or a text per sample."""
    with reading(Path(node.file.filename)):
        group = node.parent
        while True:
            link = group.get("index", getlink=True)
            found = group["index"] if isinstance(link, h5py.HardLink) else None
            if isinstance(found, h5py.Dataset) and found.shape in ((n,), (n, 1)) and _identifies(found):
                check_dataset(Path(node.file.filename), found, "indices", "iuSO")
                values: NDArray[Any] = found[()].reshape(-1)
                return values if values.dtype.kind in "iu" else _as_identities(values.astype("S"))
            if group.name == "/":
                return None
            group = group.parent


def _identifies(dataset: h5py.Dataset) -> bool:
    return dataset.dtype.kind in "iu" or h5py.check_string_dtype(dataset.dtype) is not None


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
