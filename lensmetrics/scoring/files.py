"""Scoring many pairs: arrays in memory, or files, alone or on any executor."""

import contextlib
import itertools
import os
import socket
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from tqdm import tqdm

from .. import __version__
from ..errors import BadSample, FormatError
from ..messages import say
from ..metrics.registry import Metric, Metrics, as_metrics
from ..pairfile.attributes import is_text
from ..pairfile.slices import Slice
from ..pairfile.store import PairStore
from ..pairs.arrays import Maps, aligned, as_numpy, is_data_array
from ..processes import available_cores
from ..tables.columns import CONDITIONS, METRICS, PROVENANCE, one_kind, skipped_attributes
from ..tables.outputs import check_scores
from .journal import Journal, slice_key
from .worker import Origin, SliceScores, score_block, score_slice

# A task is long beside what it costs to send, and short beside a whole study.
_TASK_PIXELS = 2**23


class _Task(NamedTuple):
    """A slice of the samples of one file, by the number of the file."""

    file: int
    start: int
    stop: int


class _Source(NamedTuple):
    """A file to be scored."""

    store: PairStore
    origin: Origin
    identity: tuple[int, ...]


class Failure(NamedTuple):
    """A file that is not in the table, and why."""

    path: Path
    error: Exception


def score(unperturbed: Maps, perturbed: Maps, metrics: Metrics) -> pd.DataFrame:
    """Score pairs of maps that are in memory.

    Parameters
    ----------
    unperturbed, perturbed
        Maps (sample, height, width), arrays, tensors or DataArrays with the dimensions sample, y and x in
        any order. (sample, 1, height, width) is good too: one channel is dropped, never reduced. Masked
        elements count as NaN. Memory-mapped arrays are read a pair at a time.
    metrics
        One metric or several, as texts such as ``"lens_recall(k=1000,w=1)"`` or from
        :func:`get_metric` or :func:`lens_suite`.

    Returns
    -------
    DataFrame
        A row per pair: ``sample`` (the coordinate of that name where there is one, else counted
        from 0), ``status`` (``ok``, or what made values undefined or doubtful, see
        :attr:`MapPair.status`) and a column per metric, named by its text.

    Raises
    ------
    ValueError
        If the shapes are not equal and three-dimensional, the dimensions or coordinates of DataArrays
        differ, or a metric does not fit the maps.
    """
    chosen = as_metrics(metrics)
    unperturbed, perturbed = aligned(unperturbed, perturbed)
    u, p = _as_stack(unperturbed, "unperturbed"), _as_stack(perturbed, "perturbed")
    if u.shape != p.shape:
        msg = f"the maps must have one shape, but 'unperturbed' is {u.shape} and 'perturbed' is {p.shape}"
        raise ValueError(msg)
    named = (_sample_of(maps) for maps in (unperturbed, perturbed))
    sample = next((values for values in named if values is not None), np.arange(len(u)))
    values = np.empty((len(u), len(chosen)))
    status, _ = score_block(u, p, chosen, sample, "", values)
    scores = pd.DataFrame({"sample": sample, "status": status, **_metric_columns(values, chosen)})
    scores.attrs[METRICS] = list(map(str, chosen))
    return scores


