"""The command ``lensmetrics``: one short function per subcommand.

What was asked for goes to stdout: tables, contents, verdicts on samples. Progress and messages go to
stderr; one that says why a file or the whole command failed begins with ``lensmetrics:``, in every
command. Exit status:

* 0: good.
* 1: something is wrong with what is in files, or with the machine: samples or files that cannot be
  read or fail their checksum, a full disk, a process that died.
* 2: what was typed cannot be done: wrong usage, unknown metrics, columns or statuses, inputs that do
  not exist (all are named, and nothing is begun), outputs that cannot be written, are inputs, or
  would replace something else.
* 130: interrupted.

Errors that no user can be blamed for are not caught: they end in a traceback. With the environment
variable ``LENSMETRICS_TRACEBACK`` set, all do. What the commands need is imported when they run, so
that help comes at once.
"""

import argparse
import atexit
import contextlib
import gc
import math
import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..disk import check_inputs
from ..errors import BadSample, FormatError
from ..messages import open_streams, printable, say
from ..processes import handling

if TYPE_CHECKING:
    import pandas as pd

    from ..metrics.registry import Metric
    from ..pairfile.store import PairStore
    from ..scoring.files import Failure

_WINDOWS = (1, 2, 3)
_PUBLISHED = (
    "lens_recall_published",
    "lens_precision_published",
    "topk_div_intersection_published",
    "lens_recall_div_published",
    "lens_precision_div_published",
)
# What makes a sample unreadable, as opposed to its scores undefined.
_FAILED = ("incomplete", "checksum")
_N_NAMED = 10
_DASK_SECONDS = 30
# Pairs with a recall of 1, which does not tell what chance reaches.
_N_READ_AGAIN = 20
# Numbers as they are usually written: no blanks, underscores, plus signs, leading zeros or words.
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*|(?=\.))(\.[0-9]+)?([eE][+-]?[0-9]+)?")
# Pair files of this size are scored in one or two seconds.
_FEW_BYTES = 2**27


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (default: the process's) and return the exit status."""
    atexit.register(_end_quickly)
    open_streams()
    arguments = _parser().parse_args(argv)
    try:
        with _terminable(), _warnings_in_words():
            status: int = arguments.run(arguments)
            print(end="", flush=True)
        return status
    except BrokenPipeError:
        # The reader of our output has gone; Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt as error:
        for line in ("lensmetrics: interrupted", *getattr(error, "__notes__", [])):
            say(line)
        return 130
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        if os.environ.get("LENSMETRICS_TRACEBACK"):
            traceback.print_exc()
        for line in (f"lensmetrics: {error}", *getattr(error, "__notes__", [])):
            say(line)
        return 1 if _is_about_a_file(error) else 2


def _end_quickly() -> None:
    """Spare Python a last visit to all its objects, which takes a third of a second, and a late Ctrl-C."""
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _is_about_a_file(error: Exception) -> bool:
    """Whether an error is about what is in files or the machine, and not about what was typed."""
    if isinstance(error, FileExistsError):
        return False
    return isinstance(error, (OSError, RuntimeError, FormatError))


@contextlib.contextmanager
def _typed() -> Iterator[None]:
    """Turn errors of files into such of usage: what is checked here is what was typed."""
    try:
        yield
    except OSError as error:
        raise _with_notes(ValueError(str(error)), error) from error


@contextlib.contextmanager
def _warnings_in_words() -> Iterator[None]:
    """Print warnings as other messages are, without the lines of code that they come from."""

    def show(message: Warning | str, *_: object, **__: object) -> None:
        say(f"lensmetrics: {message}")

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lensmetrics",
        description="Score how well stored attribution maps survive small perturbations of the input.",
    )
    parser.add_argument("--version", action="version", version=f"lensmetrics {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name: str, run: Any, summary: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        sub.set_defaults(run=run)
        return sub

    def exclude(sub: argparse.ArgumentParser, where: str = "") -> None:
        sub.add_argument(
            "--exclude",
            nargs="+",
            action="extend",
            default=[],
            metavar="STATUS",
            help=f"leave out samples with one of these statuses{where}, such as not_attacked",
        )

    sub = command("demo", _demo, "score the embedded example files and write scores.parquet and report.html")
    sub.add_argument(
        "-o", "--output", type=Path, default=Path(), metavar="DIR", help="where to write (default: here)"
    )

    sub = command("score", _score, "score the pairs in pair files and print a summary")
    sub.add_argument("files", nargs="+", type=Path, metavar="FILE", help="pair files (.h5)")
    sub.add_argument(
        "-o", "--output", type=Path, metavar="TABLE", help="write all scores here: .parquet, .csv or .csv.gz"
    )
    sub.add_argument(
        "--k",
        type=_integer,
        help="size of the top-k sets in pixels: takes the LENS suite for this k, with LENS recall and "
        "precision also adjusted for chance",
    )
    sub.add_argument(
        "--windows",
        type=_integer,
        nargs="+",
        metavar="W",
        help="window half-widths of the suite (default: 1 2 3)",
    )
    sub.add_argument(
        "--published",
        action="store_true",
        help="also score as the released code does, errors included: five metrics for --k and every window",
    )
    sub.add_argument(
        "-m",
        "--metric",
        nargs="+",
        action="extend",
        default=[],
        metavar="METRIC",
        help='further metrics, such as "lens_kendall(w=1)"; see lensmetrics metrics',
    )
    sub.add_argument(
        "--workers",
        type=_integer,
        metavar="N",
        help="processes to score with (default: one per core, or 1 for less than 128 MB)",
    )
    sub.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="score on the workers of the Dask scheduler at this address, such as tcp://host:8786",
    )
    sub.add_argument(
        "--resume",
        action="store_true",
        help="take over what an interrupted run with the same -o has scored, and what a finished Parquet "
        "table holds; what has changed since (files, metrics, version) is scored again",
    )
    sub.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a finished table of other metrics or files (default: refuse)",
    )
    sub.add_argument(
        "--on-bad",
        choices=("skip", "stop"),
        default="stop",
        help="what a bad sample does, incomplete or failing its checksum: stop ends the work on its "
        "file and leaves that out of the table (default), skip gives it NaN and its status and scores the "
        "rest; either way other files go on, what failed is listed at the end, and the exit status is 1",
    )

    exclude(sub, " from the summary, not from the table")

    sub = command(
        "summarize", _summarize, "print mean, interval and counts for each condition of a table of scores"
    )
    sub.add_argument("scores", type=Path, metavar="TABLE", help="a table that score wrote")
    sub.add_argument(
        "--by",
        nargs="+",
        metavar="COLUMN",
        help="columns that tell the groups apart (default: those that vary)",
    )
    exclude(sub)
    sub.add_argument(
        "-o", "--output", type=Path, metavar="CSV", help="write the summary here as CSV, with all digits"
    )

    sub = command("report", _report, "write one self-contained HTML page about a table of scores")
    sub.add_argument("scores", type=Path, metavar="TABLE", help="a table that score wrote")
    sub.add_argument(
        "--maps",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="pair files, or folders of them, for example pairs",
    )
    exclude(sub)
    sub.add_argument(
        "-o", "--output", type=Path, default=Path("report.html"), metavar="HTML", help="default: report.html"
    )

    sub = command("inspect", _inspect, "say what a pair file holds")
    sub.add_argument("files", nargs="+", type=Path, metavar="FILE")

    sub = command("verify", _verify, "compare every sample of pair files with its checksum")
    sub.add_argument("files", nargs="+", type=Path, metavar="FILE")

    command("metrics", _metrics, "list all metrics with their parameters and ranges")

    sub = command("import", _import, "make a pair file of two arrays in .npy, .npz or HDF5 files")
    sub.add_argument(
        "unperturbed",
        help="(N, H*W), (N, H, W) or (N, C, H, W) in a .npy, .npz or HDF5 file; FILE:NAME is one array "
        "of it; attribution files of ViRelAy need no name",
    )
    sub.add_argument("perturbed", help="the same after the attack")
    sub.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="the pair file to write"
    )
    sub.add_argument(
        "--shape",
        type=_integer,
        nargs=2,
        metavar=("H", "W"),
        help="size of the maps; needed for (N, H*W), and for (N, H, W) with W up to 4; 1 F for N rows of F "
        "values that are no picture",
    )
    sub.add_argument("--names", nargs=2, metavar=("U", "P"), help="names of the arrays in files with several")
    sub.add_argument(
        "--method",
        type=_integer,
        metavar="I",
        help="which explanation of LATEC's (N, explanation, C, H, W), from 0",
    )
    sub.add_argument(
        "--dtype",
        choices=("float32", "float64"),
        help="round the values to this type (default: keep those of the files); refused where a value "
        "overflows, one that is not 0 becomes 0, or a map becomes constant",
    )
    sub.add_argument(
        "--samples",
        metavar="FILE",
        help="indices of the samples in their dataset, N integers in a .npy, .npz or HDF5 file, or "
        "FILE:NAME (default: equal coordinates of both files, else 0, 1, ...)",
    )
    sub.add_argument("--labels", metavar="FILE", help="true classes of the samples, likewise")
    sub.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        type=_attribute,
        metavar="NAME=VALUE",
        help="attributes, such as dataset=imagenet attack=topk eps=8/255; a value is a number where it is "
        "written as 3, -0.5 or 1e-3, or as N/255; everything else is text, such as 018, 1_0, nan or "
        "2026/11; eps is always a number, or any fraction",
    )
    return parser


