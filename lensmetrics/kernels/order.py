"""Sort a map: the order of its pixels, largest first, their ties and ranks.

A key is an unsigned integer whose ascending order is the descending order of the floats: the bits of a
negative float, otherwise their complement without the sign. Both zeros have the same key.

Kernels get their scratch from the caller and call few functions: numba takes about 50 ms to compile a call of
np.empty, min or max for one more type.
"""

import numpy as np

from .compiling import njit

# The sort uses the top bits of the keys, as three digits of 8 bits or two of 12.
_KEPT_BITS = 24
# Values smaller than the largest by this many factors of two count as equal in those bits. Without the
# limit, a few values near zero would widen the range until the bits no longer distinguish large values.
_OCTAVES = 64
# Moves per pixel that the repair may make before another sort is faster. The caller runs that sort,
# because numba takes seconds to compile one.
_REPAIR_LIMIT = 3
# So many positions are compared without a branch.
_STRETCH = np.uint64(64)

_ONE = np.uint64(1)


@njit(nogil=True, cache=True)
def write_extremes(bits, extremes):
    """Write the smallest and the largest key of the floats with these bits."""
    unit = bits.dtype.type
    sign = unit(1) << unit(8 * bits.itemsize - 1)
    magnitude = unit(~sign)
    lowest = unit(~unit(0))
    highest = unit(0)
    for i in range(bits.size):
        key = bits[i] if bits[i] > sign else unit(~bits[i] & magnitude)
        lowest = key if key < lowest else lowest
        highest = key if key > highest else highest
    extremes[0] = lowest
    extremes[1] = highest


@njit(nogil=True, cache=True)
def _next(values, i, rises):
    """Return the first position from i > 0 on whose value equals the one before, or the size.

    Where `rises` is not 0, look for a value above the one before. It is a number because numba compiles a
    function anew for each constant True or False.
    """
    # Unsigned positions, because negative ones would count from the end, which keeps loops from vectorizing.
    i = np.uint64(i)
    n = np.uint64(values.size)
    while i + _STRETCH <= n:
        found = 0
        for j in range(i, i + _STRETCH):
            found += values[j] > values[j - _ONE] if rises else values[j] == values[j - _ONE]
        if found:
            break
        i += _STRETCH
    while i < n and not (values[i] > values[i - _ONE] if rises else values[i] == values[i - _ONE]):
        i += _ONE
    return np.int64(i)


@njit(nogil=True, cache=True)
def finish(values, order, sorted_values, groups):
    """Sort rising values of an order by insertion, and write its groups of ties; return their number.

    Return -1 where there are too many.
    """
    n = order.size
    n_rises = 0
    before = values[order[0]]
    for i in range(n):
        value = values[order[i]]
        sorted_values[i] = value
        n_rises += value > before
        before = value
    # Values in random order rise at every other position.
    if n_rises > 8 + n // 4:
        return -1
    moves = 0
    i = 0 if n_rises > 0 else n
    while i < n and moves <= _REPAIR_LIMIT * n:
        i = _next(sorted_values, i + 1, np.uint8(1))
        # The smallest value so far now precedes the next one, which may rise although it did not before.
        while i < n and moves <= _REPAIR_LIMIT * n and sorted_values[i] > sorted_values[i - 1]:
            value = sorted_values[i]
            index = order[i]
            j = i
            while j > 0 and sorted_values[j - 1] < value:
                sorted_values[j] = sorted_values[j - 1]
                order[j] = order[j - 1]
                j -= 1
            sorted_values[j] = value
            order[j] = index
            moves += i - j
            i += 1
    if moves > _REPAIR_LIMIT * n:
        return -1
    n_groups = 0
    i = _next(sorted_values, np.int64(1), np.uint8(0))
    while i < n:
        groups[n_groups, 0] = i - 1
        while i < n and sorted_values[i] == sorted_values[i - 1]:
            i += 1
        groups[n_groups, 1] = i
        n_groups += 1
        i = _next(sorted_values, i + 1, np.uint8(0))
    return n_groups


