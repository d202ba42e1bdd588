"""From pair files to the table of scores."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from .. import __version__
from ..errors import FormatError
from ..metrics.registry import Metrics, as_metrics
from ..pairfile.attributes import is_text
from ..pairfile.store import PairStore
from ..tables.columns import METRICS
from ..tables.outputs import check_scores
from .assembly import file_columns, metric_columns, sample_columns, with_sample_statuses
from .journal import Journal
from .runs import Failure, Run, Source
from .worker import Origin


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
        run = Run(sources, chosen, stop_at_bad_samples=on_bad == "stop", journal=journal)
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
                **file_columns(sound),
                **sample_columns(sound),
                "status": with_sample_statuses([s for result in done for s in result.status], sound),
                **metric_columns(np.concatenate([result.values for result in done]), chosen),
            }
        )
        scores.attrs[METRICS] = list(map(str, chosen))
        if journal is not None:
            slices = [(run.keys[i], len(run.done[i].status), run.done[i].signed) for i in tasks]
            journal.finish(scores, slices, files)
    return scores, failures


def _open_all(
    paths: Sequence[Path], open_store: Callable[[Path], PairStore]
) -> tuple[list[Source], list[Failure]]:
    """Open every file; return also what is wrong with any of them."""
    sources: list[Source] = []
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
        sources.append(Source(store, origin, identity))
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