def _demo(arguments: argparse.Namespace) -> int:
    from .. import demo

    with _typed():
        demo.check_folder(arguments.output)
    say("scoring the embedded files; the first time, this compiles for some seconds")
    _print_summary(demo.run(arguments.output))
    say(f"wrote {arguments.output / demo.SCORES} and {arguments.output / demo.REPORT}")
    return 0


def _score(arguments: argparse.Namespace) -> int:
    from ..processes import Isolated

    if arguments.resume and arguments.output is None:
        msg = "--resume goes on with a table: say which with -o"
        raise ValueError(msg)
    if arguments.published and arguments.k is None:
        msg = "--published takes the metrics of the released code for one k: say which with --k"
        raise ValueError(msg)
    _check_files(arguments.files)
    if arguments.dask is None:
        pool = _pool(arguments.workers, arguments.files)
    elif arguments.workers is None:
        _checked_metrics(arguments)  # mistakes are said before a scheduler is asked
        pool = _dask(arguments.dask)
    else:
        msg = "--workers starts processes here, --dask takes those of a cluster: give one of them"
        raise ValueError(msg)
    stores: dict[str, PairStore] = {}
    with Isolated(_open_store) as isolated, pool as executor:
        # The processes start while this one imports.
        from ..scoring.files import score_files
        from ..tables.summary import summarize

        def open_store(path: Path) -> "PairStore":
            store = isolated(path)
            stores[str(path)] = store
            if store.metadata_damaged:
                say(f"lensmetrics: {store.metadata_damaged}")
            return store

        metrics = _checked_metrics(arguments)
        scores, failures = score_files(
            arguments.files,
            metrics,
            executor=executor,
            progress=True,
            output=arguments.output,
            resume=arguments.resume,
            overwrite=arguments.overwrite,
            on_bad=arguments.on_bad,
            open_store=open_store,
        )
    if scores is not None:
        _print_summary(summarize(scores, exclude=arguments.exclude))
        _say_what_else_differs(scores)
        _warn_of_pooling(scores)
        if arguments.k is not None:
            _warn_of_chance(scores, arguments.k, arguments.windows or _WINDOWS, stores)
    elif arguments.output is not None:
        older = ": the older table there is unchanged" if arguments.output.exists() else ""
        say(f"lensmetrics: nothing is written to {arguments.output}{older}")
    return _report_failures(failures, scores)


