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


class OrderAgreement:
    """The orders of two maps, compared on first use; both maps must be finite."""

    def __init__(self, unperturbed: SortedMap, perturbed: SortedMap) -> None:
        self._u = unperturbed
        self._p = perturbed
        self._compared: tuple[npt.NDArray[Bits], float, int] | None = None
        self._pixel_pairs: PixelPairs | None = None

    def pixel_pairs(self) -> PixelPairs:
        """Count the tied and the discordant pairs of pixels."""
        if self._pixel_pairs is None:
            sequence, _, tied_both = self._comparison()
            n = sequence.size
            first, second = (buffer.view(sequence.dtype)[:n] for buffer in scratch.of(n))
            first[:] = sequence  # counting overwrites it, and another thread may be counting too
            self._pixel_pairs = PixelPairs(
                n * (n - 1) // 2,
                sum(t * (t - 1) // 2 for t in self._u.group_sizes()),
                sum(t * (t - 1) // 2 for t in self._p.group_sizes()),
                int(tied_both),
                int(correlation.inversions(first, second)),
            )
        return self._pixel_pairs

    def rank_sums(self) -> tuple[float, int, int]:
        """Return the covariance and both variances of the ranks, each times 4 and the number of pixels."""
        sequence, products, _ = self._comparison()
        n = sequence.size
        tie_free = n**3 - n
        return (
            float(products),
            (tie_free - sum(t**3 - t for t in self._u.group_sizes())) // 3,
            (tie_free - sum(t**3 - t for t in self._p.group_sizes())) // 3,
        )

    def _comparison(self) -> tuple[npt.NDArray[Bits], float, int]:
        """Return each pixel's place in the perturbed order, in unperturbed order, and its rank_products."""
        if self._compared is None:
            order_u, groups_u = self._u.sorted()
            order_p, groups_p = self._p.sorted()
            n = order_u.size
            sequence: npt.NDArray[Bits]
            sequence = np.empty(n, np.uint16 if n <= 2**16 else np.uint32)
            place = scratch.of(n)[0].view(sequence.dtype)[:n]
            correlation.write_sequence(order_u, order_p, self._u.values, groups_u, groups_p, place, sequence)
            if len(groups_u):
                for start, stop in groups_u[np.ptp(groups_u, axis=1) > correlation.SHORT_GROUP].tolist():
                    sequence[start:stop].sort(kind="stable")  # a radix sort for 16 bits, so it is fast
            self._compared = sequence, *correlation.rank_products(groups_u, groups_p, sequence)
        return self._compared
