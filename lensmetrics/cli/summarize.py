"""``lensmetrics summarize``."""

import argparse
from pathlib import Path

from .arguments import add_exclude, as_usage, check_files
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
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="also write the summary: .csv with all digits, .tex (needs the package booktabs) or .md",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the summary of a table of scores."""
    from ..tables.columns import distinguishing
    from ..tables.outputs import check_table_output
    from ..tables.summary import summarize
    from ..tables.writing import write_table
    from .notes import note_what_else_differs
    from .printing import print_summary

    check_files([arguments.scores])
    if arguments.output is not None:
        with as_usage():
            check_table_output(arguments.output, [arguments.scores], "summary")
    scores = open_scores(arguments.scores)
    by = arguments.by or distinguishing(scores)
    table = summarize(scores, by, exclude=arguments.exclude)
    if arguments.output is not None:
        write_table(table, arguments.output)
    print_summary(table)
    if arguments.by is None:
        note_what_else_differs(scores, by)
    return 0
