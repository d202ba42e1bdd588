"""From pair files to the table of scores."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path

import pandas as pd

from .. import __version__
from ..errors import FormatError
from ..metrics.registry import Metric, Metrics, as_metrics
from ..pairfile.format import REFERENCES
from ..pairfile.store import PairStore
from ..tables.files import check_output
from ..tables.outputs import check_scores
from .assembly import scores_table
from .failures import Failure, check_name
from .journal import Journal
from .progress import Progress
from .runs import TASK_PIXELS, PairFile, Run
from .worker import BLOCK_PIXELS, Origin

# Opens files in order; of a file that cannot be opened, its error takes the place of the store.
OpenEach = Callable[[Iterable[Path]], Iterator[PairStore | Exception]]


def evaluate(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    metrics: Metrics,
    *,
    against: str | None = None,
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
    against
        What the perturbed maps are scored against: ``"unperturbed"`` (the default), or ``"target"``, the
        map that the attack aims at, which then takes the place of the unperturbed map in every metric.
        The table has a column ``against`` where this is given.
    executor
        Any ``concurrent.futures.Executor``: a process pool (start it with ``spawn``), or Dask's
        ``client.get_executor()``, whose workers must see the same paths. None scores in this
        process. The table does not depend on it.
    progress
        Show a progress bar on stderr if that is a terminal, then the speed, and say what top-k sets
        mean if maps have negative values.
    output
        Also write the table here, as :func:`write_scores` does. Until the table is complete, what has
        been scored is kept beside it in ``NAME.part``: a run that is interrupted or killed loses only
        the slices in progress. A table of the same metrics and files is replaced.
    resume
        Reuse the slices that an earlier run with the same `output` scored with the same metrics
        (their texts and the version of this package count, not the code of your own metrics) in
        files that have not changed since. The table is the same as without interruption.
    overwrite
        Also replace a finished table of other metrics or files.

    Returns
    -------
    DataFrame
        A row per sample, in the order of the files and of the samples in them: ``file``, the
        attributes of the files as categorical columns (dataset, model, training, explanation, attack,
        eps, eps_norm, severity, attack_k, attack_w, then `against` if it is given, then all others except
        those that record how a file was made, such as command and versions), ``sample``, name, label and
        predictions where stored, ``status``, and a column per metric. An attribute with the name of
        another column is left out, with a warning. Samples that are incomplete or fail their checksum
        are rows of NaN with the status ``incomplete`` or ``checksum``; the number of a sample that was
        never written is -1, and the label and number of a damaged sample may be damaged too.

    Raises
    ------
    FormatError
        If a file cannot be read, changes while it is scored, or has no target to score against. All
        files are opened, and all metrics tried on every size of map, before the first sample is scored.
    ValueError
        If a metric does not fit the maps of a file, a file is given twice, `against` is another word, or
        `output` is one of the files.
    BlockingIOError
        If another process is writing `output`.
    FileExistsError
        If `output` is not a table of scores, or is a table of other metrics or files and neither `resume`
        nor `overwrite` is set, or one against another map without `overwrite`; or if an unfinished run has
        left scores and `resume` is not set.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> from lensmetrics.demo import DATA
    >>> files = sorted(DATA.glob("*-gradient-topk.h5"))  # two files of 64 pairs
    >>> scores = lm.evaluate(files, ["topk_intersection(k=100)", "kendall"])
    >>> scores.loc[[0, 1, 64, 65], ["training", "sample", "status", "topk_intersection(k=100)"]]
       training  sample status  topk_intersection(k=100)
    0   natural       0     ok                      0.29
    1   natural       1     ok                      0.39
    64      pgd       0     ok                      0.51
    65      pgd       1     ok                      0.65
    """
    chosen, files = as_metrics(metrics), as_paths(paths)
    if against not in (None, *REFERENCES):
        raise ValueError(f"against must be {' or '.join(map(repr, REFERENCES))}, got {against!r}")
    if output is not None:
        check_table_target(output, files, chosen, against=against, resuming=resume, replacing=overwrite)
    scores, _ = score_files(
        files,
        chosen,
        against=against,
        executor=executor,
        progress=Progress(shown=progress),
        output=output,
        resume=resume,
        stop_at_bad_samples=False,
        raise_failures=True,
    )
    assert scores is not None
    return scores


