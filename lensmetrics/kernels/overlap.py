"""Sets of pixels: neighbourhoods, overlaps, the diverse top-k.

A set is a bitset over flat indices: a map of 227x227 takes 6 KB, which stays in the fastest cache,
and neither a look-up nor a row of a window needs a division. Pixel i is bit i % 64 of word
margin + i // 64; the empty words before and after receive what is shifted by a row or written past the end.
"""

import numpy as np

from .bits import n_ones
from .compiling import njit

_ONE = np.uint64(1)
_SIX = np.uint64(6)
_63 = np.uint64(63)


@njit(nogil=True, cache=True)
def _margin(width):
    """Return the number of words on either side that shifting a set by one row may touch."""
    return width // 64 + 2


@njit(nogil=True, cache=True)
def _empty_set(height, width):
    return np.zeros((height * width + 63) // 64 + 2 * _margin(width), np.uint64)


@njit(nogil=True, cache=True)
def set_of(pixels, height, width):
    """Return the set of these pixels."""
    words = _empty_set(height, width)
    margin = np.uint64(_margin(width))
    for i in range(pixels.size):
        pixel = np.uint64(pixels[i])
        words[margin + (pixel >> _SIX)] |= _ONE << (pixel & _63)
    return words


@njit(nogil=True, cache=True)
def mask_of(words, height, width):
    """Return a set as a mask (height, width)."""
    mask = np.empty(height * width, np.bool_)
    margin = np.uint64(_margin(width))
    for i in range(mask.size):
        pixel = np.uint64(i)
        mask[i] = (words[margin + (pixel >> _SIX)] >> (pixel & _63)) & _ONE
    return mask.reshape((height, width))


@njit(nogil=True, cache=True)
def _all_but_column(x, height, width):
    """Return the set of all pixels except those of one column."""
    words = ~_empty_set(height, width)
    margin = np.uint64(_margin(width))
    for row in range(height):
        pixel = np.uint64(row * width + x)
        words[margin + (pixel >> _SIX)] &= ~(_ONE << (pixel & _63))
    return words


@njit(nogil=True, cache=True)
def _add_moved(target, up, down, distance, margin):
    """Add to `target` the set `up` shifted to larger and `down` to smaller indices, by at most one row."""
    n = target.size - 2 * margin
    skip = distance // 64
    bits = np.uint64(distance % 64)
    rest = _63 - bits
    # Slices rather than sums of indices, so that the loop vectorizes.
    middle = target[margin : margin + n]
    before = up[margin - skip : margin - skip + n]
    further_before = up[margin - skip - 1 : margin - skip - 1 + n]
    behind = down[margin + skip : margin + skip + n]
    further_behind = down[margin + skip + 1 : margin + skip + 1 + n]
    for i in range(n):
        middle[i] |= (before[i] << bits) | ((further_before[i] >> _ONE) >> rest)
        middle[i] |= (behind[i] >> bits) | ((further_behind[i] << _ONE) << rest)


@njit(nogil=True, cache=True)
def dilate(words, steps, height, width):
    """Add all pixels within Chebyshev distance `steps` of a set to it, clipped at the border."""
    if steps == 0:
        return
    margin = _margin(width)
    n = height * width
    not_last = _all_but_column(width - 1, height, width)
    not_first = _all_but_column(0, height, width)
    for _ in range(steps):
        _add_moved(words, words & not_last, words & not_first, 1, margin)
        rows = words.copy()
        _add_moved(words, rows, rows, width, margin)
        # Shifted rows leave bits behind the last pixel.
        words[margin + n // 64] &= (_ONE << np.uint64(n % 64)) - _ONE
        words[margin + n // 64 + 1 :] = 0


@njit(nogil=True, cache=True)
def _counts(set_u, set_p, near_u, near_p):
    """Return the sizes of S & T, N_w(S) & T, S & N_w(T), N_w(S), N_w(T)."""
    common = np.uint64(0)
    recalled = np.uint64(0)
    precise = np.uint64(0)
    size_u = np.uint64(0)
    size_p = np.uint64(0)
    for i in range(set_u.size):
        common += n_ones(set_u[i] & set_p[i])
        recalled += n_ones(near_u[i] & set_p[i])
        precise += n_ones(set_u[i] & near_p[i])
        size_u += n_ones(near_u[i])
        size_p += n_ones(near_p[i])
    # Uncompiled, these are scalars of NumPy.
    return int(common), int(recalled), int(precise), int(size_u), int(size_p)


@njit(nogil=True, cache=True)
def overlap(set_u, set_p, near_u, near_p, steps, height, width):
    """Dilate both neighbourhoods further; return the sizes of S & T, N(S) & T, S & N(T), N(S), N(T)."""
    dilate(near_u, steps, height, width)
    dilate(near_p, steps, height, width)
    return _counts(set_u, set_p, near_u, near_p)


@njit(nogil=True, cache=True)
def diverse(order, k, w, height, width):
    """Pick up to k pixels in the given order, each outside the windows of those picked before.

    Return them and the union of their windows, which is their neighbourhood of half-width w.
    """
    near = _empty_set(height, width)
    margin = np.uint64(_margin(width))
    # Divide by the width with a multiplication: exact where pixel * width < 2**shift, and within 64 bits
    # where height < 2**(64 - shift). Both hold for every shape of fewer than 2**30 pixels.
    shift = 62
    while height >> (62 - shift) > 0:
        shift -= 1
    reciprocal = np.uint64((1 << shift) // width + 1)
    picked = np.empty(k, order.dtype)
    n_picked = 0
    candidates = np.empty(64, order.dtype)
    for begin in range(0, order.size, candidates.size):
        # Leave out excluded pixels without branches, which would be mispredicted.
        n_candidates = 0
        for i in range(begin, min(begin + candidates.size, order.size)):
            pixel = np.uint64(order[i])
            candidates[n_candidates] = order[i]
            n_candidates += int(~near[margin + (pixel >> _SIX)] >> (pixel & _63) & _ONE)
        for i in range(n_candidates):
            pixel = np.uint64(candidates[i])
            if (near[margin + (pixel >> _SIX)] >> (pixel & _63)) & _ONE:
                continue
            picked[n_picked] = candidates[i]
            n_picked += 1
            y = np.int64((pixel * reciprocal) >> np.uint64(shift))
            x = np.int64(pixel) - y * width
            right = min(width, x + w + 1)
            for left in range(max(0, x - w), right, 64):
                pattern = ~np.uint64(0) >> np.uint64(64 - min(64, right - left))
                for row in range(max(0, y - w), min(height, y + w + 1)):
                    start = np.uint64(row * width + left)
                    word = margin + (start >> _SIX)
                    near[word] |= pattern << (start & _63)
                    near[word + _ONE] |= (pattern >> _ONE) >> (_63 - (start & _63))
            if n_picked == k:
                return picked, near
    return picked[:n_picked], near


@njit(nogil=True, cache=True)
def diverse_overlap(order_u, order_p, k, w, height, width):
    """Return the sizes of both diverse sets, and the sizes of their overlaps in the order of `_counts`."""
    picked_u, near_u = diverse(order_u, k, w, height, width)
    picked_p, near_p = diverse(order_p, k, w, height, width)
    set_u = set_of(picked_u, height, width)
    set_p = set_of(picked_p, height, width)
    return picked_u.size, picked_p.size, _counts(set_u, set_p, near_u, near_p)
