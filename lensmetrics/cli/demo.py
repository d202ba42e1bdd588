"""``lensmetrics demo``."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from ..messages import say
from .arguments import as_usage

if TYPE_CHECKING:
    import pandas as pd

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

    def show(summary: "pd.DataFrame") -> None:
        print_summary(summary)
        print(end="", flush=True)
        say(f"making the page, {arguments.output / demo.REPORT}, takes some seconds")

    with as_usage():
        demo.check_folder(arguments.output)
    say("scoring the embedded files; the first run compiles for about 10 seconds")
    demo.run(arguments.output, show)
    scores = arguments.output / demo.SCORES
    say(f"wrote {scores} and {arguments.output / demo.REPORT}")
    words = ["lensmetrics", "explore", str(demo.DATA), "--scores", str(scores)]
    say(f"see the maps in the browser (after pip install '.[explore]'): {shlex.join(words)}")
    return 0
