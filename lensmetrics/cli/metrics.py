"""``lensmetrics metrics``."""

import argparse
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..metrics.registry import Entry

HELP = "list all metrics with their parameters and ranges, or explain one"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare options and arguments."""
    parser.add_argument(
        "name",
        nargs="?",
        metavar="NAME",
        help="the metric to explain, such as lens_recall (default: list all)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print a line or two about every metric, or the documentation of one and the rules it refers to."""
    from importlib import import_module
    from inspect import getdoc

    from ..metrics.registry import entries, get_metric

    known = entries()
    if arguments.name is None:
        for entry in known.values():
            print(f"{entry.signature}\n    {entry.summary} {_range(entry)}")
        return 0
    if arguments.name not in known:
        get_metric(arguments.name)  # raises the error that names similar metrics
    entry = known[arguments.name]
    documentation = getdoc(entry.function) or ""
    print(f"{entry.signature}\n    {_range(entry)}\n\n{documentation}")
    for module in dict.fromkeys(re.findall(r":mod:`(lensmetrics\.[\w.]+)`", documentation)):
        print(f"\nRules in {module}\n\n{getdoc(import_module(module))}")
    return 0


def _range(entry: "Entry") -> str:
    low, high = entry.bounds
    best = "" if entry.best is None else f", best {entry.best:g}"
    return f"[{low:g}, {high:g}]{best}"
