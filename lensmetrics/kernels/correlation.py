"""Integer sums behind the rank correlations."""

import numpy as np

from .bits import n_ones
from .compiling import njit
from .order import write_ranks, write_tie_sums

# Groups of ties up to this length are sorted by insertion, and those of at least this part of the pixels
# by marking.
_SHORT_GROUP = 32
_LONG_PART = 256

# To count inversions, a value is bit value % 64 of a word; 32 words make a row, 32 rows hold 2**16 values.
_ONE = np.uint64(1)
_WORD = np.uint64(6)
_ROW = np.uint64(11)
_IN_WORD = np.uint64(63)
_IN_ROW = np.uint64(31)
# Row r has a one in each of its 32 places before r.
_BEFORE = np.tril(np.ones((32, 32), np.uint16), -1)


@njit(nogil=True, cache=True)
def write_sequence(order_u, order_p, values_u, groups_u, groups_p, place, following, sequence):
    """Write the place in the perturbed order of each pixel of the unperturbed order.

    This sequence is a permutation of 0 to n-1. Ties of the perturbed map are broken by the unperturbed map,
    and ties of the unperturbed map by the perturbed one, so no pair of pixels tied in either map is an
    inversion. Return how many pixels of the perturbed map are tied, or -1, with nothing written, where a
    group of ties is long. `place` and `following` are scratch as long as the orders.
    """
    n_tied = np.int64(0)
    for groups in (groups_u, groups_p):
        n_tied = np.int64(0)
        for g in range(len(groups)):
            length = np.int64(groups[g, 1]) - np.int64(groups[g, 0])
            if length > _SHORT_GROUP:
                return -1
            n_tied += length
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
        _sort_by_insertion(sequence, np.int64(groups_u[g, 0]), np.int64(groups_u[g, 1]))
    return n_tied


@njit(nogil=True, cache=True)
def _sort_by_insertion(sequence, start, stop):
    for i in range(start + 1, stop):
        value = sequence[i]
        j = i
        while j > start and sequence[j - 1] > value:
            sequence[j] = sequence[j - 1]
            j -= 1
        sequence[j] = value


@njit(nogil=True, cache=True)
def _follow(order_u, order_p, groups_p, place, following, sequence):
    """Let each pixel of the unperturbed order take the next free place of its group."""
    for i in range(order_p.size):
        place[order_p[i]] = i
        following[i] = i
    for g in range(len(groups_p)):
        for i in range(groups_p[g, 0], groups_p[g, 1]):
            place[order_p[i]] = groups_p[g, 0]
    for i in range(order_u.size):
        start = place[order_u[i]]
        sequence[i] = following[start]
        following[start] += 1


@njit(nogil=True, cache=True)
def write_tied_sequence(order_u, order_p, groups_u, groups_p, place, starts, following, sequence):
    """Do what `write_sequence` does in a time that does not depend on the lengths of the groups."""
    _follow(order_u, order_p, groups_p, place, following, sequence)
    n = sequence.size
    for i in range(n):
        starts[i] = i
        following[i] = i
        place[sequence[i]] = i
    for g in range(len(groups_u)):
        for i in range(groups_u[g, 0], groups_u[g, 1]):
            starts[i] = groups_u[g, 0]
    # Each place, in ascending order, goes to the next free position of the group of its pixel.
    for i in range(n):
        start = starts[place[i]]
        sequence[following[start]] = i
        following[start] += 1


