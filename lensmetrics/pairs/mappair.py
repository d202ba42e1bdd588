"""MapPair: two aligned attribution maps and what is computed from them once."""

import functools
import math
import threading
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeGuard, TypeVar, cast

import numpy as np
import numpy.typing as npt

from ..kernels import correlation, order, overlap
from .arrays import Maps, aligned, as_numpy

F = TypeVar("F", bound=Callable[..., float])

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

# Kernels count in types that hold this many pixels; a pair file holds no more either.
_MOST_PIXELS = 2**30 - 1
# Exponents of the largest values of a map between which sums over windows and means stay in float64.
_LARGEST_EXPONENT = 1023
_SMALLEST_EXPONENT = -900


def as_map(values: Maps, name: str) -> FloatMap:
    """Return values as a two-dimensional, C-ordered, native float32 or float64 array, exactly.

    float32 and float64 stay what they are and are not copied where their layout allows; float16 and
    bfloat16 become float32; integers and booleans become float64; masked elements become NaN. An axis
    of one channel in front is dropped. A tensor is detached from its graph.

    Raises
    ------
    TypeError
        If the values are not real numbers, or would lose precision in float64.
    ValueError
        If there are not two dimensions, or no pixels, or more than 2**30 - 1.
    """
    # Most are plain arrays, and small maps notice what is asked of them.
    array = values if type(values) is np.ndarray else as_numpy(values, f"{name} map")
    while array.ndim > 2 and len(array) == 1:
        array = array[0]
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        msg = f"the {name} map is {array.dtype}; allowed are float16, float32, float64, integers and bool"
        raise TypeError(msg)
    if array.ndim != 2:
        hint = "reduce several channels first, as in abs(map).sum(axis=0)"
        if array.ndim == 1:
            hint = "for attributions of features write values[None]: windows then run along the features"
        msg = f"the {name} map must have two dimensions (height, width), got shape {array.shape}; {hint}"
        raise ValueError(msg)
    if not 1 <= array.size <= _MOST_PIXELS:
        msg = f"the {name} map must have 1 to {_MOST_PIXELS} pixels: its shape is {array.shape}"
        raise ValueError(msg)
    if array.dtype.kind != "f":
        as_float = array.astype(np.float64)
        with np.errstate(invalid="ignore"):  # what rounds up to 2**63 has no way back
            back = as_float.astype(array.dtype)
        if array.dtype.itemsize == 8 and not np.array_equal(back, array):
            msg = f"the {name} map holds integers too large for float64 to tell apart; convert it yourself"
            raise TypeError(msg)
        return as_float
    if array.dtype.itemsize == 8:
        return np.ascontiguousarray(array, dtype=np.float64)
    return np.ascontiguousarray(array, dtype=np.float32)


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
    if not is_whole(w) or not 0 <= w <= _MOST_PIXELS:
        msg = (
            f"w must be a whole number from 0 to {_MOST_PIXELS} (the half-width of the window in pixels), "
            f"got {w!r}"
        )
        raise ValueError(msg)
    return int(w)


def _moderate(values: FloatMap, area: float) -> FloatMap:
    """Return the map, scaled by a power of two where sums over so many pixels would leave float64."""
    exponent = math.frexp(float(np.abs(values).max()))[1]
    too_large = exponent + math.frexp(area)[1] - _LARGEST_EXPONENT
    if too_large > 0:
        return np.ldexp(values.astype(np.float64), -too_large)
    if exponent < _SMALLEST_EXPONENT:
        return np.ldexp(values.astype(np.float64), -exponent)
    return values


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
        # Keys fall as values rise, and those of both zeros are `magnitude`.
        self.signed = bool(highest > magnitude)
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
        self._u = _SortedMap(self.unperturbed)
        self._p = _SortedMap(self.perturbed)
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
        picked: _Pixels = overlap.diverse(of.sorted()[0], k, w, *self.shape)[0]
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
            first, second = (scratch.view(sequence.dtype)[:n] for scratch in _scratch.of(n))
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
