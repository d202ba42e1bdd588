"""A run: its tasks, what became of them, and which files have failed."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from .. import __version__
from ..errors import BadSample, FormatError
from ..messages import say
from ..metrics.registry import Metric
from ..pairfile.store import PairStore
from ..processes import available_cores
from .executors import is_lost
from .journal import Journal, slice_key
from .worker import Origin, SliceScores, score_block, score_slice

# A task is long beside what it costs to send, and short beside a whole study.
_TASK_PIXELS = 2**23


class Task(NamedTuple):
    """A slice of the samples of one file, by the number of the file."""

    file: int
    start: int
    stop: int


class Source(NamedTuple):
    """A file to be scored."""

    store: PairStore
    origin: Origin
    identity: tuple[int, ...]


class Failure(NamedTuple):
    """A file that is not in the table, and why."""

    path: Path
    error: Exception


class Run:
    """The tasks of all files, what became of those that are done, and which files have failed."""

    def __init__(
        self,
        sources: Sequence[Source],
        metrics: Sequence[Metric],
        *,
        stop_at_bad_samples: bool,
        journal: Journal | None,
    ) -> None:
        self.sources, self.metrics, self.journal = sources, metrics, journal
        self.stop_at_bad_samples = stop_at_bad_samples
        self.tasks = [task for number, source in enumerate(sources) for task in _tasks(number, source.store)]
        self.keys: list[str] = []
        if journal is not None:
            texts = tuple(map(str, metrics))
            for task in self.tasks:
                store, _, identity = sources[task.file]
                self.keys.append(
                    slice_key(__version__, texts, identity, store.fingerprint, task.start, task.stop)
                )
        self.done: dict[int, SliceScores] = {}
        self.failed: dict[int, tuple[int, Exception]] = {}  # file: where it is bad, and why

    def failures(self) -> list[Failure]:
        return [
            Failure(self.sources[number].store.path, self.failed[number][1]) for number in sorted(self.failed)
        ]

    def unwanted(self, i: int) -> bool:
        """Whether the file of a task is known to fail at or before the task."""
        at, _ = self.failed.get(self.tasks[i].file, (self.tasks[i].stop, None))
        return at <= self.tasks[i].start

    def score(self, executor: Executor | None, *, progress: bool) -> None:
        if self.stop_at_bad_samples:
            for number, source in enumerate(self.sources):
                missing = np.flatnonzero(~source.store.complete)
                if len(missing):  # known before anything is read, so nothing of the file is
                    self._note_failure(number, 0, self._bad_sample(number, int(missing[0]), "incomplete"))
        if self.journal is not None:
            for i, key in enumerate(self.keys):
                if key in self.journal.done:
                    self._note(i, self.journal.done[key])
        left = [i for i in range(len(self.tasks)) if i not in self.done and not self.unwanted(i)]
        if len(left) < 2:
            executor = None
        files = sorted({self.tasks[i].file for i in left})
        _rehearse([self.sources[n].store for n in files], self.metrics, compiling=executor is not None)
        n_known = self._n_done()
        start = time.perf_counter()
        with tqdm(
            total=sum(len(source.store) for source in self.sources),
            initial=n_known,
            unit="pair",
            desc="scoring",
            disable=None if progress and sys.stderr is not None else True,
        ) as bar:
            for i, result in self._run_here(left) if executor is None else self._run_on(executor, left):
                if self.journal is not None and isinstance(result, SliceScores):
                    self.journal.add(self.keys[i], result)
                self._note(i, result)
                bar.update(self.tasks[i].stop - self.tasks[i].start)
        n_pairs = self._n_done() - n_known
        if progress and n_known:
            say(f"took over {n_known} pairs that were scored before")
        if progress and n_pairs:
            seconds = time.perf_counter() - start
            say(f"scored {n_pairs} pairs in {seconds:.1f} s: {n_pairs / seconds:.0f} pairs per second")
        if progress and any(result.signed for result in self.done.values()) and self._ranks_signed():
            say(
                "lensmetrics: the maps hold negative values: top-k sets are of the largest signed values, so "
                "that negative attributions rank last; score absolute values where the sign does not matter"
            )

    def _ranks_signed(self) -> bool:
        """Whether a metric takes the top k of the values as they are."""
        return any("k" in metric.params and metric.name != "sign_agreement" for metric in self.metrics)

    def _n_done(self) -> int:
        return sum(len(result.status) for result in self.done.values())

    def _note(self, i: int, result: SliceScores | Exception) -> None:
        task = self.tasks[i]
        if isinstance(result, Exception):
            self._note_failure(task.file, task.start, result)
            return
        self.done[i] = result
        if self.stop_at_bad_samples and "checksum" in result.status:
            at = task.start + result.status.index("checksum")
            self._note_failure(task.file, at, self._bad_sample(task.file, at, "checksum"))

    def _bad_sample(self, number: int, position: int, status: str) -> BadSample:
        sample = int(self.sources[number].store.sample[position])
        named = (
            f"sample {sample} at position {position}" if sample >= 0 else f"the sample at position {position}"
        )
        words = {"incomplete": "is incomplete", "checksum": "does not match its checksum"}[status]
        return BadSample(f"{named} {words}")

    def _note_failure(self, number: int, at: int, error: Exception) -> None:
        # The first bad sample counts, whichever task comes back first.
        if number not in self.failed or at < self.failed[number][0]:
            self.failed[number] = at, error

    def _slice(self, i: int) -> tuple[PairStore, Origin]:
        """Return the samples of a task, and the file as it must be found."""
        file, start, stop = self.tasks[i]
        store, origin, _ = self.sources[file]
        return store.part(start, stop), origin

    def _run_here(self, left: Sequence[int]) -> Iterator[tuple[int, SliceScores | Exception]]:
        """Yield number and result of every task that is wanted."""
        several_cores = available_cores() > 1
        for i in left:
            if self.unwanted(i):
                continue
            part, origin = self._slice(i)
            # On one core the thread would only push this one's data out of the cache.
            yield i, score_slice(part, origin, self.metrics, ahead=several_cores)

    def _submit(self, executor: Executor, i: int) -> "Future[SliceScores | Exception]":
        part, origin = self._slice(i)
        part.path = part.path.absolute()  # as workers may run in another folder
        return executor.submit(score_slice, part, origin, self.metrics)

    def _run_on(
        self, executor: Executor, left: Sequence[int]
    ) -> Iterator[tuple[int, SliceScores | Exception]]:
        """Yield number and result of every task that is wanted, as they come."""
        pending: dict[Future[SliceScores | Exception], int] = {}
        try:
            for i in left:
                pending[self._submit(executor, i)] = i
            while pending:
                for future in as_completed(list(pending)):
                    n_failed = len(self.failed)
                    i = pending.pop(future)
                    try:
                        result = future.result()
                    except Exception as error:
                        if not is_lost(error):
                            raise
                        pending[self._submit(executor, i)] = i
                        continue
                    yield i, result
                    if len(self.failed) > n_failed:
                        # Not every executor says so of tasks that are cancelled: they are not waited for.
                        for other in [other for other, j in pending.items() if self.unwanted(j)]:
                            if other.cancel():
                                del pending[other]
                        break
        except BrokenExecutor:
            pending.clear()  # it ends them itself, and would never exit if it met one that is cancelled here
            raise
        finally:
            for future in pending:
                future.cancel()


def _tasks(number: int, store: PairStore) -> Iterator[Task]:
    height, width = store.shape
    length = max(1, _TASK_PIXELS // (height * width))
    for start in range(0, len(store), length):
        yield Task(number, start, min(start + length, len(store)))


def _rehearse(stores: Iterable[PairStore], metrics: Sequence[Metric], *, compiling: bool) -> None:
    """Try every metric once on every size of map: mistakes show before hours of work, not after.

    Maps of NaN cost next to nothing; others compile the kernels, so that workers find them in the
    cache instead of all compiling at once. Such maps are nobody's: a metric that fails on them has
    failed only if it does so on a pair of the file too.
    """
    by_shape: dict[tuple[int, int], list[PairStore]] = {}
    for store in stores:
        by_shape.setdefault(store.shape, []).append(store)
    for shape, alike in by_shape.items():
        ramp = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(1, *shape)
        if not compiling:
            ramp[:] = np.nan
        try:
            score_block(ramp, ramp[:, ::-1, ::-1], metrics, [-1], "", np.empty((1, len(metrics))))
        except Exception:
            _score_first(alike, metrics)


def _score_first(stores: Iterable[PairStore], metrics: Sequence[Metric]) -> None:
    """Score the first pair of the files that can be read."""
    for store in stores:
        for at in np.flatnonzero(store.complete)[:1].tolist():
            try:
                unperturbed, perturbed, unreadable = store.read_block(at, at + 1)
            except (FormatError, OSError):  # which is said when the file is scored
                continue
            if not unreadable[0]:
                where, values = f" of {store.path}", np.empty((1, len(metrics)))
                score_block(unperturbed, perturbed, metrics, store.sample[at : at + 1], where, values)
                return
