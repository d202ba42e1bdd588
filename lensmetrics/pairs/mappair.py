"""MapPair: two aligned attribution maps and what is computed from them once."""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeVar, cast

import numpy as np
import numpy.typing as npt

from ..kernels import correlation, order, overlap
from .arrays import Maps, aligned
from .checks import FloatMap, as_map, check_k, check_w
from .ordering import Bits, Pixels, SortedMap, scratch

F = TypeVar("F", bound=Callable[..., float])

Which = Literal["unperturbed", "perturbed"]

_Set = npt.NDArray[np.uint64]  # a set of pixels, as the overlap kernels have it


class Overlap(NamedTuple):
    """Sizes of a set of pixels S of the unperturbed and T of the perturbed map, and of what they share.

    N is the neighbourhood of half-width w. All values are NaN where a map has non-finite pixels.
    """

    n_unperturbed: float  # abs(S)
    n_perturbed: float  # abs(T)
    common: float  # abs(S & T)
    recalled: float  # abs(N(S) & T)
    precise: float  # abs(S & N(T))
    near_unperturbed: float  # abs(N(S))
    near_perturbed: float  # abs(N(T))


class PixelPairs(NamedTuple):
    """Counts over all pairs of two different pixels, as tau-b needs them."""

    n: int
    tied_unperturbed: int
    tied_perturbed: int
    tied_both: int
    discordant: int


_UNDEFINED = Overlap(*[math.nan] * 7)

# Exponents of the largest values of a map between which sums over windows and means stay in float64.
_LARGEST_EXPONENT = 1023
_SMALLEST_EXPONENT = -900


def of_pair(metric: F) -> F:
    """Make a metric say what to write where it is called with arrays in place of a MapPair.

    Who has made the pair calls `unchecked`: small maps notice the check.
    """

    @functools.wraps(metric)
    def checked(*given: Any, **params: Any) -> float:
        first = given[0] if given else params.get("pair")
        if not isinstance(first, MapPair):
            name, keywords = metric.__name__, "".join(f", {key}={value!r}" for key, value in params.items())
            msg = (
                f"{name} takes a MapPair, got {type(first).__name__}: write "
                f"{name}(MapPair(unperturbed, perturbed){keywords}), or score(unperturbed, perturbed, ...) "
                "for many pairs"
            )
            raise TypeError(msg)
        return metric(*given, **params)

    vars(checked)["unchecked"] = metric
    return cast(F, checked)


def _moderate(values: FloatMap, area: float) -> FloatMap:
    """Return the map, scaled by a power of two where sums over so many pixels would leave float64."""
    exponent = math.frexp(float(np.abs(values).max()))[1]
    too_large = exponent + math.frexp(area)[1] - _LARGEST_EXPONENT
    if too_large > 0:
        return np.ldexp(values.astype(np.float64), -too_large)
    if exponent < _SMALLEST_EXPONENT:
        return np.ldexp(values.astype(np.float64), -exponent)
    return values