@njit(nogil=True, cache=True)
def write_kept(bits, extremes, kept):
    """Write the top bits of the keys of the floats with these bits, less the smallest key."""
    # Keep the top bits of the keys, minus the smallest key and the gap around the key of 0. All numbers have
    # the width of the keys, because numba turns a signed and an unsigned one into float64, and because loops
    # over narrow numbers are faster. Sums may wrap around: the differences that remain fit.
    key_unit = bits.dtype.type
    sign = key_unit(1) << key_unit(8 * bits.itemsize - 1)
    magnitude = key_unit(~sign)
    reach = key_unit(_OCTAVES) << key_unit(23 if bits.itemsize == 4 else 52)
    lowest = extremes[0]
    highest = extremes[1]
    farthest = key_unit(0)
    if lowest < magnitude:
        farthest = key_unit(magnitude - lowest)
    if highest > magnitude and highest - magnitude > farthest:
        farthest = key_unit(highest - magnitude)
    gap = key_unit(farthest - reach) if farthest > reach else key_unit(0)
    above = key_unit(magnitude - gap)
    below = key_unit(magnitude + gap)
    offset = key_unit((lowest if lowest < above else above) + (lowest if lowest > below else below))
    span = key_unit((highest if highest < above else above) + (highest if highest > below else below))
    span = key_unit(span - offset)
    dropped = key_unit(0)
    while span >> dropped >> key_unit(_KEPT_BITS) > 0:
        dropped += key_unit(1)
    for i in range(bits.size):
        key = bits[i] if bits[i] > sign else key_unit(~bits[i] & magnitude)
        key = key_unit((key if key < above else above) + (key if key > below else below))
        kept[i] = key_unit(key - offset) >> dropped


