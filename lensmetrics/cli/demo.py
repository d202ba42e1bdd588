"""``lensmetrics demo``."""

import argparse
from pathlib import Path

from ..messages import say
from .arguments import as_usage

HELP = "score the embedded example files and write scores.parquet and report.html"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare options and arguments."""
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(), metavar="DIR", help="where to write (default: here)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Score the embedded files, print a summary and write table and report."""
    from .. import demo
    from .printing import print_summary

    with as_usage():
        demo.check_folder(arguments.output)
    say("scoring the embedded files; the first run compiles for some seconds")
    print_summary(demo.run(arguments.output))
    say(f"wrote {arguments.output / demo.SCORES} and {arguments.output / demo.REPORT}")
    return 0
