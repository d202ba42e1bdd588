"""``lensmetrics summarize``."""

import argparse
from pathlib import Path

from .arguments import add_exclude, as_usage, check_files, check_suffix
from .opening import open_scores

HELP = "print mean, interval and counts for each condition of a table of scores"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare options and arguments."""
    parser.add_argument("scores", type=Path, metavar="TABLE", help="a table that score wrote")
    parser.add_argument(
        "--by",
        nargs="+",
        metavar="COLUMN",
        help="columns that define the groups (default: the conditions that differ)",
    )
    add_exclude(parser)
    parser.add_argument(
        "-o", "--output", type=Path, metavar="CSV", help="also write the summary as CSV, with all digits"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the summary of a table of scores."""
    from ..disk import check_writable, replacing
    from ..tables.columns import distinguishing
    from ..tables.csv_files import write_csv
    from ..tables.outputs import check_summary
    from ..tables.summary import summarize
    from .notes import note_what_else_differs
    from .printing import print_summary

    check_files([arguments.scores])
    if arguments.output is not None:
        check_suffix(arguments.output, ".csv")
        with as_usage():
            check_writable(arguments.output)
            check_summary(arguments.output, [arguments.scores])
    scores = open_scores(arguments.scores)
    by = arguments.by or distinguishing(scores)
    table = summarize(scores, by, exclude=arguments.exclude)
    if arguments.output is not None:
        with replacing(arguments.output) as part:
            write_csv(table, part)
    print_summary(table)
    if arguments.by is None:
        note_what_else_differs(scores, by)
    return 0