def score_files(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    metrics: Metrics,
    *,
    against: str | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    stop_at_bad_samples: bool = True,
    raise_failures: bool = False,
    open_each: OpenEach | None = None,
    task_pixels: int = TASK_PIXELS,
    block_pixels: int = BLOCK_PIXELS,
) -> tuple[pd.DataFrame | None, list[Failure]]:
    """Score what can be scored: :func:`evaluate` that continues after a bad file.

    Parameters
    ----------
    output
        The table to write, which :func:`check_table_target` allows.
    against
        One of `REFERENCES`, which the table then has as a column; None scores against the unperturbed maps.
    progress
        Receives the progress; None reports nothing.
    stop_at_bad_samples
        Whether a bad sample (status ``incomplete`` or ``checksum``) ends the work on its file, which is
        then left out as a whole, as is a file that cannot be read or that changes. Otherwise it is a
        row of NaN.
    raise_failures
        Raise an error that names the files that fail, instead of returning them.
    open_each
        Opens the files in order; None opens them in this process.
    task_pixels, block_pixels
        About how many pixels of each of the two maps a task has, and a worker reads at once.

    Returns
    -------
    scores
        The table of the files that did not fail; None, and nothing is written, if all failed.
    failures
        The files that failed, in their order, each with its error, which names the first bad sample.
    """
    chosen = as_metrics(metrics)
    files = as_paths(paths)
    with contextlib.ExitStack() as stack:
        journal = None if output is None else stack.enter_context(Journal(output, resume=resume))
        pair_files, failures = _open_all(files, open_each or _open_here, against or REFERENCES[0])
        if raise_failures:
            _raise(failures)
        run = Run(
            pair_files,
            chosen,
            stop_at_bad_samples=stop_at_bad_samples,
            journal=journal,
            against=against or REFERENCES[0],
            task_pixels=task_pixels,
            block_pixels=block_pixels,
        )
        run.score(executor, progress or Progress(shown=False))
        failures = _in_order(files, failures + run.failures())
        if raise_failures:
            _raise(failures)
        sound = [file.store for i, file in enumerate(pair_files) if i not in run.failed]
        if not sound:
            if journal is not None:
                journal.discard()
            return None, failures
        tasks = [i for i, task in enumerate(run.tasks) if task.file not in run.failed]
        scores = scores_table(sound, [run.done[i] for i in tasks], chosen, against)
        if journal is not None:
            slices = [(run.keys[i], len(run.done[i].status), run.done[i].signed) for i in tasks]
            journal.finish(scores, slices, files)
    return scores, failures


def as_paths(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return one path or several as a list."""
    return [Path(path) for path in ([paths] if isinstance(paths, str | os.PathLike) else paths)]


def check_table_target(
    output: str | os.PathLike[str],
    files: Sequence[Path],
    metrics: Sequence[Metric],
    *,
    against: str | None = None,
    resuming: bool,
    replacing: bool,
) -> None:
    """Refuse an output that cannot be written, or that would replace what it should not."""
    check_output(output)
    check_scores(output, files, metrics, against=against, resuming=resuming, replacing=replacing)


def _open_here(paths: Iterable[Path]) -> Iterator[PairStore | Exception]:
    for path in paths:
        try:
            yield PairStore(path)
        except (FormatError, OSError) as error:
            yield error


def _open_all(
    paths: Sequence[Path], open_each: OpenEach, against: str
) -> tuple[list[PairFile], list[Failure]]:
    """Open every file; return also what is wrong with any of them."""
    pair_files: list[PairFile] = []
    failures: list[Failure] = []
    named: list[Path] = []
    for path in paths:
        try:
            check_name(path)
            named.append(path)
        except FormatError as error:
            failures.append(Failure(path, error))
    states: list[os.stat_result | None] = []
    seen: set[tuple[int, int]] = set()
    host = socket.gethostname()
    opened = open_each(_recorded(named, states))
    for i, (path, store) in enumerate(zip(named, opened, strict=True)):
        try:
            if isinstance(store, Exception):
                raise store
            store.slice(0, 0, against=against)  # refuses a file that does not have it
            found = states[i] or path.stat()
        except (FormatError, OSError) as error:
            failures.append(Failure(path, error))
            continue
        if (found.st_dev, found.st_ino) in seen:
            failures.append(Failure(path, ValueError(f"{path} was given more than once; it is scored once")))
            continue
        seen.add((found.st_dev, found.st_ino))
        origin = Origin(found.st_size, found.st_mtime_ns, host, __version__)
        # A file that was written to since has another change time, even if its old time was restored.
        identity = found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        pair_files.append(PairFile(store, origin, identity))
    if not pair_files and not failures:
        raise ValueError("no pair files given: name at least one")
    return pair_files, _in_order(paths, failures)


def _in_order(paths: Sequence[Path], failures: Sequence[Failure]) -> list[Failure]:
    """Sort failures by the place of their files; of a file given more than once, the last counts."""
    places = {path: i for i, path in enumerate(paths)}
    return sorted(failures, key=lambda failure: places[failure.path])


def _recorded(paths: Iterable[Path], states: list[os.stat_result | None]) -> Iterator[Path]:
    """Yield paths to be opened, once the state of each is recorded: it may be replaced afterwards."""
    for path in paths:
        try:
            states.append(path.stat())
        except OSError:  # opening it says what is wrong
            states.append(None)
        yield path


def _raise(failures: Sequence[Failure]) -> None:
    if len(failures) == 1:
        raise failures[0].error
    if failures:
        lines = "".join(f"\n  {failure.error}" for failure in failures)
        raise FormatError(f"{len(failures)} of the files cannot be scored:{lines}")
