"""What metrics ask of many pairs of small maps, found in one call for all of them."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..kernels import block
from .agreement import PixelPairs, RankSums, rank_sums
from .checks import FloatMap
from .ordering import SortedMap, bits_type, scratch

Sets = tuple[int, int, bool]  # k, w, and whether they are diverse


class Asked(NamedTuple):
    """What metrics have asked of a pair."""

    overlaps: tuple[Sets, ...]
    order_agreement: bool


class Known(NamedTuple):
    """What has been found of a pair: the counts of the kernel, and where in them each overlap begins."""

    u: SortedMap
    p: SortedMap
    identical: bool
    counts: list[int]
    products: float
    at: dict[Sets, int]
    compared: bool

    def agreement(self) -> tuple[PixelPairs, RankSums] | tuple[None, None]:
        """Return the sums behind the rank correlations, if they are known."""
        if not self.compared:
            return None, None
        n = self.u.values.size
        _, _, tied_both, discordant, *ties = self.counts[: block.N_FIRST]
        pairs = PixelPairs(n * (n - 1) // 2, ties[0], ties[3], tied_both, discordant)
        return pairs, rank_sums(n, self.products, [ties[:3], ties[3:]])


def survey(unperturbed: FloatMap, perturbed: FloatMap, asked: Asked) -> list[Known]:
    """Find what was asked for all pairs of two arrays (pair, height, width), of at most 2**16 pixels."""
    m, height, width = unperturbed.shape
    n = height * width
    values_u, values_p = unperturbed.reshape(m, n), perturbed.reshape(m, n)
    bits = bits_type(unperturbed)
    # A window larger than the map covers what one as large as the map does.
    longest = max(height, width)
    overlaps = [(k, min(w, longest), is_diverse) for k, w, is_diverse in asked.overlaps]
    at = {key: block.N_FIRST + i * block.N_OVERLAP for i, key in enumerate(asked.overlaps)}
    counts = np.empty((m, block.N_FIRST + len(overlaps) * block.N_OVERLAP), np.int64)
    products = np.empty(m)
    extremes_u, extremes_p = np.empty((2, m, 2), bits)
    buffers = scratch.of(n)
    index = buffers.sequences[0].dtype
    block.survey(
        values_u,
        values_p,
        values_u.view(bits),
        values_p.view(bits),
        height,
        width,
        asked.order_agreement,
        np.array(overlaps, np.int64).reshape(-1, 3),
        buffers.counts,
        buffers.items,
        buffers.values[unperturbed.itemsize],
        buffers.other,
        buffers.kept,
        np.empty((4, n), index),
        np.empty((2, n), np.int32),
        np.empty((2, n), index),
        *np.empty((2, n // 2, 2), np.uint32),
        buffers.sets,
        buffers.words,
        buffers.behind,
        np.empty((2, 3), np.int64),
        extremes_u,
        extremes_p,
        products,
        counts,
    )
    rows: list[list[int]] = counts.tolist()
    sums: list[float] = products.tolist()
    return [
        Known(
            SortedMap(values_u[i], extremes_u[i]),
            SortedMap(values_p[i], extremes_p[i]),
            row[1] == 1,
            row,
            sums[i],
            at if row[0] else {},
            bool(row[0] and asked.order_agreement),
        )
        for i, row in enumerate(rows)
    ]


def can_survey(unperturbed: npt.NDArray[np.generic], perturbed: npt.NDArray[np.generic]) -> bool:
    """Return whether `survey` takes these arrays."""
    return (
        unperturbed.ndim == 3
        and unperturbed.size > 0
        and unperturbed.shape == perturbed.shape
        and unperturbed.dtype == perturbed.dtype
        and unperturbed.dtype in (np.float32, np.float64)
        and unperturbed.dtype.isnative
        and unperturbed.flags.c_contiguous
        and perturbed.flags.c_contiguous
    )
