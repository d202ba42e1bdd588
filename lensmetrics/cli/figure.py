"""``lensmetrics figure``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..messages import say
from .arguments import add_exclude, as_usage, check_files, integer
from .opening import open_scores

if TYPE_CHECKING:
    import pandas as pd

    from ..figures.style import Picture

HELP = "draw a figure for a paper: curves of LENS, scores against eps, or a comparison"
# What each kind of figure needs and takes, beside the options of all.
_TAKES = {
    "curves": ("k", "metric"),
    "scores": ("metric", "x"),
    "comparison": ("metric", "on", "between"),
}
_OPTIONS = {"k": "--k", "metric": "-m", "x": "--x", "on": "--on", "between": "--between"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare options and arguments."""
    parser.add_argument("scores", type=Path, metavar="TABLE", help="a table that score wrote")
    parser.add_argument(
        "--kind",
        required=True,
        choices=list(_TAKES),
        help="curves: LENS against the window; scores: a score against eps or another number; comparison: "
        "paired differences with intervals, as compare prints them",
    )
    parser.add_argument(
        "-m",
        "--metric",
        nargs="+",
        action="extend",
        metavar="METRIC",
        help="what is drawn: for curves a name (default: lens_recall), for scores one score such as "
        '"lens_recall(k=100,w=1)", for a comparison any number (default: all)',
    )
    parser.add_argument("--k", type=integer, metavar="N", help="curves: size of the top sets (default: 100)")
    parser.add_argument("--x", metavar="COLUMN", help="scores: the number on the x axis (default: eps)")
    parser.add_argument("--on", metavar="COLUMN", help="comparison: what is compared (default: training)")
    parser.add_argument(
        "--between",
        nargs="+",
        metavar="VALUE",
        help="comparison: two or more of its values (default: all pairs)",
    )
    parser.add_argument(
        "--by",
        nargs="+",
        metavar="COLUMN",
        help="conditions that the figure tells apart; in curves and scores, the last one by lines and the "
        "others by panels (default: the conditions that differ)",
    )
    parser.add_argument(
        "--width",
        type=float,
        default=3.3,
        metavar="INCHES",
        help="width of the figure: 3.3 (the default, 84 mm) is one column of a paper, 6.9 (175 mm) two",
    )
    add_exclude(parser)
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="the figure: .pdf, .svg or .png (300 dots per inch)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Draw and write the figure."""
    from ..disk import check_writable, replacing
    from ..figures.saving import check_figure, save_figure

    _check_options(arguments)
    check_files([arguments.scores])
    with as_usage():
        check_writable(arguments.output)
        check_figure(arguments.output, [arguments.scores])
    figure = _drawn(open_scores(arguments.scores), arguments)
    with replacing(arguments.output) as part:
        save_figure(figure, part, arguments.output.suffix.removeprefix("."))
    say(f"wrote {arguments.output}")
    return 0


def _check_options(arguments: argparse.Namespace) -> None:
    """Refuse options that the kind of figure ignores, and the lack of those that it needs."""
    kind = arguments.kind
    ignored = [
        o for name, o in _OPTIONS.items() if name not in _TAKES[kind] and getattr(arguments, name) is not None
    ]
    if ignored:
        raise ValueError(
            f"a figure of {kind} takes no {' and no '.join(ignored)}: leave it out, or choose another --kind"
        )
    n_metrics = len(arguments.metric or [])
    if kind == "scores" and n_metrics != 1:
        raise ValueError(
            'a figure of scores shows one score: name it with -m, such as -m "lens_recall(k=100,w=1)"'
        )
    if kind == "curves" and n_metrics > 1:
        raise ValueError(f"a figure of curves shows one metric, got {' '.join(arguments.metric)}")


def _drawn(scores: "pd.DataFrame", arguments: argparse.Namespace) -> "Picture":
    from ..figures.plots import plot_comparison, plot_curves, plot_scores
    from ..tables.comparison import compare
    from .compare import typed_values

    by, exclude, width = arguments.by, arguments.exclude, arguments.width
    if arguments.kind == "curves":
        (metric,) = arguments.metric or ["lens_recall"]
        k = 100 if arguments.k is None else arguments.k
        return plot_curves(scores, k, metric=metric, by=by, exclude=exclude, width=width)
    if arguments.kind == "scores":
        x = arguments.x or "eps"
        return plot_scores(scores, arguments.metric[0], x, by=by, exclude=exclude, width=width)
    on = arguments.on or "training"
    between = typed_values(scores, on, arguments.between)
    return plot_comparison(compare(scores, on, between, by, arguments.metric, exclude), width=width)
