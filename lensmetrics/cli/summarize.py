"""``lensmetrics summarize``."""

import argparse
from pathlib import Path

from ..messages import say
from .arguments import add_exclude, add_metrics, add_table_output, as_usage, check_files
from .opening import open_scores

HELP = "print mean, interval and counts for each condition of a table of scores"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare options and arguments."""
    parser.add_argument("scores", type=Path, metavar="TABLE", help="a table that score wrote")
    groups = parser.add_mutually_exclusive_group()
    groups.add_argument(
        "--by",
        nargs="+",
        metavar="COLUMN",
        help="columns that define the groups (default: the conditions that differ)",
    )
    groups.add_argument(
        "--ignore",
        nargs="+",
        action="extend",
        default=[],
        metavar="COLUMN",
        help="conditions to average over, such as seed",
    )
    add_metrics(parser, "show")
    parser.add_argument(
        "--wide",
        metavar="COLUMN",
        help="put the values of this condition side by side, as in --wide training",
    )
    add_exclude(parser)
    add_table_output(parser, "summary")


def run(arguments: argparse.Namespace) -> int:
    """Print the summary of a table of scores."""
    from ..tables.choosing import chosen_metrics
    from ..tables.columns import metric_columns
    from ..tables.differing import distinguishing, left_to_split
    from ..tables.outputs import check_table_output
    from ..tables.summary import summarize
    from ..tables.writing import write_table
    from .notes import note_pooling, note_what_else_differs
    from .printing import print_summary

    check_files([arguments.scores])
    if arguments.output is not None:
        with as_usage():
            check_table_output(arguments.output, [arguments.scores], "summary")
    scores = open_scores(arguments.scores)
    by = list(arguments.by or distinguishing(scores, arguments.ignore))
    wide = arguments.wide
    if wide is not None and wide not in by:
        by = [wide, *(by if arguments.by else left_to_split(scores, [wide], by))]
    shown = scores
    if arguments.metric is not None:
        others = {*metric_columns(scores)} - {*chosen_metrics(scores, arguments.metric)}
        shown = scores.drop(columns=list(others))
    table = summarize(shown, by, exclude=arguments.exclude)
    if arguments.output is not None:
        write_table(table, arguments.output, wide=wide)
    print_summary(table, wide=wide)
    if not len(scores):
        say(f"lensmetrics: {arguments.scores} has no rows: there is nothing to summarize")
    if arguments.by is None:
        note_what_else_differs(scores.drop(columns=arguments.ignore), by)
        note_pooling(scores)
    return 0
