"""What a worker runs; keep its imports minimal."""

import itertools
import math
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import __version__
from ..errors import FormatError
from ..metrics.registry import Metric
from ..pairfile.slices import Block, Slice
from ..pairs.block import pairs_of
from ..pairs.mappair import MapPair, expect_order, needed_order
from ..tables.known import OF_IMAGES

# A block is read at once; it should still be in the cache when its last pair is scored.
BLOCK_PIXELS = 2**18
# As much of targets, images and outputs is read at once.
BESIDE_BYTES = 4 * 2**20


class Origin(NamedTuple):
    """A file as the process that submits its slices sees it; every worker must see the same."""

    n_bytes: int
    modified_ns: int
    host: str
    version: str


@dataclass(frozen=True, eq=False)
class SliceScores:
    """The scores of a slice of a file: values (sample, metric) and statuses."""

    values: npt.NDArray[np.float64]
    status: list[str]
    signed: bool = False  # whether some map has a negative pixel


class _Unreadable(Exception):
    """Wraps a read error, which fails one file; an error in a metric ends the run."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def score_block(
    unperturbed: npt.NDArray[Any],
    perturbed: npt.NDArray[Any],
    metrics: Sequence[Metric],
    values: npt.NDArray[np.float64],
    name: Callable[[int], str],
    unreadable: Sequence[str] | None = None,
    images: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None = None,
    *,
    needs_order: bool = True,
) -> tuple[list[str], bool, bool]:
    """Write the scores of all pairs into `values` (sample, metric).

    `name` returns what errors call a pair; `images` are both images of every pair, if they are at hand;
    `needs_order` says that the metrics need, or may need, the order of all pixels. Return the statuses,
    whether some map has a negative pixel, and whether the metrics needed the order.
    """
    statuses = []
    signed = False
    functions = [getattr(metric.function, "unchecked", metric.function) for metric in metrics]
    calls = [partial(f, **metric.params) for f, metric in zip(functions, metrics, strict=True)]
    indices = range(len(unperturbed))
    pairs = pairs_of(unperturbed, perturbed, (i for i in indices if unreadable is None or not unreadable[i]))
    for i in indices:
        if unreadable is not None and unreadable[i]:
            values[i] = math.nan
            statuses.append(unreadable[i])
            continue
        scores: list[float] | None = None
        try:
            if images is None:
                pair = next(pairs)
            else:
                pair = MapPair(unperturbed[i], perturbed[i], image=images[0][i], image_perturbed=images[1][i])
            if needs_order:
                expect_order(pair)
            scores = []
            for call in calls:
                scores.append(float(call(pair)))
        except Exception as error:
            what = "" if scores is None else f" {metrics[len(scores)]}"
            error.add_note(f"while scoring{what} on {name(i)}")
            raise
        values[i] = scores
        statuses.append(pair.status)
        signed = signed or pair.signed
        if pair.finite and not pair.constant:  # of others nothing is asked
            needs_order = needed_order(pair)
    return statuses, signed, needs_order


def score_slice(
    part: Slice,
    origin: Origin,
    metrics: Sequence[Metric],
    block_pixels: int = BLOCK_PIXELS,
    *,
    prefetch: bool = False,
) -> SliceScores | Exception:
    """Score one slice of a file; return the exception if the slice cannot be read.

    With `prefetch`, a thread reads and verifies the next block while this one is scored.
    """
    host = socket.gethostname()
    if origin.version != __version__:
        raise RuntimeError(
            f"the worker on {host} has lensmetrics {__version__}, {origin.host} has "
            f"{origin.version}: install the same version on both"
        )
    part = replace(part, with_images=any(metric.name in OF_IMAGES for metric in metrics))
    values = np.empty((len(part), len(metrics)))
    status: list[str] = []
    signed = False
    needs_order = True
    try:
        _check_unchanged(origin, part.path)
        for start, (first, perturbed, unreadable, images) in _blocks(part, block_pixels, prefetch=prefetch):
            stop = start + len(first)
            name = partial(_name, part, start)
            found = score_block(
                first,
                perturbed,
                metrics,
                values[start:stop],
                name,
                unreadable,
                images,
                needs_order=needs_order,
            )
            status += found[0]
            signed = signed or found[1]
            needs_order = found[2]
        _check_unchanged(origin, part.path)
    except _Unreadable as error:
        return _located(error.error, part.path, origin, host)
    return SliceScores(values, status, signed)


def _name(part: Slice, start: int, i: int) -> str:
    return f"sample {part.sample[start + i]} of {part.path}"


def _located(error: Exception, path: Path, origin: Origin, host: str) -> Exception:
    """Return an error in reading that says where the file could not be read, if that is elsewhere."""
    if host == origin.host:
        return error
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(
            f"{path} is on {origin.host}, but the worker on {host} does not see it: put the files where all "
            "workers find them under the same path"
        )
    return FormatError(f"on the worker on {host}: {error}")


def _check_unchanged(origin: Origin, path: Path) -> None:
    """Refuse a file that is not the one opened at the start: slices of two files would be mixed."""
    try:
        found = path.stat()
    except OSError as error:
        raise _Unreadable(type(error)(f"{path} was removed while it was being scored")) from error
    if (found.st_size, found.st_mtime_ns) != (origin.n_bytes, origin.modified_ns):
        raise _Unreadable(
            FormatError(f"{path} was changed or replaced while it was being scored: score it again")
        )


def _blocks(part: Slice, n_pixels: int, *, prefetch: bool) -> Iterator[tuple[int, Block]]:
    """Yield the position of the first sample of each block of a slice, and the block.

    A block is valid until the one after the next is asked for.
    """
    height, width = part.shape
    length = min(max(1, n_pixels // (height * width)), len(part))
    if part.reads_beside and part.layout.beside_bytes:  # images can be much larger than maps
        length = min(length, max(1, BESIDE_BYTES // part.layout.beside_bytes))
    blocks = _read(part, length)
    return _prefetched(blocks) if prefetch and len(part) > length else blocks


def _read(part: Slice, length: int) -> Iterator[tuple[int, Block]]:
    buffers = itertools.cycle([part.buffer(length), part.buffer(length)])
    for start in range(0, len(part), length):
        stop = min(start + length, len(part))
        try:
            block = part.read(start, stop, buffer=next(buffers))
        except (FormatError, OSError) as error:
            raise _Unreadable(error) from error
        yield start, block


def _prefetched(blocks: Iterator[tuple[int, Block]]) -> Iterator[tuple[int, Block]]:
    """Yield the same blocks, while a thread already reads and verifies the next."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = thread.submit(next, blocks, None)
            yield block
