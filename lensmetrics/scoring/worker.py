"""What a worker runs: scoring a block of pairs, and a slice of a file. Keep its imports minimal."""

import itertools
import math
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .. import __version__
from ..errors import FormatError
from ..metrics.registry import Metric
from ..pairfile.slices import Slice
from ..pairs.mappair import MapPair

# A block is read at once; it should still be in the cache when its last pair is scored.
_BLOCK_PIXELS = 2**18

# Position of the first sample, unperturbed and perturbed maps, and what keeps each from being scored.
_Block = tuple[int, npt.NDArray[Any], npt.NDArray[Any], list[str]]


class Origin(NamedTuple):
    """A file as the process saw it that hands out its slices: each worker must see the same."""

    n_bytes: int
    modified_ns: int
    host: str
    version: str


@dataclass(frozen=True, eq=False)
class SliceScores:
    """What was found for a slice of a file: the values (sample, metric) and the statuses.

    Not a tuple, because Dask takes a tuple that it lost apart as if it were an error: see `runner._is_lost`.
    """

    values: npt.NDArray[np.float64]
    status: list[str]
    signed: bool = False  # whether some map has a negative pixel


class _Unreadable(Exception):
    """Holds what went wrong in reading: that costs one file, where an error in a metric ends the run."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def score_block(
    unperturbed: npt.NDArray[Any],
    perturbed: npt.NDArray[Any],
    metrics: Sequence[Metric],
    sample: Sequence[int] | npt.NDArray[Any],
    where: str,
    values: npt.NDArray[np.float64],
    unreadable: Sequence[str] | None = None,
) -> tuple[list[str], bool]:
    """Write the scores of all pairs into `values` (sample, metric).

    Return the statuses, and whether some map has a negative pixel.
    """
    statuses = []
    signed = False
    functions = [getattr(metric.function, "unchecked", metric.function) for metric in metrics]
    calls = [partial(f, **metric.params) for f, metric in zip(functions, metrics, strict=True)]
    for i in range(len(unperturbed)):
        if unreadable is not None and unreadable[i]:
            values[i] = math.nan
            statuses.append(unreadable[i])
            continue
        scores: list[float] | None = None
        try:
            pair = MapPair(unperturbed[i], perturbed[i])
            scores = []
            for call in calls:
                scores.append(float(call(pair)))
        except Exception as error:
            what = "" if scores is None else f" {metrics[len(scores)]}"
            error.add_note(f"while scoring{what} on sample {sample[i]}{where}")
            raise
        values[i] = scores
        statuses.append(pair.status)
        signed = signed or pair.signed
    return statuses, signed


def score_slice(
    part: Slice, origin: Origin, metrics: Sequence[Metric], *, ahead: bool = False
) -> SliceScores | Exception:
    """Score one slice of one file, in whichever process this is; return what kept it from being read.

    `ahead`: a thread reads and verifies the next block meanwhile.
    """
    host = socket.gethostname()
    if origin.version != __version__:
        msg = (
            f"the worker on {host} has lensmetrics {__version__}, {origin.host} has "
            f"{origin.version}: install the same version on both"
        )
        raise RuntimeError(msg)
    blocks = _ahead(_blocks(part)) if ahead and len(part) > _block_length(part) else _blocks(part)
    try:
        return _score_blocks(part, origin, metrics, blocks)
    except _Unreadable as error:
        if host == origin.host:
            return error.error
        if isinstance(error.error, FileNotFoundError):
            msg = (
                f"{part.path} is on {origin.host}, but the worker on {host} does not see it: put "
                "the files where all workers find them under the same path"
            )
            return FileNotFoundError(msg)
        return FormatError(f"on the worker on {host}: {error.error}")


def _score_blocks(
    part: Slice, origin: Origin, metrics: Sequence[Metric], blocks: Iterator[_Block]
) -> SliceScores:
    values = np.empty((len(part), len(metrics)))
    status: list[str] = []
    signed = False
    _check_unchanged(origin, part)
    for start, unperturbed, perturbed, unreadable in blocks:
        stop = start + len(unperturbed)
        sample = part.sample[start:stop]
        rows = values[start:stop]
        found = score_block(unperturbed, perturbed, metrics, sample, f" of {part.path}", rows, unreadable)
        status += found[0]
        signed = signed or found[1]
    _check_unchanged(origin, part)
    return SliceScores(values, status, signed)


def _check_unchanged(origin: Origin, part: Slice) -> None:
    """Refuse a file that is not the one that was opened at the beginning: slices of two would be mixed."""
    try:
        found = part.path.stat()
    except OSError as error:
        raise _Unreadable(type(error)(f"{part.path} was removed while it was being scored")) from error
    if (found.st_size, found.st_mtime_ns) != (origin.n_bytes, origin.modified_ns):
        msg = f"{part.path} was changed or replaced while it was being scored: score it again"
        raise _Unreadable(FormatError(msg))


def _block_length(part: Slice) -> int:
    height, width = part.shape
    return min(max(1, _BLOCK_PIXELS // (height * width)), len(part))


def _blocks(part: Slice) -> Iterator[_Block]:
    """Yield the blocks of a slice; each lives until the one after the next is asked for."""
    length = _block_length(part)
    buffers = itertools.cycle([part.buffer(length), part.buffer(length)])
    for start in range(0, len(part), length):
        stop = min(start + length, len(part))
        try:
            block = part.read_block(start, stop, buffer=next(buffers))
        except (FormatError, OSError) as error:
            raise _Unreadable(error) from error
        yield start, *block


def _ahead(blocks: Iterator[_Block]) -> Iterator[_Block]:
    """Yield the same blocks, while a thread already reads and verifies the next."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = thread.submit(next, blocks, None)
            yield block
