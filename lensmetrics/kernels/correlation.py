"""Integer sums behind the rank correlations, and the smoothing of maps."""

import numpy as np
from numba import njit

# Tied groups up to this length are put in order by insertion, longer ones by counting.
_SHORT_GROUP = 32


@njit(nogil=True, cache=True)
def rank_product_sum(ranks_u, ranks_p):
    """Return the sum over pixels of the products of two maps' doubled ranks less their mean."""
    n = ranks_u.size
    mean = np.int64(n + 1)
    total = 0.0
    # Integer sums vectorise and are exact; 4096 products of ranks of 2**25 pixels fit in 64 bits.
    for begin in range(0, n, 4096):
        part = 0
        for i in range(begin, min(begin + 4096, n)):
            part += (ranks_u[i] - mean) * (ranks_p[i] - mean)
        total += part
    return total


@njit(nogil=True, cache=True)
def _sort_by(pixels, start, end, ranks):
    """Sort pixels[start:end] by rank, stably, by insertion."""
    for i in range(start + 1, end):
        pixel = pixels[i]
        j = i
        while j > start and ranks[pixels[j - 1]] > ranks[pixel]:
            pixels[j] = pixels[j - 1]
            j -= 1
        pixels[j] = pixel


@njit(nogil=True, cache=True)
def _break_ties(order, groups, other_order, other_ranks, ranks):
    """Return `order` with the pixels of every tied group in the other map's order."""
    longest = 0
    for g in range(len(groups)):
        longest = max(longest, groups[g, 1] - groups[g, 0])
    broken = order.copy()
    if longest <= _SHORT_GROUP:
        for g in range(len(groups)):
            _sort_by(broken, groups[g, 0], groups[g, 1], other_ranks)
        return broken
    # Half a doubled rank, rounded down, tells the groups apart.
    cursor = np.arange(order.size + 1, dtype=order.dtype)
    for g in range(len(groups)):
        cursor[(groups[g, 0] + groups[g, 1] + 1) >> 1] = groups[g, 0] + 1
    for i in range(order.size):
        pixel = other_order[i]
        label = ranks[pixel] >> 1
        broken[cursor[label] - 1] = pixel
        cursor[label] += 1
    return broken


@njit(nogil=True, cache=True)
def tie_free_sequence(order_u, order_p, ranks_u, ranks_p, groups_u, groups_p, place, sequence):
    """Write the places in the perturbed order of the pixels in unperturbed order.

    Ties of either map are broken by the other map, then by index, so that no pair tied in a map is
    an inversion of the sequence, a permutation of 0 to n-1. `place` is scratch. Returns the number
    of pairs tied in both maps.
    """
    n = order_u.size
    if len(groups_u) > 0:
        order_u = _break_ties(order_u, groups_u, order_p, ranks_p, ranks_u)
    if len(groups_p) > 0:
        order_p = _break_ties(order_p, groups_p, order_u, ranks_u, ranks_p)
    for i in range(n):
        place[order_p[i]] = i
    for i in range(n):
        sequence[i] = place[order_u[i]]
    tied_both = 0
    if len(groups_p) > 0:
        for g in range(len(groups_u)):
            run = 0
            for i in range(groups_u[g, 0] + 1, groups_u[g, 1]):
                run = run + 1 if ranks_p[order_u[i]] == ranks_p[order_u[i - 1]] else 0
                tied_both += run
    return tied_both


@njit(nogil=True, cache=True)
def _partition(sequence, other, shift, digit_bits, lane_bits, lanes):
    """Partition every group of 2**(shift + digit_bits) values by its leading digit; count inversions.

    The counters of all digits share one word, `lane_bits` is the logarithm of a counter's width and
    `lanes` has a one in every counter. Counter d of `above` holds the number of values seen with a
    digit larger than d, counter d of `place` where the next value with digit d goes.
    """
    n = sequence.size
    size = np.uint64(1) << (shift + digit_bits)
    digit_mask = (np.uint64(1) << digit_bits) - np.uint64(1)
    lane_mask = (np.uint64(1) << (np.uint64(1) << lane_bits)) - np.uint64(1)
    first_places = np.uint64(0)
    for digit in range(digit_mask + np.uint64(1)):
        first_places |= (np.uint64(digit) << shift) << (np.uint64(digit) << lane_bits)
    count = np.uint64(0)
    for start in range(0, n, size):
        base = np.uint64(start)
        above = np.uint64(0)
        place = first_places
        for i in range(base, min(base + size, np.uint64(n))):
            value = np.uint64(sequence[i])
            lane = ((value >> shift) & digit_mask) << lane_bits
            unit = np.uint64(1) << lane
            count += (above >> lane) & lane_mask
            other[base + ((place >> lane) & lane_mask)] = value
            place += unit
            above += lanes & (unit - np.uint64(1))
    return count


@njit(nogil=True, cache=True)
def inversions(sequence, other):
    """Count the inversions of a permutation of 0 to n-1; it and `other` (scratch) are overwritten.

    Top-down: a stable partition by the leading digit counts, for every value, those before it with
    a larger digit, and leaves groups of neighbouring values to the next pass. As the values are a
    permutation, every group's place is known beforehand.
    """
    n = sequence.size
    bits = 2
    while (1 << bits) < n:
        bits += 1
    count = np.uint64(0)
    # Single bits until the counters of a group fit in 16 bits each.
    while bits > 16:
        bits -= 1
        half = 1 << bits
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
                    count += np.uint64(ones)
        sequence, other = other, sequence
    # Two bits a pass with four counters of 16 bits, then three with eight of 8 bits.
    while bits > 2:
        if bits > 8 or bits == 4:
            bits -= 2
            count += _partition(
                sequence, other, np.uint64(bits), np.uint64(2), np.uint64(4), np.uint64(0x0001000100010001)
            )
        else:
            digit_bits = min(3, bits - 2)
            bits -= digit_bits
            count += _partition(
                sequence,
                other,
                np.uint64(bits),
                np.uint64(digit_bits),
                np.uint64(3),
                np.uint64(0x0101010101010101),
            )
        sequence, other = other, sequence
    # Groups of four neighbouring values are left: compare all pairs, written out so that it vectorises.
    whole = n - n % 4
    for i in range(0, whole, 4):
        a, b, c, d = sequence[i], sequence[i + 1], sequence[i + 2], sequence[i + 3]
        count += np.uint64(int(a > b) + int(a > c) + int(a > d) + int(b > c) + int(b > d) + int(c > d))
    for i in range(whole, n):
        for j in range(i + 1, n):
            count += np.uint64(sequence[i] > sequence[j])
    return count


@njit(nogil=True, cache=True)
def smooth(values, w, area):
    """Return, in float64, the sums over the (2w+1)x(2w+1) windows inside the map, divided by `area`."""
    height, width = values.shape
    rows = np.zeros((height, width), np.float64)
    for dy in range(-min(w, height - 1), min(w, height - 1) + 1):
        source = values[max(0, dy) : height + min(0, dy)]
        target = rows[max(0, -dy) : height + min(0, -dy)]
        for y in range(target.shape[0]):
            for x in range(width):
                target[y, x] += source[y, x]
    total = np.zeros((height, width), np.float64)
    for dx in range(-min(w, width - 1), min(w, width - 1) + 1):
        source = rows[:, max(0, dx) : width + min(0, dx)]
        target = total[:, max(0, -dx) : width + min(0, -dx)]
        for y in range(height):
            for x in range(target.shape[1]):
                target[y, x] += source[y, x]
    for y in range(height):
        for x in range(width):
            total[y, x] /= area
    return total
