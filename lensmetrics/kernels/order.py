"""Sort a map: the order of its pixels, largest first, their ties and ranks.

A key is an unsigned integer whose ascending order is the descending order of the floats: the bits of a
negative float, otherwise their complement without the sign. Both zeros have the same key.
"""

import numpy as np

from .compiling import njit

# The sort uses the top bits of the keys, as three digits of 8 bits: counting into 256 buckets stays in
# the fastest cache, and one pass of 11 bits took longer than two passes of 8.
_KEPT_BITS = 24
# Values smaller than the largest by this many factors of two count as equal in those bits. Without the
# limit, a few values near zero would widen the range until the bits no longer distinguish large values.
_OCTAVES = np.uint64(64)
# Moves per pixel that the repair may make before a merge sort is faster. The caller runs that sort,
# because numba takes seconds to compile one.
_REPAIR_LIMIT = 8

_RISES = np.uint8(1)
_TIED = np.uint8(2)
_EACH_BYTE = np.uint64(0x0101010101010101)


@njit(nogil=True, cache=True)
def write_extremes(bits, sign, magnitude, extremes):
    """Write the smallest and the largest key of the floats with these bits.

    `sign` is the sign bit and `magnitude` all the others, in the type of `bits`: numba turns an int and
    a uint64 into float64.
    """
    lowest = bits.dtype.type(sign | magnitude)
    highest = bits.dtype.type(0)
    for i in range(bits.size):
        key = bits.dtype.type(~bits[i] & magnitude)
        if bits[i] > sign:
            key = bits[i]
        lowest = min(lowest, key)
        highest = max(highest, key)
    extremes[0] = lowest
    extremes[1] = highest


@njit(nogil=True, cache=True)
def _write_kept_bits(bits, sign, magnitude, octave, extremes, kept):
    """Write the top bits of the keys, minus the smallest key and the gap around the key of 0."""
    zero = np.uint64(magnitude)
    lowest = np.uint64(extremes[0])
    highest = np.uint64(extremes[1])
    farthest = max(max(zero, highest) - zero, zero - min(zero, lowest))
    gap = farthest - min(farthest, _OCTAVES * np.uint64(octave))
    above = bits.dtype.type(zero - gap)
    below = bits.dtype.type(zero + gap)
    offset = np.uint64(min(extremes[0], above)) + np.uint64(max(extremes[0], below))
    span = np.uint64(min(extremes[1], above)) + np.uint64(max(extremes[1], below)) - offset
    used = 0
    while used < 64 and span >> np.uint64(used) > 0:
        used += 1
    dropped = np.uint64(max(0, used - _KEPT_BITS))
    for i in range(bits.size):
        key = bits.dtype.type(~bits[i] & magnitude)
        if bits[i] > sign:
            key = bits[i]
        kept[i] = np.uint32((np.uint64(min(key, above)) + np.uint64(max(key, below)) - offset) >> dropped)


@njit(nogil=True, cache=True)
def _start_positions(counts):
    """Replace the counts of buckets by the positions where the buckets start."""
    total = np.uint32(0)
    for bucket in range(counts.size):
        count = counts[bucket]
        counts[bucket] = total
        total += count


@njit(nogil=True, cache=True)
def _distribute(items, shift, places, mask, target):
    """Write the items, masked with `mask`, into the buckets of their digit, keeping their order."""
    for i in range(items.size):
        item = items[i]
        digit = (item >> shift) & items.dtype.type(255)
        place = places[digit]
        target[place] = item & mask
        places[digit] = place + np.uint32(1)


@njit(nogil=True, cache=True)
def _compare_neighbours(values, flags):
    """Flag the positions whose value is larger than or equal to the one before."""
    for i in range(1, values.size):
        flags[i] = _RISES * (values[i] > values[i - 1]) + _TIED * (values[i] == values[i - 1])


@njit(nogil=True, cache=True)
def _next(flag, flags, words, i):
    """Return the first position from i on with the flag, or the size; `words` views 8 flags at a time."""
    while i < flags.size:
        if i & 7 == 0 and words[i >> 3] & (_EACH_BYTE * np.uint64(flag)) == 0:
            i += 8
        elif flags[i] & flag == 0:
            i += 1
        else:
            break
    return i


