"""A map as a small grey picture for notebooks: the pairs need no plotting library."""

import base64
import struct
import zlib

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
    low, high = (values[finite].min(), np.quantile(values[finite], 0.995)) if finite.any() else (0, 1)
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