@njit(nogil=True, cache=True)
def candidates(bits, extremes, k, kept, counts, found):
    """Write the ascending indices of some pixels, with the k largest values among them; return their number.

    Return -1, with nothing in `found`, where they are more than a fourth of all. `kept`, as long as the
    map, and `counts` (4096) are scratch; `found` is as long as the map.
    """
    write_kept(bits, extremes, kept)
    for i in range(counts.size):
        counts[i] = 0
    half = np.uint32(_KEPT_BITS // 2)
    for i in range(kept.size):
        counts[kept[i] >> half] += np.uint32(1)
    n_found = np.int64(0)
    last = np.uint32(0)
    for i in range(counts.size):
        n_found += counts[i]
        last = np.uint32(i)
        if n_found >= k:
            break
    if 4 * n_found > kept.size:
        return -1
    place = np.uint64(0)
    for i in range(kept.size):
        found[place] = i
        place += np.uint64(kept[i] >> half <= last)
    return n_found


@njit(nogil=True, cache=True)
def sort(
    values,
    bits,
    extremes,
    digit_bits,
    kept,
    counts,
    items,
    other,
    sorted_values,
    order,
    groups,
):
    """Write the stable descending order of `values` and its groups of ties; return the number of groups.

    A row of `groups` (n // 2, 2) receives the positions of the first pixel of a group and of the one after
    its last. Return -1, without a usable result, where another sort is faster. `bits` are the bits of
    the values, `extremes` those of `write_extremes`, `digit_bits` 8 or 12. `counts` (3, 2**digit_bits) and
    what is as long as the values, `kept`, `items`, `other` (of one type) and `sorted_values`, are scratch;
    `kept` may share memory with `other`, and `items` with `sorted_values`.

    An item holds the index of a pixel in the lower half of its bits, and the part of its key that later
    passes need. Insertion sorts what the kept bits left equal, unless that takes too many moves.
    """
    write_kept(bits, extremes, kept)
    low = counts[0]
    middle = counts[1]
    high = counts[2]
    one = np.uint32(1)
    width = np.uint32(digit_bits)
    mask = (one << width) - one
    has_middle = 2 * digit_bits < _KEPT_BITS
    for digit in range(np.int64(mask) + 1):
        low[digit] = 0
        middle[digit] = 0
        high[digit] = 0
    if has_middle:
        for i in range(values.size):
            key = kept[i]
            low[key & mask] += one
            middle[(key >> width) & mask] += one
            high[key >> width >> width] += one
    else:
        for i in range(values.size):
            key = kept[i]
            low[key & mask] += one
            high[key >> width] += one
    # Replace the counts of buckets by the positions where the buckets start.
    low_start = np.uint32(0)
    middle_start = np.uint32(0)
    high_start = np.uint32(0)
    for digit in range(np.int64(mask) + 1):
        n_low = low[digit]
        n_middle = middle[digit]
        n_high = high[digit]
        low[digit] = low_start
        middle[digit] = middle_start
        high[digit] = high_start
        low_start += n_low
        middle_start += n_middle
        high_start += n_high
    unit = items.dtype.type
    half = unit(4 * items.itemsize)
    rest = half
    for i in range(values.size):
        key = kept[i]
        place = low[key & mask]
        items[place] = (unit(key >> width) << half) | unit(i)
        low[key & mask] = place + one
    if has_middle:
        for i in range(values.size):
            item = items[i]
            digit = (item >> half) & unit(mask)
            place = middle[digit]
            other[place] = item
            middle[digit] = place + one
        items, other = other, items
        rest = half + unit(width)
    for i in range(values.size):
        item = items[i]
        digit = item >> rest
        place = high[digit]
        order[place] = item & ((unit(1) << half) - unit(1))
        high[digit] = place + one
    return finish(values, order, sorted_values, groups)


@njit(nogil=True, cache=True)
def pack(bits, extremes, index_bits, packed):
    """Write the top bits of the range of the keys and, in the lowest `index_bits`, the index."""
    unit = bits.dtype.type
    sign = unit(1) << unit(8 * bits.itemsize - 1)
    magnitude = unit(~sign)
    shift = np.uint64(index_bits)
    lowest = np.uint64(extremes[0])
    span = np.uint64(extremes[1]) - lowest
    dropped = np.uint64(0)
    while span >> dropped << shift >> shift != span >> dropped:
        dropped += _ONE
    for i in range(bits.size):
        key = bits[i] if bits[i] > sign else unit(~bits[i] & magnitude)
        packed[i] = ((np.uint64(key) - lowest) >> dropped << shift) | np.uint64(i)


@njit(nogil=True, cache=True)
def unpack(values, packed, index_bits, order, sorted_values, groups):
    """Do what `sort` does with what `pack` has written, sorted."""
    mask = (_ONE << np.uint64(index_bits)) - _ONE
    for i in range(values.size):
        order[i] = packed[i] & mask
    return finish(values, order, sorted_values, groups)


@njit(nogil=True, cache=True)
def write_ranks(groups, ranks):
    """Write twice the rank of each position of an order, from 1 on; ties share their average."""
    for i in range(ranks.size):
        ranks[i] = 2 * i + 2
    for g in range(len(groups)):
        start = np.int64(groups[g, 0])
        stop = np.int64(groups[g, 1])
        for i in range(start, stop):
            ranks[i] = start + stop + 1


@njit(nogil=True, cache=True)
def write_tie_sums(groups, sums):
    """Write the sums of t (t - 1) / 2 and of t**3 - t = 2**32 a + b over the groups of t pixels."""
    pairs = np.int64(0)
    high = np.int64(0)
    low = np.int64(0)
    for g in range(len(groups)):
        t = np.int64(groups[g, 1]) - np.int64(groups[g, 0])
        square = t * t - 1
        pairs += t * (t - 1) // 2
        high += t * (square >> 32)
        low += t * (square & 0xFFFFFFFF)
    sums[0] = pairs
    sums[1] = high
    sums[2] = low