def _check_files(paths: Iterable[Path]) -> None:
    """Raise an error of usage that names all files that do not exist."""
    with _typed():
        try:
            check_inputs(paths)
        except FileNotFoundError as error:
            for path in paths:
                part = path.with_name(f"{path.name}.part")
                if part.exists() and not path.exists():
                    error.add_note(f"{part} does: finish it with PairWriter.resume")
            raise


def _open_store(path: Path, _: object) -> "PairStore":
    from ..pairfile.store import PairStore

    return PairStore(path)


def _terminable() -> contextlib.AbstractContextManager[None]:
    """End as for Ctrl-C where the system asks the process to, as batch systems do some time before a kill."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    return handling(interrupt, signal.SIGTERM)


def _impatient() -> contextlib.AbstractContextManager[None]:
    """End at once at a second Ctrl-C: a pool that is interrupted while it ends can wait for ever."""

    def end(*_: object) -> None:
        say("lensmetrics: interrupted")
        os._exit(130)

    return handling(end, signal.SIGINT, signal.SIGTERM)


def _say_what_else_differs(scores: "pd.DataFrame") -> None:
    """Name the conditions that the summary leaves out, because those before them decide what they are."""
    from ..tables.columns import CONDITIONS, distinguishing, unified

    scores = unified(scores)
    shown = distinguishing(scores)
    others = [c for c in CONDITIONS if c in scores and c not in shown and scores[c].nunique(dropna=False) > 1]
    if others:
        say(f"lensmetrics: {', '.join(others)} differ with {', '.join(shown)}: --by shows them too")


def _warn_of_pooling(scores: "pd.DataFrame") -> None:
    """Say so where files that carry the same conditions share a row of the summary."""
    from ..tables.columns import condition_columns

    columns = condition_columns(scores)
    files = scores[["file", *columns]].drop_duplicates()
    n_conditions = len(files[columns].drop_duplicates()) if columns else 1
    if len(files) > n_conditions:
        say(
            f"lensmetrics: {len(files)} files have {n_conditions} different sets of attributes; files with "
            "the same ones are averaged together: tell them apart with import --set, or summarize --by file"
        )


def _warn_of_chance(
    scores: "pd.DataFrame", k: int, windows: Sequence[int], stores: "dict[str, PairStore]"
) -> None:
    """Say for every size of map and window where random pixels reach more than half."""
    shape_of = scores["file"].astype(str).map({file: store.shape for file, store in stores.items()})
    for shape in dict.fromkeys(shape_of):
        height, width = shape
        rows = scores[shape_of == shape]
        for w in dict.fromkeys(windows):
            level = _chance_level(rows, k, w, stores)
            if level > 0.5:
                say(
                    f"lensmetrics: k={k} is {100 * k / (height * width):.0f} % of {height}x{width}: at w={w} "
                    f"random pixels reach a recall of {f'{level:.2f}'.removeprefix('0')} here"
                )


def _chance_level(scores: "pd.DataFrame", k: int, w: int, stores: "dict[str, PairStore]") -> float:
    """Return the mean recall of random pixels; NaN where no pair has scores.

    Raw and adjusted recall tell it, but for pairs whose recall is 1: of these some are read again.
    """
    import numpy as np

    from ..metrics.chance import lens_recall_chance

    raw, adjusted = (scores[f"{name}(k={k},w={w})"] for name in ("lens_recall", "lens_recall_adjusted"))
    scored = raw.notna()
    # What is saturated has no adjusted value: chance is 1 there.
    level = np.where(adjusted.isna(), 1.0, (raw - adjusted) / (1 - adjusted).where(adjusted < 1))[scored]
    perfect = scores[scored & (adjusted == 1)]
    if len(perfect):
        positions = scores.groupby("file", observed=True).cumcount()[perfect.index]
        some = np.linspace(0, len(perfect) - 1, min(len(perfect), _N_READ_AGAIN)).astype(int)
        found = [
            lens_recall_chance(stores[str(perfect["file"].iloc[i])][int(positions.iloc[i])], k=k, w=w)
            for i in some.tolist()
        ]
        level[np.isnan(level)] = np.mean(found)
    return float(level.mean()) if len(level) else float("nan")


def _checked_metrics(arguments: argparse.Namespace) -> "list[Metric]":
    import pandas as pd

    from ..tables.files import check_output
    from ..tables.outputs import check_scores
    from ..tables.summary import summarize

    metrics = _chosen_metrics(arguments)
    nothing = pd.DataFrame({"status": pd.Series(dtype=str), str(metrics[0]): pd.Series(dtype=float)})
    summarize(nothing, exclude=arguments.exclude)  # says which statuses there are, before hours of work
    if arguments.output is not None:
        with _typed():
            check_output(arguments.output)
            check_scores(
                arguments.output,
                arguments.files,
                metrics,
                replacing=arguments.resume or arguments.overwrite,
            )
    return metrics


def _chosen_metrics(arguments: argparse.Namespace) -> "list[Metric]":
    from ..metrics.registry import get_metric, parse_metric
    from ..metrics.suites import lens_suite

    chosen = [parse_metric(text) for text in arguments.metric]
    if arguments.k is not None:
        windows = arguments.windows or _WINDOWS
        suite = lens_suite(arguments.k, windows, adjusted=True)
        if arguments.published:
            suite += [get_metric(name, k=arguments.k, w=w) for w in windows for name in _PUBLISHED]
        return suite + chosen
    if arguments.windows is not None:
        msg = "--windows belongs to the LENS suite, which needs --k, the size of the top-k sets in pixels"
        raise ValueError(msg)
    if not chosen:
        msg = (
            "say what to score: --k 100 for the LENS suite with top-100 sets, -m for single metrics, or both"
        )
        raise ValueError(msg)
    return chosen


@contextlib.contextmanager
def _pool(workers: int | None, files: Sequence[Path]) -> Iterator[Executor | None]:
    """Yield a pool of spawned processes, or None for one worker.

    Unless told how many, few bytes are scored here: a pool takes two seconds to start.
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    from ..processes import available_cores, may_start, prepare, serve_parent, starting

    if workers is None:
        n_bytes = sum(file.stat().st_size for file in files if file.is_file())
        workers = available_cores() if n_bytes > _FEW_BYTES and may_start() else 1
    if workers < 1:
        msg = f"--workers must be at least 1, got {workers}"
        raise ValueError(msg)
    if workers == 1:
        yield None
        return
    if not may_start():
        msg = f"--workers {workers}: a process of a pool may start no others; give --workers 1"
        raise ValueError(msg)
    try:
        try:
            with starting():
                executor = ProcessPoolExecutor(
                    workers, mp_context=multiprocessing.get_context("spawn"), initializer=serve_parent
                )
                for _ in range(workers):
                    executor.submit(prepare)
        except OSError as error:
            msg = (
                f"no processes can be started to score with ({error.strerror}): make room in the shared "
                "memory, /dev/shm, or give --workers 1"
            )
            raise OSError(msg) from error
        try:
            yield executor
        finally:
            with _impatient():
                executor.shutdown(cancel_futures=True)
    except (BrokenProcessPool, BrokenPipeError) as error:
        msg = (
            "a worker process died, perhaps for lack of memory (try fewer --workers), perhaps of a damaged "
            "compressed file (lensmetrics verify says which)"
        )
        raise _with_notes(RuntimeError(msg), error) from error