@njit(nogil=True, cache=True)
def write_sequence_by_marks(order_u, order_p, groups_u, groups_p, place, following, marks, sequence):
    """Do what `write_sequence` does where each group of the unperturbed map is short or a good part of it.

    Return False, with nothing written, elsewhere: looking through `marks`, scratch for a set of pixels,
    would take too long.
    """
    n = sequence.size
    for g in range(len(groups_u)):
        length = np.int64(groups_u[g, 1]) - np.int64(groups_u[g, 0])
        if length > _SHORT_GROUP and length < n // _LONG_PART:
            return False
    _follow(order_u, order_p, groups_p, place, following, sequence)
    for i in range(marks.size):
        marks[i] = 0
    for g in range(len(groups_u)):
        start = np.int64(groups_u[g, 0])
        stop = np.int64(groups_u[g, 1])
        if stop - start <= _SHORT_GROUP:
            _sort_by_insertion(sequence, start, stop)
            continue
        low = np.uint64(marks.size)
        high = np.uint64(0)
        for i in range(start, stop):
            value = np.uint64(sequence[i])
            word = value >> _WORD
            marks[word] |= _ONE << (value & _IN_WORD)
            low = word if word < low else low
            high = word if word > high else high
        for at in range(low, high + _ONE):
            bits = marks[at]
            marks[at] = 0
            while bits != 0:
                sequence[start] = (np.uint64(at) << _WORD) + n_ones((bits & (~bits + _ONE)) - _ONE)
                bits &= bits - _ONE
                start += 1
    return True


@njit(nogil=True, cache=True)
def rank_products(groups_u, groups_p, ranks_u, ranks_p, sequence, sums):
    """Return the sum over pixels of the products of the centered, doubled ranks of both maps.

    Also return the number of pairs of pixels that are tied in both maps, and write the tie sums of both.
    """
    n = sequence.size
    write_tie_sums(groups_u, sums[0])
    write_tie_sums(groups_p, sums[1])
    write_ranks(groups_u, ranks_u)
    write_ranks(groups_p, ranks_p)
    # Integer sums are exact: no product is larger than n**2, and no more are added than fit in 64 bits.
    length = 2**62 // (n * n) + 1
    total = 0.0
    for begin in range(0, n, length):
        part = 0
        for i in range(begin, n if n - begin < length else begin + length):
            part += (np.int64(ranks_u[i]) - n - 1) * (np.int64(ranks_p[sequence[i]]) - n - 1)
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
def _doubled_place(groups, marks, place):
    """Return twice a place of an order, from 0 on; ties, whose places are marked, share their average."""
    if (marks[place >> _WORD] >> (place & _IN_WORD)) & _ONE == 0:
        return 2 * np.int64(place)
    first = 0
    last = len(groups) - 1
    while first < last:
        middle = (first + last + 1) // 2
        if groups[middle, 0] <= place:
            first = middle
        else:
            last = middle - 1
    return np.int64(groups[first, 0]) + np.int64(groups[first, 1]) - 1


@njit(nogil=True, cache=True)
def rank_products_of_few_ties(groups_u, groups_p, marks, tied, sequence, sums):
    """Return what `rank_products` does: without ties, ranks are places and need no look-up.

    There may be 2**20 pixels. `marks`, a set of pixels, and `tied`, as long as the sequence, are scratch.
    """
    n = sequence.size
    write_tie_sums(groups_u, sums[0])
    write_tie_sums(groups_p, sums[1])
    for i in range(marks.size):
        marks[i] = 0
    for g in range(len(groups_p)):
        for i in range(groups_p[g, 0], groups_p[g, 1]):
            place = np.uint64(i)
            marks[place >> _WORD] |= _ONE << (place & _IN_WORD)
    total = np.int64(0)
    for i in range(n):
        total += (2 * i + 1 - n) * (2 * np.int64(sequence[i]) + 1 - n)
    # Find the places of ties without branches, which would be slower.
    n_tied = np.uint64(0)
    for i in range(n if len(groups_p) > 0 else 0):
        tied[n_tied] = i
        place = np.uint64(sequence[i])
        n_tied += (marks[place >> _WORD] >> (place & _IN_WORD)) & _ONE
    for j in range(n_tied):
        at = np.int64(tied[j])
        place = np.uint64(sequence[at])
        total += (2 * at + 1 - n) * (_doubled_place(groups_p, marks, place) - 2 * np.int64(place))
    tied_both = 0
    for g in range(len(groups_u)):
        start = np.int64(groups_u[g, 0])
        stop = np.int64(groups_u[g, 1])
        run = 0
        before = np.int64(-1)
        for i in range(start, stop):
            rank = _doubled_place(groups_p, marks, np.uint64(sequence[i]))
            total += (start + stop - 1 - 2 * i) * (rank + 1 - n)
            run = run + 1 if rank == before else 0
            tied_both += run
            before = rank
    return float(total), tied_both


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
