"""The section of a page on differences between conditions, sample by sample."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from ..figures.comparison import difference_figure
from ..figures.svg import inline_svg
from ..tables.columns import Column
from ..tables.comparison import compare
from ..tables.conclusions import LEVEL, adjusted_for_chance, claimed, records
from ..tables.known import is_chance, known_metrics
from ..tables.labels import column_title, condition_text, labelled, number_text, p_text
from ..tables.permutation import n_flips
from ..tables.summary import FEW_SAMPLES
from ..tables.view import View
from .parts import Ids, Shown
from .tables import RowHead, row_heads

# Up to so many comparisons, all scores are compared, then only those that lead; above, conditions are pooled.
_MAX_OF_ALL = 12
_MAX_COMPARISONS = 200
# Numbers that the sign-flip tests of a page add at most, in some ten seconds.
_MAX_WORK = 5 * 10**9
# Up to so many are drawn.
_MAX_DRAWN = 40


class Difference(NamedTuple):
    """One comparison in words."""

    pair: str
    n: str
    first: str
    second: str
    difference: str
    interval: str
    verdict: str
    notes: list[str]


class Differences(NamedTuple):
    """The comparisons by one score."""

    id: str
    title: str
    heads: list[list[RowHead]]
    rows: list[Difference]


class Comparison(NamedTuple):
    """The section: what is compared, and the tables; a text says why there are none."""

    by: list[str]
    text: str
    shown: list[Shown]
    tables: list[Differences]
    n_leading: int = 0  # of the tables, those of the scores that lead


def comparison(view: View, leading: Sequence[Column], ids: Ids) -> Comparison | None:
    """Compare all pairs of training regimes, or of values of the last condition.

    None if the table has one condition alone.
    """
    if not view.by:
        return None
    on = view.by[-1]
    kept = view.kept
    groups = view.summary.groups[view.summary.n_rows > 0]
    others = view.by[:-1]
    sizes = groups.groupby(others, observed=True, dropna=False).size() if others else pd.Series([len(groups)])
    n_pairs = int((sizes * (sizes - 1) // 2).sum())
    if n_pairs == 0:
        return None
    by: list[str] = others
    columns = list(view.columns)
    pooled = ""
    work = n_flips(n_pairs) * n_pairs * int(view.summary.n_rows.max())
    if n_pairs > _MAX_OF_ALL or work * len(columns) > _MAX_WORK:
        columns = list(leading)
    if n_pairs > 1 and (n_pairs > _MAX_COMPARISONS or work * len(columns) > _MAX_WORK):
        n_levels = int(groups[on].nunique(dropna=False))
        few = n_levels * (n_levels - 1) // 2 <= _MAX_COMPARISONS
        if not others or not few or not (sizes == n_levels).all():
            return Comparison(by, _too_many(n_pairs, on), [], [])
        by = []
        pooled = (
            f" There would be {n_pairs:,} comparisons within single conditions, so each sample is first "
            f"averaged over the {len(sizes):,} combinations of {' and '.join(others)}."
        )
    columns = [*leading, *(c for c in columns if c not in leading and not is_chance(c.name))]
    try:
        table = compare(kept, on=on, by=by, metrics=[c.text for c in columns])
    except ValueError as error:
        return Comparison(by, f"There are no differences to show: {error}.", [], [])
    text = (
        f"Two conditions are compared sample by sample, on the source samples that both have.{pooled} The "
        "interval is the 95 % bootstrap interval of the mean difference. A difference counts as shown if "
        "p is below .05 in a sign-flip test, after Holm's correction for all rows of the table. This "
        "concerns the choice of samples alone: another network, trained in the same way, can differ."
    )
    if len(columns) < len([c for c in view.columns if not is_chance(c.name)]):
        text += f" To compare by the other scores too: lensmetrics compare TABLE --on {on}"
    defined = [c for c in columns if table.loc[table["metric"] == c.text, "n"].any()]
    if len(defined) < len(columns):
        names = ", ".join(column_title(c) for c in columns if c not in defined)
        text += f" No sample has scores on both sides by {names}."
    return Comparison(
        by,
        text,
        _figures(table, ids),
        [_differences(table, on, by, c, ids) for c in defined],
        len([c for c in defined if c in leading]),
    )


def _figures(table: pd.DataFrame, ids: Ids) -> list[Shown]:
    if (table["metric"] == table["metric"].iloc[0]).sum() > _MAX_DRAWN:
        return []
    title = "Mean differences"
    caption = (
        "Each difference is the mean over the samples that both conditions have. Filled marks, and cells "
        "with + or −, are differences that count as shown."
    )
    defined = table.groupby("metric", observed=True)["n"].transform("max") > 0
    try:
        figure = difference_figure(table[defined])
    except ValueError:  # it does not fit on a page
        return []
    name = ids.new("differences-figure")
    svg = inline_svg(
        figure, prefix=name, description=f"{title}. {caption} The tables below contain all values."
    )
    return [Shown(name, svg, title, caption)]


def _too_many(n_pairs: int, on: str) -> str:
    return (
        f"To compare {n_pairs:,} pairs of conditions with so many samples takes too long for a page: "
        f"lensmetrics compare TABLE --on {on} --between VALUE VALUE"
    )


def _differences(table: pd.DataFrame, on: str, by: Sequence[str], column: Column, ids: Ids) -> Differences:
    rows = table[table["metric"] == column.text]
    facts = known_metrics(table.attrs).get(column.name)
    rising = facts.higher_is_better if facts else None
    shown = [[condition_text(c, value) for value in rows[c]] for c in by]
    # All metrics have the same pairs in the same order; this one may be missing.
    adjusted = table.loc[table["metric"] == adjusted_for_chance(column.text), "p_holm"].tolist()
    adjusted = adjusted or [math.nan] * len(rows)
    pairs = [
        _difference(row, on, rising, vanishes=p >= LEVEL)
        for row, p in zip(records(rows), adjusted, strict=True)
    ]
    conditions = list(zip(*shown, [pair.pair for pair in pairs], strict=True))
    return Differences(
        ids.new(f"differences-{column.text}"), column_title(column), row_heads(conditions), pairs
    )


def _difference(row: Mapping[str, Any], on: str, rising: bool | None, *, vanishes: bool) -> Difference:
    """Put a comparison into words; `vanishes` tells whether the score adjusted for chance shows none."""
    first, second = (labelled(on, row[side]) for side in ("first", "second"))
    n = int(row["n"])
    ends = [float(row[name]) for name in ("ci_low", "ci_high")]
    largest = max(map(abs, (float(row["difference"]), *ends)))
    interval = ""
    if not math.isnan(ends[0]):
        interval = f"[{_signed(ends[0], largest)}, {_signed(ends[1], largest)}]" + " *" * (n < FEW_SAMPLES)
    only = [
        f"{int(row[f'n_only_{side}']):,} only in the {side}"
        for side in ("first", "second")
        if row[f"n_only_{side}"]
    ]
    return Difference(
        f"{second} − {first}",
        f"{n:,}",
        number_text(float(row["mean_first"])),
        number_text(float(row["mean_second"])),
        _signed(float(row["difference"]), largest),
        interval,
        _verdict(row, on, first, second, rising, vanishes=vanishes),
        only,
    )


def _verdict(
    row: Mapping[str, Any], on: str, first: str, second: str, rising: bool | None, *, vanishes: bool
) -> str:
    p = float(row["p_holm"])
    if math.isnan(p):
        return "no sample with both scores"
    # No line break within.
    shown = p_text(p).replace("0.", ".", 1)
    text = f"p {'' if shown.startswith('<') else '= '}{shown}".replace(" ", "\u00a0")
    if p >= LEVEL:
        return f"no difference shown, {text}"
    text += "; adjusted for chance, no difference is shown" * vanishes
    higher = second if row["difference"] > 0 else first
    if rising is None:
        return f"{higher} is higher, {text}"
    lower = first if higher == second else second
    better = higher if rising else lower
    return f"{claimed(row, on, better)}, {text}"


def _signed(value: float, largest: float) -> str:
    """Return a number with its sign, with three decimals unless the largest of its row needs more."""
    if math.isnan(value):
        return "–"
    text = f"{value:+.3f}" if 1e-3 <= largest < 1e4 or value == 0 else f"{value:+.2e}"
    return text.replace("-", "−")
