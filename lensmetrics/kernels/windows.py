"""Counts of pixels of a set in the window around each pixel."""

import numpy as np

from .compiling import njit


@njit(nogil=True, cache=True)
def window_counts(pixels, w, height, width):
    """Return how many of the pixels lie in the (2w+1)x(2w+1) window around each pixel of the map."""
    counts = np.zeros((height, width), np.int64)
    for i in range(pixels.size):
        counts[pixels[i] // width, pixels[i] % width] = 1
    column = np.empty(height, np.int64)
    # Running sums are exact, because the counts are integers.
    for y in range(height):
        inside = np.int64(0)
        row = counts[y].copy()
        for x in range(min(w, width)):
            inside += row[x]
        for x in range(width):
            if x + w < width:
                inside += row[x + w]
            if x - w - 1 >= 0:
                inside -= row[x - w - 1]
            counts[y, x] = inside
    for x in range(width):
        inside = np.int64(0)
        for y in range(height):
            column[y] = counts[y, x]
        for y in range(min(w, height)):
            inside += column[y]
        for y in range(height):
            if y + w < height:
                inside += column[y + w]
            if y - w - 1 >= 0:
                inside -= column[y - w - 1]
            counts[y, x] = inside
    return counts


@njit(nogil=True, cache=True)
def square_sums(counts_u, counts_p):
    """Return the sum of the squares of the differences, and that of the squares of both."""
    difference = 0.0
    total = 0.0
    for y in range(counts_u.shape[0]):
        for x in range(counts_u.shape[1]):
            u = float(counts_u[y, x])
            p = float(counts_p[y, x])
            difference += (u - p) * (u - p)
            total += u * u + p * p
    return difference, total
