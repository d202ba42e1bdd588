"""Differences as a heat map, where points would be too many."""

from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from .differences import Differences
from .measuring import fitted, height_of, text_width, wrapped
from .panels import add_legend, number_label
from .style import INK, RULE, Look, Picture

# From orange over white to purple: colour-blind readers can distinguish the ends. In grey, marks do.
_COLOURS = "PuOr"
_NARROW = 1.2  # smallest width of a column, in units of the size of the text
_DARK = 0.62  # of the scale: from here on, marks are white


class _Cells(NamedTuple):
    """What a heat map shows."""

    rows: list[str]
    columns: list[str]
    scaled: npt.NDArray[np.float64]  # from -1 to 1
    certain: npt.NDArray[np.bool_]
    largest: float  # the difference of all metrics with a common scale that has the full colour


def draw_cells(found: Differences, look: Look) -> Picture:
    """Draw the differences of a comparison with many groups.

    Groups and pairs, and metrics, are rows and columns: rows are those that are more. With one metric,
    columns are the values of the last column of the groups.
    """
    rows, columns, scaled, certain, largest = _cells(found)
    em = look.font / 72
    with mpl.rc_context(look.style):
        figure = Picture(figsize=(look.width, look.width), facecolor="white")
        free = look.width - _NARROW * em * len(columns) - 1.8 * em
        most = min(max(free, 0.2 * look.width), 0.62 * look.width)
        rows = [fitted(text, most, look) for text in rows]
        columns = [fitted(text, 2.6, look) for text in columns]
        left = max(text_width(text, look) for text in rows) * 1.03 + 1.2 * em
        # Names of columns are upright unless they fit.
        cell = min((look.width - left - 0.5 * em) / len(columns), 0.7)
        if cell < 0.97 * _NARROW * em:
            raise ValueError(
                f"the {len(columns)} columns do not fit into {look.width:g} inches: compare fewer groups or "
                "metrics, or draw a wider figure"
            )
        if cell > 2.8 * em:  # upright names have room for two lines
            columns = [text.replace(" · ", "\n", 1) for text in columns]
        longest = 1.03 * max(text_width(text, look) for text in columns)
        flat = longest < cell - 0.5 * em
        n_lines = max(text.count("\n") + 1 for text in columns)
        below = (1.2 * em * n_lines if flat else longest) + 1.1 * em
        pitch = 1.45 * em
        width = max(left + cell * len(columns) + 0.5 * em, min(look.width, 3.3))
        entries = _entries(scaled, certain, look)
        above = 0.3 * em
        if entries:
            above += add_legend(figure, entries, width, look) + 0.5 * em
        name = _name(found, width - 1.5 * em, look)
        above += (height_of(name) + 2.8) * em  # the name over the scale of colours, which has numbers below
        height = above + pitch * len(rows) + below
        if height > look.height:
            raise ValueError(
                f"the {len(rows)} rows need {height:.0f} inches, more than a page ({look.height:g}): compare "
                "fewer groups (fewer columns in by, or --by, pool the others; or choose rows, such as "
                "scores[scores['attack'] == 'topk']), or a single metric"
            )
        figure.set_size_inches(width, height)
        if entries:
            figure.legends[0].set_bbox_to_anchor((0, 1 - 0.1 * em / height))
        place = (left / width, below / height, cell * len(columns) / width, pitch * len(rows) / height)
        axes = figure.add_axes(place, label="cells")
        image = axes.imshow(
            np.ma.masked_invalid(scaled),
            cmap=mpl.colormaps[_COLOURS].with_extremes(bad=RULE),
            vmin=-1,
            vmax=1,
            aspect="auto",
            interpolation="nearest",
        )
        _mark(axes, scaled, certain, look)
        axes.set_xticks(range(len(columns)), labels=columns, rotation=0 if flat else 90)
        axes.set_yticks(range(len(rows)), labels=rows)
        axes.tick_params(labelsize=look.font, labelcolor=INK, length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        _bar(figure, image, largest, look, (width, height, above))
        figure.text(
            1 - em / width, 1 - (above - 2.8 * em) / height, name, ha="right", va="bottom", gid="given"
        )
    return figure


def _cells(found: Differences) -> _Cells:
    finite = np.where(np.isfinite(found.value), np.abs(found.value), 0)
    own = ~found.shared if len(found.metrics) > 1 else np.zeros(1, np.bool_)
    common = float(finite[:, ~own].max(initial=0))
    # Metrics that share a scale share their colours; every other metric has its own.
    largest = np.where(own, finite.max(axis=0), common)
    scaled = found.value / np.where(largest > 0, largest, 1)
    metrics = [
        f"{text} (±{number_label(f'{top:.2g}')})" if mine else text
        for text, top, mine in zip(found.metrics, largest, own, strict=True)
    ]
    if len(metrics) > 1:
        if len(metrics) > len(found.groups):
            return _Cells(metrics, found.series, scaled.T, found.certain.T, common)
        return _Cells(found.series, metrics, scaled, found.certain, common)
    if len(found.groups[0]) < 2 or len(set(found.groups)) < len(found.groups):
        return _Cells(found.series, [""], scaled, found.certain, common)
    heads = list(dict.fromkeys(texts[:-1] for texts in found.groups))
    last = list(dict.fromkeys(texts[-1] for texts in found.groups))
    cells = np.full((len(heads), len(last)), np.nan)
    certain = np.zeros(cells.shape, np.bool_)
    for i, texts in enumerate(found.groups):
        place = heads.index(texts[:-1]), last.index(texts[-1])
        cells[place], certain[place] = scaled[i, 0], found.certain[i, 0]
    return _Cells([" · ".join(texts) for texts in heads], last, cells, certain, common)


def _mark(axes: Any, scaled: npt.NDArray[np.float64], certain: npt.NDArray[np.bool_], look: Look) -> None:
    """Draw the sign of every difference that is certain."""
    for sign, marker in ((1, "+"), (-1, "_")):
        for dark in (False, True):
            y, x = np.nonzero(certain & (np.sign(scaled) == sign) & ((np.abs(scaled) > _DARK) == dark))
            axes.plot(
                x,
                y,
                linestyle="none",
                marker=marker,
                color="white" if dark else "black",
                markersize=0.6 * look.font,
                markeredgewidth=0.13 * look.font,
                gid=f"{'higher' if sign > 0 else 'lower'}-{'dark' if dark else 'light'}",
            )


def _name(found: Differences, width: float, look: Look) -> str:
    """Return what the colours mean."""
    metric = found.metrics[0] if len(found.metrics) == 1 else ""
    text = ", ".join(filter(None, [f"difference: {found.subject}", metric, found.given]))
    return wrapped(text.split(" "), width, look, " ")


def _bar(
    figure: Picture,
    image: Any,
    common: float,
    look: Look,
    size: tuple[float, float, float],
) -> None:
    """Draw the scale of the colours, its ends as numbers, under the name of the difference."""
    width, height, above = size
    em = look.font / 72
    long = min(0.8 * width, 2.6)
    place = (1 - (long + em) / width, 1 - (above - 1.9 * em) / height, long / width, 0.6 * em / height)
    bar = figure.colorbar(image, cax=figure.add_axes(place, label="scale"), orientation="horizontal")
    bar.outline.set_visible(False)
    ends = (
        [number_label(f"{-common:.2g}"), "0", f"+{number_label(f'{common:.2g}')}"]
        if common
        else ["", "0", ""]
    )
    bar.set_ticks([-1, 0, 1], labels=ends)
    texts = bar.ax.get_xticklabels()
    texts[0].set_horizontalalignment("left")
    texts[-1].set_horizontalalignment("right")
    bar.ax.tick_params(labelsize=look.font, labelcolor=INK, length=0)


def _entries(
    value: npt.NDArray[np.float64], certain: npt.NDArray[np.bool_], look: Look
) -> list[tuple[Any, str]]:
    entries: list[tuple[Any, str]] = []
    mark: dict[str, Any] = {"linestyle": "none", "color": INK, "markersize": 0.6 * look.font}
    if certain.any():
        entries.append((Line2D([], [], marker="+", **mark), "higher, Holm p < .05"))
        entries.append((Line2D([], [], marker="_", **mark), "lower, Holm p < .05"))
    if np.isnan(value).any():
        entries.append((Patch(color=RULE), "no value"))
    return entries
