"""``lensmetrics verify``."""

import argparse
from pathlib import Path

from ..messages import printable, say
from .arguments import pair_files

HELP = "compare every sample of pair files with its checksum"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare options and arguments."""
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="pair files (.h5), or folders of them"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print a verdict on every file and every bad sample."""
    from ..pairfile.verification import problem_lines, verify_files

    files = pair_files(arguments.files)
    failed = False
    for path, problems, error in verify_files(files):
        failed = failed or bool(problems or error)
        if error:
            say(f"lensmetrics: {error}")
        elif not problems:
            print(f"{printable(path)}: good")
        for line in problem_lines(problems):
            print(f"{printable(path)}: {line}")
    return 1 if failed else 0