def _with_notes(error: Exception, cause: Exception) -> Exception:
    for note in getattr(cause, "__notes__", []):
        error.add_note(note)
    return error


@contextlib.contextmanager
def _dask(address: str) -> Iterator[Executor]:
    """Yield an executor on the workers of a Dask scheduler."""
    from concurrent.futures import CancelledError

    try:
        from distributed import Client
        from distributed.comm import CommClosedError
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        msg = "--dask needs Dask's own scheduler: pip install 'lensmetrics[distributed]'"
        raise ImportError(msg) from error
    try:
        client = Client(address, timeout=_DASK_SECONDS)
    except (OSError, ValueError) as error:
        msg = f"no Dask scheduler answers at {address} ({error}): give the address that one printed"
        raise ConnectionError(msg) from error
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            say(f"lensmetrics: the scheduler at {address} has no workers yet; waiting for one")
        try:
            yield client.get_executor()
        except KilledWorker as error:
            msg = f"workers died again and again on one slice, perhaps for lack of memory ({error})"
            raise _with_notes(RuntimeError(msg), error) from error
        except (CancelledError, CommClosedError) as error:
            msg = f"the connection to the Dask scheduler at {address} was lost"
            raise _with_notes(ConnectionError(msg), error) from error
        except (ImportError, RuntimeError) as error:
            if isinstance(error, ImportError) or "deserializ" in str(error):
                error.add_note(
                    f"scheduler and workers must have lensmetrics {__version__} installed, as here"
                )
            raise


