"""``lensmetrics inspect``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..messages import printable, say
from .arguments import pair_files
from .opening import isolated
from .printing import description

if TYPE_CHECKING:
    from ..pairfile.store import PairStore

HELP = "print what pair files contain"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare options and arguments."""
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="pair files (.h5), or folders of them"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print size and attributes of every file that can be opened."""
    files = pair_files(arguments.files)
    failed = False
    with isolated() as open_one:
        for file in files:
            try:
                store = open_one(file)
            except (ValueError, OSError) as error:
                say(f"lensmetrics: {error}")
                failed = True
            else:
                _print_contents(store)
    return 1 if failed else 0


def _print_contents(store: "PairStore") -> None:
    print(f"{printable(store.path)}: {description(store)}; {int(store.complete.sum())} complete")
    for name, value in store.attrs.items():
        print(f"  {printable(name)}: {printable(value)}")
