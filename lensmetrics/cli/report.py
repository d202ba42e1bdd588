"""``lensmetrics report``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..messages import say
from .arguments import add_exclude, as_usage, check_files, check_suffix, integer
from .opening import open_scores, open_stores

if TYPE_CHECKING:
    import pandas as pd

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
    parser.add_argument(
        "--show",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE:SAMPLE",
        help="also show these pairs, such as topk.h5:12, by the number or the name of the sample",
    )
    parser.add_argument(
        "--examples",
        type=_count,
        metavar="N",
        help="show N pairs of every condition, from the lowest to the highest score (default: the lowest, "
        "the median and the highest of every training regime)",
    )
    add_exclude(parser)
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("report.html"), metavar="HTML", help="default: report.html"
    )


def _count(text: str) -> int:
    number = integer(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, got {number}")
    return number


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
    maps = arguments.maps
    if not maps and (arguments.show or arguments.examples):
        maps = _files_of(scores)
    notes = write_report(
        scores,
        arguments.output,
        stores=open_stores(maps) if maps else [],
        exclude=arguments.exclude,
        show=arguments.show,
        examples=arguments.examples,
    )
    for note in notes:
        say(f"lensmetrics: {note}")
    say(f"wrote {arguments.output}")
    return 0


def _files_of(scores: "pd.DataFrame") -> list[Path]:
    """Return the files that a table names, where they are still in their places."""
    names = [] if "file" not in scores else scores["file"].astype(str).unique().tolist()
    files = [Path(name) for name in names if Path(name).is_file()]
    if not files:
        raise ValueError(
            "showing pairs needs their maps, and the files that the table names are not there: name their "
            "folder with --maps"
        )
    return files