def _report_failures(failures: "Sequence[Failure]", scores: "pd.DataFrame | None") -> int:
    """Print a table of the files and samples that are not scored; return the exit status."""
    rows = [(printable(failure.path), "all samples", str(failure.error)) for failure in failures]
    if scores is not None:
        failed = scores[scores["status"].isin(_FAILED)]
        for (file, status), group in failed.groupby(["file", "status"], observed=True):
            # Samples that were never written have no number.
            known = [str(sample) for sample in group["sample"] if sample >= 0]
            shown = ", ".join(known[:_N_NAMED]) + (", ..." if len(known) > _N_NAMED else "")
            count = f"{len(group)} sample{'s' if len(group) > 1 else ''}"
            rows.append((printable(file), count, f"{status}: {shown}" if known else str(status)))
    if not rows:
        return 0
    say("lensmetrics: not scored:")
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    for file, count, problem in rows:
        say(f"  {file:{widths[0]}}  {count:{widths[1]}}  {problem}")
    if any(isinstance(failure.error, BadSample) for failure in failures):
        say("lensmetrics: --on-bad skip scores the other samples of a file, verify names all bad ones")
    return 1


def _summarize(arguments: argparse.Namespace) -> int:
    from ..disk import check_writable, replacing
    from ..tables.files import write_csv
    from ..tables.outputs import check_summary
    from ..tables.summary import summarize

    _check_files([arguments.scores])
    if arguments.output is not None:
        _check_kind(arguments.output, ".csv")
        with _typed():
            check_writable(arguments.output)
            check_summary(arguments.output, [arguments.scores])
    scores = _read_scores(arguments.scores)
    table = summarize(scores, arguments.by, exclude=arguments.exclude)
    if arguments.output is not None:
        with replacing(arguments.output) as part:
            write_csv(table, part)
    _print_summary(table)
    if arguments.by is None:
        _say_what_else_differs(scores)
    return 0


