"""Sorting a map once: integer keys, the order of its pixels, their ties and ranks."""

import numpy as np
from numba import njit

# Two digits of this many bits sort the keys; few pixels do not repay the zeroing of a long histogram.
_FEW_PIXELS = 4096
_DIGIT_BITS_FEW = 9
_DIGIT_BITS = 11
# Moves per pixel that the repair may make before a merge sort is the cheaper way out. It is left to the
# caller because numba takes seconds to compile one.
_REPAIR_LIMIT = 8


@njit(nogil=True, cache=True)
def descending_keys(bits, sign, magnitude, infinity, keys, extremes):
    """Write the unsigned integers that sort upwards as the floats with these bits sort downwards.

    `sign` is the sign bit, `magnitude` all the others and `infinity` the bits of inf, in the type of
    `bits`: an int beside a uint64 would make a float64 of both. Both zeros get the same key.
    `extremes` receives the smallest and the largest key. Returns whether all values are finite and
    whether all are equal.
    """
    # Loops of their own, because each of them vectorises and one doing all does not.
    for i in range(bits.size):
        b = bits[i]
        keys[i] = b if b > sign else (b ^ magnitude) & magnitude
    lowest = keys[0]
    highest = keys[0]
    for i in range(keys.size):
        lowest = min(lowest, keys[i])
        highest = max(highest, keys[i])
    extremes[0] = lowest
    extremes[1] = highest
    return lowest > (infinity ^ magnitude) and highest < (infinity | sign), lowest == highest


@njit(nogil=True, cache=True)
def _start_positions(counts):
    """Turn the counts of buckets into the positions where the buckets start."""
    total = np.uint32(0)
    for bucket in range(counts.size):
        count = counts[bucket]
        counts[bucket] = total
        total += count


@njit(nogil=True, cache=True)
def sort_keys(keys, extremes, packed, other, order, groups):
    """Write the stable ascending order of `keys` and its groups of ties; return the number of groups.

    A row of `groups` (n // 2, 2) receives the position of a group's first key and that after its
    last. `packed` and `other` are scratch of the length of the keys. Returns -1, with nothing
    written of use, where another sort is quicker.

    Key (less the smallest) and index share one uint64; a float64 key that needs more than the 32
    bits there are leaves its low ones to the repair. Two counting passes sort the top bits of the
    range and insertion repairs what they left equal, unless that gets long: many different values
    then share their top bits.
    """
    n = keys.size
    lowest = extremes[0]
    span = np.uint64(extremes[1] - lowest)
    used = 0
    while used < 64 and span >> np.uint64(used) > 0:
        used += 1
    bits = _DIGIT_BITS_FEW if n <= _FEW_PIXELS else _DIGIT_BITS
    half = np.uint64(32)
    dropped = np.uint64(max(0, used - 32))
    ignored = np.uint64(max(0, min(used, 32) - 2 * bits))
    digit_bits = np.uint64(bits)
    mask = np.uint64((1 << bits) - 1)

    low = np.zeros(1 << bits, np.uint32)
    high = np.zeros(1 << bits, np.uint32)
    for i in range(n):
        top = (np.uint64(keys[i] - lowest) >> dropped) >> ignored
        low[top & mask] += np.uint32(1)
        high[top >> digit_bits] += np.uint32(1)
    _start_positions(low)
    _start_positions(high)
    for i in range(n):
        key = np.uint64(keys[i] - lowest) >> dropped
        digit = (key >> ignored) & mask
        other[low[digit]] = (key << half) | np.uint64(i)
        low[digit] += np.uint32(1)
    for i in range(n):
        item = other[i]
        digit = item >> (half + ignored + digit_bits)
        packed[high[digit]] = item
        high[digit] += np.uint32(1)

    index_mask = (np.uint64(1) << half) - np.uint64(1)
    moves = 0
    largest = packed[0]
    for i in range(n):
        item = packed[i]
        if item >= largest:
            largest = item
            order[i] = item & index_mask
            continue
        j = i
        while j > 0 and packed[j - 1] > item:
            packed[j] = packed[j - 1]
            order[j] = order[j - 1]
            j -= 1
        packed[j] = item
        order[j] = item & index_mask
        moves += i - j
        if moves > _REPAIR_LIMIT * n:
            return -1
    if dropped > 0:
        for i in range(1, n):
            index = order[i]
            key = keys[index]
            top = packed[i] >> half
            j = i
            while j > 0 and packed[j - 1] >> half == top and keys[order[j - 1]] > key:
                order[j] = order[j - 1]
                j -= 1
            order[j] = index
            moves += i - j
            if moves > _REPAIR_LIMIT * n:
                return -1

    n_groups = 0
    for i in range(1, n):
        if packed[i] >> half != packed[i - 1] >> half:
            continue
        if dropped > 0 and keys[order[i]] != keys[order[i - 1]]:
            continue
        if n_groups > 0 and groups[n_groups - 1, 1] == i:
            groups[n_groups - 1, 1] = i + 1
        else:
            groups[n_groups, 0] = i - 1
            groups[n_groups, 1] = i + 1
            n_groups += 1
    return n_groups


@njit(nogil=True, cache=True)
def doubled_ranks(groups, n):
    """Return twice the rank of each position of an order, 1 being the first, ties sharing their average."""
    ranks = np.empty(n, np.int32)
    for i in range(n):
        ranks[i] = 2 * i + 2
    for g in range(len(groups)):
        for i in range(groups[g, 0], groups[g, 1]):
            ranks[i] = groups[g, 0] + groups[g, 1] + 1
    return ranks
