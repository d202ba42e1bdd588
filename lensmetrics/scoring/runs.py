"""A run: its tasks, their results, and the files that have failed.

A *task* scores one *slice*, some consecutive samples of one file; a worker reads a slice in *blocks*.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..errors import BadSample
from ..metrics.registry import Metric
from ..pairfile.slices import Slice
from ..pairfile.store import PairStore
from ..processes import available_cores
from .dryrun import dry_run
from .executors import Handle, workers_of
from .failures import Failure
from .journal import Journal, slice_key
from .progress import Progress
from .worker import Origin, SliceScores, score_slice

# Scoring a slice takes long compared with sending it, and little time compared with a study.
TASK_PIXELS = 2**23


class Task(NamedTuple):
    """A slice of the samples of one file, by the number of the file."""

    file: int
    start: int
    stop: int


class PairFile(NamedTuple):
    """A file to be scored."""

    store: PairStore
    origin: Origin
    identity: tuple[int, ...]


class Run:
    """The tasks of all files, the results of those that are done, and the files that have failed.

    Parameters
    ----------
    against
        What the perturbed maps are scored against, of `REFERENCES`.
    task_pixels, block_pixels
        About how many pixels of each of the two maps a task has, and a worker reads at once.
    """

    def __init__(
        self,
        pair_files: Sequence[PairFile],
        metrics: Sequence[Metric],
        *,
        stop_at_bad_samples: bool,
        journal: Journal | None,
        against: str,
        task_pixels: int,
        block_pixels: int,
    ) -> None:
        self.pair_files, self.metrics, self.journal = pair_files, metrics, journal
        self.stop_at_bad_samples, self.block_pixels = stop_at_bad_samples, block_pixels
        self.against = against
        self.tasks = [
            task for number, file in enumerate(pair_files) for task in _tasks(number, file.store, task_pixels)
        ]
        texts = tuple(map(str, metrics))
        self.keys = [self._key(task, texts) for task in self.tasks] if journal is not None else []
        self.done: dict[int, SliceScores] = {}
        self.failed: dict[int, tuple[int, Exception]] = {}  # file: its first bad position, and the error

    def _key(self, task: Task, texts: tuple[str, ...]) -> str:
        store, origin, identity = self.pair_files[task.file]
        # Scores against the unperturbed maps keep the keys that they had before there were others.
        others = () if self.against == "unperturbed" else (self.against,)
        return slice_key(origin.version, texts, identity, store.fingerprint, task.start, task.stop, *others)

    def failures(self) -> list[Failure]:
        """Return the files that have failed, in their order."""
        return [
            Failure(self.pair_files[number].store.path, self.failed[number][1])
            for number in sorted(self.failed)
        ]

    @property
    def ranks_signed(self) -> bool:
        """Whether a metric takes the top k of signed values of a map with negative ones."""
        by_value = any("k" in metric.params and metric.name != "sign_agreement" for metric in self.metrics)
        return by_value and any(result.signed for result in self.done.values())

    def score(self, executor: Executor | None, progress: Progress) -> None:
        """Do all tasks that the journal does not hold and whose file has not failed."""
        if self.stop_at_bad_samples:
            self._fail_incomplete_files()
        self._reuse_journal()
        left = [i for i in range(len(self.tasks)) if i not in self.done and not self._is_moot(i)]
        if len(left) < 2:
            executor = None
        files = sorted({self.tasks[i].file for i in left})
        stores = [self.pair_files[n].store for n in files]
        dry_run(stores, self.metrics, compiling=executor is not None, against=self.against)
        n_reused = self._n_done()
        with progress.running(sum(len(file.store) for file in self.pair_files), n_reused):
            for i, result in self._here(left) if executor is None else self._on(executor, left):
                if self.journal is not None and isinstance(result, SliceScores):
                    self.journal.add(self.keys[i], result)
                self._record(i, result)
                file, start, stop = self.tasks[i]
                progress.advance(self.pair_files[file].store.path, start, stop)
        progress.finish(self._n_done() - n_reused, n_reused, ranks_signed=self.ranks_signed)

    def _fail_incomplete_files(self) -> None:
        """Fail files that lack a sample, which is known before anything of them is read."""
        for number, file in enumerate(self.pair_files):
            missing = np.flatnonzero(~file.store.complete)
            if len(missing):
                self._record_failure(number, 0, self._bad_sample(number, int(missing[0]), "incomplete"))

    def _reuse_journal(self) -> None:
        if self.journal is not None:
            for i, key in enumerate(self.keys):
                if key in self.journal.done:
                    self._record(i, self.journal.done[key])

    def _is_moot(self, i: int) -> bool:
        """Return whether the file of a task is known to fail at or before the task."""
        at, _ = self.failed.get(self.tasks[i].file, (self.tasks[i].stop, None))
        return at <= self.tasks[i].start

    def _n_done(self) -> int:
        return sum(len(result.status) for result in self.done.values())

    def _record(self, i: int, result: SliceScores | Exception) -> None:
        task = self.tasks[i]
        if isinstance(result, Exception):
            self._record_failure(task.file, task.start, result)
            return
        self.done[i] = result
        if self.stop_at_bad_samples and "checksum" in result.status:
            at = task.start + result.status.index("checksum")
            self._record_failure(task.file, at, self._bad_sample(task.file, at, "checksum"))

    def _record_failure(self, number: int, at: int, error: Exception) -> None:
        # Report the first bad sample of a file, whichever task completes first.
        if number not in self.failed or at < self.failed[number][0]:
            self.failed[number] = at, error

    def _bad_sample(self, number: int, position: int, status: str) -> BadSample:
        sample = int(self.pair_files[number].store.sample[position])
        named = (
            f"sample {sample} at position {position}" if sample >= 0 else f"the sample at position {position}"
        )
        problem = {"incomplete": "is incomplete", "checksum": "does not match its checksum"}[status]
        return BadSample(f"{named} {problem}")

    def _slice(self, i: int) -> tuple[Slice, Origin]:
        """Return the samples of a task, and the state in which a worker must find their file."""
        file, start, stop = self.tasks[i]
        store, origin, _ = self.pair_files[file]
        return store.slice(start, stop, against=self.against), origin

    def _here(self, left: Sequence[int]) -> Iterator[tuple[int, SliceScores | Exception]]:
        """Do tasks in this process; yield the number and result of each that still matters."""
        # On a single core, a thread that reads ahead only evicts this one's data from the cache.
        prefetch = available_cores() > 1
        for i in left:
            if not self._is_moot(i):
                yield i, score_slice(*self._slice(i), self.metrics, self.block_pixels, prefetch=prefetch)

    def _on(self, executor: Executor, left: Sequence[int]) -> Iterator[tuple[int, SliceScores | Exception]]:
        """Do tasks on an executor; yield the number and result of each that still matters, as they come."""
        workers = workers_of(executor)
        pending: dict[Handle, int] = {}
        try:
            for i in left:
                part, origin = self._slice(i)
                part = replace(part, path=part.path.absolute())  # workers may run in another folder
                pending[workers.submit(score_slice, part, origin, self.metrics, self.block_pixels)] = i
            while pending:
                for future, result in workers.results(pending):
                    n_failed = len(self.failed)
                    yield pending.pop(future), result
                    if len(self.failed) > n_failed:
                        # Not every executor reports cancelled tasks as completed: do not wait for them.
                        for other in workers.cancel([f for f, i in pending.items() if self._is_moot(i)]):
                            del pending[other]
                        break
        finally:
            workers.cancel(pending)


def _tasks(number: int, store: PairStore, n_pixels: int) -> Iterator[Task]:
    height, width = store.shape
    length = max(1, n_pixels // (height * width))
    for start in range(0, len(store), length):
        yield Task(number, start, min(start + length, len(store)))