def _read_scores(path: Path) -> "pd.DataFrame":
    """Read a table of scores; what is wrong with it is wrong in the file."""
    from ..tables.files import read_scores

    try:
        return read_scores(path)
    except ValueError as error:
        raise FormatError(str(error)) from error


def _check_kind(output: Path, suffix: str) -> None:
    """Refuse to write a file of another kind than its name says."""
    if output.suffix != suffix:
        msg = f"{output}: this command writes a {suffix} file; give the output a name that ends so"
        raise ValueError(msg)


def _print_summary(table: "pd.DataFrame") -> None:
    """Print a summary with three decimals, and below it how many samples of each group have which status."""
    import pandas as pd

    from ..tables.labels import condition_text
    from ..tables.summary import undefined_reason

    table = table.reset_index(drop=True)
    columns = list(table.columns)
    by = columns[: columns.index("metric")]
    counted = [c for c in columns[columns.index("ci_high") + 1 :] if c.startswith("n_")]
    shown = pd.DataFrame({printable(c): [condition_text(c, value) for value in table[c]] for c in by})
    shown["metric"] = table["metric"].map(printable)
    shown["mean"] = table["mean"].map("{:.3f}".format)
    if "mean_attacked" in table:
        beside = (table["n"] > 0) & (table["n_not_attacked"] > 0)  # elsewhere it says no more than the mean
        shown["mean_attacked"] = table["mean_attacked"].map("{:.3f}".format).where(beside, "")
    shown["95 % interval"] = [
        f"[{low:.3f}, {high:.3f}]" for low, high in zip(table["ci_low"], table["ci_high"], strict=True)
    ]
    for i, row in table[table["n"] == 0].iterrows():
        reason = undefined_reason(row)
        shown.loc[i, "95 % interval"] = f"undefined: {printable(reason)}" if reason else "undefined"
    shown["sd"] = table["sd"].map("{:.3f}".format)
    counts_of_metric = [c for c in ("n", "n_undefined", "n_excluded") if c in table]
    shown[counts_of_metric] = table[counts_of_metric]
    print(shown.set_index([*map(printable, by), "metric"]).to_string())
    if "mean_attacked" in table:
        print("\nmean_attacked is the mean without the samples whose attack found nothing (not_attacked).")
    if counted:
        counts = table[[*by, *counted]].drop_duplicates()
        print(
            "\nSamples by status, for at least one of the metrics scored (see the README for what it means)"
            + (", those left out too:" if "n_excluded" in table else ":")
        )
        for column in by:
            counts[column] = [condition_text(column, value) for value in counts[column]]
        counts.columns = pd.Index(list(map(printable, counts.columns)))
        print(counts.set_index(list(map(printable, by))).to_string() if by else counts.to_string(index=False))


