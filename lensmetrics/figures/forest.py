"""Differences as points with intervals, a row for each metric or group."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from .differences import Differences
from .lines import interval_label
from .measuring import height_of, text_width, wrapped
from .panels import Axis, add_legend, number_axis, thinned
from .style import HOLLOW, INK, RULE, Look, Picture, line_look

_LOWER = "↓ a lower score means maps that are more alike"


def draw_points(found: Differences, look: Look) -> Picture:
    """Draw the differences of a comparison with few series, or with one metric.

    Metrics that share a scale are in one panel; each other metric has its own.
    """
    one_metric = len(found.metrics) == 1 and len(found.groups) > 1
    rows = found.series if one_metric else found.metrics
    series = [""] if one_metric else found.series
    low, value, high = found.low, found.value, found.high
    certain = found.certain
    if not one_metric:
        low, value, high, certain = low.T, value.T, high.T, certain.T
    blocks = [list(range(len(rows)))]
    if not one_metric:
        alike = np.flatnonzero(found.shared).tolist()
        blocks = [block for block in (alike, *([i] for i in np.flatnonzero(~found.shared).tolist())) if block]
    em = look.font / 72
    with mpl.rc_context(look.style):
        figure = Picture(figsize=(look.width, look.width), facecolor="white")
        width = min(look.width, 7.5)
        rows = [_in_lines(text, 0.48 * width, look) for text in rows]
        left = 1.03 * max(text_width(text, look) for text in rows) + 1.2 * em
        above = 0.3 * em
        above += add_legend(figure, _entries(series, certain, look), width, look)
        title = found.given if not one_metric else ", ".join(filter(None, [found.metrics[0], found.given]))
        title = _in_lines(title, width - em, look)
        above += (0.6 + height_of(title)) * em
        pitch = np.array([max(1.2 * text.count("\n") + 1.9, 0.75 * len(series) + 0.9) * em for text in rows])
        heights = [float(pitch[block].sum()) for block in blocks]
        below = 1.9 * em  # the numbers of an axis
        label = f"difference: {found.subject}, {interval_label(few=found.few)}"
        label = wrapped(label.split(" "), width - 1.5 * em, look, " ")
        if any(text.endswith("↓") for text in found.metrics):
            label += f"\n{_LOWER}"
        height = above + sum(heights) + below * len(blocks) + (height_of(label) + 0.4) * em
        if height > look.height:
            raise ValueError(
                f"the {len(rows)} rows need {height:.0f} inches, more than a page ({look.height:g}): compare "
                "fewer metrics or groups"
            )
        figure.set_size_inches(width, height)
        figure.legends[0].set_bbox_to_anchor((0, 1 - 0.1 * em / height))
        if title:
            figure.text(0.4 * em / width, 1 - (above - 0.4 * em) / height, title, va="bottom", gid="given")
        y = above
        for block, high_ in zip(blocks, heights, strict=True):
            place = (left / width, 1 - (y + high_) / height, 1 - (left + em) / width, high_ / height)
            axes = figure.add_axes(place, label=str(block[0]))
            values = value[block], low[block], high[block]
            axes.set_yticks(np.cumsum(pitch[block]) - pitch[block] / 2, labels=[rows[i] for i in block])
            _draw_block(axes, pitch[block], values, certain[block], look)
            x = thinned(_axis(values), width - left - em, look)
            axes.set_xlim(x.limits)
            axes.set_xticks(x.ticks, labels=x.texts)
            y += high_ + below
        figure.text(1 - em / width, 0.3 * em / height, label, ha="right", va="bottom")
    return figure


def _draw_block(
    axes: Axes,
    pitch: npt.NDArray[np.float64],
    values: tuple[npt.NDArray[np.float64], ...],
    certain: npt.NDArray[np.bool_],
    look: Look,
) -> None:
    value, low, high = values
    n = value.shape[1]
    centres = np.cumsum(pitch) - pitch / 2
    axes.axvline(0, color=INK, linewidth=0.8, gid="zero")
    for j in range(n):
        shown = line_look(j) | {"linestyle": "none"}
        y = centres + (0.7 * pitch * ((j + 0.5) / n - 0.5) if n > 1 else 0)
        axes.hlines(y, low[:, j], high[:, j], color=shown["color"], linewidth=0.14 * look.font)
        for sure in (True, False):
            some = certain[:, j] == sure
            face = shown["color"] if sure else HOLLOW
            axes.plot(
                value[some, j],
                y[some],
                markersize=0.55 * look.font,
                markeredgewidth=0.12 * look.font,
                gid=f"{'certain' if sure else 'uncertain'}-{j}",
                **shown | {"markerfacecolor": face},
            )
    if np.isnan(value).all():
        place: dict[str, Any] = {
            "transform": axes.transAxes,
            "ha": "center",
            "va": "center",
            "fontsize": look.font,
        }
        axes.text(0.5, 0.5, "no difference is defined", color=INK, backgroundcolor="white", **place)
    axes.set_ylim(pitch.sum(), 0)
    axes.tick_params(labelsize=look.font, color=INK, labelcolor=INK)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)


def _axis(values: Sequence[npt.NDArray[np.float64]]) -> Axis:
    """Return an axis that shows zero and everything defined."""
    seen = np.concatenate([part.ravel() for part in values] + [np.zeros(1)])
    low, high = float(np.nanmin(seen)), float(np.nanmax(seen))
    space = 0.06 * (high - low) or 1.0
    return number_axis("", low - space, high + space, 4)


def _in_lines(text: str, width: float, look: Look) -> str:
    """Break a label into lines, at commas and dots between its parts."""
    parts = text.replace(", ", ",\n").replace(" · ", " ·\n").split("\n")
    return wrapped(parts, width, look, " ")


def _entries(series: Sequence[str], certain: npt.NDArray[np.bool_], look: Look) -> list[tuple[Any, str]]:
    size: dict[str, Any] = {"markersize": 0.55 * look.font, "markeredgewidth": 0.12 * look.font}
    entries: list[tuple[Any, str]] = []
    if len(series) > 1:
        entries = [
            (Line2D([], [], **size, **line_look(j) | {"linestyle": "-"}), name)
            for j, name in enumerate(series)
        ]
    dot: dict[str, Any] = {"color": INK, "marker": "o", "linestyle": "-"}
    entries.append((Line2D([], [], markerfacecolor=INK, **size, **dot), "Holm p < .05"))
    entries.append((Line2D([], [], markerfacecolor=HOLLOW, **size, **dot), "Holm p ≥ .05"))
    return entries
