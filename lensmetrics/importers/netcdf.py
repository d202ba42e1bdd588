"""netCDF variables as xarray decodes them: fill values become NaN, packed numbers are unpacked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import FormatError

Decode: TypeAlias = Callable[[NDArray[Any]], NDArray[Any]]

_FILLS = ("missing_value", "_FillValue")
_PACKED = ("scale_factor", "add_offset")
# Integers of float64 are exact up to here.
_LARGEST_EXACT = 2**53


def decoder(words: str, stored: np.dtype[Any], attrs: Mapping[str, Any]) -> Decode | None:
    """Return what turns stored values into those that are meant, None where they are the same.

    As in xarray, ``valid_min``, ``valid_max`` and ``valid_range`` are not applied. A fill value is
    compared in the type of the data, so that 1e20 in float64 fills data in float32.

    References: CF conventions, sections 2.5.1 and 8.1; xarray/coding/variables.py, ``CFMaskCoder`` and
    ``CFScaleOffsetCoder``; ``_Unsigned`` after NetCDF Best Practices, "Unsigned Data".
    """
    if stored.kind not in "iuf" or not any(name in attrs for name in (*_FILLS, *_PACKED, "_Unsigned")):
        return None
    meant = _meant(stored, attrs)
    fills = {name: _fills(words, name, attrs[name]) for name in _FILLS if name in attrs}
    if stored.kind != "f":  # where it is no number, it says nothing of integers
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
    """The type of the data, native, whose sign ``_Unsigned`` may change: netCDF-3 has no unsigned types."""
    unsigned = attrs.get("_Unsigned")
    text = unsigned.decode() if isinstance(unsigned, bytes) else str(unsigned)
    kind = {("i", "true"): "u", ("u", "false"): "i"}.get((stored.kind, text.lower()), stored.kind)
    return np.dtype(f"{kind}{stored.itemsize}")


def _fills(words: str, name: str, value: Any) -> NDArray[Any]:
    values = np.asarray(value).reshape(-1)
    if values.dtype.kind not in "iuf":
        raise FormatError(f"{words} has the attribute {name} = {value!r}; it must be a number, or several")
    return values[~np.isnan(values)] if values.dtype.kind == "f" else values


def _encoded(fills: NDArray[Any], meant: np.dtype[Any]) -> list[Any]:
    """Fill values in the type of the data; those that it cannot hold fill nothing."""
    if meant.kind == "f":
        with np.errstate(over="ignore"):
            return [meant.type(fill) for fill in fills]
    limits = np.iinfo(meant)
    modulus = 2 ** (8 * meant.itemsize)
    found = []
    for fill in fills:
        if np.isfinite(fill) and fill == int(fill):
            number = int(fill)
            # -1 and 255 are one byte, whichever of them the attribute says.
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
    """The type that xarray chooses for unpacked numbers."""
    types = [np.dtype(type(factor)) for factor in (scale, offset) if factor is not None]
    if any(kind.kind != "f" for kind in types):
        return np.dtype(np.float64)
    if len(types) == 2 and types[0] == types[1] and types[0].itemsize in (4, 8):
        return np.dtype(np.float64) if packed.itemsize == 4 and packed.kind in "iu" else types[0]
    return types[0] if offset is None else np.dtype(np.float64)


def _refuse_inexact(words: str, values: NDArray[Any]) -> None:
    if values.dtype.itemsize == 8 and values.size:
        largest = max(abs(int(values.min())), abs(int(values.max())))
        if largest > _LARGEST_EXACT:
            raise FormatError(
                f"{words} has integers up to {largest} beside fill values, which float64 cannot tell apart: "
                "subtract an offset"
            )


def decoded_type(stored: DTypeLike, decode: Decode | None) -> np.dtype[Any]:
    return np.dtype(stored) if decode is None else decode(np.empty(0, dtype=stored)).dtype
