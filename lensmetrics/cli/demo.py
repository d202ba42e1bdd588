"""``lensmetrics demo``."""

import argparse
import shlex
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
    scores = arguments.output / demo.SCORES
    say(f"wrote {scores} and {arguments.output / demo.REPORT}")
    words = ["lensmetrics", "explore", str(demo.DATA), "--scores", str(scores)]
    say(f"see the maps in the browser (after pip install '.[explore]'): {shlex.join(words)}")
    return 0
