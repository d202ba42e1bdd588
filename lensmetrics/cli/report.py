"""``lensmetrics report``."""

import argparse
from pathlib import Path

from ..messages import say
from .arguments import add_exclude, as_usage, check_files, check_suffix
from .opening import open_scores, open_stores

HELP = "write one self-contained HTML page about a table of scores"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare options and arguments."""
    parser.add_argument("scores", type=Path, metavar="TABLE", help="a table that score wrote")
    parser.add_argument(
        "--maps",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="pair files, or folders of pair files, to show example maps from",
    )
    add_exclude(parser)
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("report.html"), metavar="HTML", help="default: report.html"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the page."""
    from ..disk import check_writable
    from ..report.page import write_report
    from ..tables.outputs import check_page

    check_files([arguments.scores, *arguments.maps])
    check_suffix(arguments.output, ".html")
    with as_usage():
        check_writable(arguments.output)
        check_page(arguments.output, [arguments.scores, *arguments.maps])
    scores = open_scores(arguments.scores)
    stores = open_stores(arguments.maps) if arguments.maps else []
    write_report(scores, arguments.output, stores=stores, exclude=arguments.exclude)
    say(f"wrote {arguments.output}")
    return 0
