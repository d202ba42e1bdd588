"""Lines with intervals in panels: what curves against the window and against a condition share."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..tables.labels import labelled
from ..tables.natural import in_natural_order, in_order
from ..tables.summary import FEW_SAMPLES
from .panels import Axis, close_grid, number_axis, open_grid
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
    few: bool  # whether an interval is of few samples


class Panel(NamedTuple):
    """The conditions that a panel shows, as the parts of its title, and its lines."""

    title: list[str]
    lines: list[Line]


def line_figure(
    panels: Sequence[Panel],
    names: Sequence[str],
    look: Look,
    x: Axis,
    y_label: str,
    bounds: tuple[float, float],
) -> Picture:
    """Draw panels of lines.

    `names` are those of all lines, by their places, and `bounds` those of the score.
    """
    if not panels:
        raise ValueError("the table has no rows to draw")
    drawn = sorted({line.place for panel in panels for line in panel.lines})
    panels = [part for panel in panels for part in _split(panel, drawn)]
    y = number_axis(y_label, *_limits(panels, bounds))
    # Error bars stand side by side.
    aside = 0.0 if x.log else 0.1 * min(np.diff(x.ticks), default=1.0)
    if any(len(panel.lines) > _MAX_BANDS for panel in panels):
        x = x._replace(limits=(x.limits[0] - aside, x.limits[1] + aside))
    with mpl.rc_context(look.style):
        figure, grid = open_grid(len(panels), look, x, y)
        for axes, panel in zip(grid, panels, strict=True):
            banded = len(panel.lines) <= _MAX_BANDS
            for i, line in enumerate(panel.lines):
                shift = 0.0 if banded else aside * (2 * i / (len(panel.lines) - 1) - 1)
                _draw_line(axes, line, look, banded=banded, shift=shift)
            if not any(math.isfinite(value) for line in panel.lines for value in line.mean):
                place: Any = {"ha": "center", "va": "center", "transform": axes.transAxes}
                axes.text(0.5, 0.5, "no score is defined", **place)
        banded = all(len(panel.lines) <= _MAX_BANDS for panel in panels)
        close_grid(
            figure,
            grid,
            look,
            titles=[panel.title for panel in panels],
            axes=(x, y),
            legend=_legend(panels, {place: names[place] for place in drawn}, look, banded=banded),
        )
    return figure


def interval_label(*, few: bool) -> str:
    """Return the name of intervals, which says if some are of so few samples that they are unreliable."""
    return f"95 % interval (some of n < {FEW_SAMPLES})" if few else "95 % interval"


def levels_of(values: "pd.Series[Any]") -> list[Any]:
    """Return all values that a column can have, missing last: a line keeps its colour in every part."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        named = list(in_natural_order(values).cat.categories)
    else:
        named = in_order(values.dropna().unique().tolist())
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


def _split(panel: Panel, places: Sequence[int]) -> list[Panel]:
    """Spread the lines of a panel over several if there are too many; a line has one place in all of them."""
    n_parts = math.ceil(len(places) / _MAX_LINES)
    if n_parts < 2:
        return [panel]
    shares = [set(share.tolist()) for share in np.array_split(places, n_parts)]
    parts = [Panel(panel.title, [line for line in panel.lines if line.place in share]) for share in shares]
    return [part for part in parts if part.lines]


def _draw_line(axes: Axes, line: Line, look: Look, *, banded: bool, shift: float) -> None:
    """Draw mean, interval and chance level of one group."""
    shown = line_look(line.place)
    x = np.asarray(line.x) + shift
    low, mean, high = np.asarray(line.low), np.asarray(line.mean), np.asarray(line.high)
    as_bar = np.full(len(x), not banded) | _alone(mean)
    gid = f"interval-{line.place}"
    if banded:
        axes.fill_between(x, low, high, color=shown["color"], alpha=0.22, linewidth=0, gid=gid)
    if as_bar.any():
        ends = x[as_bar], low[as_bar], high[as_bar]
        axes.vlines(*ends, color=shown["color"], linewidth=0.09 * look.font, gid=gid)
    axes.plot(
        x,
        line.mean,
        markersize=0.48 * look.font,
        markeredgewidth=0.09 * look.font,
        gid=f"line-{line.place}",
        **shown,
    )
    if line.chance:
        axes.plot(
            line.chance_x, line.chance, color=shown["color"], linestyle=CHANCE, linewidth=0.14 * look.font,
            gid=f"chance-{line.place}",
        )  # fmt: skip


def _alone(mean: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return which points have no neighbour to which a band could reach."""
    defined = np.isfinite(mean)
    beside = np.zeros(len(mean), np.bool_)
    beside[1:] |= defined[:-1]
    beside[:-1] |= defined[1:]
    return defined & ~beside


def _limits(panels: Sequence[Panel], bounds: tuple[float, float]) -> tuple[float, float]:
    """Return the limits of the y axis: scores up to 1 start at 0, so that figures can be compared."""
    values = [
        value
        for panel in panels
        for line in panel.lines
        for value in (*line.low, *line.mean, *line.high, *line.chance)
        if math.isfinite(value)
    ]
    low, high = min(values, default=0.0), max(values, default=1.0)
    if bounds[1] == 1:
        return min(0.0, 1.04 * low), 1.02
    space = 0.05 * ((high - low) or abs(high) or 1.0)
    return 0.0 if bounds[0] == 0 else low - space, high + space


def _legend(
    panels: Sequence[Panel], names: Mapping[int, str], look: Look, *, banded: bool
) -> list[tuple[Any, str]]:
    lines = [line for panel in panels for line in panel.lines]
    entries: list[tuple[Any, str]] = [
        (
            Line2D([], [], markersize=0.48 * look.font, markeredgewidth=0.09 * look.font, **line_look(i)),
            name,
        )
        for i, name in names.items()
    ]
    shown = [line for line in lines if any(map(math.isfinite, line.low))]
    if shown:
        interval: Any = Patch(color=INK, alpha=0.22, linewidth=0)
        if not banded:
            interval = Line2D([], [], color=INK, marker="|", markersize=look.font, linestyle="none")
        entries.append((interval, interval_label(few=any(line.few for line in shown))))
    if any(line.chance for line in lines):
        text = "chance level (same colour)" if len(names) > 1 else "chance level"
        entries.append((Line2D([], [], color=INK, linewidth=0.14 * look.font, linestyle=CHANCE), text))
    return entries
