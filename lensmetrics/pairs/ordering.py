"""One map, sorted once."""

import math
import threading
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite.binding import get_host_cpu_name

from ..kernels import classes, order
from .checks import FloatMap

Bits = np.unsignedinteger[Any]
Pixels = npt.NDArray[np.unsignedinteger[Any]]  # flat indices: uint16 where these suffice, else uint32


# Bytes of a line of the cache.
_LINE = 64
# Of how many sizes of maps a thread keeps views of its buffers.
_MOST_VIEWS = 16
# On AMD's Zen 4, two passes over digits of 12 bits take .75 of the time of three over 8; on Intel's Sapphire
# Rapids they take 1.9 times as long. In small maps, beginning with more buckets costs more than a pass.
_DIGIT_BITS = 12 if get_host_cpu_name().startswith("znver") else 8
_WIDE_DIGITS_FROM = 2**13
# In smaller maps, selecting pixels and sorting them takes about as long as sorting all.
_SELECTS_FROM = 4096
# At least this part of the pixels is selected, because metrics ask for sets of several sizes.
_SELECTED_PART = 32
# From so many pixels on, a map is sorted by its different values if they seem few, and if they are at most
# so many where the faster sort failed, because many are nearly equal.
_CLASSES_FROM = 4096
_MOST_CLASSES = 2**14


class Keys(NamedTuple):
    """The keys by which the kernels sort, which fall as values rise, of three values; NaNs are outside."""

    infinity: int
    zero: int
    minus_infinity: int


# By the bytes of a float.
_KEYS = {
    4: Keys(2**31 - 1 - 0x7F800000, 2**31 - 1, 2**31 + 0x7F800000),
    8: Keys(2**63 - 1 - 0x7FF0000000000000, 2**63 - 1, 2**63 + 0x7FF0000000000000),
}


class Buffers(NamedTuple):
    """Scratch of the kernels for maps of one size; arrays with the same letter share memory."""

    counts: npt.NDArray[np.uint32]
    items: npt.NDArray[Bits]  # a
    values: dict[int, FloatMap]  # a, by the bytes of a value
    other: npt.NDArray[Bits]  # b
    kept: npt.NDArray[np.uint32]  # b
    packed: npt.NDArray[np.uint64]  # b
    groups: npt.NDArray[np.uint32]  # c
    sequences: tuple[npt.NDArray[Bits], ...]  # a, b, c
    ranks: tuple[npt.NDArray[np.int32], ...]  # a, b
    sets: npt.NDArray[np.uint64]
    words: npt.NDArray[np.uint64]
    behind: npt.NDArray[np.uint16]


def _aligned(shape: tuple[int, ...], dtype: type[Bits]) -> npt.NDArray[Bits]:
    """Return memory that starts with a line of the cache.

    Where vectors of 32 or 64 bytes lie across two lines, counting inversions takes 1.8 times as long;
    numpy aligns to 16 bytes, so one process is faster than the next.
    """
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(n_bytes + _LINE, np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + n_bytes].view(dtype).reshape(shape)