class MapPair:
    """The unperturbed and the perturbed attribution map of one sample.

    Everything that metrics share is computed when it is first needed and kept: the order of the
    pixels, the overlaps of top-k sets, the smoothed maps. The arrays must therefore not be changed while
    the pair is in use. Threads may share a pair.

    Parameters
    ----------
    unperturbed, perturbed
        Two maps of equal shape (height, width), one attribution per pixel, of any real dtype.
        float32 and float64 keep their precision, whichever the other map has; masked elements
        count as NaN. (1, height, width) is good too: one channel is dropped, never reduced. DataArrays
        are aligned by the names of their dimensions; tensors are detached from their graph.

    Attributes
    ----------
    unperturbed, perturbed
        The maps as C-ordered float32 or float64 arrays; the caller's own where possible.
    shape
        Height and width in pixels.

    Raises
    ------
    TypeError, ValueError
        If a map is not a two-dimensional array of real numbers, or the shapes, the names of the
        dimensions or the coordinates differ.

    Notes
    -----
    Maps are ranked as they are: in a signed map negative attributions come last.

    Pixels are ordered with the largest value first and, among equal values, the lowest flat
    (row-major) index first; -0.0 equals 0.0. Sets of pixels follow that order to the letter, and
    ``status`` says where it decided by index alone.
    """

    def __init__(self, unperturbed: Maps, perturbed: Maps) -> None:
        if type(unperturbed) is not np.ndarray or type(perturbed) is not np.ndarray:
            unperturbed, perturbed = aligned(unperturbed, perturbed)
        self.unperturbed = as_map(unperturbed, "unperturbed")
        self.perturbed = as_map(perturbed, "perturbed")
        if self.unperturbed.shape != self.perturbed.shape:
            msg = (
                f"the maps of a pair must have one shape, but the unperturbed is {self.unperturbed.shape} "
                f"and the perturbed {self.perturbed.shape}"
            )
            raise ValueError(msg)
        height, width = self.unperturbed.shape
        self.shape: tuple[int, int] = height, width
        self._u = SortedMap(self.unperturbed)
        self._p = SortedMap(self.perturbed)
        self._finite = self._u.finite and self._p.finite
        self._constant = self._u.constant or self._p.constant
        self._tokens: set[str] = set()
        if not self._finite:
            self._tokens.add("nan_map")
        elif self._constant:
            self._tokens.add("constant_map")
        if self._u.values[0] == self._p.values[0] and np.array_equal(self.unperturbed, self.perturbed):
            self._tokens.add("identical")
        self._overlaps: dict[tuple[int, int], Overlap] = {}
        self._diverse_overlaps: dict[tuple[int, int], Overlap] = {}
        # By k: both top sets and their neighbourhoods of the half-width named first.
        self._dilated: dict[int, tuple[int, _Set, _Set, _Set, _Set]] = {}
        self._smoothed: dict[int, MapPair] = {}
        self._absolute: MapPair | None = None
        self._comparison: tuple[npt.NDArray[Bits], float, int] | None = None
        self._pixel_pairs: PixelPairs | None = None

    @property
    def finite(self) -> bool:
        """Whether all pixels of both maps are finite; where not, every metric is NaN."""
        return self._finite

    @property
    def constant(self) -> bool:
        """Whether one of the maps, or both, has the same value in every pixel."""
        return self._constant

    @property
    def signed(self) -> bool:
        """Whether one of the maps, or both, has a pixel below 0; NaN is not below 0."""
        return self._u.signed or self._p.signed

    @property
    def status(self) -> str:
        """What made values asked of this pair so far undefined or doubtful.

        ``ok``, or sorted tokens joined by ``;``: ``nan_map``, ``constant_map`` and ``identical`` (the
        maps are equal in every pixel) of the maps themselves, others such as ``tied_cut`` once a
        metric has met them.
        """
        return ";".join(sorted(self._tokens)) or "ok"

    def add_status(self, token: str) -> None:
        """Note that a value is undefined or doubtful: a metric calls this with one of its tokens."""
        self._tokens.add(token)

    def order(self, which: Which) -> npt.NDArray[np.intp]:
        """Flat indices of the pixels, largest value first, equal values by index."""
        return self._side(which).sorted()[0].astype(np.intp)

    def ranks(self, which: Which) -> npt.NDArray[np.float64]:
        """Rank of every pixel (flat), 1 for the largest value, equal values sharing their average."""
        pixels, groups = self._side(which).sorted()
        ranks = np.empty(pixels.size)
        ranks[pixels] = order.doubled_ranks(groups, pixels.size) / 2
        return ranks

    def top_pixels(self, which: Which, k: int) -> npt.NDArray[np.intp]:
        """Flat indices of the k pixels with the largest values, largest first."""
        return self._top(self._side(which), check_k(k, self.unperturbed.size)).astype(np.intp)

    def top_k(self, which: Which, k: int) -> npt.NDArray[np.bool_]:
        """Mask (height, width) of the k pixels with the largest values."""
        mask = np.zeros(self.unperturbed.size, np.bool_)
        mask[self.top_pixels(which, k)] = True
        return mask.reshape(self.shape)

    def neighbourhood(self, which: Which, k: int, w: int) -> npt.NDArray[np.bool_]:
        """Mask (height, width) of the pixels within Chebyshev distance w of the top k, clipped."""
        near: npt.NDArray[np.uint64] = overlap.set_of(self.top_pixels(which, k), *self.shape)
        overlap.dilate(near, self.reach(check_w(w)), *self.shape)
        mask: npt.NDArray[np.bool_] = overlap.mask_of(near, *self.shape)
        return mask

    def diverse_top_k(self, which: Which, k: int, w: int) -> npt.NDArray[np.intp]:
        """Flat indices of the diverse top k, in the order picked.

        Each is the best pixel outside the (2w+1)x(2w+1) windows, clipped at the border, of those
        picked before. There are fewer than k where no pixel is left; ``status`` then says
        ``few_diverse``.
        """
        k, w = check_k(k, self.unperturbed.size), self.reach(check_w(w))
        of = self._side(which)
        self._top(of, k)  # a tie at the cut makes the diverse set doubtful too
        picked: Pixels = overlap.diverse(of.sorted()[0], k, w, *self.shape)[0]
        if picked.size < k:
            self._tokens.add("few_diverse")
        return picked.astype(np.intp)

    def overlap(self, k: int, w: int) -> Overlap:
        """Sizes and intersections of the two top-k sets and their neighbourhoods of half-width w.

        All NaN where a map is not finite, or constant: its top-k set would be filled by pixel index.
        ``status`` says ``saturated`` where a neighbourhood is the whole map.
        """
        # True and 2.0 would find what 1 and 2 have left here; they must reach the check.
        found = self._overlaps.get((k, w)) if type(k) is type(w) is int else None
        if found is None:
            key = k, w = check_k(k, self.unperturbed.size), check_w(w)
            w = self.reach(w)
            found = self._overlap_of_tops(k, w) if self._finite and not self._constant else _UNDEFINED
            if self.unperturbed.size in (found.near_unperturbed, found.near_perturbed):
                self._tokens.add("saturated")
            self._overlaps[key] = found
        return found

    def diverse_overlap(self, k: int, w: int) -> Overlap:
        """Sizes and intersections of the two diverse top-k sets and their neighbourhoods.

        The windows that make the sets diverse and the neighbourhoods have the same half-width w. All
        NaN where a map is not finite, or constant.
        """
        found = self._diverse_overlaps.get((k, w)) if type(k) is type(w) is int else None
        if found is None:
            key = k, w = check_k(k, self.unperturbed.size), check_w(w)
            w = self.reach(w)
            found = self._overlap_of_diverse(k, w) if self._finite and not self._constant else _UNDEFINED
            self._diverse_overlaps[key] = found
        return found

    def smoothed(self, w: int) -> "MapPair":
        """The pair of w-smoothed maps, which shares this pair's status.

        Each pixel becomes the sum over its (2w+1)x(2w+1) window inside the map, divided by
        (2w+1)^2 also at the border, in float64. Sums are made anew for every pixel: running sums
        leave rounding residues that break ties, so that a window of zeros would not give 0. A map
        whose sums would overflow, or whose means would vanish (all values below 2**-900), is scaled
        by a power of two, which changes no order.
        """
        found = self._smoothed.get(w) if type(w) is int else None
        if found is None:
            w = check_w(w)
            area = float((2 * w + 1) ** 2)
            maps = self._maps() if w == 0 else [_moderate(values, area) for values in self._maps()]
            found = self._smoothed[w] = self._derived(
                *(correlation.smooth(values, self.reach(w), area) for values in maps)
            )
        return found

    def absolute(self) -> "MapPair":
        """The pair of the maps' absolute values, which shares this pair's status."""
        if self._absolute is None:
            self._absolute = self._derived(*map(np.abs, self._maps())) if self.signed else self
        return self._absolute

    def _maps(self) -> tuple[FloatMap, FloatMap]:
        return self.unperturbed, self.perturbed

    def _derived(self, unperturbed: FloatMap, perturbed: FloatMap) -> "MapPair":
        """A pair made of this one's maps; what metrics meet in it is said of this one."""
        derived = MapPair(unperturbed, perturbed)
        # That both are equal says nothing of the maps they were made of.
        self._tokens |= derived._tokens - {"identical"}
        derived._tokens = self._tokens
        return derived

    def pixel_pairs(self) -> PixelPairs:
        """Count the tied and the discordant pairs of pixels of two maps that have an order."""
        if self._pixel_pairs is None:
            sequence, _, tied_both = self._compared()
            n = sequence.size
            first, second = (buffer.view(sequence.dtype)[:n] for buffer in scratch.of(n))
            first[:] = sequence  # counting overwrites it, and another thread may count too
            self._pixel_pairs = PixelPairs(
                n * (n - 1) // 2,
                sum(t * (t - 1) // 2 for t in self._u.group_sizes()),
                sum(t * (t - 1) // 2 for t in self._p.group_sizes()),
                int(tied_both),
                int(correlation.inversions(first, second)),
            )
        return self._pixel_pairs

    def rank_sums(self) -> tuple[float, int, int]:
        """Covariance and the two variances of the ranks, each times 4 and the number of pixels."""
        sequence, products, _ = self._compared()
        n = sequence.size
        tie_free = n**3 - n
        return (
            products,
            (tie_free - sum(t**3 - t for t in self._u.group_sizes())) // 3,
            (tie_free - sum(t**3 - t for t in self._p.group_sizes())) // 3,
        )

    def _compared(self) -> tuple[npt.NDArray[Bits], float, int]:
        """The places in the perturbed order of the pixels in unperturbed order, and their rank_products."""
        if self._comparison is None:
            order_u, groups_u = self._side("unperturbed").sorted()
            order_p, groups_p = self._side("perturbed").sorted()
            n = order_u.size
            sequence: npt.NDArray[Bits]
            sequence = np.empty(n, np.uint16 if n <= 2**16 else np.uint32)
            place = scratch.of(n)[0].view(sequence.dtype)[:n]
            correlation.write_sequence(order_u, order_p, self._u.values, groups_u, groups_p, place, sequence)
            if len(groups_u):
                for start, stop in groups_u[np.ptp(groups_u, axis=1) > correlation.SHORT_GROUP].tolist():
                    sequence[start:stop].sort(kind="stable")  # by counting: quick for 16 bits
            self._comparison = sequence, *correlation.rank_products(groups_u, groups_p, sequence)
        return self._comparison

    def _side(self, which: Which) -> SortedMap:
        if which not in ("unperturbed", "perturbed"):
            msg = f"which must be 'unperturbed' or 'perturbed', got {which!r}"
            raise ValueError(msg)
        found = self._u if which == "unperturbed" else self._p
        if not found.finite:
            msg = f"the {which} map has non-finite pixels, so its pixels have no order"
            raise ValueError(msg)
        return found

    def reach(self, w: int) -> int:
        """The half-width w cut down to where the window covers the map from any pixel."""
        return min(w, max(self.shape))

    def _top(self, of: SortedMap, k: int) -> Pixels:
        pixels, tied = of.top(k)
        if tied:
            self._tokens.add("tied_cut")
        return pixels

    def _overlap_of_tops(self, k: int, w: int) -> Overlap:
        sets = self._dilated.get(k)
        if sets is None or sets[0] > w:
            set_u, set_p = (overlap.set_of(self._top(of, k), *self.shape) for of in (self._u, self._p))
            sets = 0, set_u, set_p, set_u, set_p
        reached, set_u, set_p, near_u, near_p = sets
        # Copied, because they are dilated in place, and another thread may go on from the same sets.
        near_u, near_p = near_u.copy(), near_p.copy()
        found = overlap.overlap(set_u, set_p, near_u, near_p, w - reached, *self.shape)
        self._dilated[k] = w, set_u, set_p, near_u, near_p
        return Overlap(k, k, *found)

    def _overlap_of_diverse(self, k: int, w: int) -> Overlap:
        # A tie at the cut makes the diverse set doubtful too.
        for of in (self._u, self._p):
            self._top(of, k)
        n_u, n_p, counts = overlap.diverse_overlap(
            self._u.sorted()[0], self._p.sorted()[0], k, w, *self.shape
        )
        if min(n_u, n_p) < k:
            self._tokens.add("few_diverse")
        return Overlap(n_u, n_p, *counts)
