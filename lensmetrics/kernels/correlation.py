"""Integer sums behind the rank correlations, and the smoothing of maps."""

import numpy as np

from .bits import n_ones
from .compiling import njit
from .order import write_ranks

# Groups of ties up to this length are sorted by insertion.
_SHORT_GROUP = 32

# To count inversions, a value is bit value % 64 of a word; 32 words make a row, 32 rows hold 2**16 values.
_ONE = np.uint64(1)
_WORD = np.uint64(6)
_ROW = np.uint64(11)
_IN_WORD = np.uint64(63)
_IN_ROW = np.uint64(31)
# Row r has a one in each of its 32 places before r.
_BEFORE = np.tril(np.ones((32, 32), np.uint16), -1)


@njit(nogil=True, cache=True)
def _write_sequence(order_u, order_p, values_u, groups_u, groups_p, place, following, sequence):
    """Write what `compare` calls the sequence where all groups of ties are short."""
    n = order_u.size
    for i in range(n):
        place[order_p[i]] = i
    for g in range(len(groups_p)):
        start = np.int64(groups_p[g, 0])
        length = np.int64(groups_p[g, 1]) - start
        for i in range(length):
            pixel = order_p[start + i]
            j = i
            while j > 0 and values_u[following[j - 1]] < values_u[pixel]:
                following[j] = following[j - 1]
                j -= 1
            following[j] = pixel
        for i in range(length):
            place[following[i]] = start + i
    for i in range(n):
        sequence[i] = place[order_u[i]]
    for g in range(len(groups_u)):
        start = np.int64(groups_u[g, 0])
        for i in range(start + 1, np.int64(groups_u[g, 1])):
            value = sequence[i]
            j = i
            while j > start and sequence[j - 1] > value:
                sequence[j] = sequence[j - 1]
                j -= 1
            sequence[j] = value


@njit(nogil=True, cache=True)
def _write_starts(groups, starts):
    """Write the first position of the group of each position of an order."""
    for i in range(starts.size):
        starts[i] = i
    for g in range(len(groups)):
        for i in range(groups[g, 0], groups[g, 1]):
            starts[i] = groups[g, 0]


@njit(nogil=True, cache=True)
def _write_tied_sequence(order_u, order_p, groups_u, groups_p, place, starts, following, sequence):
    """Do what `_write_sequence` does in a time that does not depend on the lengths of the groups."""
    n = order_u.size
    _write_starts(groups_p, starts)
    for i in range(n):
        place[order_p[i]] = starts[i]
        following[i] = i
    # Each pixel of the unperturbed order takes the next free place of its group.
    for i in range(n):
        start = place[order_u[i]]
        sequence[i] = following[start]
        following[start] += 1
    for i in range(n):
        place[sequence[i]] = i
        following[i] = i
    # Each place, in ascending order, goes to the next free position of the group of its pixel.
    _write_starts(groups_u, starts)
    for i in range(n):
        start = starts[place[i]]
        sequence[following[start]] = i
        following[start] += 1


@njit(nogil=True, cache=True)
def compare(
    order_u, order_p, values_u, groups_u, groups_p, place, starts, following, ranks_u, ranks_p, sequence, sums
):
    """Write the place in the perturbed order of each pixel of the unperturbed order; return rank_products.

    This sequence is a permutation of 0 to n-1. Ties of the perturbed map are broken by the unperturbed map,
    and ties of the unperturbed map by the perturbed one, so no pair of pixels tied in either map is an
    inversion. Rows of `sums` (2, 3) receive the tie sums of the maps. `place` to `ranks_p` are scratch as
    long as the orders; the ranks may share memory with the three before.
    """
    longest = np.int64(0)
    for groups in (groups_u, groups_p):
        for g in range(len(groups)):
            length = np.int64(groups[g, 1]) - np.int64(groups[g, 0])
            longest = length if length > longest else longest
    if longest > _SHORT_GROUP:
        _write_tied_sequence(order_u, order_p, groups_u, groups_p, place, starts, following, sequence)
    else:
        _write_sequence(order_u, order_p, values_u, groups_u, groups_p, place, following, sequence)
    return rank_products(groups_u, groups_p, ranks_u, ranks_p, sequence, sums)


