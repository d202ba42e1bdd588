"""Figures of scores and of pairs. The only module that knows matplotlib, and it never uses pyplot."""

import io
import math
import re
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..pairs.mappair import MapPair, Which
from ..tables.columns import distinguishing, metric_columns, parse_column, unified
from ..tables.labels import labelled, metric_title
from ..tables.summary import summarize

# Height of a row of a legend, in inches.
_LEGEND_ROW = 0.2
# The colours of Okabe and Ito, which stay apart for colour-blind readers; lines also differ by marker.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK = "#1F2328"
RULE = "#C9CED6"
_MARKERS = "os^Dv<>Ph*"

# The marks of S and T lie on maps, which stay light on a dark page: these two colours do not change with it.
_BLUE, _RED = "#0068A8", "#C85200"
_NEAR = "#C9E2F4"
_TOP = "#F0A067"
_PAPER = "#FFFFFF"
_NOT_FINITE = "#F0E442"
# From white to a grey that still lets the outlines stand out.
_GREYS = LinearSegmentedColormap.from_list("greys", ["#FFFFFF", "#4A4A4A"]).with_extremes(bad=_NOT_FINITE)

_MAX_COLUMNS = 4
_MAX_LABEL = 30
# Above this many pixels the marks of a map are drawn as pixels: as paths they would weigh megabytes.
_VECTOR_PIXELS = 64 * 64
_MAP_INCHES = 2.35

# How an SVG names another of its elements: href="#id" or clip-path="url(#id)".
_REFERENCE = re.compile(r"^(#|url\(#)([^)]+)")
_COLOUR = re.compile("#[0-9a-fA-F]{6}")

_STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.linewidth": 0.8,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "image.composite_image": False,
    # Labels come from files: a dollar sign in them is no formula.
    "text.parse_math": False,
    # Text stays text: small, selectable, found by a search.
    "svg.fonttype": "none",
    "svg.hashsalt": "lensmetrics",
}


class Curve(NamedTuple):
    """The columns of one score along w: half-width -> column, and of its chance level."""

    score: dict[int, str]
    chance: dict[int, str]


class Shown(NamedTuple):
    """A figure on a page: its ``<svg>`` element, and the words above and below it."""

    svg: str
    title: str
    caption: str


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
    with mpl.rc_context(_STYLE):
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
        names = ["mean"] if not lines else [_label(labelled(lines[0], level)) for level in levels]
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
    for text in (_label(labelled(name, value)) for name, value in zip(names, key, strict=True)):
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
    figure.set_figheight(figure.get_figheight() + _LEGEND_ROW * more)
    figure.legend(handles, labels, loc="outside upper left", ncols=n_columns, borderaxespad=0.2)


def pair_overlay(pair: MapPair, *, k: int, w: int, image: npt.NDArray[Any] | None = None) -> Figure:
    """Draw the two maps of a pair with the sets that the LENS metrics compare.

    Parameters
    ----------
    pair
        The two maps.
    k
        Size of the top sets in pixels, from 1 to the number of pixels.
    w
        Half-width of the windows in pixels, at least 0.
    image
        What the maps explain, (height, width) or (channel, height, width), uint8 or float; a
        panel of its own in front. One or three channels are shown as grey or RGB, of others the mean.

    Returns
    -------
    Figure
        The unperturbed map with its top-k set S outlined and its diverse top-k pixels as rings, the
        perturbed map with T and its rings, and the sets alone: N_w(S) as light area, S outlined, T
        filled, with a cross where it lies outside N_w(S). Each map has its own grey scale, white to
        dark from its smallest value to its 99.5 % quantile; pixels that are not finite are yellow,
        and a pair that has some is drawn without sets.
    """
    with mpl.rc_context(_STYLE):
        n_panels = 3 if image is None else 4
        height, width = pair.shape
        inches = _MAP_INCHES * min(max(height / width, 0.25), 2.0)
        figure = Figure(
            figsize=(_MAP_INCHES * n_panels + 0.2, inches + 0.85), layout="constrained", facecolor="white"
        )
        grid: list[Axes] = figure.subplots(1, n_panels, squeeze=False).ravel().tolist()
        if image is not None:
            axes = grid.pop(0)
            axes.set_title("image")
            axes.imshow(_as_picture(image), cmap="gray", interpolation="none")
            _frame(axes)
        pixel = 72 * _MAP_INCHES / max(height, width)  # points; an upper bound is enough for line widths
        sides: tuple[tuple[Which, str, npt.NDArray[Any]], ...] = (
            ("unperturbed", _BLUE, pair.unperturbed),
            ("perturbed", _RED, pair.perturbed),
        )
        for axes, (which, colour, values) in zip(grid, sides, strict=False):
            axes.set_title(f"{which} map")
            _show_map(axes, values)
            if pair.finite:
                _rings(axes, pair.diverse_top_k(which, k, w), pair.shape, colour, pixel)
                _outline(axes, pair.top_k(which, k), colour, pixel)
            _frame(axes)
        grid[2].set_title(f"the sets, k = {k}, w = {w}")
        if pair.finite:
            _show_sets(grid[2], pair, k, w, pixel)
        else:
            _show_none(grid[2], pair.shape)
        _frame(grid[2])
        _overlay_legend(figure, k, w, finite=pair.finite)
    return figure


