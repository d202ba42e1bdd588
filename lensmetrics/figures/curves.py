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

from ..tables.columns import Column
from ..tables.labels import labelled, metric_title
from ..tables.summary import Summary
from ..tables.view import View
from .style import INK, LEGEND_ROW, PALETTE, RULE, STYLE, cut_label

_MARKERS = "os^Dv<>Ph*"
_MAX_COLUMNS = 4


class Curve(NamedTuple):
    """The columns of a LENS score along w (half-width -> column), and those of its chance level."""

    metric: str
    k: int
    score: dict[int, str]
    chance: dict[int, str]


def find_curve(columns: Sequence[Column], metric: str, k: int) -> Curve:
    """Return the columns of a LENS metric along w; the top-k intersection is the point at w = 0.

    Raises
    ------
    ValueError
        If there is no such column.
    """
    found = {
        (c.name, int(c.params.get("w", 0))): c.text
        for c in columns
        if c.params.get("k") == k and set(c.params) <= {"k", "w"}
    }
    along = {w: text for (name, w), text in sorted(found.items()) if name == metric}
    if not along:
        raise ValueError(f"the table has no column {metric}(k={k},w=...); score that metric first")
    if ("topk_intersection", 0) in found:
        along = {0: found["topk_intersection", 0]} | along
    chance = {w: text for (name, w), text in sorted(found.items()) if name == f"{metric}_chance"}
    return Curve(metric, k, dict(sorted(along.items())), chance)


def lens_curves(view: View, curve: Curve) -> Figure:
    """Draw a LENS score against the half-width of its window.

    Parameters
    ----------
    view
        The table of scores.
    curve
        The columns to draw. The chance level is a dashed line in the colour of the score.

    Returns
    -------
    Figure
        A line with its 95 % interval for each training regime (or for each value of the last
        condition, if all regimes are equal), and a panel for each combination of the others.
    """
    panels, line = view.by[:-1], view.by[-1] if view.by else None
    levels = _levels(view.kept[line]) if line is not None else [None]
    parts = view.parts(panels)
    with mpl.rc_context(STYLE):
        figure, grid = _grid(len(parts))
        for axes, (key, part) in zip(grid, parts, strict=True):
            axes.set_title(_panel_title(panels, key), loc="left")
            of_group = [0] if line is None else [_place(levels, v) for v in part.summary.groups[line]]
            for group in sorted(range(len(of_group)), key=of_group.__getitem__):
                _draw_line(axes, part.summary, group, curve, of_group[group])
            axes.set_xticks(sorted({*curve.score, *curve.chance}))
            axes.set_ylim(min(0, axes.get_ylim()[0]), max(1.02, axes.get_ylim()[1]))
        figure.supylabel(f"{metric_title(curve.metric)}, k = {curve.k}", fontsize=9)
        figure.supxlabel("half-width w of the window in pixels", fontsize=9)
        names = ["mean"] if line is None else [cut_label(labelled(line, level)) for level in levels]
        _curve_legend(figure, names, chance=bool(curve.chance))
    return figure


def _levels(values: "pd.Series[Any]") -> list[Any]:
    """Return all values that a column can have, missing last: a line keeps its colour in every part."""
    named = list(values.cat.categories if isinstance(values.dtype, pd.CategoricalDtype) else values.unique())
    named = [value for value in named if not pd.isna(value)]
    return [*named, math.nan] if values.isna().any() else named


def _place(levels: Sequence[Any], value: Any) -> int:
    return len(levels) - 1 if pd.isna(value) else levels.index(value)


def _panel_title(names: Sequence[str], key: Sequence[Any]) -> str:
    lines: list[str] = []
    for text in (cut_label(labelled(name, value)) for name, value in zip(names, key, strict=True)):
        # Start a new line before the title reaches the next panel.
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


def _draw_line(axes: Axes, summary: Summary, group: int, curve: Curve, i: int) -> None:
    """Draw mean, interval and chance level of one group."""
    colour, w = PALETTE[i % len(PALETTE)], list(curve.score)
    rows = [summary.row(group, text) for text in curve.score.values()]
    low, high = ([row[name] for row in rows] for name in ("ci_low", "ci_high"))
    axes.fill_between(w, low, high, color=colour, alpha=0.22, linewidth=0)
    marker = _MARKERS[i % len(_MARKERS)]
    mean = [row["mean"] for row in rows]
    axes.plot(w, mean, color=colour, marker=marker, markersize=4.5, linewidth=1.6, gid=f"line-{i}")
    if curve.chance:
        chance = [summary.row(group, text)["mean"] for text in curve.chance.values()]
        axes.plot(list(curve.chance), chance, color=colour, linestyle="--", linewidth=1.1, gid=f"chance-{i}")


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
    # Two rows fit beside the title; every further row needs a taller figure, or it would cover the axes.
    more = max(0, math.ceil(len(handles) / n_columns) - 2)
    figure.set_figheight(figure.get_figheight() + LEGEND_ROW * more)
    figure.legend(handles, labels, loc="outside upper left", ncols=n_columns, borderaxespad=0.2)