@njit(nogil=True, cache=True)
def rank_products(groups_u, groups_p, ranks_u, ranks_p, sequence, sums):
    """Return the sum over pixels of the products of the centered, doubled ranks of both maps.

    Also return the number of pairs of pixels that are tied in both maps, and write the tie sums of both.
    """
    n = sequence.size
    write_ranks(groups_u, ranks_u, sums[0])
    write_ranks(groups_p, ranks_p, sums[1])
    # Integer sums are exact: no product is larger than n**2, and no more are added than fit in 64 bits.
    length = 2**62 // (n * n)
    length = 4096 if length > 4096 else length + (length == 0)
    total = 0.0
    part = 0
    left = length
    for i in range(n):
        part += (np.int64(ranks_u[i]) - n - 1) * (np.int64(ranks_p[sequence[i]]) - n - 1)
        left -= 1
        if left == 0:
            total += part
            part = 0
            left = length
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
def split(sequence, other, half):
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
def inversions(sequence, first, words, behind):
    """Count the inversions of a permutation of at most 2**16 consecutive integers from `first` on.

    For each value, count the larger values before it: those in later rows, in later words of its row, and
    in its word. `words` (1024,) and `behind` (33, 32) are scratch.
    """
    for i in range(words.size):
        words[i] = 0
    for i in range(33):
        for j in range(32):
            behind[i, j] = 0
    in_rows_behind = behind[32]
    count = np.uint64(0)
    offset = np.uint64(first)
    for i in range(sequence.size):
        value = np.uint64(sequence[i]) - offset
        word = value >> _WORD
        row = value >> _ROW
        column = word & _IN_ROW
        bits = words[word]
        counts = behind[row]
        count += n_ones(bits >> (value & _IN_WORD))
        count += np.uint64(in_rows_behind[row]) + np.uint64(counts[column])
        words[word] = bits | (_ONE << (value & _IN_WORD))
        rows_before = _BEFORE[row]
        words_before = _BEFORE[column]
        # One loop for both: a shorter one is unrolled before it can vectorize, which takes 8 times as long.
        for j in range(32):
            in_rows_behind[j] += rows_before[j]
            counts[j] += words_before[j]
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
        first = max(0, y - w)
        last = min(height, y + w + 1)
        # Two or three terms at a time, because memory is the limit; always in the same order, from 0 on.
        one = values[first]
        if last - first > 2:
            other = values[first + 1]
            third = values[first + 2]
            for x in range(width):
                inside[x] = 0.0 + np.float64(one[x]) + other[x] + third[x]
        else:
            for x in range(width):
                inside[x] = 0.0 + np.float64(one[x])
        added = 3 if last - first > 2 else 1
        for near in range(first + added, last - 1, 2):
            one = values[near]
            other = values[near + 1]
            for x in range(width):
                inside[x] = inside[x] + one[x] + other[x]
        if (last - first - added) % 2:
            one = values[last - 1]
            for x in range(width):
                inside[x] += one[x]
        row = smoothed[y]
        if w == 0:
            for x in range(width):
                row[x] = sums[x] / area
            continue
        left = sums[1 : 1 + width]
        right = sums[2 : 2 + width]
        if w == 1:
            for x in range(width):
                row[x] = (sums[x] + left[x] + right[x]) / area
            continue
        for x in range(width):
            row[x] = sums[x] + left[x] + right[x]
        for start in range(3, 2 * w - 1, 2):
            left = sums[start : start + width]
            right = sums[start + 1 : start + 1 + width]
            for x in range(width):
                row[x] = row[x] + left[x] + right[x]
        left = sums[2 * w - 1 : 2 * w - 1 + width]
        right = sums[2 * w : 2 * w + width]
        for x in range(width):
            row[x] = (row[x] + left[x] + right[x]) / area
    return smoothed
