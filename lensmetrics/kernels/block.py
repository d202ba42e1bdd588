"""Do for many pairs of small maps what metrics ask of each: calls from Python take longer than their work."""

import numpy as np

from .compiling import njit
from .correlation import inversions, rank_products, write_sequence, write_tied_sequence
from .order import sort, write_extremes
from .overlap import diverse_overlap, overlap

# What a row of counts begins with: whether the rest was counted, whether the maps are equal, the pairs of
# pixels tied in both maps and the discordant ones, and the tie sums of both maps.
N_FIRST = 10
# Of each overlap: whether a cut is tied, and the counts of the kernels.
N_OVERLAP = 8


@njit(nogil=True, cache=True)
def survey(
    values_u,
    values_p,
    bits_u,
    bits_p,
    height,
    width,
    compares,
    overlaps,
    digits,
    items,
    sorted_values,
    other,
    kept,
    sequences,
    ranks,
    orders,
    groups_u,
    groups_p,
    sets,
    words,
    behind,
    ties,
    extremes_u,
    extremes_p,
    products,
    counts,
):
    """Write what is known of each pair, a row of the maps: `extremes`, rank products and `counts`.

    Rows of `overlaps` are k, w, and whether the sets are diverse; `compares` says whether ranks are compared.
    The arrays from `digits` to `ties` are scratch. Nothing is counted where a map is constant or not finite,
    or its values are so nearly equal that `sort` fails.
    """
    unit = bits_u.dtype.type
    infinity = unit(255) << unit(23) if bits_u.itemsize == 4 else unit(2047) << unit(52)
    sign = unit(1) << unit(8 * bits_u.itemsize - 1)
    n = values_u.shape[1]
    order_u = orders[0]
    order_p = orders[1]
    for i in range(len(values_u)):
        u = values_u[i]
        p = values_p[i]
        row = counts[i]
        row[0] = 0
        j = 0
        while j < n and u[j] == p[j]:
            j += 1
        row[1] = j == n
        low_u = extremes_u[i]
        low_p = extremes_p[i]
        write_extremes(bits_u[i], low_u)
        write_extremes(bits_p[i], low_p)
        if low_u[0] == low_u[1] or low_p[0] == low_p[1]:
            continue
        if low_u[0] <= unit(~(sign | infinity)) or low_u[1] >= infinity | sign:
            continue
        if low_p[0] <= unit(~(sign | infinity)) or low_p[1] >= infinity | sign:
            continue
        n_u = sort(u, bits_u[i], low_u, 8, kept, digits, items, other, sorted_values, order_u, groups_u)
        n_p = sort(p, bits_p[i], low_p, 8, kept, digits, items, other, sorted_values, order_p, groups_p)
        if n_u < 0 or n_p < 0:
            continue
        row[0] = 1
        if compares:
            g_u = groups_u[:n_u]
            g_p = groups_p[:n_p]
            place = sequences[0]
            starts = sequences[1]
            following = sequences[2]
            sequence = sequences[3]
            if write_sequence(order_u, order_p, u, g_u, g_p, place, following, sequence) < 0:
                write_tied_sequence(order_u, order_p, g_u, g_p, place, starts, following, sequence)
            products[i], row[2] = rank_products(g_u, g_p, ranks[0], ranks[1], sequence, ties)
            row[3] = inversions(sequence, np.int64(0), words, behind)
            for j in range(6):
                row[4 + j] = ties[j // 3, j % 3]
        at = N_FIRST
        for j in range(len(overlaps)):
            k = overlaps[j, 0]
            w = overlaps[j, 1]
            row[at] = k < n and (u[order_u[k - 1]] == u[order_u[k]] or p[order_p[k - 1]] == p[order_p[k]])
            found = row[at + 1 : at + N_OVERLAP]
            if overlaps[j, 2]:
                diverse_overlap(order_u, order_p, k, w, height, width, sequences[0], sets, found)
            else:
                overlap(order_u[:k], order_p[:k], w, height, width, sets, found)
            at += N_OVERLAP
