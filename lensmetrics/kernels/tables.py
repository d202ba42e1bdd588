"""Compare two maps of few different values by the table of how many pixels have each two values."""

import numpy as np

from .compiling import njit
from .order import write_tie_sums


@njit(nogil=True, cache=True)
def count(order_u, order_p, groups_u, groups_p, classes, ranks, row, before, sums):
    """Return the rank products, the pairs tied in both maps and the discordant pairs; write the tie sums.

    They are those of `correlation.rank_products` and `correlation.inversions`. The map may have 2**20 pixels.
    `classes`, as long as the orders, and `ranks`, `row` and `before`, as long as the perturbed map has
    different values, are scratch.
    """
    n = order_u.size
    write_tie_sums(groups_u, sums[0])
    write_tie_sums(groups_p, sums[1])
    start = np.int64(0)
    g = 0
    for i in range(ranks.size):
        stop = start + 1
        if g < len(groups_p) and groups_p[g, 0] == start:
            stop = np.int64(groups_p[g, 1])
            g += 1
        for j in range(start, stop):
            classes[order_p[j]] = i
        ranks[i] = start + stop - n
        row[i] = 0
        before[i] = 0
        start = stop
    products = np.int64(0)
    tied_both = np.int64(0)
    discordant = np.int64(0)
    start = np.int64(0)
    g = 0
    while start < n:
        stop = start + 1
        if g < len(groups_u) and groups_u[g, 0] == start:
            stop = np.int64(groups_u[g, 1])
            g += 1
        for j in range(start, stop):
            row[classes[order_u[j]]] += 1
        # Of the pixels with larger values, those with smaller values in the perturbed map are discordant.
        crossing = np.int64(0)
        for i in range(ranks.size - 1, -1, -1):
            t = row[i]
            row[i] = 0
            products += t * (start + stop - n) * ranks[i]
            tied_both += t * (t - 1) // 2
            discordant += t * crossing
            crossing += before[i]
            before[i] += t
        start = stop
    return float(products), tied_both, discordant
