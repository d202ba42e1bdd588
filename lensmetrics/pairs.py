"""MapPair: two aligned attribution maps and what is computed from them once."""

import math
import threading
from typing import Any, Literal, NamedTuple, TypeGuard

import numpy as np
import numpy.typing as npt

from .kernels import correlation, order, overlap

Which = Literal["unperturbed", "perturbed"]
FloatMap = npt.NDArray[np.float32] | npt.NDArray[np.float64]

_Set = npt.NDArray[np.uint64]  # a set of pixels, as the overlap kernels have it

_Bits = np.unsignedinteger[Any]
_Pixels = npt.NDArray[np.unsignedinteger[Any]]  # flat indices: uint16 where these suffice, else uint32


class _Float(NamedTuple):
    """Bits of a float: its sign, all others, those of inf, and how far a power of 2 is from the next."""

    sign: _Bits
    magnitude: _Bits
    infinity: _Bits
    octave: _Bits


_FLOATS = {
    4: _Float(*(np.uint32(bits) for bits in (0x80000000, 0x7FFFFFFF, 0x7F800000, 1 << 23))),
    8: _Float(*(np.uint64(bits) for bits in (1 << 63, (1 << 63) - 1, 0x7FF0000000000000, 1 << 52))),
}


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


def as_map(values: npt.ArrayLike, name: str) -> FloatMap:
    """Return values as a two-dimensional, C-ordered, native float32 or float64 array, exactly.

    float32 and float64 stay what they are and are not copied where their layout allows; float16
    becomes float32; integers and booleans become float64; masked elements become NaN.

    Raises
    ------
    TypeError
        If the values are not real numbers, or would lose precision in float64.
    ValueError
        If there are not two dimensions, or no pixels.
    """
    if isinstance(values, np.ma.MaskedArray):
        array = np.ma.filled(values.astype(np.result_type(values.dtype, np.float16)), np.nan)
    else:
        array = np.asarray(values)
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        msg = f"the {name} map is {array.dtype}; allowed are float16, float32, float64, integers and bool"
        raise TypeError(msg)
    if array.ndim != 2:
        msg = f"the {name} map must have two dimensions (height, width), got shape {array.shape}"
        raise ValueError(msg)
    if array.size == 0:
        msg = f"the {name} map has no pixels: its shape is {array.shape}"
        raise ValueError(msg)
    if array.dtype.kind != "f":
        as_float = array.astype(np.float64)
        if array.dtype.itemsize == 8 and not np.array_equal(as_float.astype(array.dtype), array):
            msg = f"the {name} map holds integers too large for float64 to tell apart; convert it yourself"
            raise TypeError(msg)
        return as_float
    if array.dtype.itemsize == 8:
        return np.ascontiguousarray(array, dtype=np.float64)
    return np.ascontiguousarray(array, dtype=np.float32)


def is_whole(value: object) -> TypeGuard[int]:
    """Whether the value is an int; numpy's integers count, bool does not."""
    return type(value) is int or isinstance(value, np.integer)


def check_k(k: object, n_pixels: int) -> int:
    """Return k as an int, or raise a ValueError that says what is allowed."""
    if is_whole(k) and 1 <= k <= n_pixels:
        return int(k)
    kind = "" if is_whole(k) else "a whole number "
    msg = f"k must be {kind}between 1 and {n_pixels} (the number of pixels), got {k!r}"
    raise ValueError(msg)


def check_w(w: object) -> int:
    """Return w as an int, or raise a ValueError that says what is allowed."""
    if not is_whole(w) or w < 0:
        msg = f"w must be a whole number of at least 0 (the half-width of the window in pixels), got {w!r}"
        raise ValueError(msg)
    return int(w)


