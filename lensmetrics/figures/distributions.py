"""The distribution of a score in each condition."""

import warnings
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.lines import Line2D

from ..tables.columns import Column
from ..tables.labels import column_title, labelled
from ..tables.view import View
from .measuring import fitted, text_width
from .style import HOLLOW, INK, PALETTE, RULE, SCREEN, Look, Picture, cut_label

# Above this number of values in a condition, only their quantiles are drawn.
_MAX_DOTS = 300
# Height of a row, and room above and below the rows, in units of the size of the text.
_ROW, _ABOVE, _BELOW = 1.9, 2.2, 3.6
# Largest share of the width that labels take.
_MAX_LABELS = 0.5
_MEDIAN: Any = {
    "marker": "o",
    "markersize": 4,
    "markerfacecolor": HOLLOW,
    "markeredgecolor": INK,
    "markeredgewidth": 0.9,
}


def score_distributions(view: View, metric: Column, look: Look = SCREEN) -> Picture:
    """Draw how the values of a score are distributed in every condition.

    Parameters
    ----------
    view
        The table of scores; at most some tens of conditions are legible.
    metric
        The score.
    look
        The size of the figure.

    Returns
    -------
    Picture
        A row for each condition, coloured by the last of its attributes: a thin line from the 5 % to
        the 95 % quantile, a thick one between the quartiles, a hollow mark at the median, and a small
        dot for each pair where there are at most 300. Undefined scores are left out.
    """
    groups = [i for i in range(len(view.summary.groups)) if view.summary.n_rows[i]]
    values = _values(view, metric)
    drawn = [(place, values[group]) for place, group in enumerate(groups) if values[group].size]
    colours = _colours(view, groups)
    em = look.font / 72
    height = em * (_ROW * len(groups) + _ABOVE + _BELOW)
    with mpl.rc_context(look.style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Picture(figsize=(look.width, height), facecolor="white")
        room = _MAX_LABELS * look.width
        labels = [fitted(_label(view, group), room, look) for group in groups]
        left = (max(text_width(text, look) for text in labels) + em) / look.width
        axes = figure.add_axes(
            (left, em * _BELOW / height, 0.97 - left, em * _ROW * len(groups) / height), gid="distributions"
        )
        axes.grid(axis="x", color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        for place, found in drawn:
            if found.size <= _MAX_DOTS:
                # Dots of one row are spread over its height, in the order of the table.
                spread = ((np.arange(found.size) * 0.618) % 1 - 0.5) * 0.62
                axes.plot(
                    found, place + spread, linestyle="none", marker=".", markersize=3, markeredgewidth=0,
                    color=colours[place], alpha=0.6, gid="pairs",
                )  # fmt: skip
        places = [place for place, _ in drawn]
        shown = [colours[place] for place in places]
        quantiles = np.array([np.quantile(found, [0.05, 0.25, 0.5, 0.75, 0.95]) for _, found in drawn]).T
        if drawn:
            low, first, median, third, high = quantiles
            axes.hlines(places, low, high, colors=shown, linewidth=1, gid="whole")
            axes.hlines(places, first, third, colors=shown, linewidth=4.5, alpha=0.75, gid="quartiles")
            axes.plot(median, places, linestyle="none", gid="median", **_MEDIAN)
        axes.set_ylim(len(groups) - 0.4, -0.6)
        axes.set_yticks(range(len(groups)), labels)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(column_title(metric))
        figure.legend(
            [
                Line2D([], [], linestyle="none", **_MEDIAN),
                Line2D([], [], color=INK, linewidth=4.5, alpha=0.75),
                Line2D([], [], color=INK, linewidth=1),
            ],
            ["median", "middle half of the pairs", "5 % to 95 %"],
            loc="upper left",
            bbox_to_anchor=(0, 1),
            borderaxespad=0.2,
            ncols=3,
        )
    return figure


def _values(view: View, metric: Column) -> list[npt.NDArray[np.float64]]:
    """Return the defined scores of every group."""
    kept = view.summary.row_counts
    values = view.scores[metric.text].to_numpy(dtype=np.float64)[kept]
    group = view.summary.row_group[kept]
    defined = np.isfinite(values)
    order = np.argsort(group[defined], kind="stable")
    ends = np.cumsum(np.bincount(group[defined], minlength=len(view.summary.groups)))[:-1]
    return np.split(values[defined][order], ends)


def _colours(view: View, groups: Sequence[int]) -> list[str]:
    if not view.by:
        return [PALETTE[0]] * len(groups)
    texts = [str(value) for value in view.summary.groups[view.by[-1]]]
    levels = list(dict.fromkeys(texts))
    return [PALETTE[levels.index(texts[group]) % len(PALETTE)] for group in groups]


def _label(view: View, group: int) -> str:
    values = [cut_label(labelled(c, view.summary.groups[c].iloc[group])) for c in view.by]
    return " · ".join(values) or "all pairs"
