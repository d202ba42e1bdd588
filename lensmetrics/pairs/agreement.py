"""How far two maps agree in the order of their pixels: the exact counts behind tau-b and rho."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..kernels import correlation
from .ordering import Bits, SortedMap, scratch


class PixelPairs(NamedTuple):
    """Numbers of pairs of two different pixels, as tau-b needs them."""

    n: int
    tied_unperturbed: int
    tied_perturbed: int
    tied_both: int
    discordant: int


class RankSums(NamedTuple):
    """Covariance and variances of the ranks, each times 4 and the number of pixels."""

    covariance: float
    variance_unperturbed: int
    variance_perturbed: int


def rank_sums(n: int, products: float, ties: list[list[int]]) -> RankSums:
    """Return the sums of maps of n pixels from their rank products and the tie sums of the kernels."""
    variance_u, variance_p = ((n**3 - n - (high << 32) - low) // 3 for _, high, low in ties)
    return RankSums(products, variance_u, variance_p)


class OrderAgreement:
    """The orders of two maps, compared on first use; both maps must be finite."""

    def __init__(
        self,
        unperturbed: SortedMap,
        perturbed: SortedMap,
        pixel_pairs: PixelPairs | None = None,
        sums: RankSums | None = None,
    ) -> None:
        """Take both maps, and what is known already."""
        self._u = unperturbed
        self._p = perturbed
        self._pixel_pairs = pixel_pairs
        self._sums = sums
        self._compared: tuple[npt.NDArray[Bits], float, int, list[list[int]]] | None = None

    def pixel_pairs(self) -> PixelPairs:
        """Count the tied and the discordant pairs of pixels."""
        if self._pixel_pairs is None:
            sequence, _, tied_both, ties = self._comparison()
            n = sequence.size
            buffers = scratch.of(n)
            first, second, _ = buffers.sequences
            first[:] = sequence  # counting overwrites it, and another thread may be counting too
            discordant = 0
            half = 2**15
            while 2 * half < n:
                half *= 2
            while half > 2**15:
                discordant += correlation.split(first, second, half)
                first, second = second, first
                half //= 2
            for start in range(0, n, 2**16):
                part = first[start : start + 2**16]
                discordant += int(correlation.inversions(part, start, buffers.words, buffers.behind))
            self._pixel_pairs = PixelPairs(n * (n - 1) // 2, ties[0][0], ties[1][0], tied_both, discordant)
        return self._pixel_pairs

    def rank_sums(self) -> RankSums:
        """Return the covariance and both variances of the ranks, each times 4 and the number of pixels."""
        if self._sums is None:
            sequence, products, _, ties = self._comparison()
            self._sums = rank_sums(sequence.size, products, ties)
        return self._sums

    def _comparison(self) -> tuple[npt.NDArray[Bits], float, int, list[list[int]]]:
        """Return what the kernel `compare` does: the sequence, both rank products, and the tie sums."""
        if self._compared is None:
            order_u, groups_u = self._u.sorted()
            order_p, groups_p = self._p.sorted()
            sequence = np.empty_like(order_u)
            ties = np.empty((2, 3), np.int64)
            buffers = scratch.of(order_u.size)
            products, tied_both = correlation.compare(
                order_u,
                order_p,
                self._u.values,
                groups_u,
                groups_p,
                *buffers.sequences,
                *buffers.ranks,
                buffers.sets[0],
                sequence,
                ties,
            )
            self._compared = sequence, products, tied_both, ties.tolist()
        return self._compared
