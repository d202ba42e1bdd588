"""Lines with intervals in panels: what curves against the window and against a condition share."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..tables.labels import labelled
from .panels import close_grid, open_grid
from .style import CHANCE, INK, Look, Picture, cut_label, line_look

# Limits of legibility in a panel: lines, and lines with bands.
_MAX_LINES = 12
_MAX_BANDS = 5


class Line(NamedTuple):
    """Means with their intervals along x, and the level of chance."""

    place: int  # of its condition among all lines of the figure
    x: list[float]
    mean: list[float]
    low: list[float]
    high: list[float]
    chance_x: list[float]
    chance: list[float]


class Panel(NamedTuple):
    """The conditions that a panel shows, as the parts of its title, and its lines."""

    title: list[str]
    lines: list[Line]


class Axis(NamedTuple):
    """The x axis: its label, the places of ticks and their texts."""

    label: str
    ticks: list[float]
    texts: list[str]
    log: bool = False


def line_figure(
    panels: Sequence[Panel],
    names: Sequence[str],
    look: Look,
    axis: Axis,
    y_label: str,
    bounds: tuple[float, float],
) -> Picture:
    """Draw panels of lines; `names` are those of all lines, by their places."""
    panels = [part for panel in panels for part in _split(panel, len(names))]
    chance = any(line.chance for panel in panels for line in panel.lines)
    with mpl.rc_context(look.style):
        figure, grid = open_grid(len(panels), look)
        if axis.log:
            grid[0].set_xscale("log")
        step = min(np.diff(sorted(axis.ticks)), default=1.0)
        for axes, panel in zip(grid, panels, strict=True):
            banded = len(panel.lines) <= _MAX_BANDS
            for i, line in enumerate(panel.lines):
                # Error bars stand side by side.
                shift = 0.0 if banded or axis.log else 0.4 * step * (i / (len(panel.lines) - 1) - 0.5)
                _draw_line(axes, line, look, banded=banded, shift=shift)
        grid[0].set_xticks(axis.ticks, labels=axis.texts, minor=False)
        grid[0].minorticks_off()
        _limit(grid, panels, bounds)
        banded = all(len(panel.lines) <= _MAX_BANDS for panel in panels)
        close_grid(
            figure,
            grid,
            look,
            titles=[panel.title for panel in panels],
            x_label=axis.label,
            y_label=y_label,
            legend=_legend(names, look, chance=chance, banded=banded),
        )
    return figure


def levels_of(values: "pd.Series[Any]") -> list[Any]:
    """Return all values that a column can have, missing last: a line keeps its colour in every part."""
    named = list(values.cat.categories if isinstance(values.dtype, pd.CategoricalDtype) else values.unique())
    named = [value for value in named if not pd.isna(value)]
    return [*named, math.nan] if values.isna().any() else named


def place_of(levels: Sequence[Any], value: Any) -> int:
    """Return the place of a value among the levels; missing values are last."""
    return len(levels) - 1 if pd.isna(value) else levels.index(value)


def names_of(column: str | None, levels: Sequence[Any]) -> list[str]:
    """Return the labels of lines."""
    return ["mean"] if column is None else [cut_label(labelled(column, level)) for level in levels]


def title_of(columns: Sequence[str], values: Sequence[Any]) -> list[str]:
    """Return the parts of the title of a panel."""
    return [cut_label(labelled(column, value)) for column, value in zip(columns, values, strict=True)]


def _split(panel: Panel, n_names: int) -> list[Panel]:
    """Spread the lines of a panel over several if there are too many; a line has one place in all of them."""
    if n_names <= _MAX_LINES:
        return [panel]
    n_parts = math.ceil(n_names / _MAX_LINES)
    size = math.ceil(n_names / n_parts)
    parts = [
        Panel(panel.title, [line for line in panel.lines if line.place // size == i]) for i in range(n_parts)
    ]
    return [part for part in parts if part.lines]


def _draw_line(axes: Axes, line: Line, look: Look, *, banded: bool, shift: float) -> None:
    """Draw mean, interval and chance level of one group."""
    shown = line_look(line.place)
    x = np.asarray(line.x) + shift
    if banded:
        axes.fill_between(x, line.low, line.high, color=shown["color"], alpha=0.22, linewidth=0)
    else:
        axes.vlines(x, line.low, line.high, color=shown["color"], linewidth=0.09 * look.font)
    axes.plot(
        x, line.mean, markersize=0.48 * look.font, markeredgewidth=0.09 * look.font, gid=f"line-{line.place}", **shown
    )
    if line.chance:
        axes.plot(
            line.chance_x, line.chance, color=shown["color"], linestyle=CHANCE, linewidth=0.14 * look.font,
            gid=f"chance-{line.place}",
        )  # fmt: skip


def _limit(grid: Sequence[Axes], panels: Sequence[Panel], bounds: tuple[float, float]) -> None:
    """Show the scale of a bounded score whole from 0 on, so that its figures can be compared."""
    low, high = grid[0].get_ylim()
    values = [value for panel in panels for line in panel.lines for value in (*line.low, *line.mean)]
    smallest = min((value for value in values if math.isfinite(value)), default=0.0)
    if bounds[1] == 1:
        high = 1.02
        low = min(0.0, low) if smallest < 0 else 0.0
    elif bounds[0] == 0:
        low = 0.0
    grid[0].set_ylim(low, high)


def _legend(names: Sequence[str], look: Look, *, chance: bool, banded: bool) -> list[tuple[Any, str]]:
    entries: list[tuple[Any, str]] = [
        (
            Line2D([], [], markersize=0.48 * look.font, markeredgewidth=0.09 * look.font, **line_look(i)),
            name,
        )
        for i, name in enumerate(names)
    ]
    if banded:
        interval: Any = Patch(color=INK, alpha=0.22, linewidth=0)
    else:
        interval = Line2D([], [], color=INK, marker="|", markersize=look.font, linestyle="none")
    entries.append((interval, "95 % interval"))
    if chance:
        text = "chance level (same colour)" if len(names) > 1 else "chance level"
        entries.append((Line2D([], [], color=INK, linewidth=0.14 * look.font, linestyle=CHANCE), text))
    return entries
