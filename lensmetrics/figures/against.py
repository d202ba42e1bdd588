"""A score against a condition that is a number, such as eps."""

import math
import numbers
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..tables.columns import Column, condition_columns
from ..tables.known import known_metrics
from ..tables.labels import column_title, condition_text
from ..tables.view import View
from .lines import Line, Panel, levels_of, line_figure, names_of, place_of, title_of
from .panels import Axis, number_label
from .style import SCREEN, Look, Picture

# Numbers whose largest is so many times their smallest are drawn on a logarithmic axis.
_LOG_FROM = 50
_MAX_TICKS = 7


def score_lines(
    view: View, metric: Column, x: str, look: Look = SCREEN, by: Sequence[str] | None = None
) -> Picture:
    """Draw the mean of a score against a condition that is a number.

    Parameters
    ----------
    view
        The table of scores; its groups must tell the values of `x` apart.
    metric
        The score. If the table has its level of chance, that is a dotted line of the same colour.
    x
        The condition.
    look
        The size of the figure.
    by
        The other conditions in the order of panels; the last one tells lines apart. The default is
        that of the view.

    Returns
    -------
    Picture
        A point with its 95 % interval for each value of x, a line for each value of the last other
        condition, and a panel for each combination of those before it.

    Raises
    ------
    ValueError
        If `x` is not a number, or has fewer than two values.
    """
    check_numbers(view.kept, x)
    others = [column for column in (view.by if by is None else by) if column != x]
    split, line = others[:-1], others[-1] if others else None
    levels = levels_of(view.kept[line]) if line is not None else [None]
    panels = []
    for key, part in view.parts(split):
        groups = part.summary.groups
        of_place: dict[int, list[int]] = {}
        values = numbers_of(groups, x)
        for group in np.argsort(values, kind="stable").tolist():
            if math.isfinite(values[group]):
                place = 0 if line is None else place_of(levels, groups[line].iloc[group])
                of_place.setdefault(place, []).append(group)
        drawn = [_line(part, of_place[place], place, metric, x) for place in sorted(of_place)]
        if drawn:
            panels.append(Panel(title_of(split, key), drawn))
    found = known_metrics(view.scores.attrs).get(metric.name)
    bounds = found.bounds if found else (-math.inf, math.inf)
    axis = _axis(x, sorted({value for panel in panels for line_ in panel.lines for value in line_.x}))
    return line_figure(panels, names_of(line, levels), look, axis, column_title(metric), bounds)


def is_number(scores: pd.DataFrame, x: str) -> bool:
    """Return whether scores can be drawn against a condition: a number with at least two values."""
    try:
        check_numbers(scores, x)
    except ValueError:
        return False
    return True


def check_numbers(scores: pd.DataFrame, x: str) -> None:
    """Refuse a column against which no line can be drawn."""
    conditions = condition_columns(scores)
    if x not in conditions:
        has = ", ".join(conditions) or "none"
        raise ValueError(f"cannot draw scores against {x!r}: the conditions of the table are {has}")
    values = scores[x].dropna().unique().tolist()
    wrong = [value for value in values if isinstance(value, bool) or not isinstance(value, numbers.Real)]
    if wrong:
        raise ValueError(
            f"{x} holds {wrong[0]!r}, which is not a number: scores are drawn against a number, such as eps"
        )
    finite = [float(value) for value in values if math.isfinite(value)]
    if len(finite) < 2:
        only = condition_text(x, finite[0]) if finite else "none"
        raise ValueError(
            f"{x} has {len(finite)} value{'s' * (len(finite) != 1)} in the table ({only}): a line needs two"
        )


def numbers_of(groups: pd.DataFrame, x: str) -> npt.NDArray[np.float64]:
    """Return the values of a condition that is a number, NaN where there is none."""
    return np.array([math.nan if pd.isna(value) else float(value) for value in groups[x].tolist()])


def chance_column(columns: Sequence[Column], metric: Column) -> Column | None:
    """Return the column with the level of chance of a score, if the table has it."""
    return next((c for c in columns if c.name == f"{metric.name}_chance" and c.params == metric.params), None)


def _line(view: View, groups: Sequence[int], place: int, metric: Column, x: str) -> Line:
    rows = [view.summary.row(group, metric.text) for group in groups]
    along = [float(view.summary.groups[x].iloc[group]) for group in groups]
    mean, low, high = ([float(row[name]) for row in rows] for name in ("mean", "ci_low", "ci_high"))
    chance = chance_column(view.columns, metric)
    level = [] if chance is None else [view.summary.row(group, chance.text)["mean"] for group in groups]
    few = any(view.summary.has_few_samples(group, metric.text) for group in groups)
    return Line(place, along, mean, low, high, along if level else [], level, few)


def _axis(x: str, values: Sequence[float]) -> Axis:
    """Return an axis with ticks at some of the values, in steps of 1/255 if all of them are such steps."""
    log = values[0] > 0 and values[-1] >= _LOG_FROM * values[0]
    space = 0.06 * (values[-1] - values[0])
    limits = (0.8 * values[0], 1.25 * values[-1]) if log else (values[0] - space, values[-1] + space)
    ticks = list(values)
    while len(ticks) > _MAX_TICKS:
        ticks = ticks[::2]
    if all(condition_text(x, value).endswith("/255") or value == 0 for value in values):
        return Axis(f"{x}, in steps of 1/255", limits, ticks, [f"{round(tick * 255)}" for tick in ticks], log)
    texts = [f"{tick:.3g}" for tick in ticks]
    if len(set(texts)) < len(texts):
        texts = [f"{tick:g}" for tick in ticks]
    return Axis(x, limits, ticks, list(map(number_label, texts)), log)
