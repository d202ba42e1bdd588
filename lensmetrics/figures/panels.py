"""Panels in a grid under a legend, laid out by measuring a few texts.

Matplotlib's constrained layout measures every text of every panel, which takes a third of the time
of a figure of 25 panels. Panels of one grid have the same axes, so that the texts of one panel suffice.
"""

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.legend_handler import HandlerTuple
from matplotlib.ticker import MaxNLocator, NullLocator

from .measuring import fitted, height_of, text_width, wrapped
from .style import INK, RULE, Look, Picture, renderer_of

# Parts of a legend, in units of the size of its text.
_HANDLE, _PAD, _SPACE = 2.6, 0.6, 1.6


class Axis(NamedTuple):
    """An axis that all panels of a grid have: its name, limits, ticks and their texts."""

    label: str
    limits: tuple[float, float]
    ticks: Sequence[float]
    texts: Sequence[str]
    log: bool = False


def open_grid(n_panels: int, look: Look, x: Axis, y: Axis) -> tuple[Picture, list[Axes]]:
    """Return a figure with panels that have the same axes; `close_grid` places them.

    Their limits are fixed: matplotlib takes most of its time to find those of axes that are shared.
    """
    figure = Picture(figsize=(look.width, look.width), facecolor="white")
    panels: list[Axes] = []
    for i in range(n_panels):
        # Axes at the same place are distinct objects only if their labels differ.
        axes = figure.add_axes((0.1, 0.1, 0.8, 0.8), label=str(i), xlim=x.limits, ylim=y.limits)
        axes.tick_params(labelsize=look.font, color=INK, labelcolor=INK, length=0.35 * look.font)
        if x.log:
            axes.set_xscale("log")
            axes.set_xlim(x.limits)
        # One collection of lines takes less time than those of ticks.
        axes.hlines(y.ticks, *x.limits, color=RULE, linewidth=0.6, zorder=0.5, gid="rules")
        panels.append(axes)
    return figure, panels


