"""``lensmetrics compare``."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..messages import printable, say
from .arguments import add_exclude, add_metrics, add_table_output, as_usage, attribute, check_files
from .opening import open_scores

if TYPE_CHECKING:
    import pandas as pd

HELP = "compare conditions on the samples that they share, and say which one is more robust"
# More comparisons than this are announced, because they may take a while and raise every adjusted p.
_MANY = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare options and arguments."""
    parser.add_argument("scores", type=Path, metavar="TABLE", help="a table that score wrote")
    parser.add_argument(
        "--on",
        default="training",
        metavar="COLUMN",
        help="the column whose values are compared (default: training)",
    )
    parser.add_argument(
        "--between",
        nargs="+",
        metavar="VALUE",
        help="two or more of its values, such as natural pgd, or 4/255 8/255 (default: all pairs)",
    )
    parser.add_argument(
        "--by",
        nargs="*",
        metavar="COLUMN",
        help="columns that define groups to compare within, or none to pool everything (default: the other "
        "conditions that differ)",
    )
    add_metrics(parser, "compare")
    add_exclude(parser)
    add_table_output(parser, "table")


def run(arguments: argparse.Namespace) -> int:
    """Print the comparison and what it shows."""
    from ..tables.comparison import compared
    from ..tables.outputs import check_table_output
    from ..tables.writing import write_table

    check_files([arguments.scores])
    if arguments.output is not None:
        with as_usage():
            check_table_output(arguments.output, [arguments.scores], "comparison")
    scores = open_scores(arguments.scores)
    table = compared(
        scores,
        arguments.on,
        typed_values(scores, arguments.on, arguments.between),
        arguments.by,
        arguments.metric,
        arguments.exclude,
        announce=_note_many,
    )
    if arguments.output is not None:
        write_table(table, arguments.output)
    _print_comparison(*_two_sided(table))
    return 0


def typed_values(scores: "pd.DataFrame", on: str, texts: Sequence[str] | None) -> list[Any] | None:
    """Return the values of a column that were typed: as they are, as tables show them, or as numbers."""
    from ..tables.choosing import numbered_in_order
    from ..tables.columns import equal_number, unified
    from ..tables.labels import condition_text

    if texts is None or on not in scores:
        return None
    values = numbered_in_order(unified(scores[[on]])[on])[1]

    def value(text: str) -> object:
        for known in values:
            words = [str(known), condition_text(on, known)]
            if text in words or (known is None and text == "not given"):
                return known
        try:
            number = attribute(f"{on}={text}")[1]
        except argparse.ArgumentTypeError:
            return text
        return next((known for known in values if equal_number(known) == equal_number(number)), text)

    return [value(text) for text in texts]


def _note_many(n: int, n_metrics: int) -> None:
    """Say how many comparisons are made, if they are many."""
    if n > _MANY:
        metrics = f"{n_metrics} metric{'s' * (n_metrics > 1)}"
        say(
            f"lensmetrics: {n:,} comparisons for each of {metrics}; the more there are, the larger is the "
            "adjusted p of each: -m, --between and --by select fewer"
        )


def _two_sided(table: "pd.DataFrame") -> tuple["pd.DataFrame", int]:
    """Return the table without pairs of which only one side has scores, and the number of those pairs."""
    keys = [*table.columns[: table.columns.get_loc("metric")], "first", "second"]
    pair = table.groupby(keys, dropna=False, sort=False, observed=True).ngroup()
    has = [
        (table["n"] + table[f"n_only_{side}"]).groupby(pair).transform("sum") > 0
        for side in ("first", "second")
    ]
    one_sided = has[0] != has[1]
    return table[~one_sided], pair[one_sided].nunique()


def _print_comparison(table: "pd.DataFrame", n_left_out: int) -> None:
    """Print the table, then what it shows."""
    from ..tables.comparison import ON
    from ..tables.conclusions import conclusions
    from ..tables.labels import condition_text, number_text, p_text
    from ..tables.summary import FEW_SAMPLES
    from ..tables.writing import FEW_NOTE, INTERVAL, interval_text
    from .layout import Column, sentence_lines, table_lines, terminal_width

    width = terminal_width()
    on = table.attrs[ON]
    by = list(table.columns[: table.columns.get_loc("metric")])
    first, second = ([condition_text(on, value) for value in table[side]] for side in ("first", "second"))
    labels = [Column(printable(name), [condition_text(name, value) for value in table[name]]) for name in by]
    compared = [f"{b} minus {a}" for a, b in zip(first, second, strict=True)]
    labels += [
        Column("difference", compared, foldable=True),
        Column("metric", list(map(printable, table["metric"])), foldable=True),
    ]
    few = ((table["n"] > 0) & (table["n"] < FEW_SAMPLES)).tolist()
    ends = zip(table["ci_low"], table["ci_high"], few, strict=True)
    intervals = [interval_text(low, high, few=mark, missing="–") for low, high, mark in ends]

    def numbers(name: str, title: str) -> Column:
        return Column(title, list(map(number_text, table[name])), right=True)

    one_pair = len(set(compared)) == 1
    means = [
        numbers("mean_first", first[0] if one_pair else "first"),
        numbers("mean_second", second[0] if one_pair else "second"),
    ]
    columns = [
        numbers("difference", "difference"),
        Column(INTERVAL, intervals, right=True),
        Column(
            "Holm p" if len(table) > table["metric"].nunique() else "p",
            list(map(p_text, table["p_holm"])),
            right=True,
        ),
        Column("n", list(map(str, table["n"])), right=True),
    ]
    if width is None or sum(column.width + 2 for column in (labels[-1], *means, *columns)) <= width + 2:
        columns = means + columns
    if len(table):
        print("\n".join(table_lines(labels, columns, width)))
    if any(few):
        print(f"\n{FEW_NOTE}")
    if n_left_out:
        pairs = f"{n_left_out} pair{'s' * (n_left_out > 1)}"
        print(end="\n" if len(table) else "")
        for line in sentence_lines(f"Left out: {pairs} of which only one side has scores.", width):
            print(line)
    n_tests = max(table.groupby("metric")["p"].count(), default=0)
    if n_tests > 1:
        print(f"\np is adjusted for the {n_tests:,} comparisons of each metric (Holm).")
    for where, sentences in conclusions(table):
        print()
        for line in sentence_lines(f"{where}.", width):
            print(line)
        for sentence in sentences:
            for line in sentence_lines(sentence, None if width is None else width - 2):
                print(f"  {line}")
