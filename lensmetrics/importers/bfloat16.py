"""Values of the type bfloat16, which NumPy does not have: the first two bytes of a float32."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .source import Source, array_source


def bfloat16_source(words: str, name: str, bits: NDArray[np.uint16]) -> Source:
    """Return an array of bfloat16 as a source of float32."""
    source = array_source(words, name, bits)
    along = source.along
    assert along is not None
    return replace(
        source,
        dtype=np.dtype(np.float32),
        read=lambda rows: _widened(bits[rows]),
        along=lambda rows, axis: _widened(along(rows, axis)),
    )


def _widened(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    return (bits.astype(np.uint32) << 16).view(np.float32)
