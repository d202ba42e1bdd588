"""Which axis of a foreign array is what: refused, with both readings, where there are two."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .hdf5 import Source, read_coordinate, unit
from .scales import NAMED

_CHANNELS = (1, 3, 4)
# An axis as short as this at the end may be channels.
_FEW = 4


def as_maps(source: Source, shape: tuple[int, int] | None, *, known: bool) -> Source:
    """View rows as ([channel,] height, width); one channel is dropped, as there is nothing to reduce.

    `known` says that the layout of the file is (N, [channel,] height, width) by its own rules.
    """
    words, stored = source.words, source.shape
    names = _names(source)
    told = names in NAMED
    if source.dtype.kind not in "iuf" or source.dtype.itemsize > 8:
        raise FormatError(
            f"{words} is {source.dtype}; maps must be integers or floating-point numbers of at most 64 bits"
        )
    if len(stored) == 5:
        raise FormatError(f"{words} is {stored}; {_five(stored)}")
    if len(stored) not in (2, 3, 4) or 0 in stored:
        one = "; of one flat map save array[None]" if len(stored) == 1 else ""
        raise FormatError(
            f"{words} is {stored}; it must be (N, height*width), (N, height, width) or "
            f"(N, channel, height, width), none of them 0{one}"
        )
    if len(stored) == 2:
        return _flat(source, shape)
    if not told and ("sample" in names[1:] or names[:1] in (("channel",), ("y",), ("x",))):
        raise FormatError(
            f"{words} has the axes {_listed(names)}, of which the first is taken for the samples: call them "
            "sample, y and x, or sample, channel, y and x (in any order), or save it with the samples first"
        )
    if shape is not None and stored[-2:] != shape:
        last = ""
        if len(stored) == 4 and stored[1:3] == shape:
            last = f": its channels come last, so save {_channels_first(stored[3])}"
        raise FormatError(f"{words} is {stored}, but the shape given is {shape[0]} x {shape[1]}{last}")
    if len(stored) == 3:
        if stored[2] <= _FEW and shape is None and not known and not told:
            raise ValueError(f"{words} is {stored}, which can be read in several ways: {_three(stored)}")
        return source
    if told:
        pass
    elif known:
        if stored[3] in _CHANNELS and stored[1] > _FEW:
            raise FormatError(f"{words} is {stored}, which can be read in two ways: {_four(stored)}")
    elif stored[3] <= _FEW or stored[1] not in _CHANNELS:
        raise FormatError(f"{words} is {stored}, which can be read in two ways: {_four(stored)}")
    if stored[1] > 1:
        return source
    return replace(source, shape=(stored[0], *stored[2:]), read=lambda rows: source.read(rows)[:, 0])


def refuse_other_axes(first: Source, second: Source, *, matched: bool) -> None:
    """Refuse maps whose files name axes, or say values along them, that are not those of the other.

    `matched` says that something else than the position has told which samples belong together.
    """
    if first.axes is None or second.axes is None:
        return
    names, others = _names(first), _names(second)
    if names[0] != others[0] or (len(names) == len(others) and names != others):
        raise FormatError(
            f"{first.words} has the axes {_listed(names)} but {second.words} has {_listed(others)}: bring "
            "both to the same axes in the same order, with ds.transpose or ds.rename of xarray"
        )
    refuse_other_coordinates(first, second, start=1 if matched else 0)


def refuse_other_coordinates(first: Source, second: Source, start: int = 0) -> None:
    """Refuse arrays that say other values along an axis of one name, from this axis of the first on."""
    if first.axes is None or second.axes is None:
        return
    for axis in first.axes[start:]:
        other = next((it for it in second.axes if it.name == axis.name), None)
        if other is None:
            continue
        values, other_values = read_coordinate(axis), read_coordinate(other)
        if values is None or other_values is None or len(values) != len(other_values):
            continue  # other lengths are refused as such
        different = _differ(values, other_values)
        if different.any():
            at = int(different.argmax())
            said = f"it says {_value(values[at])} and {_value(other_values[at])} at position {at}"
        elif unit(axis) != unit(other) and any(" since " in str(unit(it)) for it in (axis, other)):
            said = f"its units are {unit(axis)!r} and {unit(other)!r}"
        else:
            continue
        what = "samples" if axis is first.axes[0] else "pixels or channels"
        raise FormatError(
            f"{first.words} and {second.words} differ in the coordinate '{axis.name}', {said}, so these are "
            f"not the same {what} row by row: bring both files to the same values in one order, such as "
            f"ds.sortby('{axis.name}') of xarray, or drop the coordinate where it means nothing"
        )


def sample_numbers(first: Source, second: Source) -> NDArray[np.int64] | None:
    """Numbers of the samples, where both files say the same along the axis of samples."""
    if first.axes is None or second.axes is None:
        return None
    if unit(first.axes[0]) is not None or read_coordinate(second.axes[0]) is None:
        return None
    values = read_coordinate(first.axes[0])
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


def _names(source: Source) -> tuple[str, ...]:
    return () if source.axes is None else tuple(axis.name for axis in source.axes)


def _listed(names: tuple[str, ...]) -> str:
    return f"({', '.join(names)})"


def one_method(source: Source, method: int | None) -> Source:
    """Take one explanation of LATEC's (N, explanation, channel, height, width)."""
    words, stored = source.words, source.shape
    if len(stored) != 5 or 0 in stored:
        if method is not None:
            raise ValueError(
                f"{words} is {stored}; --method is for LATEC's (N, explanation, channel, height, width): "
                "leave it out"
            )
        return source
    if not _is_latec(stored):
        raise FormatError(f"{words} is {stored}; {_five(stored)}")
    if method is None or not 0 <= method < stored[1]:
        raise ValueError(
            f"{words} is {stored}; {_five(stored)}; for LATEC's layout say which explanation, --method 0 to "
            f"{stored[1] - 1}, got {method}"
        )
    return replace(source, shape=(stored[0], *stored[2:]), read=lambda rows: source.read(rows)[:, method])


