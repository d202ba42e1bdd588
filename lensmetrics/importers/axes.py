"""Decide what the axes of a foreign array are; an array that can be read in two ways is refused."""

import math
from dataclasses import replace
from typing import NamedTuple

from ..errors import FormatError
from .latec import five_axes, one_method
from .letters import named
from .matching import axis_names, listed
from .scales import NAMED
from .source import CHANNELS, FEW, Source


class Layout(NamedTuple):
    """What the user says about the axes of an array, see `import_maps`."""

    shape: tuple[int, int] | None
    letters: str | None
    class_index: int | None
    method: int | None


def as_maps(source: Source, layout: Layout, *, known: bool) -> Source:
    """View rows as ([channel,] height, width); a single channel is dropped, since it needs no reduction.

    `known` means that the rules of the file format fix the layout (N, [channel,] height, width).
    """
    _check_type(source)
    shape, letters, class_index, method = layout
    if method is not None or letters is None:
        source = one_method(source, method)
    if letters is not None:
        return _as_named(source, letters, shape, class_index)
    if class_index is not None:
        raise ValueError(
            f"class_index={class_index} chooses along an axis of classes: name the axes, as in axes='NHWCK'"
        )
    words, stored = source.words, source.shape
    names = axis_names(source)
    told = names in NAMED
    if len(stored) == 5:
        raise FormatError(f"{words} is {stored}; {five_axes(stored)}")
    if len(stored) not in (2, 3, 4) or 0 in stored:
        one = "; one flat map is axes='F'" if len(stored) == 1 else ""
        raise FormatError(
            f"{words} is {stored}; it must be (N, height*width), (N, height, width) or "
            f"(N, channel, height, width), none of them 0{one}"
        )
    if len(stored) == 2:
        return _flat(source, shape)
    if not told and ("sample" in names[1:] or names[:1] in (("channel",), ("y",), ("x",))):
        raise FormatError(
            f"{words} has the axes {listed(names)}, the first of which is taken as the samples: say what "
            "each is, as in axes='HWN', or name them sample, y and x, or sample, channel, y and x, in any "
            "order"
        )
    if shape is not None and stored[-2:] != shape:
        last = ""
        if len(stored) == 4 and stored[1:3] == shape:
            last = ": its channels come last, axes='NHWC'"
        raise FormatError(f"{words} is {stored}, but the shape given is {shape[0]} x {shape[1]}{last}")
    if len(stored) == 3:
        if stored[2] <= FEW and shape is None and not known and not told:
            raise ValueError(f"{words} is {stored}, which can be read in several ways: {_three(stored)}")
        if _samples_may_be_last(source) and shape is None and not known and not told:
            raise ValueError(f"{words} is {stored}, which can be read in two ways: {_square(stored)}")
        return source
    if told:
        pass
    elif known:
        if stored[3] in CHANNELS and stored[1] > FEW:
            raise FormatError(f"{words} is {stored}, which can be read in two ways: {_four(stored)}")
    elif stored[3] <= FEW or stored[1] not in CHANNELS:
        raise FormatError(f"{words} is {stored}, which can be read in two ways: {_four(stored)}")
    if stored[1] > 1:
        return source
    return replace(source, shape=(stored[0], *stored[2:]), read=lambda rows: source.read(rows)[:, 0])


def _check_type(source: Source) -> None:
    if source.dtype.kind not in "iuf" or source.dtype.itemsize > 8:
        remedy = ": save array.astype('uint8')" if source.dtype.kind == "b" else ""
        raise FormatError(
            f"{source.words} is {source.dtype}; maps must be integers or floating-point numbers of at most "
            f"64 bits{remedy}"
        )


def _as_named(source: Source, letters: str, shape: tuple[int, int] | None, class_index: int | None) -> Source:
    """View rows by the letters that the user gave."""
    names = axis_names(source)
    if names in NAMED and letters != ("NHW" if len(names) == 3 else "NCHW"):
        raise ValueError(
            f"{source.words} has the axes {listed(names)} by its own names, whatever their order: leave out "
            f"axes={letters!r}"
        )
    maps = named(source, letters, class_index)
    if shape is None or maps.shape[-2:] == shape:
        return maps
    n, *channels, height, width = maps.shape
    if height > 1 or shape[0] * shape[1] != width:
        raise FormatError(
            f"{source.words} has maps of {height} x {width} pixels by axes={letters!r}, but the shape given "
            f"is {shape[0]} x {shape[1]}"
        )
    row = (*channels, *shape)
    return replace(maps, shape=(n, *row), read=lambda rows: maps.read(rows).reshape(-1, *row))


def _flat(source: Source, shape: tuple[int, int] | None) -> Source:
    words, (n, n_values) = source.words, source.shape
    if shape is None:
        # A square array is hardly ever a stack of feature vectors.
        features = ", axes='NF' if they do not form a picture: windows then run along them"
        raise ValueError(
            f"{words} is {(n, n_values)}, which can be read in two ways: as (height, width) it is one map of "
            f"{n} x {n_values} pixels: axes='HW'; as (N, height*width) it has {n} flat maps of {n_values} "
            f"values, one per row: give their height and width, shape=(H, W)"
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
            f"{words} is {(n, n_values)}, one map of the shape given, without an axis for samples: say so "
            "with axes='HW'"
        )
    raise FormatError(
        f"{words} is {(n, n_values)}, but {height} x {width} maps have {math.prod(shape)} pixels, "
        f"not {n_values}"
    )


def _samples_may_be_last(source: Source) -> bool:
    """Return whether maps could be square along the first two axes, in MATLAB's usual order."""
    n, height, width = source.shape
    return source.names is None and n == height != width


def _square(stored: tuple[int, ...]) -> str:
    n, height, width = stored
    return (
        f"as (N, height, width) it has {n} maps of {height} x {width} pixels: say so with axes='NHW'; as "
        f"(height, width, N) {width} maps of {n} x {height} pixels: axes='HWN'"
    )


def _three(stored: tuple[int, ...]) -> str:
    n, height, width = stored
    return (
        f"as (N, height, width) it has {n} maps of {height} x {width} pixels: say so with axes='NHW'; as "
        f"(height, width, channel) one map with {_channels(width)}: axes='HWC'; as (N, time, channel) {n} "
        f"series with {_channels(width)}: axes='NTC'"
    )


def _four(stored: tuple[int, ...]) -> str:
    _, first, second, last = stored
    return (
        f"as (N, channel, height, width) it has {_channels(first)} of {second} x {last} pixels: say so with "
        f"axes='NCHW'; as (N, height, width, channel) it has {_channels(last)} of {first} x {second} pixels: "
        "axes='NHWC'; with an axis of classes, axes='NKHW' or axes='NHWK' and class_index=0; of volumes save "
        "one slice: array[:, 0]"
    )


def _channels(n: int) -> str:
    return "1 channel" if n == 1 else f"{n} channels"