def _as_picture(image: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return an image as imshow takes it: (height, width) or (height, width, 3), in [0, 1]."""
    picture = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0, neginf=0)
    if picture.ndim == 3:
        picture = np.moveaxis(picture, 0, -1) if len(picture) == 3 else picture.mean(axis=0)
    if image.dtype == np.uint8:
        picture /= 255
    elif picture.min() < 0 or picture.max() > 1:  # normalised, as networks take it
        spread = np.ptp(picture)
        picture = (picture - picture.min()) / (spread or 1)
    return picture


def _show_map(axes: Axes, values: npt.NDArray[Any]) -> None:
    finite = np.isfinite(values)
    # Divided by the largest first, because the range of a map can exceed its own type.
    values = values.astype(np.float64) / (np.abs(values[finite]).max(initial=0) or 1)
    low, high = (values[finite].min(), np.quantile(values[finite], 0.995)) if finite.any() else (0, 1)
    scaled = np.clip((values - low) / ((high - low) or 1), 0, 1)
    axes.imshow(np.ma.masked_where(~finite, scaled), cmap=_GREYS, vmin=0, vmax=1, interpolation="none")


def _show_sets(axes: Axes, pair: MapPair, k: int, w: int, pixel: float) -> None:
    near, top = pair.neighbourhood("unperturbed", k, w), pair.top_k("perturbed", k)
    picture = np.full((*pair.shape, 3), to_rgb(_PAPER))
    picture[near] = to_rgb(_NEAR)
    picture[top] = to_rgb(_TOP)
    axes.imshow(picture, interpolation="none")
    _outline(axes, pair.top_k("unperturbed", k), _BLUE, pixel)
    y, x = np.nonzero(top & ~near)
    axes.plot(
        x,
        y,
        linestyle="none",
        marker="x",
        color="black",
        markersize=max(0.55 * pixel, 1.4),
        markeredgewidth=min(max(0.16 * pixel, 0.35), 1.3),
        rasterized=near.size > _VECTOR_PIXELS,
        gid="missed",
    )


def _show_none(axes: Axes, shape: tuple[int, int]) -> None:
    axes.imshow(np.ones((*shape, 3)), interpolation="none")
    axes.text(
        0.5,
        0.5,
        "no sets: a map has\npixels that are not finite",
        ha="center",
        va="center",
        transform=axes.transAxes,
        color="black",
    )


def _outline(axes: Axes, mask: npt.NDArray[np.bool_], colour: str, pixel: float) -> None:
    """Draw the border of a set of pixels along the edges of its pixels, as one path."""
    padded = np.pad(mask, 1)
    y, x = np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1])  # an edge above the pixel (y, x)
    across = np.stack([np.stack([x - 0.5, y - 0.5]), np.stack([x + 0.5, y - 0.5])])
    y, x = np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1])  # an edge left of it
    down = np.stack([np.stack([x - 0.5, y - 0.5]), np.stack([x - 0.5, y + 0.5])])
    edges = np.concatenate([across, down], axis=2)  # (end, xy, edge)
    broken = np.concatenate([edges, np.full_like(edges[:1], np.nan)])
    x_line, y_line = broken.transpose(1, 2, 0).reshape(2, -1)
    width = min(max(0.24 * pixel, 0.4), 1.5)
    axes.plot(
        x_line,
        y_line,
        color=colour,
        linewidth=width,
        solid_capstyle="projecting",
        rasterized=mask.size > _VECTOR_PIXELS,
        gid="outline",
    )


def _rings(
    axes: Axes, picked: npt.NDArray[np.intp], shape: tuple[int, int], colour: str, pixel: float
) -> None:
    y, x = np.unravel_index(picked, shape)
    axes.plot(
        x,
        y,
        linestyle="none",
        marker="o",
        markerfacecolor="white",
        markeredgecolor=colour,
        markersize=min(max(0.62 * pixel, 0.9), 7),
        markeredgewidth=min(max(0.18 * pixel, 0.3), 1.3),
        rasterized=math.prod(shape) > _VECTOR_PIXELS,
        gid="diverse",
    )


def _frame(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(visible=True, linewidth=0.6)


def _overlay_legend(figure: Figure, k: int, w: int, *, finite: bool) -> None:
    if not finite:
        figure.legend([Patch(color=_NOT_FINITE)], ["not finite"], loc="outside lower center")
        return
    rings = tuple(
        Line2D([], [], linestyle="none", marker="o", markersize=5, markerfacecolor="white", markeredgecolor=c)
        for c in (_BLUE, _RED)
    )
    # The two marks of `missed` lie upon each other, those of the other tuples side by side.
    missed = (Patch(color=_TOP), Line2D([], [], color="black", linestyle="none", marker="x", markersize=5))
    marks: list[tuple[Any, str]] = [
        (Line2D([], [], color=_BLUE, linewidth=1.5), f"S: top {k} of the unperturbed map"),
        (Patch(color=_NEAR), f"N_w(S): pixels within {w} of S"),
        ((Line2D([], [], color=_RED, linewidth=1.5), Patch(color=_TOP)), f"T: top {k} of the perturbed map"),
        (missed, "in T but outside N_w(S)"),
        (rings, "diverse top k of each map"),
    ]
    figure.legend(
        [handle for handle, _ in marks],
        [label for _, label in marks],
        loc="outside lower center",
        ncols=3,
        fontsize=8,
        handler_map={tuple: HandlerTuple(ndivide=None), missed: HandlerTuple()},
    )


def _label(text: str) -> str:
    """Return text from a file as one short line that matplotlib and XML take."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    line = " ".join(printable.split()) or "(empty)"
    short = line if len(line) <= _MAX_LABEL else line[: _MAX_LABEL - 1] + "…"
    # Before matplotlib 3.10 a legend drops labels that begin with an underscore.
    return "\u200b" + short if short.startswith("_") else short


def inline_svg(figure: Figure, *, prefix: str, description: str) -> str:
    """Return a figure as an ``<svg>`` element to be put into an HTML page.

    Parameters
    ----------
    figure
        The figure.
    prefix
        Put before all ids, so that figures on one page do not share any.
    description
        The text alternative.

    Returns
    -------
    str
        HTML without style sheets, scripts or addresses. Line and text colours are CSS variables
        (``--ink``, ``--rule``, ``--line-0``, ...) that fall back to the figure's own.
    """
    buffer = io.StringIO()
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # The browser has letters that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", dpi=200, transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    values = (value for element in root.iter() for value in element.attrib.values())
    used = {found[2] for value in values if (found := _REFERENCE.match(value))}
    variables = {INK: "ink", RULE: "rule"} | {c: f"line-{i}" for i, c in enumerate(PALETTE)}
    colours = {colour.lower(): f"var(--{name}, {colour})" for colour, name in variables.items()}
    for element in root.iter():
        element.tag = _local(element.tag)
        attributes = {_local(name): value for name, value in element.attrib.items()}
        element.attrib.clear()
        for name, value in attributes.items():
            if name == "id" and value in used:
                element.set(name, f"{prefix}-{value}")
            elif name == "style":
                element.set(name, _COLOUR.sub(lambda found: colours.get(found[0].lower(), found[0]), value))
            elif name != "id":
                element.set(name, _REFERENCE.sub(rf"\g<1>{prefix}-\g<2>", value))
    _, _, width, height = root.get("viewBox", "0 0 0 0").split()
    root.attrib = {
        "viewBox": f"0 0 {width} {height}",
        "role": "img",
        "aria-label": description,
        "style": f"width: {float(width):.0f}pt; stroke-linejoin: round; stroke-linecap: butt",
    }
    return ElementTree.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    return name.rpartition("}")[2]
