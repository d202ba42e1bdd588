"""``lensmetrics worst``."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import add_exclude, add_table_output, as_usage, check_files, integer
from .opening import open_scores

if TYPE_CHECKING:
    import pandas as pd

HELP = "list the samples with the worst scores of a metric"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare options and arguments."""
    parser.add_argument("scores", type=Path, metavar="TABLE", help="a table that score wrote")
    parser.add_argument(
        "-m", "--metric", required=True, metavar="METRIC", help='such as "lens_recall(k=100,w=1)"'
    )
    parser.add_argument(
        "-n", type=integer, default=10, metavar="N", help="number of samples, of each group (default: 10)"
    )
    parser.add_argument(
        "--by",
        nargs="+",
        metavar="COLUMN",
        help="columns that define groups (default: one list of all samples)",
    )
    ends = parser.add_mutually_exclusive_group()
    ends.add_argument("--highest", action="store_true", default=None, help="the highest scores are the worst")
    ends.add_argument(
        "--lowest",
        dest="highest",
        action="store_false",
        default=None,
        help="the lowest scores are the worst (default: what the metric says)",
    )
    add_exclude(parser)
    add_table_output(parser, "list")


def run(arguments: argparse.Namespace) -> int:
    """Print the list, and what is not ranked."""
    from ..messages import printable
    from ..tables.outputs import check_table_output
    from ..tables.ranking import worst
    from ..tables.writing import write_table
    from .layout import terminal_width
    from .printing import print_table, print_text

    check_files([arguments.scores])
    if arguments.output is not None:
        with as_usage():
            check_table_output(arguments.output, [arguments.scores], "list of samples")
    table = worst(
        open_scores(arguments.scores),
        arguments.metric,
        arguments.n,
        arguments.by,
        arguments.highest,
        arguments.exclude,
    )
    if arguments.output is not None:
        write_table(table, arguments.output)
    folder = _common_folder(table) if terminal_width() is not None else ""
    if folder:
        table = table.assign(file=[os.path.relpath(file, folder) for file in table["file"]])
    if len(table):
        print_table(table, n_labels=len(arguments.by or ()))
        print()
    end = "highest" if table.attrs["highest"] else "lowest"
    print(f"{printable(table.attrs['metric'])}, {end} first.")
    if folder:
        print_text(f"The files are in {printable(folder)}.")
    if any(status != "ok" for status in table.get("status", ())):
        print_text("A status holds for at least one of the metrics scored, not always for this one.")
    n = table.attrs["n_undefined"]
    if n:
        scores, are = ("scores", "are") if n > 1 else ("score", "is")
        print(f"{n} {scores} {are} undefined (NaN or infinite) and not ranked.")
    return 0


def _common_folder(table: "pd.DataFrame") -> str:
    """Return the folder that contains all files of a list, which lines of a terminal need not repeat."""
    folders = {os.path.dirname(str(file)) for file in table.get("file", ())}  # noqa: PTH120 - it may be empty
    if not folders or len({os.path.isabs(folder) for folder in folders}) > 1:  # noqa: PTH117
        return ""
    common = os.path.commonpath(folders)
    return "" if common == os.sep else common
