"""Scoring many pairs: arrays in memory, or files, alone or on any executor."""

import itertools
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from tqdm import tqdm

from .columns import CONDITIONS
from .pairs import MapPair
from .registry import Metric, as_metrics
from .store import FormatError, PairStore

Metrics = str | Metric | Sequence[str | Metric]
Maps = npt.ArrayLike | xr.DataArray

# A task is long beside what it costs to send, and short beside a whole study.
_TASK_PIXELS = 2**23
# A block is read at once; it should still be in the cache when its last pair is scored.
_BLOCK_PIXELS = 2**18


class _Task(NamedTuple):
    """A slice of the samples of one file."""

    path: Path
    start: int
    stop: int


# Position of the first sample, unperturbed and perturbed maps, and what keeps each from being scored.
_Block = tuple[int, npt.NDArray[Any], npt.NDArray[Any], list[str]]


class _Scores(NamedTuple):
    """What a task returns: the values (sample, metric) and the statuses."""

    values: npt.NDArray[np.float64]
    status: list[str]


def score(unperturbed: Maps, perturbed: Maps, metrics: Metrics) -> pd.DataFrame:
    """Score pairs of maps that are in memory.

    Parameters
    ----------
    unperturbed, perturbed
        Maps (sample, height, width), arrays or DataArrays with the dimensions sample, y and x in
        any order. Memory-mapped arrays are read a pair at a time.
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
        If the shapes are not equal and three-dimensional, the sample coordinates differ, or a
        metric does not fit the maps.
    """
    chosen = as_metrics(metrics)
    u, sample_u = _as_stack(unperturbed, "unperturbed")
    p, sample_p = _as_stack(perturbed, "perturbed")
    if u.shape != p.shape:
        msg = f"the maps must have one shape, but 'unperturbed' is {u.shape} and 'perturbed' is {p.shape}"
        raise ValueError(msg)
    if sample_u is not None and sample_p is not None and not np.array_equal(sample_u, sample_p):
        msg = "the sample coordinates of 'unperturbed' and 'perturbed' differ; align them first"
        raise ValueError(msg)
    sample = next((s for s in (sample_u, sample_p) if s is not None), np.arange(len(u)))
    values = np.empty((len(u), len(chosen)))
    status = _score_block(u, p, chosen, sample, "", values)
    return pd.DataFrame({"sample": sample, "status": status, **_metric_columns(values, chosen)})