def _report(arguments: argparse.Namespace) -> int:
    from ..disk import check_writable
    from ..report.page import write_report
    from ..tables.outputs import check_page

    _check_files([arguments.scores, *arguments.maps])
    _check_kind(arguments.output, ".html")
    with _typed():
        check_writable(arguments.output)
        check_page(arguments.output, [arguments.scores, *arguments.maps])
    scores = _read_scores(arguments.scores)
    stores = _stores_of_maps(arguments.maps) if arguments.maps else []
    write_report(scores, arguments.output, stores=stores, exclude=arguments.exclude)
    say(f"wrote {arguments.output}")
    return 0


def _stores_of_maps(paths: Sequence[Path]) -> "list[PairStore]":
    """Open pair files and those in folders, which may be damaged."""
    from ..processes import Isolated

    stores = []
    with Isolated(_open_store) as open_store:
        for path in paths:
            for file in sorted(path.glob("*.h5")) if path.is_dir() else [path]:
                try:
                    stores.append(open_store(file))
                except (FormatError, OSError) as error:
                    if not path.is_dir():
                        raise
                    say(f"lensmetrics: left out: {error}")
    return stores


def _inspect(arguments: argparse.Namespace) -> int:
    from ..processes import Isolated

    _check_files(arguments.files)
    failed = False
    with Isolated(_open_store) as open_store:
        for file in arguments.files:
            try:
                store = open_store(file)
            except (ValueError, OSError) as error:
                say(f"lensmetrics: {error}")
                failed = True
            else:
                _print_contents(store)
    return 1 if failed else 0


def _print_contents(store: "PairStore") -> None:
    print(f"{printable(store.path)}: {_description(store)}; {int(store.complete.sum())} complete")
    for name, value in store.attrs.items():
        print(f"  {printable(name)}: {printable(value)}")


