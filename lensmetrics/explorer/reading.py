"""Reading samples in a process of its own: a damaged file can crash or hang HDF5, but not the page."""

import functools
import threading
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from ..children import Isolated
from ..errors import FormatError
from ..pairfile.format import IMAGES
from ..pairfile.opening import load_filters, opened
from ..pairfile.slices import read_beside
from ..pairfile.store import PairStore

# How long reading one sample may take before its file is given up.
_SECONDS = 20.0
# How long a call that is cut off may take to notice.
_END = 2.0
_Image = npt.NDArray[Any] | None


class Request(NamedTuple):
    """A sample to read, of a file as it was when it was opened."""

    path: Path
    fingerprint: str
    position: int

    def __str__(self) -> str:
        return str(self.path)


class Sample(NamedTuple):
    """The maps of one sample, and the images where they are stored."""

    unperturbed: npt.NDArray[np.floating]
    perturbed: npt.NDArray[np.floating]
    problem: str  # "", "incomplete" or "checksum"; the maps are then NaN
    image: npt.NDArray[Any] | None
    image_perturbed: npt.NDArray[Any] | None
    images_damaged: bool = False  # images do not match their checksum, and are therefore None

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        arrays = (self.unperturbed, self.perturbed, self.image, self.image_perturbed)
        return sum(array.nbytes for array in arrays if array is not None)


class Reader:
    """Reads samples one at a time, in a process that damaged files may take down."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._isolated = Isolated(read_sample, seconds=_SECONDS)

    def __enter__(self) -> Self:
        self._isolated.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._isolated.__exit__(*error)
        if self._lock.acquire(timeout=_END):  # a call that was cut off has started another process
            self._isolated.__exit__(*error)
            self._lock.release()

    def __call__(self, request: Request) -> Sample:
        with self._lock:
            return self._isolated(request)


def open_store(path: Path, _: object) -> PairStore:
    """Open a pair file, in a separate process."""
    return PairStore(path)


def read_sample(request: Request, _: object) -> Sample:
    """Read a sample, in a separate process."""
    found = request.path.stat()
    store = _opened(request.path, (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
    if store.fingerprint != request.fingerprint:
        raise FormatError(f"{request.path} has changed since it was opened: start explore again")
    unperturbed, perturbed, problems = store.read_block(request.position, request.position + 1)
    images = _images(store, request.position)
    return Sample(unperturbed[0], perturbed[0], problems[0], *images)


def _images(store: PairStore, position: int) -> tuple[_Image, _Image, bool]:
    """Return both images of a sample, None where not stored or damaged, and whether they are damaged."""
    if not store.complete[position] or not any(name in store.header.beside for name in IMAGES):
        return None, None, False
    expected = store.header.columns.image_checksum
    load_filters(store.path, store.header.layout.filters)
    with opened(store.path) as file:
        row = None if expected is None else expected[position : position + 1]
        found, (is_sound,) = read_beside(file, position, 1, row)
    image, perturbed = (found[name][0] if is_sound and name in found else None for name in IMAGES)
    return image, perturbed, not is_sound


@functools.lru_cache(maxsize=4)  # two conditions side by side, and two that were shown before
def _opened(path: Path, _: tuple[int, ...]) -> PairStore:
    return PairStore(path)
