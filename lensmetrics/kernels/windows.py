"""Count the pixels of a set in the window around each pixel."""

import numpy as np

from .compiling import njit


@njit(nogil=True, cache=True)
def _slide(line, w, sums):
    """Write the sum over up to w items on either side of each item; running sums of integers are exact."""
    n = line.size
    inside = np.int64(0)
    for i in range(min(w, n)):
        inside += line[i]
    for i in range(n):
        if i + w < n:
            inside += line[i + w]
        if i - w - 1 >= 0:
            inside -= line[i - w - 1]
        sums[i] = inside


@njit(nogil=True, cache=True)
def window_counts(pixels, w, height, width):
    """Return how many of the pixels are in the (2w+1)x(2w+1) window around each pixel of the map."""
    counts = np.zeros((height, width), np.int64)
    for i in range(pixels.size):
        counts[pixels[i] // width, pixels[i] % width] = 1
    for y in range(height):
        _slide(counts[y].copy(), w, counts[y])
    for x in range(width):
        _slide(counts[:, x].copy(), w, counts[:, x])
    return counts


@njit(nogil=True, cache=True)
def square_sums(counts_u, counts_p):
    """Return the sum of the squared differences, and the sum of the squares of both."""
    difference = 0.0
    total = 0.0
    for y in range(counts_u.shape[0]):
        for x in range(counts_u.shape[1]):
            u = float(counts_u[y, x])
            p = float(counts_p[y, x])
            difference += (u - p) * (u - p)
            total += u * u + p * p
    return difference, total
