"""The sets of a pair over its maps."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ..pairs.picture import as_picture, grey_range
from .colours import DARK, NEAR, NOT_FINITE, PAPER, PERTURBED, TOP, UNPERTURBED
from .measuring import wrapped
from .panels import add_legend
from .style import SCREEN, Look, Picture, paper

if TYPE_CHECKING:
    from ..pairs.mappair import MapPair, Which

_GREYS = LinearSegmentedColormap.from_list("greys", [PAPER, DARK]).with_extremes(bad=NOT_FINITE)
# Above this many pixels the marks of a map are rasterized: as paths they would take megabytes.
_VECTOR_PIXELS = 64 * 64
# Largest width of a map, and the space between two, in inches.
_MAP_INCHES = 2.35
_GAP = 0.08


def plot_pair(
    pair: "MapPair",
    k: int = 100,
    w: int = 1,
    *,
    image: npt.NDArray[Any] | None = None,
    width: float = 6.9,
) -> Picture:
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
        What the maps explain, drawn as the first panel: (height, width) or (channel, height, width),
        uint8 or float. One channel is shown as grey, three as RGB, other numbers by their mean.
    width
        Width in inches, from 2 to 20. A page of a paper has about 6.9 inches (175 mm).

    Returns
    -------
    Figure
        The unperturbed map with its top-k set S outlined and its diverse top-k pixels as rings, the
        perturbed map likewise with T, and the sets alone: N_w(S), the pixels within w of S, as a light
        area, S outlined, T filled, with a cross on pixels of T outside N_w(S). A matplotlib Figure made
        without pyplot: save it by ``figure.savefig("pair.pdf")``, or let a notebook display it.

    Raises
    ------
    ValueError
        If k, w or the width is out of range.

    Notes
    -----
    The grey scale of each map goes from white at its smallest value to dark at its 99.5 % quantile.
    Pixels that are not finite are yellow; if there are any, no sets are drawn.

    Examples
    --------
    >>> import numpy as np
    >>> import lensmetrics as lm
    >>> unperturbed = np.arange(30.0).reshape(5, 6)
    >>> pair = lm.MapPair(unperturbed, unperturbed[::-1].copy())
    >>> figure = lm.plot_pair(pair, k=4, w=1)
    >>> [axes.get_title() for axes in figure.axes]
    ['unperturbed map', 'perturbed map', 'the sets, k = 4, w = 1']
    """
    return pair_overlay(pair, k=k, w=w, image=image, look=paper(width))


