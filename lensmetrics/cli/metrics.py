"""``lensmetrics metrics``."""

import argparse
import itertools
import re
import sys
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..metrics.registry import Entry

HELP = "list all metrics with their parameters and ranges, or explain one"

# Where the output is no terminal.
_WIDTH = 100
# A blank at which textwrap does not break.
_UNBROKEN = "\xa0"


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
        _print_all(known.values())
        return 0
    if arguments.name not in known:
        get_metric(arguments.name)  # raises the error that names similar metrics
    entry = known[arguments.name]
    documentation = getdoc(entry.function) or ""
    print(f"{entry.signature}\n    {_range(entry)}\n\n{documentation}")
    for module in dict.fromkeys(re.findall(r":mod:`(lensmetrics\.[\w.]+)`", documentation)):
        print(f"\nRules in {module}\n\n{getdoc(import_module(module))}")
    return 0


def _print_all(entries: "Iterable[Entry]") -> None:
    """Print all metrics by family, which is the module that they stand in."""
    from inspect import getdoc

    from ..metrics.suites import lens_suite
    from .layout import terminal_width

    width = terminal_width() or _WIDTH
    suite = {metric.name for metric in lens_suite(k=1, adjusted=True)}
    for module, members in itertools.groupby(entries, key=lambda entry: entry.function.__module__):
        family = (getdoc(sys.modules[module]) or module).splitlines()[0].rstrip(".")
        print("\n".join(textwrap.wrap(f"## {family}", width, subsequent_indent="   ")), end="\n\n")
        for entry in members:
            facts = f"{_range(entry)}{' *' * (entry.function.__name__ in suite)}"
            text = f"{entry.summary} {facts.replace(' ', _UNBROKEN)}"
            lines = textwrap.wrap(text, width, initial_indent="    ", subsequent_indent="    ")
            print(entry.signature, "\n".join(lines).replace(_UNBROKEN, " "), sep="\n")
        print()
    print("* computed by lensmetrics score --k")


def _range(entry: "Entry") -> str:
    low, high = entry.bounds
    best = "" if entry.best is None else f", best {entry.best:g}"
    return f"[{low:g}, {high:g}]{best}"