def number_axis(label: str, low: float, high: float, n_ticks: int = 5) -> Axis:
    """Return an axis with ticks at round numbers, which have equally many decimals."""
    within = MaxNLocator(n_ticks, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    ticks = [float(tick) for tick in within if low <= tick <= high]
    texts = [f"{tick:g}" for tick in ticks]
    if not any("e" in text for text in texts):
        decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
        texts = [f"{tick:.{decimals}f}" for tick in ticks]
    return Axis(label, (low, high), ticks, [number_label(text) for text in texts])


def number_label(text: str) -> str:
    """Return a printed number as figures show it: a minus sign, and an exponent without zeros."""
    mantissa, e, exponent = text.partition("e")
    return (mantissa + (f"e{int(exponent)}" if e else "")).replace("-", "\u2212")


def close_grid(
    figure: Picture,
    panels: Sequence[Axes],
    look: Look,
    *,
    titles: Sequence[Sequence[str]],
    axes: tuple[Axis, Axis],
    legend: Sequence[tuple[Any, str]],
) -> None:
    """Place the panels, titles, labels and legend of a figure, and give it its height.

    Parameters
    ----------
    figure, panels
        What `open_grid` returned, with everything drawn.
    look
        The size.
    titles
        The parts of the title of each panel.
    axes
        x and y. Only the outer panels have ticks: making ticks takes long.
    legend
        Its handles and labels.

    Raises
    ------
    ValueError
        If the figure would be higher than a page.
    """
    em = look.font / 72
    x, y = axes
    left = max(text_width(text, look) for text in (*y.texts, "")) + 1.3 * em
    bottom = 1.9 * em
    # The numbers at the ends of neighbouring x axes must not meet.
    ends = text_width(x.texts[0], look) / 2 + text_width(x.texts[-1], look) / 2
    gap = max(1.2 * em, ends - 0.1 * look.panel + 0.5 * em)
    n_rows = math.ceil(len(panels) / max(1, int((look.width - left) / look.panel)))
    n_columns = math.ceil(len(panels) / n_rows)
    left += 1.7 * em  # the label of the y axis
    across = min((look.width - left - gap * n_columns) / n_columns, look.widest)
    down = min(max(0.72 * across, 1.0), 2.2)
    width = left + n_columns * (across + gap)
    lines = [wrapped(parts, across, look) for parts in titles]
    x = thinned(x, across, look)
    x_label = wrapped(x.label.split(" "), width - em, look, " ")
    below = bottom + (height_of(x_label) + 0.3) * em
    title = [  # of every row of panels
        1.25 * em * max(text.count("\n") + bool(text) + 0.5 for text in lines[i : i + n_columns])
        for i in range(0, len(lines), n_columns)
    ]
    above = add_legend(figure, legend, width, look) + 0.3 * em
    turned = text_width(y.label, look) < n_rows * down + sum(title[1:])
    if not turned:
        above += 1.6 * em
    height = above + n_rows * (down + gap / 2) + sum(title) + below
    if height > look.height:
        raise ValueError(
            f"the {len(panels)} panels need {height:.0f} inches, more than a page ({look.height:g}): draw "
            "fewer conditions (fewer columns in by, or --by, pool the others; or choose rows, such as "
            "scores[scores['attack'] == 'topk']), or a wider figure"
        )
    figure.set_size_inches(width, height)
    figure.legends[0].set_bbox_to_anchor((0.2 * em / width, 1 - 0.1 * em / height))
    for i, (panel, text) in enumerate(zip(panels, lines, strict=True)):
        row, column = divmod(i, n_columns)
        place = left + column * (across + gap), above + row * (down + gap / 2) + sum(title[: row + 1])
        panel.set_position((place[0] / width, 1 - (place[1] + down) / height, across / width, down / height))
        panel.set_title(text, loc="left", pad=0.4 * look.font, linespacing=1.2)
        for axis, shown, outer in (
            (panel.xaxis, x, i + n_columns >= len(panels)),
            (panel.yaxis, y, column == 0),
        ):
            axis.set_ticks(shown.ticks if outer else [], labels=shown.texts if outer else [])
            axis.set_minor_locator(NullLocator())
    middle = min(
        (left + n_columns * (across + gap) - gap) / 2 + left / 2,
        width - text_width(x_label, look) / 2 - 0.3 * em,
    )
    figure.supxlabel(x_label, x=middle / width, y=0.3 * em / height, va="bottom", fontsize=look.font)
    if turned:
        centre = 1 - (above + title[0] + height - below) / 2 / height
        figure.supylabel(y.label, x=0.2 * em / width, y=centre, ha="left", va="center", fontsize=look.font)
    else:
        # Too long for the height of the panels.
        figure.text(0.4 * em / width, 1 - (above - 1.5 * em) / height, y.label, ha="left", va="top", gid="y")


def thinned(axis: Axis, width: float, look: Look) -> Axis:
    """Leave out texts that would touch the one before."""
    low, high = np.log(axis.limits) if axis.log else axis.limits
    end, texts, space = -math.inf, [], text_width("n", look)
    for tick, text in zip(np.log(axis.ticks) if axis.log else axis.ticks, axis.texts, strict=True):
        half = text_width(text, look) / 2
        centre = (tick - low) / (high - low) * width
        fits = centre - half > end + space
        texts.append(text if fits else "")
        end = centre + half if fits else end
    return axis._replace(texts=texts)


def add_legend(figure: Picture, entries: Sequence[tuple[Any, str]], width: float, look: Look) -> float:
    """Add a legend with as many columns as fit into the width; return its height.

    The parts of a handle that is a list are side by side, those of a tuple on top of each other.
    """
    em = look.font / 72
    most = width - (_HANDLE + _PAD + 1) * em
    entries = [(handle, fitted(label, most, look)) for handle, label in entries]
    widths = [text_width(label, look) + (_HANDLE + _PAD) * em for _, label in entries]
    for n_columns in range(len(entries), 0, -1):
        columns = [max(part) for part in np.array_split(widths, n_columns)]
        if sum(columns) + (n_columns - 1) * _SPACE * em <= width - em:
            break
    drawn = figure.legend(
        [handle for handle, _ in entries],
        [label for _, label in entries],
        loc="upper left",
        bbox_to_anchor=(0, 1),
        ncols=n_columns,
        handler_map={list: HandlerTuple(ndivide=None)},
        fontsize=look.font,
        handlelength=_HANDLE,
        handletextpad=_PAD,
        columnspacing=_SPACE,
        labelspacing=0.3,
        borderaxespad=0,
        borderpad=0.2,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        return float(drawn.get_window_extent(renderer_of(figure)).height) / figure.dpi