def pair_overlay(
    pair: "MapPair",
    *,
    k: int,
    w: int,
    image: npt.NDArray[Any] | None = None,
    first: str = "unperturbed",
    look: Look = SCREEN,
) -> Picture:
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
        What the maps explain, (height, width) or (channel, height, width), uint8 or float, drawn
        as the first panel. One channel is shown as grey, three as RGB, other numbers by their mean.
    first
        What the first map of the pair is called: "unperturbed", or "target".

    Returns
    -------
    Picture
        The unperturbed map with its top-k set S outlined and its diverse top-k pixels as rings, the
        perturbed map likewise with T, and the sets alone: N_w(S) as a light area, S outlined, T
        filled, with a cross on pixels outside N_w(S). The grey scale of each map goes from white at
        its smallest value to dark at its 99.5 % quantile. Pixels that are not finite are yellow; if
        there are any, no sets are drawn.

    Raises
    ------
    ValueError
        If k or w is out of range.
    """
    n_panels = 3 if image is None else 4
    height, width = pair.shape
    across = min((look.width - 0.1) / n_panels - _GAP, _MAP_INCHES)
    pixel = 72 * across / max(height, width)  # in points; an upper bound suffices for line widths
    with mpl.rc_context(look.style):
        figure = Picture(figsize=((across + _GAP) * n_panels + 0.1, 1), facecolor="white")
        grid = [figure.add_axes((0, 0, 1, 1), label=str(i)) for i in range(n_panels)]
        panels = list(grid)
        titles = []
        if image is not None:
            axes = panels.pop(0)
            titles.append(["image"])
            axes.imshow(as_picture(image), cmap="gray", interpolation="none")
        sides: tuple[tuple[Which, str, npt.NDArray[Any]], ...] = (
            ("unperturbed", UNPERTURBED, pair.unperturbed),
            ("perturbed", PERTURBED, pair.perturbed),
        )
        for axes, (which, colour, values) in zip(panels, sides, strict=False):
            titles.append([first if which == "unperturbed" else which, "map"])
            _show_map(axes, values)
            if pair.finite:
                _rings(axes, pair.diverse_top_k(which, k, w), pair.shape, colour, pixel)
                _outline(axes, pair.top_k(which, k), colour, pixel)
        titles.append(["the sets,", f"k = {k},", f"w = {w}"])
        if pair.finite:
            _show_sets(panels[2], pair, k, w, pixel)
        else:
            _show_none(panels[2], pair.shape)
        down = across * min(max(height / width, 0.25), 2.0)
        _place(figure, grid, titles, (across, down), look, _legend_entries(k, w, first, finite=pair.finite))
    return figure


def _place(
    figure: Picture,
    grid: Sequence[Axes],
    titles: Sequence[Sequence[str]],
    size: tuple[float, float],
    look: Look,
    legend: Sequence[tuple[Any, str]],
) -> None:
    """Place the panels in a row over the legend, and give the figure its height."""
    across, down = size
    em = look.font / 72
    texts = [wrapped(parts, across, look, between=" ") for parts in titles]
    above = 1.25 * em * max(text.count("\n") + 1 for text in texts) + 0.6 * em
    below = add_legend(figure, legend, figure.get_figwidth(), look) + em
    width, height = figure.get_figwidth(), above + down + below
    figure.set_figheight(height)
    figure.legends[0].set_bbox_to_anchor((0.05 / width, (below - 0.7 * em) / height))
    for i, (axes, text) in enumerate(zip(grid, texts, strict=True)):
        x = 0.05 + _GAP / 2 + i * (across + _GAP)
        axes.set_position((x / width, below / height, across / width, down / height))
        axes.set_title(text, pad=0.4 * look.font, linespacing=1.2)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(visible=True, linewidth=0.6)


def _show_map(axes: Axes, values: npt.NDArray[Any]) -> None:
    finite = np.isfinite(values)
    # Divide by the largest value first, because the range of a map can exceed its type.
    values = values.astype(np.float64) / (np.abs(values[finite]).max(initial=0) or 1)
    low, high = grey_range(values)
    scaled = np.clip((values - low) / ((high - low) or 1), 0, 1)
    axes.imshow(np.ma.masked_where(~finite, scaled), cmap=_GREYS, vmin=0, vmax=1, interpolation="none")


def _show_sets(axes: Axes, pair: "MapPair", k: int, w: int, pixel: float) -> None:
    near, top = pair.neighbourhood("unperturbed", k, w), pair.top_k("perturbed", k)
    picture = np.full((*pair.shape, 3), to_rgb(PAPER))
    picture[near] = to_rgb(NEAR)
    picture[top] = to_rgb(TOP)
    axes.imshow(picture, interpolation="none")
    _outline(axes, pair.top_k("unperturbed", k), UNPERTURBED, pixel)
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
    y, x = np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1])  # edge above the pixel (y, x)
    across = np.stack([np.stack([x - 0.5, y - 0.5]), np.stack([x + 0.5, y - 0.5])])
    y, x = np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1])  # edge left of it
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


def _legend_entries(k: int, w: int, first: str, *, finite: bool) -> list[tuple[Any, str]]:
    if not finite:
        return [(Patch(color=NOT_FINITE), "not finite")]
    rings = [
        Line2D([], [], linestyle="none", marker="o", markersize=5, markerfacecolor="white", markeredgecolor=c)
        for c in (UNPERTURBED, PERTURBED)
    ]
    missed = Patch(color=TOP), Line2D([], [], color="black", linestyle="none", marker="x", markersize=5)
    return [
        (Line2D([], [], color=UNPERTURBED, linewidth=1.5), f"S: top {k} of the {first} map"),
        (Patch(color=NEAR), f"N_w(S): pixels within {w} of S"),
        (
            [Line2D([], [], color=PERTURBED, linewidth=1.5), Patch(color=TOP)],
            f"T: top {k} of the perturbed map",
        ),
        (missed, "in T but outside N_w(S)"),
        (rings, "diverse top k of each map"),
    ]
