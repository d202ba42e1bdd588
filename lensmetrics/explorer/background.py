"""Scoring in the background while one looks: one process, which gives way to all others."""

import os
import socket
import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .. import __version__
from ..children import Child, ChildCrashed, ChildHung
from ..errors import FormatError
from ..metrics.registry import Metric, get_metric
from ..metrics.suites import lens_suite
from ..pairfile.slices import Slice
from ..pairfile.store import PairStore
from ..scoring.assembly import columns_of_values
from ..scoring.worker import Origin, SliceScores, score_slice
from .files import Files
from .rows import Rows

# With this priority the process gets a tenth of a core on which another one works.
_NICE = 10
# About how many pixels are scored at once: a fraction of a second.
_PIXELS = 2**20


class Task(NamedTuple):
    """Samples to score."""

    part: Slice
    origin: Origin
    metrics: tuple[Metric, ...]


def score_task(task: Task, _: object) -> SliceScores | Exception:
    """Score some samples, in a separate process that gives way to others."""
    os.nice(max(0, _NICE - os.nice(0)))
    return score_slice(task.part, task.origin, task.metrics)


def usual_k(shape: tuple[int, int]) -> int:
    """Return the size of top sets that the LENS paper uses for maps of this size, or all of a tiny map.

    >>> usual_k((28, 28)), usual_k((227, 227)), usual_k((3, 3))
    (100, 1000, 9)
    """
    n_pixels = shape[0] * shape[1]
    return min(1000 if min(shape) >= 128 else 100, n_pixels)


def metrics_for(shape: tuple[int, int]) -> tuple[Metric, ...]:
    """Return what is scored in the background: the LENS suite for w = 1, and its level of chance."""
    k = usual_k(shape)
    return (*lens_suite(k, windows=[1], adjusted=True), get_metric("lens_recall_chance", k=k, w=1))


class Background:
    """Scores all samples of all files, those of the file that is looked at first.

    Parameters
    ----------
    files
        The files of the page; scoring begins when all were opened.
    rows
        Where the scores go.
    """

    def __init__(self, files: Files, rows: Rows) -> None:
        self.n_scored = 0
        self.preferred = 0
        self.problems: dict[int, str] = {}
        self._files, self._rows = files, rows
        self._child = Child(score_task)
        self._is_stopped = False
        self._left: list[tuple[int, int, int]] = []
        self._thread = threading.Thread(target=self._score_all, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._child.__enter__()
        self._thread.start()

    def stop(self) -> None:
        """End at once."""
        self._is_stopped = True
        self._child.stop()

    @property
    def n_samples(self) -> int:
        """Number of samples of all files that were opened so far."""
        return sum(len(entry.store) for entry in self._files.entries if entry.store is not None)

    @property
    def is_done(self) -> bool:
        """Whether nothing more will be scored."""
        return not self._thread.is_alive() and self._files.is_done

    def _score_all(self) -> None:
        self._files.wait()
        for number, entry in enumerate(self._files.entries):
            if entry.store is not None:
                self._left += [(number, *place) for place in _parts(entry.store)]
        origins: dict[int, Origin] = {}
        while self._left and not self._is_stopped:
            number, start, stop = self._next()
            entry = self._files.entries[number]
            assert entry.store is not None
            try:
                if number not in origins:
                    found = entry.path.stat()
                    origins[number] = Origin(
                        found.st_size, found.st_mtime_ns, socket.gethostname(), __version__
                    )
                metrics = metrics_for(entry.store.shape)
                result = self._scored(Task(entry.store.slice(start, stop), origins[number], metrics))
                if isinstance(result, Exception):
                    raise result
            except Exception as error:  # of one file, whatever it is
                self.problems[number] = f"not scored: {entry.sentence(error)}"
                self._drop(number)
            else:
                columns = columns_of_values(result.values, metrics)
                self._rows.add_scores(number, np.arange(start, stop), columns, result.status)
            self.n_scored += stop - start
        self._child.stop()

    def _scored(self, task: Task) -> SliceScores | Exception:
        try:
            return self._child(task)
        except (ChildCrashed, ChildHung) as error:
            raise FormatError(
                f"{task.part.path}: the process that scored it died or hung; lensmetrics verify tells "
                "whether the file is damaged"
            ) from error

    def _next(self) -> tuple[int, int, int]:
        at = next((i for i, place in enumerate(self._left) if place[0] == self.preferred), 0)
        return self._left.pop(at)

    def _drop(self, number: int) -> None:
        """Give up a file; its samples count as done."""
        dropped = [place for place in self._left if place[0] == number]
        self._left = [place for place in self._left if place[0] != number]
        self.n_scored += sum(stop - start for _, start, stop in dropped)


def _parts(store: PairStore) -> Sequence[tuple[int, int]]:
    height, width = store.shape
    length = max(1, _PIXELS // (height * width))
    return [(start, min(start + length, len(store))) for start in range(0, len(store), length)]
