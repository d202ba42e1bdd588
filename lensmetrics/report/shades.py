"""Scores along w as shaded tables, where there are too many conditions for curves."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..figures.curves import Curve
from ..tables.differing import numbered
from ..tables.labels import condition_text, metric_title
from ..tables.view import View
from .parts import Ids
from .tables import RowHead, row_heads

# Shades between 0 and 1; the page has a class for each.
N_SHADES = 10


class Shade(NamedTuple):
    """A mean and its shade, from 0 for a score of 0 to `N_SHADES` - 1 for a score of 1."""

    text: str
    level: int


class Shades(NamedTuple):
    """A score along w: a row for each condition but the last, whose values are columns for each w."""

    id: str
    title: str
    windows: list[str]
    levels: list[str]
    by: list[str]
    heads: list[list[RowHead]]
    rows: list[list[Shade | None]]


def shaded(view: View, curve: Curve, ids: Ids) -> Shades:
    """Return the means of a LENS score as shades."""
    summary, line = view.summary, view.by[-1]
    level = numbered(summary.groups[line])
    levels = [
        condition_text(line, summary.groups[line].iloc[int(i)])
        for i in np.unique(level, return_index=True)[1]
    ]
    heads: list[tuple[str, ...]] = []
    rows: list[list[Shade | None]] = []
    place: dict[tuple[int, ...], int] = {}
    others = view.by[:-1]
    codes = [numbered(summary.groups[c]) for c in others]
    for group in range(len(level)):
        key = tuple(int(code[group]) for code in codes)
        if key not in place:
            place[key] = len(rows)
            heads.append(tuple(condition_text(c, summary.groups[c].iloc[group]) for c in others))
            rows.append([None] * (len(curve.score) * len(levels)))
        for j, metric in enumerate(curve.score.values()):
            mean = float(summary.row(group, metric)["mean"])
            rows[place[key]][j * len(levels) + int(level[group])] = _shade(mean)
    return Shades(
        ids.new(f"shades-{curve.metric}-k{curve.k}"),
        f"{metric_title(curve.metric)} along w, k = {curve.k}",
        [f"w = {w}" for w in curve.score],
        levels,
        others,
        row_heads(heads),
        rows,
    )


def _shade(mean: float) -> Shade | None:
    if math.isnan(mean):
        return None
    return Shade(f"{mean:.2f}".replace("0.", ".", 1), min(int(mean * N_SHADES), N_SHADES - 1))


def n_panels(view: View, curves: Sequence[Curve]) -> int:
    """Return how many panels the curves of all conditions would take."""
    drawn = view.summary.groups[view.summary.n_rows > 0]
    others = view.by[:-1]
    return len(curves) * (len(drawn[others].drop_duplicates()) if others else 1)
