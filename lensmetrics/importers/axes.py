"""Decide what the axes of a foreign array are; an array that can be read in two ways is refused."""

import math
from dataclasses import replace

from ..errors import FormatError
from .latec import five_axes
from .matching import axis_names, listed
from .scales import NAMED
from .source import CHANNELS, FEW, Source


def as_maps(source: Source, shape: tuple[int, int] | None, *, known: bool) -> Source:
    """View rows as ([channel,] height, width); a single channel is dropped, since it needs no reduction.

    `known` means that the rules of the file format fix the layout (N, [channel,] height, width).
    """
    words, stored = source.words, source.shape
    names = axis_names(source)
    told = names in NAMED
    if source.dtype.kind not in "iuf" or source.dtype.itemsize > 8:
        raise FormatError(
            f"{words} is {source.dtype}; maps must be integers or floating-point numbers of at most 64 bits"
        )
    if len(stored) == 5:
        raise FormatError(f"{words} is {stored}; {five_axes(stored)}")
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
            f"{words} has the axes {listed(names)}, the first of which is taken as the samples: name them "
            "sample, y and x, or sample, channel, y and x (in any order), or save it with the samples first"
        )
    if shape is not None and stored[-2:] != shape:
        last = ""
        if len(stored) == 4 and stored[1:3] == shape:
            last = f": its channels come last, so save {_channels_first(stored[3])}"
        raise FormatError(f"{words} is {stored}, but the shape given is {shape[0]} x {shape[1]}{last}")
    if len(stored) == 3:
        if stored[2] <= FEW and shape is None and not known and not told:
            raise ValueError(f"{words} is {stored}, which can be read in several ways: {_three(stored)}")
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


def _flat(source: Source, shape: tuple[int, int] | None) -> Source:
    words, (n, n_values) = source.words, source.shape
    if shape is None:
        # A square array is hardly ever a stack of feature vectors.
        features = f", 1 {n_values} if they do not form a picture: windows then run along them"
        raise ValueError(
            f"{words} is {(n, n_values)}, which can be read in two ways: as (height, width) it is one map of "
            f"{n} x {n_values} pixels: save array[None]; as (N, height*width) it has {n} flat maps of "
            f"{n_values} values, one per row: give their height and width (--shape)"
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
        f"as (N, height, width) it has {n} maps of {height} x {width} pixels: say so with --shape "
        f"{height} {width}; as (height, width, channel) one map with {_channels(width)}: save {last}[None]; "
        f"as (N, time, channel) {n} series with {_channels(width)}: save {last}[:, None]"
    )


def _four(stored: tuple[int, ...]) -> str:
    _, first, second, last = stored
    shape = f" and give --shape {second} {last}" if last <= FEW else ""
    if last in CHANNELS[1:] and second > FEW:
        channels_last, other = _channels_first(last), ""
    else:
        channels_last = _summed(last, -1)
        other = f" and give --shape {first} {second}" if second <= FEW else ""
    return (
        f"as (N, channel, height, width) it has {_channels(first)} of {second} x {last} pixels: save "
        f"{_summed(first, 1)}{shape}; as (N, height, width, channel) it has {_channels(last)} of {first} x "
        f"{second} pixels: save {channels_last}{other}; if that axis holds classes, slices of a volume or "
        "time steps, save one of them: array[:, 0] or array[..., 0]"
    )


def _channels_first(n: int) -> str:
    return "numpy.moveaxis(array, -1, 1)" if n in CHANNELS[1:] else _summed(n, -1)


def _channels(n: int) -> str:
    return "1 channel" if n == 1 else f"{n} channels"


def _summed(n_channels: int, axis: int) -> str:
    """Return the code that reduces the channels of an array as a pair file does by default."""
    if n_channels == 1:
        return "array[:, 0]" if axis == 1 else "array[..., 0]"
    return f"numpy.abs(array).sum(axis={axis})"
