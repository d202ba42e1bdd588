"""Two aligned attribution maps, and what is computed from them once.

The module is long because every public method has an example.
"""

import math
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ..kernels import order, overlap
from ..kernels.block import N_OVERLAP
from .agreement import OrderAgreement
from .arrays import Maps, aligned
from .checks import FloatMap, as_map, check_k, check_w
from .known import Asked, Known
from .ordering import Pixels, SortedMap, scratch, words_of_set
from .picture import data_address
from .smoothing import smooth

Which = Literal["unperturbed", "perturbed"]

# Longest side of a map in a notebook, in pixels of the screen.
_SHOWN = 200


class Overlap(NamedTuple):
    """Sizes of two pixel sets, S (unperturbed) and T (perturbed), and of their overlaps.

    N(S) is the neighbourhood of S of half-width w. All values are NaN where a map is constant or not
    finite.
    """

    n_unperturbed: float  # abs(S)
    n_perturbed: float  # abs(T)
    common: float  # abs(S & T)
    recalled: float  # abs(N(S) & T)
    precise: float  # abs(S & N(T))
    near_unperturbed: float  # abs(N(S))
    near_perturbed: float  # abs(N(T))


_UNDEFINED = Overlap(*[math.nan] * 7)


class MapPair:
    """The unperturbed and the perturbed attribution map of one sample.

    What metrics share (the order of the pixels, overlaps of top-k sets, smoothed maps) is computed on
    first use and kept, so the arrays must not be changed while the pair is in use. Threads may share a
    pair.

    Parameters
    ----------
    unperturbed, perturbed
        Two maps of equal shape (height, width), one attribution per pixel, of any real dtype.
        float32 and float64 keep their precision, even where the other map has another; masked
        elements become NaN. A shape of (1, height, width) is accepted: a single channel is dropped, never
        reduced. DataArrays are aligned by the names of their dimensions; tensors are detached from their
        graph.
    image, image_perturbed
        What the two maps explain, for the metrics of images: (height, width) or (channel, height,
        width), uint8 or float; None where they are not at hand.

    Attributes
    ----------
    unperturbed, perturbed
        The maps as C-ordered float32 or float64 arrays; the caller's own where possible.
    shape
        Height and width in pixels.
    image, image_perturbed
        As given.

    Raises
    ------
    TypeError, ValueError
        If a map is not a two-dimensional array of real numbers, or the shapes, the names of the
        dimensions or the coordinates differ.

    Notes
    -----
    Maps are ranked as they are: in a signed map negative attributions come last.

    Pixels are ordered by value, largest first, and equal values by flat (row-major) index, lowest first;
    -0.0 equals 0.0. Every set of pixels follows this order, and ``status`` says where the index alone
    decided.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> pair = lm.MapPair([[9, 8], [7, 0]], [[9, 0], [7, 8]])
    >>> pair
    MapPair(2x2, float64)
    >>> pair.shape
    (2, 2)
    >>> lm.topk_intersection(pair, k=2)
    0.5
    >>> pair.status
    'ok'
    """

    def __init__(
        self,
        unperturbed: Maps,
        perturbed: Maps,
        *,
        image: npt.NDArray[Any] | None = None,
        image_perturbed: npt.NDArray[Any] | None = None,
    ) -> None:
        if type(unperturbed) is not np.ndarray or type(perturbed) is not np.ndarray:
            unperturbed, perturbed = aligned(unperturbed, perturbed)
        self.unperturbed = as_map(unperturbed, "unperturbed")
        self.perturbed = as_map(perturbed, "perturbed")
        if self.unperturbed.shape != self.perturbed.shape:
            raise ValueError(
                f"the maps of a pair must have one shape, but the unperturbed is {self.unperturbed.shape} "
                f"and the perturbed {self.perturbed.shape}"
            )
        self.image, self.image_perturbed = image, image_perturbed
        u, p = SortedMap(self.unperturbed.reshape(-1)), SortedMap(self.perturbed.reshape(-1))
        identical = u.values[0] == p.values[0] and np.array_equal(self.unperturbed, self.perturbed)
        self._begin(u, p, identical=bool(identical))

    def _begin(self, u: SortedMap, p: SortedMap, *, identical: bool) -> None:
        height, width = self.unperturbed.shape
        self.shape: tuple[int, int] = height, width
        self._u, self._p = u, p
        self._finite = u.finite and p.finite
        self._constant = u.constant or p.constant
        self._tokens: set[str] = set()
        if not self._finite:
            self._tokens.add("nan_map")
        elif self._constant:
            self._tokens.add("constant_map")
        if identical:
            self._tokens.add("identical")
        self._overlaps: dict[tuple[int, int], Overlap] = {}
        self._diverse_overlaps: dict[tuple[int, int], Overlap] = {}
        self._smoothed: dict[int, MapPair] = {}
        self._absolute: MapPair | None = None
        self._agreement: OrderAgreement | None = None
        self._known: Known | None = None
        self._uses_order = False  # whether someone has asked for pixels, which Known does not hold

    def __repr__(self) -> str:
        height, width = self.shape
        types = dict.fromkeys(str(values.dtype) for values in (self.unperturbed, self.perturbed))
        doubts = f", {self.status}" if self._tokens else ""
        return f"MapPair({height}x{width}, {' and '.join(types)}{doubts})"

    def _repr_html_(self) -> str:
        """Return both maps as small pictures, for notebooks."""
        height, width = self.shape
        size = f"width:{_SHOWN * min(1, width / height):.0f}px;height:{_SHOWN * min(1, height / width):.0f}px"
        pictures = "".join(
            f'<figure style="display:inline-block;margin:0 12px 0 0"><img src="{data_address(values)}" '
            f'alt="{which} map" style="{size};image-rendering:pixelated;border:1px solid #888">'
            f"<figcaption>{which}</figcaption></figure>"
            for which, values in (("unperturbed", self.unperturbed), ("perturbed", self.perturbed))
        )
        return f"<div>{pictures}<div>{self!r}</div></div>"

    @property
    def finite(self) -> bool:
        """Whether all pixels of both maps are finite; otherwise every metric is NaN.

        >>> MapPair([[1, 2]], [[1, math.nan]]).finite
        False
        """
        return self._finite

    @property
    def constant(self) -> bool:
        """Whether at least one of the maps has the same value in every pixel.

        >>> MapPair([[1, 2]], [[3, 3]]).constant
        True
        """
        return self._constant

    @property
    def signed(self) -> bool:
        """Whether at least one of the maps has a pixel below 0; NaN is not below 0.

        >>> MapPair([[1, 2]], [[3, -3]]).signed
        True
        """
        return self._u.signed or self._p.signed

    @property
    def status(self) -> str:
        """What made the values computed from this pair so far undefined or doubtful.

        ``ok``, or sorted tokens joined by ``;``. ``nan_map``, ``constant_map`` and ``identical`` (the
        maps are equal in every pixel) describe the maps themselves; others, such as ``tied_cut``, appear
        once a metric has met them.

        >>> pair = MapPair([[9, 8, 0]], [[9, 0, 0]])
        >>> pair.overlap(2, 0).common
        2
        >>> pair.status  # the second and third value of the perturbed map are equal
        'tied_cut'
        """
        return ";".join(sorted(self._tokens)) or "ok"

    def add_status(self, token: str) -> None:
        """Note that a value is undefined or doubtful; a metric calls this with one of its tokens.

        >>> pair = MapPair([[1, 2]], [[1, 3]])
        >>> pair.add_status("too_small")
        >>> pair.status
        'too_small'
        """
        self._tokens.add(token)

    def order(self, which: Which) -> npt.NDArray[np.intp]:
        """Return the flat indices of the pixels, largest value first, equal values by index.

        For metrics of your own; the metrics of the package use sets of pixels and counts.

        >>> MapPair([[5, 7], [7, 9]], [[1, 2], [3, 4]]).order("unperturbed").tolist()
        [3, 1, 2, 0]
        """
        return self._side(which).sorted()[0].astype(np.intp)

    def ranks(self, which: Which) -> npt.NDArray[np.float64]:
        """Return the rank of every pixel (flat), 1 for the largest value; ties share their average.

        For metrics of your own; the metrics of the package use sets of pixels and counts.

        >>> MapPair([[5, 7], [7, 9]], [[1, 2], [3, 4]]).ranks("unperturbed").tolist()
        [4.0, 2.5, 2.5, 1.0]
        """
        pixels, groups = self._side(which).sorted()
        doubled = np.empty(pixels.size, np.int32)
        order.write_ranks(groups, doubled)
        ranks = np.empty(pixels.size)
        ranks[pixels] = doubled / 2
        return ranks

    def top_pixels(self, which: Which, k: int) -> npt.NDArray[np.intp]:
        """Return the flat indices of the k pixels with the largest values, largest first.

        >>> MapPair([[5, 7], [7, 9]], [[1, 2], [3, 4]]).top_pixels("unperturbed", 2).tolist()
        [3, 1]
        """
        return self._top(self._side(which), check_k(k, self.unperturbed.size)).astype(np.intp)

    def top_k(self, which: Which, k: int) -> npt.NDArray[np.bool_]:
        """Return a mask (height, width) of the k pixels with the largest values.

        >>> MapPair([[5, 7], [7, 9]], [[1, 2], [3, 4]]).top_k("unperturbed", 2)
        array([[False,  True],
               [False,  True]])
        """
        mask = np.zeros(self.unperturbed.size, np.bool_)
        mask[self.top_pixels(which, k)] = True
        return mask.reshape(self.shape)

    def neighbourhood(self, which: Which, k: int, w: int) -> npt.NDArray[np.bool_]:
        """Return a mask (height, width) of the pixels within Chebyshev distance w of the top k.

        >>> MapPair([[9, 0, 0, 0]], [[0, 0, 9, 0]]).neighbourhood("perturbed", k=1, w=1)
        array([[False,  True,  True,  True]])
        """
        top = self._top(self._side(which), check_k(k, self.unperturbed.size))
        near = np.empty(words_of_set(self.unperturbed.size), np.uint64)
        mask = np.empty(self.unperturbed.size, np.bool_)
        overlap.write_near(top, self.clipped(check_w(w)), *self.shape, near)
        overlap.mask_of(near, mask)
        return mask.reshape(self.shape)

    def diverse_top_k(self, which: Which, k: int, w: int) -> npt.NDArray[np.intp]:
        """Return the flat indices of the diverse top k, in the order picked.

        Each is the best pixel outside the (2w+1)x(2w+1) windows, clipped at the border, of those
        picked before. There are fewer than k where no pixel is left; ``status`` then includes
        ``few_diverse``.

        >>> MapPair([[9, 8, 7, 0]], [[0, 0, 9, 0]]).diverse_top_k("unperturbed", k=2, w=1).tolist()
        [0, 2]
        """
        k, w = check_k(k, self.unperturbed.size), self.clipped(check_w(w))
        of = self._side(which)
        pixels, _ = of.sorted()
        self._top(of, k)  # a tie at the cut makes the diverse set doubtful too
        picked = np.empty_like(pixels)
        chosen, near, *_ = scratch.of(pixels.size).sets
        n_picked = overlap.diverse(pixels, k, w, *self.shape, picked, chosen, near)
        if n_picked < k:
            self._tokens.add("few_diverse")
        return picked[:n_picked].astype(np.intp)

    def overlap(self, k: int, w: int) -> Overlap:
        """Return the sizes and intersections of the two top-k sets and their neighbourhoods.

        All are NaN where a map is not finite, or constant: its top-k set would be filled by pixel index.
        ``status`` includes ``saturated`` where a neighbourhood is the whole map.

        >>> found = MapPair([[9, 8, 0, 0]], [[0, 9, 8, 0]]).overlap(k=2, w=1)
        >>> found.common, found.recalled, found.near_unperturbed, found.near_perturbed
        (1, 2, 3, 4)
        """
        # True and 2.0 equal the keys 1 and 2; they must reach the check.
        found = self._overlaps.get((k, w)) if type(k) is type(w) is int else None
        if found is None:
            found = self._recalled(k, w, is_diverse=False)
            key = k, w = (k, w) if found else (check_k(k, self.unperturbed.size), check_w(w))
            if found is None:
                is_defined = self._finite and not self._constant
                found = self._overlap_of_tops(k, self.clipped(w)) if is_defined else _UNDEFINED
            if self.unperturbed.size in (found.near_unperturbed, found.near_perturbed):
                self._tokens.add("saturated")
            self._overlaps[key] = found
        return found

    def diverse_overlap(self, k: int, w: int) -> Overlap:
        """Return the sizes and intersections of the two diverse top-k sets and their neighbourhoods.

        The windows that make the sets diverse and the neighbourhoods have the same half-width w. All
        are NaN where a map is not finite, or constant.

        >>> found = MapPair([[9, 8, 7, 0]], [[0, 9, 8, 0]]).diverse_overlap(k=2, w=1)
        >>> found.n_unperturbed, found.n_perturbed, found.common  # pixels 0 and 2; 1 and 3
        (2, 2, 0)
        """
        found = self._diverse_overlaps.get((k, w)) if type(k) is type(w) is int else None
        if found is None:
            found = self._recalled(k, w, is_diverse=True)
            key = k, w = (k, w) if found else (check_k(k, self.unperturbed.size), check_w(w))
            if found is None:
                is_defined = self._finite and not self._constant
                found = self._overlap_of_diverse(k, self.clipped(w)) if is_defined else _UNDEFINED
            if min(found.n_unperturbed, found.n_perturbed) < k:
                self._tokens.add("few_diverse")
            self._diverse_overlaps[key] = found
        return found

    def order_agreement(self) -> OrderAgreement:
        """Return the counts of pixel pairs and the rank sums behind the rank correlations.

        >>> MapPair([[1, 2], [3, 4]], [[1, 2], [4, 3]]).order_agreement().pixel_pairs().discordant
        1
        """
        if self._agreement is None:
            u, p = self._checked("unperturbed"), self._checked("perturbed")
            known = (None, None) if self._known is None else self._known.agreement()
            self._agreement = OrderAgreement(u, p, *known)
        return self._agreement

    def smoothed(self, w: int) -> "MapPair":
        """Return the pair of w-smoothed maps, which shares this pair's status.

        Each pixel becomes the sum over its (2w+1)x(2w+1) window inside the map, divided by
        (2w+1)^2 also at the border, in float64. The sum is computed separately for every pixel: running sums
        leave rounding residues that break ties, and a window of zeros would not sum to 0. A map
        whose sums would overflow, or whose means would vanish (all values below 2**-900), is scaled
        by a power of two, which does not change the order.

        >>> MapPair([[9, 0, 0, 0]], [[0, 9, 0, 0]]).smoothed(1).unperturbed.tolist()
        [[1.0, 1.0, 0.0, 0.0]]
        """
        found = self._smoothed.get(w) if type(w) is int else None
        if found is None:
            w = check_w(w)
            maps = (smooth(values, w, self.clipped(w)) for values in (self.unperturbed, self.perturbed))
            found = self._smoothed[w] = self._derived(*maps)
        return found

    def absolute(self) -> "MapPair":
        """Return the pair of the maps' absolute values, which shares this pair's status.

        >>> MapPair([[1, -2]], [[3, 4]]).absolute().unperturbed.tolist()
        [[1.0, 2.0]]
        """
        if not self.signed:
            return self  # keeping itself would keep its maps until the garbage collector comes by
        if self._absolute is None:
            self._absolute = self._derived(*(np.abs(values) for values in (self.unperturbed, self.perturbed)))
        return self._absolute

    def clipped(self, w: int) -> int:
        """Return the half-width w, or the larger side of the map where the window covers it anyway.

        >>> MapPair([[1, 2, 3]], [[4, 5, 6]]).clipped(1000)
        3
        """
        return min(w, max(self.shape))

    def _derived(self, unperturbed: FloatMap, perturbed: FloatMap) -> "MapPair":
        """Return a pair made from this one's maps, with one status for both."""
        derived = MapPair(unperturbed, perturbed)
        # Derived maps may be equal where the maps are not.
        self._tokens |= derived._tokens - {"identical"}
        derived._tokens = self._tokens
        return derived

    def _side(self, which: Which) -> SortedMap:
        self._uses_order = True
        return self._checked(which)

    def _checked(self, which: Which) -> SortedMap:
        if which not in ("unperturbed", "perturbed"):
            raise ValueError(f"which must be 'unperturbed' or 'perturbed', got {which!r}")
        found = self._u if which == "unperturbed" else self._p
        if not found.finite:
            raise ValueError(f"the {which} map has non-finite pixels, so its pixels have no order")
        return found

    def _top(self, of: SortedMap, k: int) -> Pixels:
        pixels, tied = of.top(k)
        if tied:
            self._tokens.add("tied_cut")
        return pixels

    def _recalled(self, k: int, w: int, *, is_diverse: bool) -> Overlap | None:
        """Return what was found with other pairs."""
        known = self._known
        at = known.at.get((k, w, is_diverse)) if known is not None and type(k) is type(w) is int else None
        if known is None or at is None:
            return None
        if known.counts[at]:
            self._tokens.add("tied_cut")
        return Overlap._make(known.counts[at + 1 : at + N_OVERLAP])

    def _overlap_of_tops(self, k: int, w: int) -> Overlap:
        top_u, top_p = self._top(self._u, k), self._top(self._p, k)
        counts = np.empty(7, np.int64)
        overlap.overlap(top_u, top_p, w, *self.shape, scratch.of(self.unperturbed.size).sets, counts)
        return Overlap._make(counts.tolist())

    def _overlap_of_diverse(self, k: int, w: int) -> Overlap:
        order_u, order_p = self._u.sorted()[0], self._p.sorted()[0]
        # A tie at the cut makes the diverse set doubtful too.
        for of in (self._u, self._p):
            self._top(of, k)
        buffers = scratch.of(self.unperturbed.size)
        counts = np.empty(7, np.int64)
        picked = buffers.sequences[0]
        overlap.diverse_overlap(order_u, order_p, k, w, *self.shape, picked, buffers.sets, counts)
        return Overlap._make(counts.tolist())


def known_pair(unperturbed: FloatMap, perturbed: FloatMap, found: Known) -> MapPair:
    """Return a pair of which the numbers that metrics will ask for have been found with others'."""
    pair = MapPair.__new__(MapPair)
    pair.unperturbed, pair.perturbed = unperturbed, perturbed
    pair.image = pair.image_perturbed = None
    pair._begin(found.u, found.p, identical=found.identical)
    pair._known = found
    return pair


def needed_order(pair: MapPair) -> bool:
    """Return whether metrics have asked for more of this pair than its pixels with the largest values."""
    return pair._u.needed_order or pair._p.needed_order


def expect_order(pair: MapPair) -> None:
    """Sort the maps of this pair at once when pixels are asked for, because all will be needed."""
    pair._u.expects_order = pair._p.expects_order = True


def asked_of(pair: MapPair) -> Asked | None:
    """Return what metrics have asked of a pair so far; None if that says nothing about others."""
    if pair._uses_order or pair._constant or not pair._finite:
        return None
    tops = [(*key, False) for key in pair._overlaps] + [(*key, True) for key in pair._diverse_overlaps]
    return Asked(tuple(tops), pair._agreement is not None)
