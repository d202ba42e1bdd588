"""Maps and images as pictures, for which pairs need no plotting library."""

import base64
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

# Longest side of a picture in pixels: a larger map is averaged over blocks.
_MAX_SIDE = 256
# Colours 1 to 255 go from white at the smallest value to nearly black; colour 0 marks what is not finite.
_NOT_FINITE = (240, 228, 66)
_PALETTE = bytes([*_NOT_FINITE, *np.linspace(255, 25, 255).round().astype(np.uint8).repeat(3).tolist()])


def data_address(values: npt.NDArray[np.floating]) -> str:
    """Return a map as the address of a PNG picture that contains its own bytes.

    The darkest grey is the 99.5 % quantile of the values, the lightest their minimum.
    """
    return "data:image/png;base64," + base64.b64encode(_png(_grey(_shrunk(values)))).decode()


def grey_range(*maps: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Return the values that maps show lightest and darkest: their minimum and their 99.5 % quantile.

    >>> grey_range(np.array([[0.0, 1.0, np.nan]]), np.array([[-1.0]]))[0]
    -1.0
    """
    values = np.concatenate([values[np.isfinite(values)] for values in maps])
    return (float(values.min()), float(np.quantile(values, 0.995))) if values.size else (0.0, 1.0)


def as_picture(image: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return an image as (height, width) or (height, width, 3), in [0, 1].

    Of (channel, height, width), three channels are colours, and other numbers of channels are averaged.
    """
    picture = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0, neginf=0)
    if picture.ndim == 3:
        picture = np.moveaxis(picture, 0, -1) if len(picture) == 3 else picture.mean(axis=0)
    if image.dtype == np.uint8:
        picture /= 255
    elif picture.min() < 0 or picture.max() > 1:  # normalized for a network
        spread = np.ptp(picture)
        picture = (picture - picture.min()) / (spread or 1)
    return picture


def _shrunk(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    step = -(-max(values.shape) // _MAX_SIDE)
    finite = np.isfinite(values)
    # Divide by the largest value first, because sums of a block can exceed the type.
    scaled = values.astype(np.float64) / (float(np.abs(values[finite]).max(initial=0)) or 1)
    if step == 1:
        return scaled
    rows, columns = (np.arange(0, side, step) for side in values.shape)
    totals = np.add.reduceat(np.add.reduceat(np.where(finite, scaled, 0), rows, 0), columns, 1)
    counts = np.add.reduceat(np.add.reduceat(finite.astype(np.float64), rows, 0), columns, 1)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)


def _grey(values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    finite = np.isfinite(values)
    low, high = grey_range(values)
    shade = np.clip((np.where(finite, values, low) - low) / ((high - low) or 1), 0, 1)
    return np.where(finite, 1 + np.rint(254 * shade), 0).astype(np.uint8)


def _png(indices: npt.NDArray[np.uint8]) -> bytes:
    """Return the PNG file of a picture of indices into the palette."""
    height, width = indices.shape
    lines = np.pad(indices, ((0, 0), (1, 0)))  # every line begins with the number of its filter, 0 for none
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0),
        b"PLTE": _PALETTE,
        b"IDAT": zlib.compress(lines.tobytes(), 9),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks.items()
    )