def evaluate(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    metrics: Metrics,
    *,
    executor: Executor | None = None,
    progress: bool = False,
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> pd.DataFrame:
    """Score the pairs stored in files.

    Parameters
    ----------
    paths
        One pair file or several.
    metrics
        As for :func:`score`.
    executor
        Any ``concurrent.futures.Executor``: a process pool (start it with ``spawn``), or Dask's
        ``client.get_executor()``, whose workers must see the same paths. None scores in this
        process. The table does not depend on it.
    progress
        Say on stderr how fast it went and what top-k means where maps hold negative values, and
        show a bar meanwhile where that is a terminal.
    output
        Also write the table here, as :func:`write_scores` does. What is scored so far is kept
        beside it meanwhile, in ``NAME.part``: a run that is interrupted in whatever way loses the
        slices in work. A table of the same metrics and files is replaced.
    resume
        Take over the slices that an earlier run with the same `output` scored by the same metrics
        (their texts and the version of this package count, not the code of a metric of your own) in
        files that nobody has touched since. The table is the one that scoring everything gives.
    overwrite
        Also replace a finished table of other metrics or files.

    Returns
    -------
    DataFrame
        A row per sample, in the order of the files and of the samples in them: ``file``, the
        attributes that the files have (dataset, model, training, explanation, attack, eps, eps_norm,
        attack_k, attack_w, then all others but those that say how a file came about, such as
        command and versions) as categorical columns, ``sample``, name, label and predictions where
        stored, ``status``, and a column per metric. An attribute with the name of another column is
        left out, with a warning. Samples that are not complete and samples
        that fail their checksum are rows of NaN with the status ``incomplete`` or ``checksum``;
        the number of a sample that was never written is -1, and what a damaged one says of itself
        may be damaged too.

    Raises
    ------
    FormatError
        If a file cannot be read, or changes meanwhile. All files are opened, and all metrics tried
        on every size of map, before the first sample is scored.
    ValueError
        If a metric does not fit the maps of a file, a file is given twice, or `output` is one of
        the files.
    BlockingIOError
        If another process is writing `output`.
    FileExistsError
        If `output` is no table of scores, or one of other metrics or files and neither `resume`
        nor `overwrite` is set; or an unfinished run has left what it scored and `resume` is not set.
    """
    scores, _ = score_files(
        paths,
        metrics,
        executor=executor,
        progress=progress,
        output=output,
        resume=resume,
        overwrite=overwrite,
        on_bad="raise",
    )
    assert scores is not None
    return scores


def score_files(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    metrics: Metrics,
    *,
    executor: Executor | None = None,
    progress: bool = False,
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    on_bad: Literal["skip", "stop", "raise"] = "stop",
    open_store: Callable[[Path], PairStore] = PairStore,
) -> tuple[pd.DataFrame | None, list[Failure]]:
    """Score what can be scored: :func:`evaluate`, which does not end with the first bad file.

    Parameters
    ----------
    on_bad
        A file that cannot be read, or changes meanwhile, is left out as a whole, and the others
        are scored; with ``raise`` it is an error. A bad sample (status ``incomplete`` or
        ``checksum``) is a row of NaN with ``skip`` and ``raise``; with ``stop`` it ends the work on
        its file, which is left out as a whole.
    open_store
        Opens each file.

    Returns
    -------
    scores
        The table of the files that did not fail, None (and nothing is written) where all did.
    failures
        The files that did, each with what was wrong, the first bad sample with ``stop``.
    """
    chosen = as_metrics(metrics)
    files = [Path(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]
    with contextlib.ExitStack() as stack:
        journal = None
        if output is not None:
            check_scores(output, files, chosen, replacing=resume or overwrite)
            journal = stack.enter_context(Journal(output, resume=resume))
        sources, failures = _open_all(files, open_store)
        if on_bad == "raise":
            _raise(failures)
        run = _Run(sources, chosen, stop_at_bad_samples=on_bad == "stop", journal=journal)
        run.score(executor, progress=progress)
        failures += run.failures()
        if on_bad == "raise":
            _raise(failures)
        sound = [source.store for i, source in enumerate(sources) if i not in run.failed]
        if not sound:
            if journal is not None:
                journal.discard()
            return None, failures
        tasks = [i for i, task in enumerate(run.tasks) if task.file not in run.failed]
        done = [run.done[i] for i in tasks]
        scores = pd.DataFrame(
            {
                **_file_columns(sound),
                **_sample_columns(sound),
                "status": _with_sample_statuses([s for result in done for s in result.status], sound),
                **_metric_columns(np.concatenate([result.values for result in done]), chosen),
            }
        )
        scores.attrs[METRICS] = list(map(str, chosen))
        if journal is not None:
            slices = [(run.keys[i], len(run.done[i].status), run.done[i].signed) for i in tasks]
            journal.finish(scores, slices, files)
    return scores, failures


class _Run:
    """The tasks of all files, what became of those that are done, and which files have failed."""

    def __init__(
        self,
        sources: Sequence[_Source],
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

    def _slice(self, i: int) -> tuple[Slice, Origin]:
        """Return the samples of a task, and the file as it must be found."""
        file, start, stop = self.tasks[i]
        store, origin, _ = self.sources[file]
        return store.slice(start, stop), origin

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
        part = replace(part, path=part.path.absolute())  # as workers may run in another folder
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
                        if not _is_lost(error):
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


def _is_lost(error: Exception) -> bool:
    """Whether Dask took a result apart as if it were an error: the worker that held it died just then."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = None if trace is None else trace.tb_frame.f_globals.get("__name__")
    return where == "distributed.cfexecutor" and "unpack" in str(error)


def _sample_of(maps: Maps) -> npt.NDArray[Any] | None:
    """Return the coordinate along the first dimension, None where there is none."""
    if not is_data_array(maps) or not maps.ndim or maps.dims[0] not in maps.coords:
        return None
    values: npt.NDArray[Any] = maps.coords[maps.dims[0]].values
    return values


def _as_stack(maps: Maps, name: str) -> npt.NDArray[Any]:
    """Return the maps as an array (sample, height, width)."""
    if is_data_array(maps) and not {*maps.dims} <= {"sample", "channel", "y", "x"}:
        msg = (
            f"'{name}' has the dimensions {maps.dims}, which do not say what is a sample: rename them to "
            "sample, y and x, in any order"
        )
        raise ValueError(msg)
    array = as_numpy(maps, f"array '{name}'")
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 3:
        hint = "for a single pair use MapPair, and reduce channels first"
        if array.ndim == 2:
            hint += "; of (sample, feature) write array[:, None]: windows then run along the features"
        elif array.ndim == 4:
            hint += (
                ": abs(maps).sum(axis=1) for (sample, channel, height, width), axis=-1 where they come last"
            )
        msg = f"'{name}' must have three dimensions (sample, height, width), got shape {array.shape}; {hint}"
        raise ValueError(msg)
    return array


def _tasks(number: int, store: PairStore) -> Iterator[_Task]:
    height, width = store.shape
    length = max(1, _TASK_PIXELS // (height * width))
    for start in range(0, len(store), length):
        yield _Task(number, start, min(start + length, len(store)))


def _open_all(
    paths: Sequence[Path], open_store: Callable[[Path], PairStore]
) -> tuple[list[_Source], list[Failure]]:
    """Open every file; return also what is wrong with any of them."""
    sources: list[_Source] = []
    failures: list[Failure] = []
    seen: set[tuple[int, int]] = set()
    host = socket.gethostname()
    for path in paths:
        try:
            if not is_text(str(path)):
                msg = f"{str(path)!a} has a name that is not UTF-8, which no table can hold: rename it"
                raise FormatError(msg)
            found = path.stat() if path.exists() else None  # before it is read: it may be replaced meanwhile
            store = open_store(path)
            found = found or path.stat()
        except (FormatError, OSError) as error:
            failures.append(Failure(path, error))
            continue
        if (found.st_dev, found.st_ino) in seen:
            failures.append(
                Failure(path, ValueError(f"{path} is given twice, and taken once; give every file once"))
            )
            continue
        seen.add((found.st_dev, found.st_ino))
        origin = Origin(found.st_size, found.st_mtime_ns, host, __version__)
        # A file that was written to since, even with its old time put back, has another change time.
        identity = found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        sources.append(_Source(store, origin, identity))
    if not sources and not failures:
        msg = "no pair files given: name at least one"
        raise ValueError(msg)
    return sources, failures


def _raise(failures: Sequence[Failure]) -> None:
    if len(failures) == 1:
        raise failures[0].error
    if failures:
        lines = "".join(f"\n  {failure.error}" for failure in failures)
        raise FormatError(f"{len(failures)} of the files cannot be scored:{lines}")


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


def _with_sample_statuses(statuses: Sequence[str], stores: Sequence[PairStore]) -> list[str]:
    """Join what the files say of their samples to the statuses of the scores."""
    joined = list(statuses)
    for token in ("not_attacked", "label_changed"):
        flags = np.concatenate([getattr(store, token) for store in stores])
        for i in np.flatnonzero(flags).tolist():
            if joined[i] not in ("incomplete", "checksum"):
                joined[i] = ";".join(sorted({*joined[i].split(";"), token} - {"ok"}))
    return joined


def _file_columns(stores: Sequence[PairStore]) -> dict[str, pd.Categorical]:
    """File and condition attributes, a value per sample."""
    rows = np.repeat(np.arange(len(stores)), [len(store) for store in stores])
    columns = {"file": _categorical([str(store.path) for store in stores], rows)}
    for name in _conditions(stores):
        values = [store.attrs.get(name) for store in stores]
        if any(value is not None for value in values):
            columns[name] = _categorical(values, rows)
    return columns


def _conditions(stores: Sequence[PairStore]) -> list[str]:
    """Return the attributes that become columns: all but provenance and names that tables use."""
    skipped: dict[str, list[Path]] = {}
    for store in stores:
        for name in skipped_attributes(store.attrs):
            skipped.setdefault(name, []).append(store.path)
    for name, paths in skipped.items():
        more = f" and {len(paths) - 1} more files" if len(paths) > 1 else ""
        warnings.warn(
            f"{paths[0]}{more}: the attribute {name!r} is left out of the table, which uses that name for a "
            "column of its own; give it another name",
            stacklevel=2,
        )
    found = dict.fromkeys([*CONDITIONS, *(name for store in stores for name in store.attrs)])
    return [name for name in found if name not in PROVENANCE and name not in skipped]


def _categorical(values: Sequence[Any], rows: npt.NDArray[np.intp]) -> pd.Categorical:
    """Return the values of the files that the rows name; None is a missing value."""
    plain = one_kind(values)
    categories = sorted({value for value in plain if not pd.isna(value)})
    code = {value: i for i, value in enumerate(categories)}
    codes = np.array([code.get(value, -1) for value in plain])
    found: pd.Categorical = pd.Categorical.from_codes(codes[rows].tolist(), categories=pd.Index(categories))
    return found


def _sample_columns(stores: Sequence[PairStore]) -> dict[str, Any]:
    """Sample number and, where a file stores them, name, label and predictions (missing: NA)."""
    columns: dict[str, Any] = {"sample": np.concatenate([store.sample for store in stores])}
    names = [_names(store) for store in stores]
    if any(found is not None for found in names):
        texts = [
            [None] * len(store) if found is None else found
            for store, found in zip(stores, names, strict=True)
        ]
        columns["name"] = list(itertools.chain(*texts))
    for name in ("label", "prediction", "prediction_perturbed"):
        found = [getattr(store, name) for store in stores]
        if all(values is None for values in found):
            continue
        values, missing = [], []
        for store, stored in zip(stores, found, strict=True):
            values.append(np.zeros(len(store), np.int64) if stored is None else stored)
            missing.append(np.ones(len(store), np.bool_) if stored is None else ~store.complete)
        columns[name] = pd.arrays.IntegerArray(np.concatenate(values), np.concatenate(missing))
    return columns


def _names(store: PairStore) -> list[str | None] | None:
    """Return the names of the samples, None for one that was never finished, or for a file without names."""
    names: npt.NDArray[Any] | None = store.name
    if names is None:
        return None
    return [str(name) if known else None for name, known in zip(names, store.complete, strict=True)]


def _metric_columns(
    values: npt.NDArray[np.float64], metrics: Sequence[Metric]
) -> dict[str, npt.NDArray[np.float64]]:
    return {str(metric): values[:, j] for j, metric in enumerate(metrics)}
