"""Decode netCDF variables like xarray: fill values become NaN, packed numbers are unpacked."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import FormatError
from ..pairs.arrays import LARGEST_EXACT

Decode: TypeAlias = Callable[[NDArray[Any]], NDArray[Any]]

_FILLS = ("missing_value", "_FillValue")
_PACKED = ("scale_factor", "add_offset")


def decoder(words: str, stored: np.dtype[Any], attrs: Mapping[str, Any]) -> Decode | None:
    """Return a function that decodes stored values, None if there is nothing to decode.

    As in xarray, ``valid_min``, ``valid_max`` and ``valid_range`` are not applied. A fill value is
    compared in the type of the data, so that a float64 fill value of 1e20 fills float32 data.

    References: CF conventions, sections 2.5.1 and 8.1; xarray/coding/variables.py, ``CFMaskCoder`` and
    ``CFScaleOffsetCoder``; ``_Unsigned`` after NetCDF Best Practices, "Unsigned Data".
    """
    if stored.kind not in "iuf" or not any(name in attrs for name in (*_FILLS, *_PACKED, "_Unsigned")):
        return None
    meant = _meant(stored, attrs)
    fills = {name: _fills(words, name, attrs[name]) for name in _FILLS if name in attrs}
    if stored.kind != "f":  # NaN never fills integers
        fills = {name: values for name, values in fills.items() if values.size}
    encoded = _encoded(np.concatenate([np.empty(0), *fills.values()], dtype=object), meant)
    scale, offset = (_factor(words, name, attrs[name]) if name in attrs else None for name in _PACKED)
    packed = scale is not None or offset is not None
    if packed and (encoded or not fills):
        target = _unpacked(meant, scale, offset)
    elif encoded and meant.kind != "f":
        target = np.dtype(np.float32 if meant.itemsize <= 2 else np.float64)
    else:
        target = meant
    if target == stored and not encoded and not packed:
        return None

    def decode(values: NDArray[Any]) -> NDArray[Any]:
        values = values.astype(stored.newbyteorder("="), copy=False)
        if meant.kind != stored.kind:
            values = values.view(meant)
        masked = np.zeros(values.shape, dtype=bool)
        for fill in encoded:
            masked |= values == fill
        if not packed and target.kind == "f" and meant.kind != "f":
            _refuse_inexact(words, values[~masked])
        decoded = values.astype(target)
        if scale is not None:
            decoded *= scale
        if offset is not None:
            decoded += offset
        if encoded:
            decoded[masked] = np.nan
        return decoded

    return decode


def _meant(stored: np.dtype[Any], attrs: Mapping[str, Any]) -> np.dtype[Any]:
    """Return the native type of the data; netCDF-3 has no unsigned types but the attribute ``_Unsigned``."""
    unsigned = attrs.get("_Unsigned")
    text = unsigned.decode() if isinstance(unsigned, bytes) else str(unsigned)
    kind = {("i", "true"): "u", ("u", "false"): "i"}.get((stored.kind, text.lower()), stored.kind)
    return np.dtype(f"{kind}{stored.itemsize}")


def _fills(words: str, name: str, value: Any) -> NDArray[Any]:
    values = np.asarray(value).reshape(-1)
    if values.dtype.kind not in "iuf":
        raise FormatError(f"{words} has the attribute {name} = {value!r}; it must hold numbers")
    return values[~np.isnan(values)] if values.dtype.kind == "f" else values


def _encoded(fills: NDArray[Any], meant: np.dtype[Any]) -> list[Any]:
    """Return the fill values in the type of the data, without those that it cannot hold."""
    if meant.kind == "f":
        with np.errstate(over="ignore"):
            return [meant.type(fill) for fill in fills]
    limits = np.iinfo(meant)
    modulus = 2 ** (8 * meant.itemsize)
    found = []
    for fill in fills:
        if np.isfinite(fill) and fill == int(fill):
            number = int(fill)
            # -1 and 255 are the same byte, whichever of them the attribute holds.
            if meant.kind == "u" and -modulus // 2 <= number < 0:
                number += modulus
            if limits.min <= number <= limits.max:
                found.append(meant.type(number))
    return found


def _factor(words: str, name: str, value: Any) -> Any:
    values = np.asarray(value).reshape(-1)
    if values.size != 1 or values.dtype.kind not in "iuf" or not np.isfinite(values[0]):
        raise FormatError(f"{words} has the attribute {name} = {value!r}; it must be one number")
    return values[0]


def _unpacked(packed: np.dtype[Any], scale: Any, offset: Any) -> np.dtype[Any]:
    """Return the type that xarray chooses for unpacked numbers."""
    types = [np.dtype(type(factor)) for factor in (scale, offset) if factor is not None]
    if any(kind.kind != "f" for kind in types):
        return np.dtype(np.float64)
    if len(types) == 2 and types[0] == types[1] and types[0].itemsize in (4, 8):
        return np.dtype(np.float64) if packed.itemsize == 4 and packed.kind in "iu" else types[0]
    return types[0] if offset is None else np.dtype(np.float64)


def _refuse_inexact(words: str, values: NDArray[Any]) -> None:
    if values.dtype.itemsize == 8 and values.size:
        largest = max(abs(int(values.min())), abs(int(values.max())))
        if largest > LARGEST_EXACT:
            raise FormatError(
                f"{words} has integers up to {largest} and fill values, which float64 cannot hold exactly: "
                "subtract an offset"
            )


def decoded_type(stored: DTypeLike, decode: Decode | None) -> np.dtype[Any]:
    """Return the type of decoded values."""
    return np.dtype(stored) if decode is None else decode(np.empty(0, dtype=stored)).dtype
