"""How far two maps agree in the order of their pixels: the exact counts behind tau-b and rho."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..kernels import correlation
from .ordering import Bits, SortedMap, scratch

# Up to this part of the pixels, ties are few, in maps of up to so many pixels.
_FEW_PART = 64
_MOST_OF_FEW_TIES = 2**20


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
        """Return the sequence of the kernels, the rank products, what is tied in both, the tie sums."""
        if self._compared is None:
            order_u, groups_u = self._u.sorted()
            order_p, groups_p = self._p.sorted()
            n = order_u.size
            sequence = np.empty_like(order_u)
            ties = np.empty((2, 3), np.int64)
            buffers = scratch.of(n)
            place, starts, following = buffers.sequences
            marks = buffers.sets[0]
            n_tied = correlation.write_sequence(
                order_u, order_p, self._u.values, groups_u, groups_p, place, following, sequence
            )
            if n_tied < 0 and not correlation.write_sequence_by_marks(
                order_u, order_p, groups_u, groups_p, place, following, marks, sequence
            ):
                correlation.write_tied_sequence(
                    order_u, order_p, groups_u, groups_p, place, starts, following, sequence
                )
            if 0 <= n_tied <= n // _FEW_PART and n <= _MOST_OF_FEW_TIES:
                products, tied_both = correlation.rank_products_of_few_ties(
                    groups_u, groups_p, marks, place, sequence, ties
                )
            else:
                products, tied_both = correlation.rank_products(
                    groups_u, groups_p, *buffers.ranks, sequence, ties
                )
            self._compared = sequence, products, tied_both, ties.tolist()
        return self._compared
