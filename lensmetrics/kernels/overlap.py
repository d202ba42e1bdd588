"""Sets of pixels: neighbourhoods, overlaps, the diverse top-k.

A set is a bitset over flat indices, pixel i being bit i % 64 of word i // 64: a map of 227x227
takes 6 KB, which stays in the fastest cache, and neither a look-up nor a row of a window needs a
division. A spare word at the end takes what is written past the last pixel.
"""

import numpy as np
from numba import njit

_ONE = np.uint64(1)
_SIX = np.uint64(6)
_63 = np.uint64(63)


@njit(nogil=True, cache=True)
def _empty_set(n):
    return np.zeros((n + 63) // 64 + 1, np.uint64)


@njit(nogil=True, cache=True)
def _has(words, pixel):
    """Return 1 if the pixel (unsigned) is in the set, else 0."""
    return (words[pixel >> _SIX] >> (pixel & _63)) & _ONE


@njit(nogil=True, cache=True)
def _add(words, start, pattern):
    """Add the pixels from `start` (unsigned) on whose bits are set in the pattern of up to 64."""
    word = start >> _SIX
    offset = start & _63
    words[word] |= pattern << offset
    words[word + _ONE] |= (pattern >> _ONE) >> (_63 - offset)


@njit(nogil=True, cache=True)
def _set_of(pixels, n):
    words = _empty_set(n)
    for i in range(pixels.size):
        pixel = np.uint64(pixels[i])
        words[pixel >> _SIX] |= _ONE << (pixel & _63)
    return words


@njit(nogil=True, cache=True)
def _add_moved_up(target, words, distance):
    """Add to `target` the set `words` moved by `distance` to larger indices."""
    skip = min(distance // 64, words.size)
    bits = np.uint64(distance % 64)
    # Slices rather than sums of indices, so that the loop vectorises.
    high = target[skip:]
    for i in range(high.size):
        high[i] |= words[i] << bits
    high = target[skip + 1 :]
    for i in range(high.size):
        high[i] |= (words[i] >> _ONE) >> (_63 - bits)


@njit(nogil=True, cache=True)
def _add_moved_down(target, words, distance):
    """Add to `target` the set `words` moved by `distance` to smaller indices."""
    skip = min(distance // 64, words.size)
    bits = np.uint64(distance % 64)
    high = words[skip:]
    for i in range(high.size):
        target[i] |= high[i] >> bits
    high = words[skip + 1 :]
    for i in range(high.size):
        target[i] |= (high[i] << _ONE) << (_63 - bits)


@njit(nogil=True, cache=True)
def _all_but_column(x, height, width):
    """Return a set with every pixel but those of one column (and stray bits behind the last pixel)."""
    words = ~_empty_set(height * width)
    for row in range(height):
        pixel = np.uint64(row * width + x)
        words[pixel >> _SIX] &= ~(_ONE << (pixel & _63))
    return words


@njit(nogil=True, cache=True)
def dilate(pixels, w, height, width):
    """Return the set of all pixels within Chebyshev distance w of these, clipped at the border."""
    n = height * width
    near = _set_of(pixels, n)
    if w == 0:
        return near
    not_last = _all_but_column(width - 1, height, width)
    not_first = _all_but_column(0, height, width)
    for _ in range(min(w, width - 1)):
        inner = near & not_last
        other = near & not_first
        _add_moved_up(near, inner, 1)
        _add_moved_down(near, other, 1)
    rows = near.copy()
    for step in range(1, min(w, height - 1) + 1):
        _add_moved_up(near, rows, step * width)
        _add_moved_down(near, rows, step * width)
    # Rows moved up leave bits behind the last pixel.
    near[n // 64] &= (_ONE << np.uint64(n % 64)) - _ONE
    near[n // 64 + 1 :] = 0
    return near


@njit(nogil=True, cache=True)
def _size(words):
    count = np.uint64(0)
    for i in range(words.size):
        # Sums of neighbouring bits, pairs, nibbles, bytes: compilers know this as one instruction.
        v = words[i]
        v -= (v >> _ONE) & np.uint64(0x5555555555555555)
        v = (v & np.uint64(0x3333333333333333)) + ((v >> np.uint64(2)) & np.uint64(0x3333333333333333))
        v = (v + (v >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
        count += (v * np.uint64(0x0101010101010101)) >> np.uint64(56)
    return count


@njit(nogil=True, cache=True)
def overlap(set_u, set_p, w, height, width):
    """Return abs of S & T, N_w(S) & T, S & N_w(T), N_w(S), N_w(T) for the pixels of S and T."""
    members = _set_of(set_u, height * width)
    near_u = dilate(set_u, w, height, width)
    near_p = dilate(set_p, w, height, width)
    common = np.uint64(0)
    recalled = np.uint64(0)
    precise = np.uint64(0)
    for i in range(set_p.size):
        common += _has(members, np.uint64(set_p[i]))
        recalled += _has(near_u, np.uint64(set_p[i]))
    for i in range(set_u.size):
        precise += _has(near_p, np.uint64(set_u[i]))
    return common, recalled, precise, _size(near_u), _size(near_p)


@njit(nogil=True, cache=True)
def diverse(order, k, w, height, width):
    """Pick up to k pixels in the given order, each outside the windows of those picked before."""
    excluded = _empty_set(height * width)
    # A division by the width, made a multiplication: exact for all maps of less than 2**39 pixels / width.
    reciprocal = np.uint64((1 << 40) // width + 1)
    picked = np.empty(k, order.dtype)
    n_picked = 0
    for i in range(order.size):
        if _has(excluded, np.uint64(order[i])):
            continue
        picked[n_picked] = order[i]
        n_picked += 1
        if n_picked == k:
            break
        y = np.int64((np.uint64(order[i]) * reciprocal) >> np.uint64(40))
        x = np.int64(order[i]) - y * width
        right = min(width, x + w + 1)
        for start in range(max(0, x - w), right, 64):
            pattern = ~np.uint64(0) >> np.uint64(64 - min(64, right - start))
            for row in range(max(0, y - w), min(height, y + w + 1)):
                _add(excluded, np.uint64(row * width + start), pattern)
    return picked[:n_picked]
