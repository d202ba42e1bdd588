"""The pairs that a page has shown last, kept as far as they fit into a fixed amount of memory."""

import threading
from collections import OrderedDict
from collections.abc import Callable

from ..pairs.mappair import MapPair
from .reading import Sample

# All pairs together; one of 227x227 takes some 2.5 MB, and 1.5 MB more for every window.
LIMIT = 96 * 2**20
# Bytes per pixel of what a pair keeps, upper bounds of what was measured: the order of its pixels and its
# absolute values, the smoothed maps for every w, and the sets for every k.
_OF_PAIR, _OF_WINDOW, _OF_K = 40, 30, 2


class Kept:
    """A sample and its pair, with the sizes and windows that the pair was asked for."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.pair = _pair(sample)
        # What the maps themselves say; the pair adds what any k and w that were asked for have met.
        self.tokens = frozenset(self.pair.status.split(";")) - {"ok"}
        self._asked: tuple[set[int], set[int]] = (set(), set())

    @property
    def nbytes(self) -> int:
        """About how many bytes it keeps."""
        n_k, n_w = map(len, self._asked)
        n_pixels = self.sample.unperturbed.size
        return self.sample.nbytes + n_pixels * (_OF_PAIR + n_w * _OF_WINDOW + n_k * _OF_K)

    def asked(self, k: int, w: int, limit: int) -> MapPair:
        """Return the pair, and a new one where the old one would keep too much."""
        self._asked[0].add(k)
        self._asked[1].add(w)
        if self.nbytes > limit:
            self.pair = _pair(self.sample)
            self._asked = ({k}, {w})
        return self.pair


def _pair(sample: Sample) -> MapPair:
    if sample.image is None or sample.image_perturbed is None:
        return MapPair(sample.unperturbed, sample.perturbed)
    images = {"image": sample.image, "image_perturbed": sample.image_perturbed}
    return MapPair(sample.unperturbed, sample.perturbed, **images)


class Memory:
    """The samples shown last, by file and position; the oldest are forgotten first.

    Parameters
    ----------
    read
        Reads the sample at a position of a file, both given by their numbers.
    limit
        About how many bytes are kept.
    """

    def __init__(self, read: Callable[[int, int], Sample], limit: int = LIMIT) -> None:
        self._read, self._limit = read, limit
        self._kept: OrderedDict[tuple[int, int], Kept] = OrderedDict()
        self._lock = threading.Lock()
        self._reading = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, file: int, position: int) -> Kept:
        """Return a sample, read now or before."""
        key = file, position
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        with self._reading:  # two requests for one sample read it once
            with self._lock:
                if key in self._kept:
                    return self._kept[key]
            kept = Kept(self._read(file, position))
            with self._lock:
                self._kept[key] = kept
                self._forget()
        return kept

    def pair(self, file: int, position: int, k: int, w: int) -> tuple[Kept, MapPair]:
        """Return a sample and its pair, for this k and w."""
        kept = self.get(file, position)
        with self._lock:
            pair = kept.asked(k, w, self._limit // 4)
            self._forget()
        return kept, pair

    def _forget(self) -> None:
        total = sum(kept.nbytes for kept in self._kept.values())
        while total > self._limit and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            total -= oldest.nbytes
