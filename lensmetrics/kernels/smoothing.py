"""Smooth a map with a square window."""

import numpy as np

from .compiling import njit


@njit(nogil=True, cache=True)
def smooth(values, w, area):
    """Return, in float64, the sums over the (2w+1)x(2w+1) windows inside the map, divided by `area`."""
    height, width = values.shape
    smoothed = np.empty((height, width), np.float64)
    # The zeros on both sides do not change the sums.
    sums = np.zeros(width + 2 * w, np.float64)
    inside = sums[w : w + width]
    for y in range(height):
        first = max(0, y - w)
        last = min(height, y + w + 1)
        # Two or three terms at a time, because memory is the limit; always in the same order, from 0 on.
        one = values[first]
        if last - first > 2:
            other = values[first + 1]
            third = values[first + 2]
            for x in range(width):
                inside[x] = 0.0 + np.float64(one[x]) + other[x] + third[x]
        else:
            for x in range(width):
                inside[x] = 0.0 + np.float64(one[x])
        added = 3 if last - first > 2 else 1
        for near in range(first + added, last - 1, 2):
            one = values[near]
            other = values[near + 1]
            for x in range(width):
                inside[x] = inside[x] + one[x] + other[x]
        if (last - first - added) % 2:
            one = values[last - 1]
            for x in range(width):
                inside[x] += one[x]
        row = smoothed[y]
        if w == 0:
            for x in range(width):
                row[x] = sums[x] / area
            continue
        left = sums[1 : 1 + width]
        right = sums[2 : 2 + width]
        if w == 1:
            for x in range(width):
                row[x] = (sums[x] + left[x] + right[x]) / area
            continue
        for x in range(width):
            row[x] = sums[x] + left[x] + right[x]
        for start in range(3, 2 * w - 1, 2):
            left = sums[start : start + width]
            right = sums[start + 1 : start + 1 + width]
            for x in range(width):
                row[x] = row[x] + left[x] + right[x]
        left = sums[2 * w - 1 : 2 * w - 1 + width]
        right = sums[2 * w : 2 * w + width]
        for x in range(width):
            row[x] = (row[x] + left[x] + right[x]) / area
    return smoothed