@njit(nogil=True, cache=True)
def _repair(values, order, flags):
    """Sort rising values, and their indices, by insertion; return the number of moves."""
    n = order.size
    words = flags.view(np.uint64)
    moves = 0
    i = _next(_RISES, flags, words, 0)
    while i < n and moves <= _REPAIR_LIMIT * n:
        value = values[i]
        index = order[i]
        j = i
        while j > 0 and values[j - 1] < value:
            values[j] = values[j - 1]
            order[j] = order[j - 1]
            j -= 1
        values[j] = value
        order[j] = index
        moves += i - j
        i += 1
        # The smallest value so far now precedes the next one, which may rise without being flagged.
        if i < n and values[i] <= values[i - 1]:
            i = _next(_RISES, flags, words, i)
    return moves


@njit(nogil=True, cache=True)
def _write_groups(flags, groups):
    """Write where each group of ties starts and ends; return their number."""
    words = flags.view(np.uint64)
    n_groups = 0
    i = _next(_TIED, flags, words, 0)
    while i < flags.size:
        groups[n_groups, 0] = i - 1
        while i < flags.size and flags[i] != 0:
            i += 1
        groups[n_groups, 1] = i
        n_groups += 1
        i = _next(_TIED, flags, words, i)
    return n_groups


@njit(nogil=True, cache=True)
def sort(values, bits, sign, magnitude, octave, extremes, items, other, sorted_values, order, groups):
    """Write the stable descending order of `values` and its groups of ties; return the number of groups.

    A row of `groups` (n // 2, 2) receives the positions of the first pixel of a group and of the one after
    its last. Return -1, without a usable result, where another sort is faster. `bits` are the bits of
    the values; `octave` is the difference between the bits of a power of two and of the next. `items` and
    `other` (of one type) and `sorted_values` are scratch of the length of the values; `items` and
    `sorted_values` may share memory.

    An item holds the index of a pixel in the lower half of its bits, and the part of its key that later
    passes need. Insertion sorts what the kept bits left equal, unless that takes too many moves.
    """
    n = values.size
    kept = other.view(np.uint32)[:n]
    _write_kept_bits(bits, sign, magnitude, octave, extremes, kept)
    low = np.zeros(256, np.uint32)
    middle = np.zeros(256, np.uint32)
    high = np.zeros(256, np.uint32)
    one = np.uint32(1)
    eight = np.uint32(8)
    sixteen = np.uint32(16)
    mask = np.uint32(255)
    for i in range(n):
        low[kept[i] & mask] += one
        middle[(kept[i] >> eight) & mask] += one
        high[kept[i] >> sixteen] += one
    _start_positions(low)
    _start_positions(middle)
    _start_positions(high)

    unit = items.dtype.type
    half = unit(4 * items.itemsize)
    for i in range(n):
        digit = kept[i] & mask
        place = low[digit]
        items[place] = (unit(kept[i] >> eight) << half) | unit(i)
        low[digit] = place + one
    _distribute(items, half, middle, ~unit(0), other)
    _distribute(other, half + unit(8), high, (unit(1) << half) - unit(1), order)

    for i in range(n):
        sorted_values[i] = values[order[i]]
    flags = np.zeros((n + 7) // 8 * 8, np.uint8)
    _compare_neighbours(sorted_values, flags)
    moves = _repair(sorted_values, order, flags)
    if moves > _REPAIR_LIMIT * n:
        return -1
    if moves > 0:
        _compare_neighbours(sorted_values, flags)
    return _write_groups(flags, groups)


@njit(nogil=True, cache=True)
def doubled_ranks(groups, n):
    """Return twice the rank of each position of an order, from 1 on; ties share their average."""
    ranks = np.empty(n, np.int32)
    for i in range(n):
        ranks[i] = 2 * i + 2
    for g in range(len(groups)):
        for i in range(groups[g, 0], groups[g, 1]):
            ranks[i] = groups[g, 0] + groups[g, 1] + 1
    return ranks
