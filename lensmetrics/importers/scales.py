"""Axis names in HDF5 files: dimension scales, with which netCDF tells what an axis is."""

from dataclasses import dataclass

import h5py

# Axes with these names, in any order, are read in this order.
NAMED = (("sample", "y", "x"), ("sample", "channel", "y", "x"))
# What the netCDF library writes into a scale that only gives a dimension its name and length.
_NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable"
_NUMBERS = "iufb"


@dataclass(frozen=True)
class Axis:
    """One axis of a dataset: its name and, if the file has them, its coordinates."""

    name: str
    coordinate: h5py.Dataset | None


def named_axes(dataset: h5py.Dataset) -> tuple[Axis, ...] | None:
    """Return the axes as they are stored; None unless each of them has exactly one scale."""
    axes = []
    for position, length in enumerate(dataset.shape):
        try:
            scales = dataset.dims[position].values()
        except (KeyError, OSError, RuntimeError, TypeError, ValueError):  # the scale was deleted
            return None
        if len(scales) != 1 or not scales[0].name:
            return None
        name = scales[0].name.rsplit("/", 1)[-1]
        axes.append(Axis(name, scales[0] if _has_values(scales[0], length) else None))
    return tuple(axes)


def _has_values(scale: h5py.Dataset, length: int) -> bool:
    note = scale.attrs.get("NAME", b"")
    text = note.decode(errors="replace") if isinstance(note, bytes) else str(note)
    known = scale.dtype.kind in _NUMBERS or h5py.check_string_dtype(scale.dtype) is not None
    return known and scale.shape == (length,) and not text.startswith(_NO_VARIABLE)


def reading_order(axes: tuple[Axis, ...]) -> tuple[int, ...]:
    """Return the positions of the axes in the order in which they are read."""
    names = [axis.name for axis in axes]
    for wanted in NAMED:
        if sorted(names) == sorted(wanted):
            return tuple(names.index(name) for name in wanted)
    return tuple(range(len(names)))
