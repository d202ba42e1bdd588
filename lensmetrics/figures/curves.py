"""Curves of scores against the window."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..tables.columns import distinguishing, metric_columns, parse_column, unified
from ..tables.labels import labelled, metric_title
from ..tables.summary import summarize
from .style import INK, LEGEND_ROW, PALETTE, RULE, STYLE, cut_label

_MARKERS = "os^Dv<>Ph*"
_MAX_COLUMNS = 4


class Curve(NamedTuple):
    """The columns of one score along w: half-width -> column, and of its chance level."""

    score: dict[int, str]
    chance: dict[int, str]


def curve(scores: pd.DataFrame, metric: str, k: int) -> Curve:
    """Find the columns of a LENS metric along w; w = 0 is the top-k intersection."""
    found = {
        (c.name, int(c.params.get("w", 0))): c.text
        for c in map(parse_column, metric_columns(scores))
        if c.params.get("k") == k and set(c.params) <= {"k", "w"}
    }
    along = {w: column for (name, w), column in sorted(found.items()) if name == metric}
    if along and ("topk_intersection", 0) in found:
        along = {0: found["topk_intersection", 0]} | along
    chance = {w: column for (name, w), column in sorted(found.items()) if name == f"{metric}_chance"}
    return Curve(dict(sorted(along.items())), chance)


def lens_curves(scores: pd.DataFrame, *, k: int, metric: str = "lens_recall") -> Figure:
    """Draw a LENS score against the half-width of its window.

    Parameters
    ----------
    scores
        A table of scores with columns ``metric(k=...,w=...)`` for one w or several. Its top-k
        intersection is the point at w = 0, and ``metric_chance`` a dashed line in the colour of the
        score it belongs to, where these columns are there.
    k
        Size of the top sets in pixels.
    metric
        ``lens_recall`` or ``lens_precision``, or another metric that has k and w.

    Returns
    -------
    Figure
        A line with its 95 % interval for each training regime (of the last attribute that differs,
        where the regime does not), and a panel for each condition otherwise.

    Raises
    ------
    ValueError
        If the table has no such column.
    """
    columns = curve(scores, metric, k)
    if not columns.score:
        msg = f"the table has no column {metric}(k={k},w=...); score that metric first"
        raise ValueError(msg)
    used = dict.fromkeys([*columns.score.values(), *columns.chance.values()])
    panels, lines = panels_and_lines(scores)
    others = {c for c in metric_columns(scores) if c not in used}
    scores = unified(scores[[c for c in scores if c not in others]])
    summary = summarize(scores, by=[*panels, *lines])
    levels = _levels(scores[lines[0]]) if lines else [None]
    grouped: list[tuple[Any, pd.DataFrame]] = [((), summary)]
    if panels:
        grouped = list(summary.groupby(panels, sort=False, observed=True, dropna=False))
    with mpl.rc_context(STYLE):
        figure, grid = _grid(len(grouped))
        for axes, (key, group) in zip(grid, grouped, strict=True):
            axes.set_title(_panel_title(panels, key), loc="left")
            for i, level in enumerate(levels):
                rows = group if level is None else group[_is(group[lines[0]], level)]
                if len(rows):
                    _draw_line(axes, rows.set_index("metric"), columns, i)
            axes.set_xticks(sorted({*columns.score, *columns.chance}))
            axes.set_ylim(min(0, axes.get_ylim()[0]), max(1.02, axes.get_ylim()[1]))
        figure.supylabel(f"{metric_title(metric)}, k = {k}", fontsize=9)
        figure.supxlabel("half-width w of the window in pixels", fontsize=9)
        names = ["mean"] if not lines else [cut_label(labelled(lines[0], level)) for level in levels]
        _curve_legend(figure, names, chance=bool(columns.chance))
    return figure


def panels_and_lines(scores: pd.DataFrame) -> tuple[list[str], list[str]]:
    """Return the conditions that tell panels of a figure apart, and the one that tells lines apart."""
    found = sorted(distinguishing(scores), key="training".__eq__)
    return found[:-1], found[-1:]


def _levels(values: "pd.Series[Any]") -> list[Any]:
    """All values a column can have, missing last: a line keeps its colour when rows are left out."""
    named = list(values.cat.categories if isinstance(values.dtype, pd.CategoricalDtype) else values.unique())
    named = [value for value in named if not pd.isna(value)]
    return [*named, math.nan] if values.isna().any() else named


def _is(values: "pd.Series[Any]", level: Any) -> "pd.Series[bool]":
    return values.isna() if pd.isna(level) else values == level


def _panel_title(names: Sequence[str], key: Sequence[Any]) -> str:
    lines: list[str] = []
    for text in (cut_label(labelled(name, value)) for name, value in zip(names, key, strict=True)):
        # break before a title runs into its neighbour
        if lines and len(lines[-1]) + len(text) < 26:
            lines[-1] += f" · {text}"
        else:
            lines.append(text)
    return "\n".join(lines)


def _grid(n_panels: int) -> tuple[Figure, list[Axes]]:
    n_columns = min(n_panels, _MAX_COLUMNS)
    n_rows = -(-n_panels // n_columns)
    width = 2.4 * n_columns + (0.6 if n_columns > 1 else 2.2)
    figure = Figure(figsize=(width, 1.95 * n_rows + 0.75), layout="constrained", facecolor="white")
    grid = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False).ravel().tolist()
    for axes in grid[n_panels:]:
        axes.remove()
    for axes in grid[:n_panels]:
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, grid[:n_panels]


def _draw_line(axes: Axes, rows: pd.DataFrame, columns: Curve, i: int) -> None:
    """Draw mean, interval and chance level of one condition (rows of its summary, by metric)."""
    colour, w = PALETTE[i % len(PALETTE)], list(columns.score)
    line = rows.loc[list(columns.score.values())]
    axes.fill_between(w, line["ci_low"], line["ci_high"], color=colour, alpha=0.22, linewidth=0)
    marker = _MARKERS[i % len(_MARKERS)]
    axes.plot(w, line["mean"], color=colour, marker=marker, markersize=4.5, linewidth=1.6, gid=f"line-{i}")
    if columns.chance:
        chance = rows.loc[list(columns.chance.values()), "mean"]
        axes.plot(
            list(columns.chance), chance, color=colour, linestyle="--", linewidth=1.1, gid=f"chance-{i}"
        )


def _curve_legend(figure: Figure, names: Sequence[str], *, chance: bool) -> None:
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=PALETTE[i % len(PALETTE)], marker=_MARKERS[i % len(_MARKERS)], markersize=4.5)
        for i in range(len(names))
    ]
    labels = [*names, "95 % interval"]
    handles.append(Patch(color=INK, alpha=0.22, linewidth=0))
    if chance:
        handles.append(Line2D([], [], color=INK, linewidth=1.1, linestyle="--"))
        labels.append("chance level (same colour)" if len(names) > 1 else "chance level")
    n_columns = int(figure.get_figwidth() / 2)
    # Two rows have room beside the title; a figure must grow by more, or they lie on its axes.
    more = max(0, math.ceil(len(handles) / n_columns) - 2)
    figure.set_figheight(figure.get_figheight() + LEGEND_ROW * more)
    figure.legend(handles, labels, loc="outside upper left", ncols=n_columns, borderaxespad=0.2)
