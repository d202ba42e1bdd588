"""Integer sums behind the rank correlations, and the smoothing of maps."""

import numpy as np

from .bits import n_ones
from .compiling import njit
from .order import doubled_ranks

# Groups of ties up to this length are sorted by insertion.
SHORT_GROUP = 32

# To count inversions, a value is bit value % 64 of a word; 32 words make a row, 32 rows hold 2**16 values.
_ONE = np.uint64(1)
_WORD = np.uint64(6)
_ROW = np.uint64(11)
_IN_WORD = np.uint64(63)
_IN_ROW = np.uint64(31)
_GROUP_BITS = 16
# Row r has a one in each of its 32 places before r.
_BEFORE = np.tril(np.ones((32, 32), np.uint16), -1)


@njit(nogil=True, cache=True)
def _longest(groups):
    longest = 0
    for g in range(len(groups)):
        longest = max(longest, groups[g, 1] - groups[g, 0])
    return longest


@njit(nogil=True, cache=True)
def write_sequence(order_u, order_p, values_u, groups_u, groups_p, place, sequence):
    """Write the place in the perturbed order of each pixel of the unperturbed order.

    The sequence is a permutation of 0 to n-1. Ties of the perturbed map are broken by the unperturbed map,
    then by index, so no pair of pixels tied in it is an inversion. Neither is a pair tied in the
    unperturbed map, once the caller has sorted the values of its groups longer than SHORT_GROUP. `place` is
    scratch.
    """
    n = order_u.size
    for i in range(n):
        place[order_p[i]] = i
    if _longest(groups_p) <= SHORT_GROUP:
        for g in range(len(groups_p)):
            start = groups_p[g, 0]
            pixels = order_p[start : groups_p[g, 1]].copy()
            for i in range(1, pixels.size):
                pixel = pixels[i]
                j = i
                while j > 0 and values_u[pixels[j - 1]] < values_u[pixel]:
                    pixels[j] = pixels[j - 1]
                    j -= 1
                pixels[j] = pixel
            for i in range(pixels.size):
                place[pixels[i]] = start + i
        for i in range(n):
            sequence[i] = place[order_u[i]]
    else:
        for g in range(len(groups_p)):
            for i in range(groups_p[g, 0], groups_p[g, 1]):
                place[order_p[i]] = groups_p[g, 0]
        following = np.arange(n).astype(np.uint32)
        for i in range(n):
            start = place[order_u[i]]
            sequence[i] = following[start]
            following[start] += np.uint32(1)
    for g in range(len(groups_u)):
        start = groups_u[g, 0]
        if groups_u[g, 1] - start > SHORT_GROUP:
            continue
        for i in range(start + 1, groups_u[g, 1]):
            value = sequence[i]
            j = i
            while j > start and sequence[j - 1] > value:
                sequence[j] = sequence[j - 1]
                j -= 1
            sequence[j] = value


