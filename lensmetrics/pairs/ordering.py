"""One map, sorted once."""

import threading
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..kernels import order
from .checks import FloatMap

Bits = np.unsignedinteger[Any]
Pixels = npt.NDArray[np.unsignedinteger[Any]]  # flat indices: uint16 where these suffice, else uint32


class Float(NamedTuple):
    """Bit patterns of a float type: sign mask, magnitude mask, infinity, one octave."""

    sign: Bits
    magnitude: Bits
    infinity: Bits
    octave: Bits


FLOATS = {
    4: Float(*(np.uint32(bits) for bits in (0x80000000, 0x7FFFFFFF, 0x7F800000, 1 << 23))),
    8: Float(*(np.uint64(bits) for bits in (1 << 63, (1 << 63) - 1, 0x7FF0000000000000, 1 << 52))),
}


class Scratch(threading.local):
    """Two buffers per thread for the kernels: new ones cost more in page faults than the sort takes."""

    first = np.empty(0, np.uint64)
    second = np.empty(0, np.uint64)

    def of(self, n: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """Return both buffers, of at least n items; the next call of the thread returns them again."""
        if self.first.size < n:
            self.first, self.second = np.empty((2, n), np.uint64)
        return self.first, self.second


scratch = Scratch()


class SortedMap:
    """One map and the order of its pixels, which is computed on first use."""

    def __init__(self, values: FloatMap) -> None:
        self.values = values.reshape(-1)
        self._float = FLOATS[values.dtype.itemsize]
        self._bits: npt.NDArray[Bits] = self.values.view(type(self._float.sign))
        self._extremes = np.empty(2, self._bits.dtype)
        sign, magnitude, infinity, _ = self._float
        order.write_extremes(self._bits, sign, magnitude, self._extremes)
        lowest, highest = self._extremes.tolist()
        self.finite = bool(lowest > infinity ^ magnitude and highest < infinity | sign)
        self.constant = bool(lowest == highest)
        # Keys fall as values rise; the key of both zeros is `magnitude`.
        self.signed = bool(highest > magnitude)
        self._sorted: tuple[Pixels, npt.NDArray[np.uint32]] | None = None
        self._tops: dict[int, tuple[Pixels, bool]] = {}

    def sorted(self) -> tuple[Pixels, npt.NDArray[np.uint32]]:
        """Return the flat indices, largest value first, and the start and end of each group of ties."""
        if self._sorted is None:
            n = self.values.size
            # An item holds an index and equally many bits of a key; smaller items sort faster.
            index, item = (np.uint16, np.uint32) if n <= 2**16 else (np.uint32, np.uint64)
            pixels: Pixels = np.empty(n, index)
            groups = np.empty((n // 2, 2), np.uint32)
            first, second = scratch.of(n)
            n_groups = order.sort(
                self.values,
                self._bits,
                self._float.sign,
                self._float.magnitude,
                self._float.octave,
                self._extremes,
                first.view(item)[:n],
                second.view(item)[:n],
                first.view(self.values.dtype)[:n],
                pixels,
                groups,
            )
            if n_groups < 0:
                pixels[:] = np.argsort(-self.values, kind="stable")
                edges = np.flatnonzero(np.diff(self.values[pixels]) != 0) + 1
                bounds = np.stack([np.append(0, edges), np.append(edges, n)], axis=1).astype(np.uint32)
                groups = bounds[bounds[:, 1] - bounds[:, 0] > 1]
                n_groups = len(groups)
            self._sorted = pixels, groups[:n_groups].copy()
        return self._sorted

    def group_sizes(self) -> list[int]:
        """Return the number of pixels in each group of ties."""
        groups = self.sorted()[1].astype(np.int64)
        sizes: list[int] = (groups[:, 1] - groups[:, 0]).tolist()
        return sizes

    def top(self, k: int) -> tuple[Pixels, bool]:
        """Return the flat indices of the k largest values, and whether the next value equals the last."""
        found = self._tops.get(k)
        if found is None:
            pixels, _ = self.sorted()
            tied = k < pixels.size and bool(self.values[pixels[k - 1]] == self.values[pixels[k]])
            found = self._tops[k] = pixels[:k], tied
        return found
