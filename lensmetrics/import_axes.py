"""Which axis of a foreign array is what: refused, with both readings, where there are two."""

from __future__ import annotations

import math
from dataclasses import replace

from .import_hdf5 import Source
from .pairfile import FormatError

_CHANNELS = (1, 3, 4)
# An axis as short as this at the end may be channels.
_FEW = 4


def as_maps(source: Source, shape: tuple[int, int] | None, *, known: bool) -> Source:
    """View rows as ([channel,] height, width); one channel is dropped, as there is nothing to reduce.

    `known` says that the layout of the file is (N, [channel,] height, width) by its own rules.
    """
    words, stored = source.words, source.shape
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
    if shape is not None and stored[-2:] != shape:
        last = ""
        if len(stored) == 4 and stored[1:3] == shape:
            last = f": its channels come last, so save {_channels_first(stored[3])}"
        raise FormatError(f"{words} is {stored}, but the shape given is {shape[0]} x {shape[1]}{last}")
    if len(stored) == 3:
        if stored[2] <= _FEW and shape is None and not known:
            raise ValueError(f"{words} is {stored}, which can be read in several ways: {_three(stored)}")
        return source
    if known:
        if stored[3] in _CHANNELS and stored[1] > _FEW:
            raise FormatError(f"{words} is {stored}, which can be read in two ways: {_four(stored)}")
    elif stored[3] <= _FEW or stored[1] not in _CHANNELS:
        raise FormatError(f"{words} is {stored}, which can be read in two ways: {_four(stored)}")
    if stored[1] > 1:
        return source
    return replace(source, shape=(stored[0], *stored[2:]), read=lambda rows: source.read(rows)[:, 0])


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
