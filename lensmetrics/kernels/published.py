"""Windows of flat indices and top-k-div as in the released scripts."""

import numpy as np

from .compiling import njit


@njit(nogil=True, cache=True)
def flat_windows(pixels, w, width, n):
    """Return a flat map of bytes that is 1 at x + a*width + b, abs(a), abs(b) <= w, if 0 < index < n."""
    near = np.zeros(n, np.uint8)
    for i in range(pixels.size):
        _mark(np.int64(pixels[i]), w, width, near)
    return near


@njit(nogil=True, cache=True)
def _mark(pixel, w, width, near):
    for a in range(-w, w + 1):
        for b in range(-w, w + 1):
            j = pixel + a * width + b
            if 0 < j < near.size:
                near[j] = 1


@njit(nogil=True, cache=True)
def count_near(pixels, near):
    """Count the marked pixels."""
    count = 0
    for i in range(pixels.size):
        count += near[pixels[i]]
    return count


@njit(nogil=True, cache=True)
def flat_diverse(candidates, k, w, width, n):
    """Return what the scripts' top-k-div picks from the candidates, and whether there were enough.

    The first candidate is picked and its window removed. Then, until k are picked, the window of
    the best candidate left is removed and the next best candidate picked. Windows never contain pixel 0:
    it is removed separately between the two steps, and from the result at the end.
    """
    removed = np.zeros(n, np.uint8)
    picked = np.empty(k, candidates.dtype)
    picked[0] = candidates[0]
    n_picked = 1
    _mark(np.int64(candidates[0]), w, width, removed)
    head = 0
    while n_picked < k:
        while head < candidates.size and removed[candidates[head]]:
            head += 1
        if head == candidates.size:
            return picked[:0], False
        _mark(np.int64(candidates[head]), w, width, removed)
        removed[0] = 1
        while head < candidates.size and removed[candidates[head]]:
            head += 1
        if head == candidates.size:
            return picked[:0], False
        picked[n_picked] = candidates[head]
        n_picked += 1
    if picked[0] == 0:
        return picked[1:], True
    return picked, True