def evaluate(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    metrics: Metrics,
    *,
    executor: Executor | None = None,
    progress: bool = False,
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
        Show a bar on stderr, unless that is not a terminal.

    Returns
    -------
    DataFrame
        A row per sample, in the order of the files and of the samples in them: ``file``, the
        condition attributes that the files have (dataset, model, training, explanation, attack,
        eps, attack_k, attack_w) as categorical columns, ``sample``, label and predictions where
        stored, ``status``, and a column per metric. Samples that are not complete and samples
        that fail their checksum are rows of NaN with the status ``incomplete`` or ``checksum``;
        the number of a sample that was never written is -1, and what a damaged one says of itself
        may be damaged too.

    Raises
    ------
    FormatError
        If a file cannot be read. All files are opened, and all metrics tried on every size of
        map, before the first sample is scored.
    ValueError
        If a metric does not fit the maps of a file, or a file is given twice.
    """
    chosen = as_metrics(metrics)
    stores = _open_all(paths)
    tasks = [task for store in stores for task in _tasks(store)]
    if len(tasks) < 2:
        executor = None
    _rehearse(stores, chosen, compiling=executor is not None)
    scores: list[_Scores | None] = [None] * len(tasks)
    with tqdm(
        total=sum(map(len, stores)), unit="pair", desc="scoring", disable=None if progress else True
    ) as bar:
        results = _run_here(tasks, stores, chosen) if executor is None else _run_on(executor, tasks, chosen)
        for i, result in results:
            scores[i] = result
            bar.update(len(result.status))
    done = cast("list[_Scores]", scores)
    values = np.concatenate([result.values for result in done])
    status = [status for result in done for status in result.status]
    return pd.DataFrame(
        {
            **_file_columns(stores),
            **_sample_columns(stores),
            "status": status,
            **_metric_columns(values, chosen),
        }
    )


def _as_stack(maps: Maps, name: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """Return the maps as an array (sample, height, width), and their sample coordinate."""
    sample = None
    if isinstance(maps, xr.DataArray):
        if {"sample", "y", "x"} == set(maps.dims):
            maps = maps.transpose("sample", "y", "x")
        if maps.ndim and maps.dims[0] in maps.coords:
            sample = maps.coords[maps.dims[0]].values
        maps = maps.data
    array = maps if isinstance(maps, np.ndarray) else np.asarray(maps)
    if array.ndim != 3:
        hint = "for a single pair use MapPair, and reduce channels first, as in abs(maps).sum(axis=1)"
        msg = f"'{name}' must have three dimensions (sample, height, width), got shape {array.shape}; {hint}"
        raise ValueError(msg)
    return array, sample


def _score_block(
    unperturbed: npt.NDArray[Any],
    perturbed: npt.NDArray[Any],
    metrics: Sequence[Metric],
    sample: Sequence[int] | npt.NDArray[Any],
    where: str,
    values: npt.NDArray[np.float64],
    unreadable: Sequence[str] | None = None,
) -> list[str]:
    """Write the scores of all pairs into `values` (sample, metric) and return the statuses."""
    statuses = []
    calls = [partial(metric.function, **metric.params) for metric in metrics]
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
                scores.append(call(pair))
        except Exception as error:
            what = "" if scores is None else f" {metrics[len(scores)]}"
            error.add_note(f"while scoring{what} on sample {sample[i]}{where}")
            raise
        values[i] = scores
        statuses.append(pair.status)
    return statuses


def _run_task(task: _Task, metrics: Sequence[Metric]) -> _Scores:
    """Score one slice of one file, in whichever process this is."""
    store = PairStore(task.path)
    return _score_slice(task, metrics, store, _blocks(task, store))


def _score_slice(
    task: _Task, metrics: Sequence[Metric], store: PairStore, blocks: Iterator[_Block]
) -> _Scores:
    values = np.empty((task.stop - task.start, len(metrics)))
    status: list[str] = []
    for start, unperturbed, perturbed, unreadable in blocks:
        stop = start + len(unperturbed)
        rows = values[start - task.start : stop - task.start]
        sample = store.sample[start:stop]
        status += _score_block(unperturbed, perturbed, metrics, sample, f" of {task.path}", rows, unreadable)
    return _Scores(values, status)


def _blocks(task: _Task, store: PairStore) -> Iterator[_Block]:
    """Yield the blocks of a slice; each lives until the one after the next is asked for."""
    height, width = store.shape
    length = min(max(1, _BLOCK_PIXELS // (height * width)), task.stop - task.start)
    buffers = itertools.cycle([store.buffer(length), store.buffer(length)])
    for start in range(task.start, task.stop, length):
        stop = min(start + length, task.stop)
        yield start, *store.read_block(start, stop, buffer=next(buffers))


def _ahead(blocks: Iterator[_Block]) -> Iterator[_Block]:
    """Yield the same blocks, while a thread already reads and verifies the next."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = thread.submit(next, blocks, None)
            yield block


def available_cores() -> int:
    """Return how many cores this process may use: not all of a shared machine need be ours."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run_here(
    tasks: Sequence[_Task], stores: Sequence[PairStore], metrics: Sequence[Metric]
) -> Iterator[tuple[int, _Scores]]:
    """Yield the number and the scores of every task."""
    opened = {store.path: store for store in stores}
    several_cores = available_cores() > 1
    for i, task in enumerate(tasks):
        store = opened[task.path]
        blocks = _blocks(task, store)
        # On one core the thread would only push this one's data out of the cache.
        yield i, _score_slice(task, metrics, store, _ahead(blocks) if several_cores else blocks)


def _run_on(
    executor: Executor, tasks: Sequence[_Task], metrics: Sequence[Metric]
) -> Iterator[tuple[int, _Scores]]:
    """Yield the number and the scores of every task, as they come."""
    futures = {executor.submit(_run_task, task, metrics): i for i, task in enumerate(tasks)}
    try:
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BaseException:
        for future in futures:
            future.cancel()
        raise


def _tasks(store: PairStore) -> Iterator[_Task]:
    height, width = store.shape
    length = max(1, _TASK_PIXELS // (height * width))
    for start in range(0, len(store), length):
        yield _Task(store.path, start, min(start + length, len(store)))


def _open_all(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[PairStore]:
    """Open every file; whatever is wrong with any of them is said at once."""
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    stores = []
    problems: list[Exception] = []
    seen: set[tuple[int, int]] = set()
    for path in map(Path, paths):
        try:
            store, status = PairStore(path), path.stat()
        except (FormatError, OSError) as error:
            problems.append(error)
            continue
        if (status.st_dev, status.st_ino) in seen:
            problems.append(ValueError(f"{path} is given twice; give every file once"))
        seen.add((status.st_dev, status.st_ino))
        stores.append(store)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems)
        raise FormatError(f"{len(problems)} of the files cannot be scored:{lines}")
    if not stores:
        msg = "no pair files given: name at least one"
        raise ValueError(msg)
    return stores


def _rehearse(stores: Iterable[PairStore], metrics: Sequence[Metric], *, compiling: bool) -> None:
    """Try every metric once on every size of map: mistakes show before hours of work, not after.

    Maps of NaN cost next to nothing; others compile the kernels, so that workers find them in the
    cache instead of all compiling at once.
    """
    for shape, store in {store.shape: store for store in reversed(list(stores))}.items():
        ramp = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(1, *shape)
        if not compiling:
            ramp[:] = np.nan
        first = store.sample[:1]
        trial = np.empty((1, len(metrics)))
        _score_block(ramp, ramp[:, ::-1, ::-1], metrics, first, f" of {store.path}", trial)


def _file_columns(stores: Sequence[PairStore]) -> dict[str, pd.Categorical]:
    """File and condition attributes, a value per sample."""
    rows = np.repeat(np.arange(len(stores)), [len(store) for store in stores])
    columns = {"file": _categorical([str(store.path) for store in stores], rows)}
    for name in CONDITIONS:
        values = [store.attrs.get(name) for store in stores]
        if any(value is not None for value in values):
            columns[name] = _categorical(values, rows)
    return columns


def _categorical(values: Sequence[Any], rows: npt.NDArray[np.intp]) -> pd.Categorical:
    """Return the values of the files that the rows name; None is a missing value.

    Numbers stay numbers where all values are: a column of a table has one kind of value.
    """
    if not all(value is None or isinstance(value, int | float) for value in values):
        values = [None if value is None else str(value) for value in values]
    categories = sorted({value for value in values if not pd.isna(value)})
    code = {value: i for i, value in enumerate(categories)}
    codes = np.array([code.get(value, -1) for value in values])
    found: pd.Categorical = pd.Categorical.from_codes(codes[rows].tolist(), categories=pd.Index(categories))
    return found


def _sample_columns(stores: Sequence[PairStore]) -> dict[str, Any]:
    """Sample number and, where a file stores them, label and predictions (missing: NA)."""
    columns: dict[str, Any] = {"sample": np.concatenate([store.sample for store in stores])}
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


def _metric_columns(
    values: npt.NDArray[np.float64], metrics: Sequence[Metric]
) -> dict[str, npt.NDArray[np.float64]]:
    return {str(metric): values[:, j] for j, metric in enumerate(metrics)}
