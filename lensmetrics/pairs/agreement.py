"""How far two maps agree in the order of their pixels: the exact counts behind tau-b and rho."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..kernels import correlation, tables
from .ordering import Bits, SortedMap, scratch

# Up to this part of the pixels, ties of the perturbed map are few: only they are looked up.
_FEW_PART = 64
# The products of the ranks of so many pixels add up within 64 bits.
_MOST_WITHIN_64_BITS = 2**20


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
        self._compared: _Comparison | None = None

    def pixel_pairs(self) -> PixelPairs:
        """Count the tied and the discordant pairs of pixels."""
        if self._pixel_pairs is None:
            found = self._comparison()
            n = self._u.values.size
            discordant = found.discordant if found.sequence is None else _inversions(found.sequence)
            (tied_u, *_), (tied_p, *_) = found.ties
            self._pixel_pairs = PixelPairs(n * (n - 1) // 2, tied_u, tied_p, found.tied_both, discordant)
        return self._pixel_pairs

    def rank_sums(self) -> RankSums:
        """Return the covariance and both variances of the ranks, each times 4 and the number of pixels."""
        if self._sums is None:
            found = self._comparison()
            self._sums = rank_sums(self._u.values.size, found.products, found.ties)
        return self._sums

    def _comparison(self) -> "_Comparison":
        if self._compared is None:
            self._compared = self._compare()
        return self._compared

    def _compare(self) -> "_Comparison":
        order_u, groups_u = self._u.sorted()
        order_p, groups_p = self._p.sorted()
        n = order_u.size
        ties = np.empty((2, 3), np.int64)
        buffers = scratch.of(n)
        place, starts, following = buffers.sequences
        marks = buffers.sets[0]
        sequence = np.empty_like(order_u)
        n_tied = correlation.write_sequence(
            order_u, order_p, self._u.values, groups_u, groups_p, place, following, sequence
        )
        if n_tied < 0 and n <= _MOST_WITHIN_64_BITS:
            n_u, n_p = (n - int((groups[:, 1] - groups[:, 0] - 1).sum()) for groups in (groups_u, groups_p))
            if n_u * n_p <= 2 * n:
                products, tied_both, discordant = tables.count(
                    order_u, order_p, groups_u, groups_p, place, *np.empty((3, n_p), np.int64), ties
                )
                return _Comparison(None, products, tied_both, discordant, ties.tolist())
        if n_tied < 0 and not correlation.write_sequence_by_marks(
            order_u, order_p, groups_u, groups_p, place, following, marks, sequence
        ):
            correlation.write_tied_sequence(
                order_u, order_p, groups_u, groups_p, place, starts, following, sequence
            )
        if 0 <= n_tied <= n // _FEW_PART and n <= _MOST_WITHIN_64_BITS:
            products, tied_both = correlation.rank_products_of_few_ties(
                groups_u, groups_p, marks, place, sequence, ties
            )
        else:
            products, tied_both = correlation.rank_products(
                groups_u, groups_p, *buffers.ranks, sequence, ties
            )
        return _Comparison(sequence, products, tied_both, 0, ties.tolist())


class _Comparison(NamedTuple):
    """What the kernels find: the inversions of the sequence, or its number of discordant pairs."""

    sequence: npt.NDArray[Bits] | None
    products: float
    tied_both: int
    discordant: int
    ties: list[list[int]]


def _inversions(sequence: npt.NDArray[Bits]) -> int:
    n = sequence.size
    buffers = scratch.of(n)
    first, second, _ = buffers.sequences
    first[:] = sequence  # counting overwrites it, and another thread may be counting too
    count = 0
    half = 2**15
    while 2 * half < n:
        half *= 2
    while half > 2**15:
        count += correlation.split(first, second, half)
        first, second = second, first
        half //= 2
    for start in range(0, n, 2**16):
        part = first[start : start + 2**16]
        count += int(correlation.inversions(part, start, buffers.words, buffers.behind))
    return count