def _description(store: "PairStore") -> str:
    height, width = store.shape
    text = f"{len(store)} pairs of {height}x{width} maps"
    if store.n_channels is None:
        return text
    return f"{text}, {store.n_channels} channels reduced by {store.reduction}"


def _verify(arguments: argparse.Namespace) -> int:
    from ..pairfile.verification import problem_lines, verify_files

    _check_files(arguments.files)
    failed = False
    for path, problems, error in verify_files(arguments.files):
        failed = failed or bool(problems or error)
        if error:
            say(f"lensmetrics: {error}")
        elif not problems:
            print(f"{printable(path)}: good")
        for line in problem_lines(problems):
            print(f"{printable(path)}: {line}")
    return 1 if failed else 0


def _metrics(_: argparse.Namespace) -> int:
    from ..metrics.registry import entries

    for entry in entries().values():
        low, high = entry.bounds
        best = "" if entry.best is None else f", best {entry.best:g}"
        print(f"{entry.signature}\n    {entry.summary} [{low:g}, {high:g}]{best}")
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from ..disk import check_writable
    from ..importers import import_arrays
    from ..pairfile.attributes import checked_attrs
    from ..pairfile.store import PairStore

    _check_kind(arguments.output, ".h5")
    with _typed():
        check_writable(arguments.output)
    names = [name for name, _ in arguments.set]
    for name in names:
        if names.count(name) > 1:
            msg = f"--set gives {name} twice; give every attribute once"
            raise ValueError(msg)
    attrs = dict(arguments.set)
    try:
        checked_attrs(attrs)
    except TypeError as error:
        raise ValueError(str(error)) from error
    try:
        said = import_arrays(
            arguments.unperturbed,
            arguments.perturbed,
            arguments.output,
            shape=None if arguments.shape is None else tuple(arguments.shape),
            attrs=attrs,
            names=(None, None) if arguments.names is None else tuple(arguments.names),
            samples=arguments.samples,
            labels=arguments.labels,
            method=arguments.method,
            dtype=arguments.dtype,
        )
    except (FileNotFoundError, FileExistsError, IsADirectoryError) as error:
        raise ValueError(str(error)) from error  # these are about what was typed, not about what is in files
    say(f"wrote {arguments.output}: {_description(PairStore(arguments.output))}")
    for sentence in said:
        say(f"lensmetrics: {sentence}")
    return 0


def _integer(text: str) -> int:
    """Read an integer; Python's int() also takes underscores, blanks and digits of other scripts."""
    if not _INTEGER.fullmatch(text):
        msg = f"expected an integer, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _attribute(text: str) -> tuple[str, str | int | float]:
    """Read NAME=VALUE; a value is a number where it is written as numbers are, everything else is text.

    N/M is a number where M is 255, the range of images, and for eps, which must be one.
    """
    name, _, value = text.partition("=")
    if not name or not value:
        hint = "; a value may not be empty" if name and text == f"{name}=" else ""
        msg = f"expected NAME=VALUE, got {text!r}{hint}"
        raise argparse.ArgumentTypeError(msg)
    if name == "eps" and value == "nan":  # of an attack without a bound
        return name, math.nan
    number = _value(value, any_fraction=name == "eps")
    if number is None and name == "eps":
        msg = f"eps must be a number, such as 0.1 or 8/255, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    if number is not None and not -math.inf < number < math.inf:
        msg = f"{text!r} is no finite number"
        raise argparse.ArgumentTypeError(msg)
    return name, value if number is None else number


def _value(text: str, *, any_fraction: bool) -> int | float | None:
    """Read a number or a fraction of numbers; None where the text is something else."""
    first, slash, second = text.partition("/")
    above, below = _number(first), _number(second)
    if not slash or above is None:
        return above
    if below is None or (below != 255 and not any_fraction):
        return None
    try:
        return above / below
    except (ZeroDivisionError, OverflowError):
        return math.nan


def _number(text: str) -> int | float | None:
    """Read an integer or a decimal number, with or without an exponent; None where it is something else."""
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else None