@njit(nogil=True, cache=True)
def rank_products(groups_u, groups_p, sequence):
    """Return the sum over pixels of the products of the centered, doubled ranks of both maps.

    Also return the number of pairs of pixels that are tied in both maps.
    """
    n = sequence.size
    ranks_u = doubled_ranks(groups_u, n)
    ranks_p = doubled_ranks(groups_p, n)
    mean = np.int32(n + 1)
    # Ranks are fetched before they are multiplied, because only the products vectorize. Integer sums
    # are exact: no product is larger than n**2, and no more are added than fit in 64 bits.
    length = max(1, min(4096, 2**62 // (n * n)))
    fetched = np.empty(min(n, length), np.int32)
    total = 0.0
    for begin in range(0, n, length):
        part_u = ranks_u[begin : begin + length]
        places = sequence[begin : begin + length]
        for i in range(places.size):
            fetched[i] = ranks_p[places[i]]
        part = np.int64(0)
        for i in range(places.size):
            part += np.int64(part_u[i] - mean) * np.int64(fetched[i] - mean)
        total += part
    tied_both = 0
    if len(groups_p) > 0:
        for g in range(len(groups_u)):
            run = 0
            for i in range(np.int64(groups_u[g, 0]) + 1, np.int64(groups_u[g, 1])):
                run = run + 1 if ranks_p[sequence[i]] == ranks_p[sequence[i - 1]] else 0
                tied_both += run
    return total, tied_both


@njit(nogil=True, cache=True)
def _split(sequence, other, half):
    """Move the values with the bit `half` behind the others of their group; count the inversions."""
    n = sequence.size
    count = 0
    for base in range(0, n, 2 * half):
        zeros = 0
        ones = 0
        for i in range(base, min(base + 2 * half, n)):
            value = sequence[i]
            if value & half:
                other[base + half + ones] = value
                ones += 1
            else:
                other[base + zeros] = value
                zeros += 1
                count += ones
    return count


@njit(nogil=True, cache=True)
def _inversions_of_group(sequence, first):
    """Count the inversions of a permutation of at most 2**16 consecutive integers from `first` on.

    For each value, count the larger values before it: those in later rows, in later words of its row, and
    in its word.
    """
    words = np.zeros(1024, np.uint64)
    in_rows_behind = np.zeros(32, np.uint16)
    in_words_behind = np.zeros((32, 32), np.uint16)
    count = np.uint64(0)
    for i in range(sequence.size):
        value = np.uint64(sequence[i]) - first
        word = value >> _WORD
        row = value >> _ROW
        column = word & _IN_ROW
        bits = words[word]
        count += n_ones(bits >> (value & _IN_WORD))
        count += np.uint64(in_rows_behind[row]) + np.uint64(in_words_behind[row, column])
        words[word] = bits | (_ONE << (value & _IN_WORD))
        counts = in_words_behind[row]
        rows_before = _BEFORE[row]
        words_before = _BEFORE[column]
        # One loop for both: a shorter one is unrolled before it can vectorize, which takes 8 times as long.
        for j in range(32):
            in_rows_behind[j] += rows_before[j]
            counts[j] += words_before[j]
    return count


@njit(nogil=True, cache=True)
def inversions(sequence, other):
    """Count the inversions of a permutation of 0 to n-1; may overwrite it and `other` (scratch)."""
    n = sequence.size
    bits = _GROUP_BITS
    while (1 << bits) < n:
        bits += 1
    count = np.uint64(0)
    while bits > _GROUP_BITS:
        bits -= 1
        count += np.uint64(_split(sequence, other, 1 << bits))
        sequence, other = other, sequence
    for first in range(0, n, 1 << _GROUP_BITS):
        count += _inversions_of_group(sequence[first : first + (1 << _GROUP_BITS)], np.uint64(first))
    return count


@njit(nogil=True, cache=True)
def smooth(values, w, area):
    """Return, in float64, the sums over the (2w+1)x(2w+1) windows inside the map, divided by `area`."""
    height, width = values.shape
    smoothed = np.empty((height, width), np.float64)
    # The zeros on both sides do not change the sums.
    sums = np.zeros(width + 2 * w, np.float64)
    inside = sums[w : w + width]
    for y in range(height):
        inside[:] = 0.0
        first = max(0, y - w)
        last = min(height, y + w + 1)
        # Two terms at a time, because memory is the limit; always in the same order.
        for near in range(first, last - 1, 2):
            one = values[near]
            other = values[near + 1]
            for x in range(width):
                inside[x] = inside[x] + one[x] + other[x]
        if (last - first) % 2:
            one = values[last - 1]
            for x in range(width):
                inside[x] += one[x]
        row = smoothed[y]
        row[:] = sums[:width]
        for start in range(1, 2 * w, 2):
            one = sums[start : start + width]
            other = sums[start + 1 : start + 1 + width]
            for x in range(width):
                row[x] = row[x] + one[x] + other[x]
        for x in range(width):
            row[x] /= area
    return smoothed
