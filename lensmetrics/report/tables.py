"""The tables of a page: a row for each condition, and what its cells say."""

import itertools
import math
import operator
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..tables.columns import Column
from ..tables.known import known_metrics
from ..tables.labels import column_title, condition_text, metric_title, number_text
from ..tables.view import View
from .parts import Ids


class RowHead(NamedTuple):
    """The value of a condition, beside the rows that share it; n_rows is 0 where a row above shows it."""

    text: str
    n_rows: int


class Cell(NamedTuple):
    """A mean and its interval, with notes where some pairs do not count in it or should not."""

    mean: str
    interval: str
    notes: list[str]


class Table(NamedTuple):
    """One table of the page."""

    id: str
    title: str
    code: str
    text: str
    heads: list[str]
    rows: list[list[Cell]]


def conditions_of(view: View) -> list[tuple[str, ...]]:
    """Return the values of every condition as texts."""
    shown = [[condition_text(c, value) for value in view.summary.groups[c]] for c in view.by]
    return list(zip(*shown, strict=True)) if shown else [("all pairs",)]


def row_heads(conditions: Sequence[Sequence[str]]) -> list[list[RowHead]]:
    """Join the heads of consecutive rows that share a value and all values before it."""
    heads: list[list[RowHead]] = [[] for _ in conditions]
    for j in range(len(conditions[0]) if conditions else 0):
        rows = iter(heads)
        for shared, same in itertools.groupby(conditions, key=operator.itemgetter(slice(j + 1))):
            n_rows = len(list(same))
            for i in range(n_rows):
                next(rows).append(RowHead(shared[j], 0 if i else n_rows))
    return heads


def score_tables(view: View, ids: Ids) -> Iterator[Table]:
    """Yield a table of all metrics without w, then one along w for every other metric."""
    known = known_metrics(view.scores.attrs)
    plain = [column for column in view.columns if "w" not in column.params]
    if plain:
        heads = [column_title(c) for c in plain]
        text = " ".join(f"{metric_title(c.name)}: {known[c.name].meaning}" for c in plain if c.name in known)
        name = ids.new("scores-without-window")
        yield Table(name, "Metrics without a window", "", text, heads, _cells(view, plain))
    families = dict.fromkeys(column.family for column in view.columns if "w" in column.params)
    for name, params in families:
        members = [c for c in view.columns if c.family == (name, params) and "w" in c.params]
        members.sort(key=lambda column: column.params["w"])
        if name in ("lens_recall", "lens_precision") and members[0].params["w"] > 0:
            members = [c for c in view.columns if c.family == ("topk_intersection", params)] + members
        inside = ", ".join(f"{key}={value}" for key, value in (*params, ("w", "…")))
        yield Table(
            ids.new(f"scores-{name}" + "".join(f"-{key}{value}" for key, value in params)),
            column_title(members[-1], without=["w"]),
            f"{name}({inside})",
            known[name].meaning if name in known else "",
            [f"w = {c.params['w']}" if "w" in c.params else "w = 0 (top-k intersection)" for c in members],
            _cells(view, members),
        )


def _cells(view: View, members: Sequence[Column]) -> list[list[Cell]]:
    groups = range(len(view.summary.groups))
    return [[_cell(view, group, member) for member in members] for group in groups]


def _cell(view: View, group: int, member: Column) -> Cell:
    metric = member.text
    row = view.summary.row(group, metric)
    interval = f"[{number_text(row['ci_low'])}, {number_text(row['ci_high'])}]"
    if math.isnan(row["ci_low"]):
        interval = "(no interval)" if row["n"] else ""
    elif view.summary.has_few_samples(group, metric):
        interval += " *"
    notes = []
    if row["n_undefined"]:
        reason = view.summary.undefined_reason(group, metric)
        notes.append(f"n = {row['n']}, {row['n_undefined']} undefined" + (f": {reason}" if reason else ""))
    if row["n"] > 1 and row["sd"] == 0 and not member.name.endswith("_chance"):
        identical = row.get("n_identical", 0) >= row["n"]
        notes.append("the same in all pairs" + (": identical maps" if identical else ""))
    if row["n"] and row.get("n_not_attacked", 0) and "mean_attacked" in row:
        notes.append(f"{number_text(row['mean_attacked'])} without not_attacked")
    return Cell(number_text(row["mean"]), interval, notes)
