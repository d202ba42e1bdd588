"""Integer sums behind the rank correlations, and the smoothing of maps."""

import numpy as np
from numba import njit

from .order import doubled_ranks

# Groups of ties up to this length are put in order by insertion, longer ones by counting.
_SHORT_GROUP = 32


@njit(nogil=True, cache=True)
def _longest(groups):
    longest = 0
    for g in range(len(groups)):
        longest = max(longest, groups[g, 1] - groups[g, 0])
    return longest


@njit(nogil=True, cache=True)
def _write_places(order, groups, other_order, other_keys, place):
    """Write each pixel's position in the order, its ties broken by the other map, then by index."""
    n = order.size
    for i in range(n):
        place[order[i]] = i
    if _longest(groups) <= _SHORT_GROUP:
        for g in range(len(groups)):
            start = groups[g, 0]
            pixels = order[start : groups[g, 1]].copy()
            for i in range(1, pixels.size):
                pixel = pixels[i]
                j = i
                while j > 0 and other_keys[pixels[j - 1]] > other_keys[pixel]:
                    pixels[j] = pixels[j - 1]
                    j -= 1
                pixels[j] = pixel
            for i in range(pixels.size):
                place[pixels[i]] = start + i
        return
    for g in range(len(groups)):
        for i in range(groups[g, 0], groups[g, 1]):
            place[order[i]] = groups[g, 0]
    following = np.arange(n).astype(np.uint32)
    for i in range(n):
        start = place[other_order[i]]
        place[other_order[i]] = following[start]
        following[start] += np.uint32(1)


@njit(nogil=True, cache=True)
def _write_sequence(order, groups, place, sequence):
    """Write the places of the pixels in this order, those of tied pixels ascending."""
    n = order.size
    if _longest(groups) <= _SHORT_GROUP:
        for i in range(n):
            sequence[i] = place[order[i]]
        for g in range(len(groups)):
            start = groups[g, 0]
            for i in range(start + 1, groups[g, 1]):
                value = sequence[i]
                j = i
                while j > start and sequence[j - 1] > value:
                    sequence[j] = sequence[j - 1]
                    j -= 1
                sequence[j] = value
        return
    # Where the pixel at each place has its group in this order.
    starts = np.empty(n, np.uint32)
    for i in range(n):
        starts[place[order[i]]] = i
    for g in range(len(groups)):
        for i in range(groups[g, 0], groups[g, 1]):
            starts[place[order[i]]] = groups[g, 0]
    following = np.arange(n).astype(np.uint32)
    for i in range(n):
        sequence[following[starts[i]]] = i
        following[starts[i]] += np.uint32(1)


@njit(nogil=True, cache=True)
def compare_orders(order_u, order_p, keys_u, groups_u, groups_p, place, sequence):
    """Write the places in the perturbed order of the pixels in unperturbed order.

    Ties of either map are broken by the other map, then by index, so that no pair tied in a map is
    an inversion of the sequence, a permutation of 0 to n-1. `place` is scratch. Returns the sum
    over pixels of the products of the maps' doubled ranks less their mean, and the number of pairs
    tied in both maps.
    """
    n = order_u.size
    _write_places(order_p, groups_p, order_u, keys_u, place)
    _write_sequence(order_u, groups_u, place, sequence)
    ranks_u = doubled_ranks(groups_u, n)
    ranks_p = doubled_ranks(groups_p, n)
    mean = np.int64(n + 1)
    total = 0.0
    # Integer sums are exact; 4096 products of ranks of 2**25 pixels fit in 64 bits.
    for begin in range(0, n, 4096):
        part = 0
        for i in range(begin, min(begin + 4096, n)):
            part += (ranks_u[i] - mean) * (ranks_p[sequence[i]] - mean)
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
