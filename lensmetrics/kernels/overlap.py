"""Sets of pixels: neighbourhoods, overlaps, the diverse top-k.

A set is a bitset over flat indices: a map of 227x227 takes 6 KB, which stays in the fastest cache,
and neither a look-up nor a row of a window needs a division. Pixel i is bit i % 64 of word i // 64. There
is one word more than the pixels need, which may receive what is written past the end.
"""

import numpy as np

from .bits import n_ones
from .compiling import njit

_ONE = np.uint64(1)
_SIX = np.uint64(6)
_63 = np.uint64(63)


@njit(nogil=True, cache=True)
def _add_apart(words, n, distance):
    """Add to a set of n pixels those `distance` indices before and after its own."""
    # Unsigned, because negative indices would count from the end.
    skip = np.uint64(distance) >> _SIX
    bits = np.uint64(distance) & _63
    rest = _63 - bits
    last = np.uint64(words.size - 1)
    if skip > last:
        return
    # In place: a word takes from those before it in the first loop, and from those behind it in the second,
    # before they change. What the second loop takes back of the first is in the set already.
    for i in range(last - skip):
        word = last - i
        words[word] |= (words[word - skip] << bits) | ((words[word - skip - _ONE] >> _ONE) >> rest)
    words[skip] |= words[0] << bits
    if n % 64 > 0:
        words[last - _ONE] &= (_ONE << np.uint64(n % 64)) - _ONE
    words[last] = 0
    for i in range(last - skip):
        words[i] |= (words[i + skip] >> bits) | ((words[i + skip + _ONE] << _ONE) << rest)


@njit(nogil=True, cache=True)
def write_near(pixels, w, height, width, words):
    """Write the set of all pixels within Chebyshev distance w of these, clipped at the border."""
    for i in range(words.size):
        words[i] = 0
    if w == 0:
        for i in range(pixels.size):
            words[np.uint64(pixels[i]) >> _SIX] |= _ONE << (np.uint64(pixels[i]) & _63)
        return
    inverse = 1.0 / width
    for i in range(pixels.size):
        pixel = np.int64(pixels[i])
        # Far faster than a division of integers, and exact: half a pixel is more than the rounding error.
        row = np.int64((pixel + 0.5) * inverse) * width
        begin = row if pixel - row < w else pixel - w
        end = row + width if row + width - pixel <= w else pixel + w + 1
        while begin < end:
            pattern = ~np.uint64(0) if end - begin >= 64 else (_ONE << np.uint64(end - begin)) - _ONE
            word = np.uint64(begin) >> _SIX
            bits = np.uint64(begin) & _63
            words[word] |= pattern << bits
            words[word + _ONE] |= (pattern >> _ONE) >> (_63 - bits)
            begin += 64
    # Rows within 3 of a set are those within 2 of those within 1.
    reached = 0
    while reached < w:
        rows = reached + 1 if reached + 1 < w - reached else w - reached
        _add_apart(words, height * width, rows * width)
        reached += rows


@njit(nogil=True, cache=True)
def mask_of(words, mask):
    """Write a set as a mask of flat indices."""
    for i in range(mask.size):
        pixel = np.uint64(i)
        mask[i] = (words[pixel >> _SIX] >> (pixel & _63)) & _ONE


@njit(nogil=True, cache=True)
def _write_counts(sets, counts):
    """Write the sizes of S & T, N(S) & T, S & N(T), N(S), N(T) behind those of S and T.

    The sets are S, T, N(S), N(T).
    """
    common = np.uint64(0)
    recalled = np.uint64(0)
    precise = np.uint64(0)
    size_u = np.uint64(0)
    size_p = np.uint64(0)
    for i in range(sets.shape[1]):
        common += n_ones(sets[0, i] & sets[1, i])
        recalled += n_ones(sets[2, i] & sets[1, i])
        precise += n_ones(sets[0, i] & sets[3, i])
        size_u += n_ones(sets[2, i])
        size_p += n_ones(sets[3, i])
    counts[2] = common
    counts[3] = recalled
    counts[4] = precise
    counts[5] = size_u
    counts[6] = size_p


@njit(nogil=True, cache=True)
def overlap(top_u, top_p, w, height, width, sets, counts):
    """Write the sizes of two sets of pixels and their overlaps; `sets` (4, words of a set) is scratch."""
    reach = w
    for i in range(2, -1, -2):
        write_near(top_u, reach, height, width, sets[i])
        write_near(top_p, reach, height, width, sets[i + 1])
        reach = 0
    counts[0] = top_u.size
    counts[1] = top_p.size
    _write_counts(sets, counts)


@njit(nogil=True, cache=True)
def diverse(order, k, w, height, width, picked, chosen, near):
    """Pick up to k pixels in the given order, each outside the windows of those picked before.

    Write them, their set, and the union of their windows, which is their neighbourhood of half-width w;
    return their number.
    """
    for i in range(near.size):
        near[i] = 0
        chosen[i] = 0
    # Divide by the width with a multiplication: exact where pixel * width < 2**shift, and within 64 bits
    # where height < 2**(64 - shift). Both hold for every shape of fewer than 2**30 pixels.
    shift = 62
    while height >> (62 - shift) > 0:
        shift -= 1
    reciprocal = np.uint64((1 << shift) // width + 1)
    candidates = np.empty(64, order.dtype)
    n_picked = 0
    for begin in range(0, order.size, 64):
        # Leave out excluded pixels without branches, which would be mispredicted.
        n_candidates = np.int64(0)
        for i in range(begin, begin + 64 if order.size - begin > 64 else order.size):
            pixel = np.uint64(order[i])
            candidates[n_candidates] = order[i]
            n_candidates += np.int64(~near[pixel >> _SIX] >> (pixel & _63) & _ONE)
        for i in range(n_candidates):
            pixel = np.uint64(candidates[i])
            if (near[pixel >> _SIX] >> (pixel & _63)) & _ONE:
                continue
            picked[n_picked] = candidates[i]
            n_picked += 1
            chosen[pixel >> _SIX] |= _ONE << (pixel & _63)
            y = np.int64((pixel * reciprocal) >> np.uint64(shift))
            x = np.int64(pixel) - y * width
            right = x + w + 1 if width - x > w else width
            bottom = y + w + 1 if height - y > w else height
            for left in range(x - w if x > w else 0, right, 64):
                pattern = ~np.uint64(0) >> np.uint64(64 - right + left if right - left < 64 else 0)
                for row in range(y - w if y > w else 0, bottom):
                    start = np.uint64(row * width + left)
                    word = start >> _SIX
                    near[word] |= pattern << (start & _63)
                    near[word + _ONE] |= (pattern >> _ONE) >> (_63 - (start & _63))
            if n_picked == k:
                return n_picked
    return n_picked


@njit(nogil=True, cache=True)
def diverse_overlap(order_u, order_p, k, w, height, width, picked, sets, counts):
    """Write the sizes of both diverse sets and their overlaps; `picked` and `sets` are scratch."""
    counts[0] = diverse(order_u, k, w, height, width, picked, sets[0], sets[2])
    counts[1] = diverse(order_p, k, w, height, width, picked, sets[1], sets[3])
    _write_counts(sets, counts)