class _Scratch(threading.local):
    """Two buffers per thread for the kernels: fresh ones cost more in page faults than the sort does."""

    first = np.empty(0, np.uint64)
    second = np.empty(0, np.uint64)

    def of(self, n: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        if self.first.size < n:
            self.first, self.second = np.empty((2, n), np.uint64)
        return self.first, self.second


_scratch = _Scratch()


class _SortedMap:
    """One map, and the order of its pixels, computed when first asked for."""

    def __init__(self, values: FloatMap) -> None:
        self.values = values.reshape(-1)
        self._float = _FLOATS[values.dtype.itemsize]
        self._bits: npt.NDArray[_Bits] = self.values.view(type(self._float.sign))
        self._extremes = np.empty(2, self._bits.dtype)
        sign, magnitude, infinity, _ = self._float
        order.write_extremes(self._bits, sign, magnitude, self._extremes)
        lowest, highest = self._extremes.tolist()
        self.finite = bool(lowest > infinity ^ magnitude and highest < infinity | sign)
        self.constant = bool(lowest == highest)
        self._sorted: tuple[_Pixels, npt.NDArray[np.uint32]] | None = None
        self._tops: dict[int, tuple[_Pixels, bool]] = {}

    def sorted(self) -> tuple[_Pixels, npt.NDArray[np.uint32]]:
        """Flat indices, largest value first, and where each group of ties starts and ends in them."""
        if self._sorted is None:
            n = self.values.size
            # An item holds an index and as many bits of a key; the smaller they are, the faster it goes.
            index, item = (np.uint16, np.uint32) if n <= 2**16 else (np.uint32, np.uint64)
            pixels: _Pixels = np.empty(n, index)
            groups = np.empty((n // 2, 2), np.uint32)
            first, second = _scratch.of(n)
            n_groups = order.sort(
                self.values,
                self._bits,
                self._float.sign,
                self._float.magnitude,
                self._float.octave,
                self._extremes,
                first.view(item)[:n],
                second.view(item)[:n],
                first.view(self.values.dtype)[:n],
                pixels,
                groups,
            )
            if n_groups < 0:
                pixels[:] = np.argsort(-self.values, kind="stable")
                edges = np.flatnonzero(np.diff(self.values[pixels]) != 0) + 1
                bounds = np.stack([np.append(0, edges), np.append(edges, n)], axis=1).astype(np.uint32)
                groups = bounds[bounds[:, 1] - bounds[:, 0] > 1]
                n_groups = len(groups)
            self._sorted = pixels, groups[:n_groups].copy()
        return self._sorted

    def group_sizes(self) -> list[int]:
        groups = self.sorted()[1].astype(np.int64)
        sizes: list[int] = (groups[:, 1] - groups[:, 0]).tolist()
        return sizes

    def top(self, k: int) -> tuple[_Pixels, bool]:
        """Flat indices of the k largest values, and whether the next one equals the last of them."""
        found = self._tops.get(k)
        if found is None:
            pixels, _ = self.sorted()
            tied = k < pixels.size and bool(self.values[pixels[k - 1]] == self.values[pixels[k]])
            found = self._tops[k] = pixels[:k], tied
        return found


class MapPair:
    """The unperturbed and the perturbed attribution map of one sample.

    Everything that metrics share is computed when it is first needed and kept: the order of the
    pixels, the overlaps of top-k sets, the smoothed maps. The arrays must therefore not be changed while
    the pair is in use.

    Parameters
    ----------
    unperturbed, perturbed
        Two maps of equal shape (height, width), one attribution per pixel, of any real dtype.
        float32 and float64 keep their precision, whichever the other map has; masked elements
        count as NaN.

    Attributes
    ----------
    unperturbed, perturbed
        The maps as C-ordered float32 or float64 arrays; the caller's own where possible.
    shape
        Height and width in pixels.

    Raises
    ------
    TypeError, ValueError
        If a map is not a two-dimensional array of real numbers, or the shapes differ.

    Notes
    -----
    Pixels are ordered with the largest value first and, among equal values, the lowest flat
    (row-major) index first; -0.0 equals 0.0. Sets of pixels follow that order to the letter, and
    ``status`` says where it decided by index alone.
    """

    def __init__(self, unperturbed: npt.ArrayLike, perturbed: npt.ArrayLike) -> None:
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
        self._u = _SortedMap(self.unperturbed)
        self._p = _SortedMap(self.perturbed)
        self._finite = self._u.finite and self._p.finite
        self._constant = self._u.constant or self._p.constant
        self._tokens: set[str] = set()
        if not self._finite:
            self._tokens.add("nan_map")
        elif self._constant:
            self._tokens.add("constant_map")
        self._overlaps: dict[tuple[int, int], Overlap] = {}
        self._diverse_overlaps: dict[tuple[int, int], Overlap] = {}
        # By k: both top sets and their neighbourhoods of the half-width named first.
        self._dilated: dict[int, tuple[int, _Set, _Set, _Set, _Set]] = {}
        self._smoothed: dict[int, MapPair] = {}
        self._comparison: tuple[npt.NDArray[_Bits], float, int] | None = None
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
    def status(self) -> str:
        """What made values asked of this pair so far undefined or doubtful.

        ``ok``, or sorted tokens joined by ``;``: ``nan_map`` and ``constant_map`` of the maps
        themselves, others such as ``tied_cut`` once a metric has met them.
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
        picked: _Pixels = overlap.diverse(of.sorted()[0], k, w, *self.shape)[0]
        if picked.size < k:
            self._tokens.add("few_diverse")
        return picked.astype(np.intp)

    def overlap(self, k: int, w: int) -> Overlap:
        """Sizes and intersections of the two top-k sets and their neighbourhoods of half-width w."""
        # True and 2.0 would find what 1 and 2 have left here; they must reach the check.
        found = self._overlaps.get((k, w)) if type(k) is type(w) is int else None
        if found is None:
            key = k, w = check_k(k, self.unperturbed.size), check_w(w)
            w = self.reach(w)
            found = self._overlap_of_tops(k, w) if self._finite else _UNDEFINED
            self._overlaps[key] = found
        return found

    def diverse_overlap(self, k: int, w: int) -> Overlap:
        """Sizes and intersections of the two diverse top-k sets and their neighbourhoods.

        The windows that make the sets diverse and the neighbourhoods have the same half-width w.
        """
        found = self._diverse_overlaps.get((k, w)) if type(k) is type(w) is int else None
        if found is None:
            key = k, w = check_k(k, self.unperturbed.size), check_w(w)
            w = self.reach(w)
            found = self._overlap_of_diverse(k, w) if self._finite else _UNDEFINED
            self._diverse_overlaps[key] = found
        return found

    def smoothed(self, w: int) -> "MapPair":
        """The pair of w-smoothed maps, which shares this pair's status.

        Each pixel becomes the sum over its (2w+1)x(2w+1) window inside the map, divided by
        (2w+1)^2 also at the border, in float64. Sums are made anew for every pixel: running sums
        leave rounding residues that break ties, so that a window of zeros would not give 0.
        """
        found = self._smoothed.get(w) if type(w) is int else None
        if found is None:
            w = check_w(w)
            area = float((2 * w + 1) ** 2)
            found = MapPair(
                correlation.smooth(self.unperturbed, self.reach(w), area),
                correlation.smooth(self.perturbed, self.reach(w), area),
            )
            self._tokens |= found._tokens
            found._tokens = self._tokens
            self._smoothed[w] = found
        return found

    def pixel_pairs(self) -> PixelPairs:
        """Count the tied and the discordant pairs of pixels of two maps that have an order."""
        if self._pixel_pairs is None:
            sequence, _, tied_both = self._compared()
            n = sequence.size
            other = _scratch.of(n)[0].view(sequence.dtype)[:n]
            self._pixel_pairs = PixelPairs(
                n * (n - 1) // 2,
                sum(t * (t - 1) // 2 for t in self._u.group_sizes()),
                sum(t * (t - 1) // 2 for t in self._p.group_sizes()),
                int(tied_both),
                int(correlation.inversions(sequence, other)),  # nobody needs the sequence after this
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

    def _compared(self) -> tuple[npt.NDArray[_Bits], float, int]:
        """The places in the perturbed order of the pixels in unperturbed order, and their rank_products."""
        if self._comparison is None:
            order_u, groups_u = self._side("unperturbed").sorted()
            order_p, groups_p = self._side("perturbed").sorted()
            n = order_u.size
            sequence: npt.NDArray[_Bits]
            sequence = np.empty(n, np.uint16 if n <= 2**16 else np.uint32)
            place = _scratch.of(n)[0].view(sequence.dtype)[:n]
            correlation.write_sequence(order_u, order_p, self._u.values, groups_u, groups_p, place, sequence)
            if len(groups_u):
                for start, stop in groups_u[np.ptp(groups_u, axis=1) > correlation.SHORT_GROUP].tolist():
                    sequence[start:stop].sort(kind="stable")  # by counting: quick for 16 bits
            self._comparison = sequence, *correlation.rank_products(groups_u, groups_p, sequence)
        return self._comparison

    def _side(self, which: Which) -> _SortedMap:
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

    def _top(self, of: _SortedMap, k: int) -> _Pixels:
        pixels, tied = of.top(k)
        if tied:
            self._tokens.add("tied_cut")
        return pixels

    def _overlap_of_tops(self, k: int, w: int) -> Overlap:
        sets = self._dilated.get(k)
        if sets is None or sets[0] > w:
            set_u, set_p = (overlap.set_of(self._top(of, k), *self.shape) for of in (self._u, self._p))
            sets = 0, set_u, set_p, set_u.copy(), set_p.copy()
        reached, set_u, set_p, near_u, near_p = sets
        self._dilated[k] = w, set_u, set_p, near_u, near_p
        return Overlap(k, k, *overlap.overlap(set_u, set_p, near_u, near_p, w - reached, *self.shape))

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
