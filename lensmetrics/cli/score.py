"""``lensmetrics score``."""

import argparse
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING

from ..messages import say
from .arguments import add_exclude, as_usage, check_once, integer, pair_files
from .opening import isolated
from .sizes import in_pixels, size

if TYPE_CHECKING:
    from ..metrics.registry import Metric
    from ..pairfile.store import PairStore

HELP = "score the pairs in pair files and print a summary"

_WINDOWS = (1, 2, 3)
_PUBLISHED = (
    "lens_recall_published",
    "lens_precision_published",
    "topk_div_intersection_published",
    "lens_recall_div_published",
    "lens_precision_div_published",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare options and arguments."""
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="pair files (.h5), or folders of them"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="TABLE", help="write all scores here: .parquet, .csv or .csv.gz"
    )
    parser.add_argument(
        "--k",
        type=size,
        nargs="+",
        help="sizes of the top-k sets, in pixels, or as a share of them such as 2%%, rounded to the nearest "
        "pixel: computes the LENS suite for each k, with LENS recall and precision also adjusted for chance",
    )
    parser.add_argument(
        "--windows",
        type=integer,
        nargs="+",
        metavar="W",
        help="window half-widths of the suite (default: 1 2 3)",
    )
    parser.add_argument(
        "--published",
        action="store_true",
        help="also score as the released code does, errors included: five metrics for every k and window",
    )
    parser.add_argument(
        "-m",
        "--metric",
        nargs="+",
        action="extend",
        default=[],
        metavar="METRIC",
        help='further metrics, such as "lens_kendall(w=1)"; see lensmetrics metrics',
    )
    parser.add_argument(
        "--against",
        choices=("unperturbed", "target"),
        help="what the perturbed maps are scored against: unperturbed (default), or target, the map that the "
        "attack aims at; tables then have a column against",
    )
    parser.add_argument(
        "--workers",
        type=integer,
        metavar="N",
        help="number of processes (default: one per core, or 1 for less than 128 MB)",
    )
    parser.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="score on the workers of the Dask scheduler at this address, such as tcp://host:8786",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="reuse what an interrupted run with the same -o has scored, and what a finished Parquet table "
        "holds; what has changed since (files, metrics, version) is scored again",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a finished table of other metrics or files (default: refuse)",
    )
    parser.add_argument(
        "--on-bad",
        choices=("skip", "stop"),
        default="stop",
        help="what to do about a bad sample, one that is incomplete or fails its checksum: stop ends the "
        "work on its file and leaves the file out of the table (default), skip gives the sample NaN and its "
        "status and scores the rest; other files are scored either way, failures are listed at the end, and "
        "the exit status is 1",
    )
    add_exclude(parser, " from the summary, not from the table")


def run(arguments: argparse.Namespace) -> int:
    """Score the files, print the summary, and say what could not be scored."""
    if arguments.resume and arguments.output is None:
        raise ValueError("--resume needs -o TABLE, the table to continue")
    if arguments.published and arguments.k is None:
        raise ValueError("--published needs --k, for which it adds the metrics of the released code")
    if arguments.dask is not None and arguments.workers is not None:
        raise ValueError("use either --workers (local processes) or --dask (a cluster), not both")
    arguments.files = pair_files(arguments.files)
    check_once(arguments.files)
    stores: dict[str, PairStore] = {}
    with contextlib.ExitStack() as stack:
        open_one = stack.enter_context(isolated())
        executor, sizes, metrics = _prepared(arguments, stack, open_one)
        from ..scoring.files import score_files
        from ..scoring.progress import Progress
        from ..tables.differing import distinguishing
        from ..tables.summary import summarize
        from .notes import note_chance, note_pooling, note_what_else_differs
        from .printing import print_failures, print_summary

        def open_each(paths: Iterable[Path]) -> "Iterator[PairStore | Exception]":
            for store in open_one.each(paths):
                if not isinstance(store, Exception):
                    stores[str(store.path)] = store
                    if store.metadata_damaged:
                        say(f"lensmetrics: {store.metadata_damaged}")
                yield store

        scores, failures = score_files(
            arguments.files,
            metrics,
            against=arguments.against,
            executor=executor,
            progress=Progress(),
            output=arguments.output,
            resume=arguments.resume,
            stop_at_bad_samples=arguments.on_bad == "stop",
            open_each=open_each,
        )
    if scores is not None:
        by = distinguishing(scores)
        print_summary(summarize(scores, by, exclude=arguments.exclude))
        note_what_else_differs(scores, by)
        note_pooling(scores)
        for k in sizes:
            note_chance(scores, k, arguments.windows or _WINDOWS, stores, arguments.against or "unperturbed")
    elif arguments.output is not None:
        older = ": the older table there is unchanged" if arguments.output.exists() else ""
        say(f"lensmetrics: nothing is written to {arguments.output}{older}")
    return 1 if print_failures(failures, scores) else 0


def _prepared(
    arguments: argparse.Namespace, stack: contextlib.ExitStack, open_store: "Callable[[Path], PairStore]"
) -> "tuple[Executor | None, list[int], list[Metric]]":
    """Return where to score, the sizes of the top-k sets, and the metrics."""
    from ..scoring.executors import dask_cluster, process_pool

    if arguments.dask is not None:
        # Mistakes are reported before a scheduler is asked.
        sizes = in_pixels(arguments.k or [], arguments.files, open_store)
        metrics = _checked_metrics(arguments, sizes)
        return stack.enter_context(dask_cluster(arguments.dask)), sizes, metrics
    # The processes start while this one imports.
    executor = stack.enter_context(process_pool(arguments.workers, arguments.files))
    sizes = in_pixels(arguments.k or [], arguments.files, open_store)
    return executor, sizes, _checked_metrics(arguments, sizes)


def _checked_metrics(arguments: argparse.Namespace, sizes: Sequence[int]) -> "list[Metric]":
    """Return the metrics, once everything that was typed is known to make sense."""
    from ..scoring.files import check_table_target
    from ..tables.choosing import check_exclude

    metrics = _chosen_metrics(arguments, sizes)
    check_exclude(arguments.exclude)
    if arguments.output is not None:
        with as_usage():
            check_table_target(
                arguments.output,
                arguments.files,
                metrics,
                against=arguments.against,
                resuming=arguments.resume,
                replacing=arguments.overwrite,
            )
    return metrics


def _chosen_metrics(arguments: argparse.Namespace, sizes: Sequence[int]) -> "list[Metric]":
    from ..metrics.registry import get_metric, parse_metric
    from ..metrics.suites import lens_suite

    chosen = [parse_metric(text) for text in arguments.metric]
    if sizes:
        windows = arguments.windows or _WINDOWS
        suite = lens_suite(sizes, windows, adjusted=True)
        if arguments.published:
            suite += [get_metric(name, k=k, w=w) for k in sizes for w in windows for name in _PUBLISHED]
        return suite + chosen
    if arguments.windows is not None:
        raise ValueError(
            "--windows belongs to the LENS suite, which needs --k, the size of the top-k sets in pixels"
        )
    if not chosen:
        raise ValueError(
            "no metrics given: use --k 100 for the LENS suite with top-100 sets, -m for single metrics, or "
            "both"
        )
    return chosen
