"""Sets of pixels: windows, overlaps, the diverse top-k."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def dilate(pixels, w, height, width):
    """Return a flat map of bytes that is 1 within Chebyshev distance w of the pixels."""
    rows = np.zeros(height * width, np.uint8)
    for i in range(pixels.size):
        pixel = np.int64(pixels[i])
        x = pixel % width
        for j in range(pixel - min(x, w), pixel + min(width - 1 - x, w) + 1):
            rows[j] = 1
    near = rows.copy()
    # Whole rows at a time, because this loop vectorises.
    for step in range(1, min(w, height - 1) + 1):
        n = (height - step) * width
        above = near[:n]
        below = near[rows.size - n :]
        for j in range(n):
            below[j] |= rows[j]
        shifted = rows[rows.size - n :]
        for j in range(n):
            above[j] |= shifted[j]
    return near


@njit(nogil=True, cache=True)
def overlap(set_u, set_p, w, height, width):
    """Return abs of S & T, N_w(S) & T, S & N_w(T), N_w(S), N_w(T)."""
    near_u = dilate(set_u, w, height, width)
    near_p = dilate(set_p, w, height, width)
    size_u = 0
    size_p = 0
    for j in range(near_u.size):
        size_u += near_u[j]
        size_p += near_p[j]
    precise = 0
    for i in range(set_u.size):
        precise += near_p[set_u[i]]
        near_u[set_u[i]] = 3
    recalled = 0
    common = 0
    for i in range(set_p.size):
        recalled += near_u[set_p[i]] & 1
        common += near_u[set_p[i]] >> 1
    return common, recalled, precise, size_u, size_p


@njit(nogil=True, cache=True)
def diverse(order, k, w, height, width):
    """Pick up to k pixels in the given order, each outside the windows of those picked before."""
    excluded = np.zeros(height * width, np.uint8)
    picked = np.empty(k, order.dtype)
    n_picked = 0
    for i in range(order.size):
        if excluded[order[i]]:
            continue
        picked[n_picked] = order[i]
        n_picked += 1
        if n_picked == k:
            break
        pixel = np.int64(order[i])
        y = pixel // width
        x = pixel - y * width
        left = min(x, w)
        right = min(width - 1 - x, w)
        for row in range(max(0, y - w), min(height, y + w + 1)):
            for j in range(row * width + x - left, row * width + x + right + 1):
                excluded[j] = 1
    return picked[:n_picked]