class Scratch(threading.local):
    """The buffers of a thread: new ones cost more in page faults than the sort takes."""

    def __init__(self) -> None:
        self._memory = np.empty((3, 0), np.uint64)
        self._fixed = (
            _aligned((3, 2**12), np.uint32),
            _aligned((1024,), np.uint64),
            _aligned((33, 32), np.uint16),
        )
        self.sample = np.empty((2, 1024), np.uint64)
        self._views: dict[int, Buffers] = {}

    def of(self, n: int) -> Buffers:
        """Return the buffers for n pixels; the next call of the thread returns the same memory."""
        found = self._views.get(n)
        if found is None:
            if self._memory.shape[1] < n:
                self._memory = _aligned((3, (n + 7) // 8 * 8), np.uint64)
                self._views.clear()
            elif len(self._views) >= _MOST_VIEWS:
                self._views.clear()
            first, second, third = self._memory
            counts, words, behind = self._fixed
            # An item holds an index and equally many bits of a key; smaller items sort faster.
            index: type[Bits] = np.uint16 if n <= 2**16 else np.uint32
            item: type[Bits] = np.uint32 if n <= 2**16 else np.uint64
            found = self._views[n] = Buffers(
                counts=counts,
                items=first.view(item)[:n],
                values={4: first.view(np.float32)[:n], 8: first.view(np.float64)[:n]},
                other=second.view(item)[:n],
                kept=second.view(np.uint32)[:n],
                packed=second[:n],
                groups=third.view(np.uint32).reshape(-1, 2)[: n // 2],
                sequences=(first.view(index)[:n], second.view(index)[:n], third.view(index)[:n]),
                ranks=(first.view(np.int32)[:n], second.view(np.int32)[:n]),
                sets=np.empty((4, words_of_set(n)), np.uint64),
                words=words,
                behind=behind,
            )
        return found


scratch = Scratch()


def bits_type(values: FloatMap) -> type[Bits]:
    """Return the unsigned integer type as wide as the values."""
    return np.uint32 if values.itemsize == 4 else np.uint64


def words_of_set(n: int) -> int:
    """Return how many words the kernels need for a set of pixels of a map of n."""
    return (n + 63) // 64 + 1


class SortedMap:
    """One map and the order of its pixels, which is computed on first use."""

    def __init__(self, values: FloatMap, extremes: npt.NDArray[Bits] | None = None) -> None:
        """Take a flat map, and the extremes of its keys if they are known."""
        self.values = values
        if extremes is None:
            extremes = np.empty(2, bits_type(values))
            order.write_extremes(values.view(extremes.dtype), extremes)
        self._extremes = extremes
        lowest, highest = extremes.tolist()
        infinity, zero, minus_infinity = _KEYS[values.itemsize]
        self.finite: bool = infinity < lowest and highest < minus_infinity
        self.constant: bool = lowest == highest
        self.signed: bool = highest > zero
        self.expects_order = False  # whether all pixels will be sorted anyway
        self.needed_order = False  # whether someone asked for all
        self._sorted: tuple[Pixels, npt.NDArray[np.uint32]] | None = None
        self._first: Pixels | None = None
        self._tops: dict[int, tuple[Pixels, bool]] = {}

    def sorted(self) -> tuple[Pixels, npt.NDArray[np.uint32]]:
        """Return the flat indices, largest value first, and the start and end of each group of ties."""
        self.needed_order = True
        return self._all()

    def _all(self) -> tuple[Pixels, npt.NDArray[np.uint32]]:
        if self._sorted is None:
            self._sorted = self._sort(may_classify=True)
        return self._sorted

    def _sort(self, *, may_classify: bool) -> tuple[Pixels, npt.NDArray[np.uint32]]:
        n = self.values.size
        pixels: Pixels = np.empty(n, np.uint16 if n <= 2**16 else np.uint32)
        buffers = scratch.of(n)
        sorted_values = buffers.values[self.values.itemsize]
        bits = self.values.view(self._extremes.dtype)
        is_large = n >= _CLASSES_FROM and may_classify
        if is_large and classes.seem_few(bits, scratch.sample):
            n_groups = self._sort_classes(bits, pixels)
            if n_groups >= 0:
                return pixels, buffers.groups[:n_groups].copy()
            is_large = False
        n_groups = order.sort(
            self.values,
            bits,
            self._extremes,
            _DIGIT_BITS if n >= _WIDE_DIGITS_FROM else 8,
            buffers.kept,
            buffers.counts,
            buffers.items,
            buffers.other,
            sorted_values,
            pixels,
            buffers.groups,
        )
        if n_groups < 0 and is_large:
            n_groups = self._sort_classes(bits, pixels)
        if n_groups < 0:  # many values are nearly equal: sort by as many bits as 64 hold beside an index
            index_bits = n.bit_length()
            order.pack(bits, self._extremes, index_bits, buffers.packed)
            buffers.packed.sort()
            n_groups = order.unpack(
                self.values, buffers.packed, index_bits, pixels, sorted_values, buffers.groups
            )
        if n_groups < 0:
            pixels[:] = np.argsort(-self.values, kind="stable")
            n_groups = order.finish(self.values, pixels, sorted_values, buffers.groups)
        return pixels, buffers.groups[:n_groups].copy()

    def _sort_classes(self, bits: npt.NDArray[Bits], pixels: Pixels) -> int:
        """Sort the different values, if they are few, and put the pixels in their order."""
        n = pixels.size
        slots, sizes = np.empty(2 * _MOST_CLASSES, np.uint16), np.empty((2, _MOST_CLASSES), np.uint32)
        keys, examples = np.empty(_MOST_CLASSES, bits.dtype), np.empty(_MOST_CLASSES, self.values.dtype)
        members = np.empty(n, np.uint16)
        n_classes = classes.classify(self.values, bits, slots, keys, members, sizes, examples)
        if n_classes < 0:
            return -1
        class_order, _ = SortedMap(examples[:n_classes])._sort(may_classify=False)
        return int(classes.merge_classes(members, sizes, class_order, pixels, scratch.of(n).groups))

    def top(self, k: int) -> tuple[Pixels, bool]:
        """Return the flat indices of the k largest values, and whether the next value equals the last."""
        found = self._tops.get(k)
        if found is None:
            pixels = self._at_least(k + 1)
            tied = k < pixels.size and bool(self.values[pixels[k - 1]] == self.values[pixels[k]])
            found = self._tops[k] = pixels[:k], tied
        return found

    def _at_least(self, m: int) -> Pixels:
        """Return the flat indices of the m largest values, and perhaps of some more, in their order."""
        n = self.values.size
        if self._sorted is None and not self.expects_order and n >= _SELECTS_FROM and m <= n // 8:
            first = self._first
            if first is None:  # selecting again for each larger set would take longer than sorting
                first = self._first = self._select(max(m, n // _SELECTED_PART))
            if first.size >= m:
                return first
        return self._all()[0]

    def _select(self, m: int) -> Pixels:
        """Sort the pixels that can be among the m with the largest values; return none if these are many."""
        buffers = scratch.of(self.values.size)
        found = buffers.sequences[0]
        bits = self.values.view(self._extremes.dtype)
        n_found = order.candidates(bits, self._extremes, m, buffers.kept, buffers.counts[0], found)
        if n_found < 0:
            return found[:0].copy()
        pixels: Pixels = found[:n_found].copy()  # sorting takes the memory
        return pixels[SortedMap(self.values[pixels]).sorted()[0]]