def _flat(source: Source, shape: tuple[int, int] | None) -> Source:
    words, (n, n_values) = source.words, source.shape
    if shape is None:
        # A square array is hardly ever a stack of features.
        features = f", 1 {n_values} where they form no picture: windows then run along them"
        raise ValueError(
            f"{words} is {(n, n_values)}, which can be read in two ways: as (height, width) it is one map of "
            f"{n} x {n_values} pixels: save array[None]; as (N, height*width) it has {n} flat maps of "
            f"{n_values} values, one in each row: say their height and width (--shape)"
            f"{features if n != n_values else ''}"
        )
    height, width = shape
    if height * width == n_values:
        return replace(
            source,
            shape=(n, height, width),
            read=lambda rows: source.read(rows).reshape(-1, height, width),
        )
    if shape == source.shape:
        raise ValueError(
            f"{words} is {(n, n_values)}, one map of the shape given, without an axis for samples: save "
            "array[None]"
        )
    raise FormatError(
        f"{words} is {(n, n_values)}, but {height} x {width} maps have {math.prod(shape)} pixels, "
        f"not {n_values}"
    )


def _three(stored: tuple[int, ...]) -> str:
    n, height, width = stored
    last = _summed(width, -1)
    return (
        f"as (N, height, width) it has {n} maps of {height} x {width} pixels: say so with --shape {height} "
        f"{width}; as (height, width, channel) one map with {_channels(width)}: save {last}[None]; as "
        f"(N, time, channel) {n} series with {_channels(width)}: save {last}[:, None]"
    )


def _four(stored: tuple[int, ...]) -> str:
    _, first, second, last = stored
    shape = f" and give --shape {second} {last}" if last <= _FEW else ""
    if last in _CHANNELS[1:] and second > _FEW:
        channels_last, other = _channels_first(last), ""
    else:
        channels_last = _summed(last, -1)
        other = f" and give --shape {first} {second}" if second <= _FEW else ""
    return (
        f"as (N, channel, height, width) it has {_channels(first)} of {second} x {last} pixels: save "
        f"{_summed(first, 1)}{shape}; as (N, height, width, channel) it has {_channels(last)} of {first} x "
        f"{second} pixels: save {channels_last}{other}; where that axis holds classes, slices of a volume or "
        "steps in time, save one of them: array[:, 0] or array[..., 0]"
    )


def _channels_first(n: int) -> str:
    return "numpy.moveaxis(array, -1, 1)" if n in _CHANNELS[1:] else _summed(n, -1)


def _channels(n: int) -> str:
    return "1 channel" if n == 1 else f"{n} channels"


def _summed(n_channels: int, axis: int) -> str:
    """How to write an array without its channels, which are reduced as a pair file reduces them."""
    if n_channels == 1:
        return "array[:, 0]" if axis == 1 else "array[..., 0]"
    return f"numpy.abs(array).sum(axis={axis})"


def _is_latec(stored: tuple[int, ...]) -> bool:
    return stored[2] in _CHANNELS and stored[4] > _FEW


def _five(stored: tuple[int, ...]) -> str:
    words = "LATEC stores (N, explanation, channel, height, width)"
    if not _is_latec(stored):
        words = (
            f"this is not LATEC's (N, explanation, channel, height, width), whose channels are {_CHANNELS}"
        )
    return (
        f"{words}; shap stores (N, height, width, channel, class), which need not be LATEC's layout: of that "
        "save one class, numpy.moveaxis(array[..., 0], -1, 1); others store (N, channel, height, width, "
        "class): save array[..., 0]"
    )
