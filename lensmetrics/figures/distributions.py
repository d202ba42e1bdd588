"""The distribution of a score in each condition."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..tables.columns import Column
from ..tables.labels import column_title, labelled
from ..tables.view import View
from .style import HOLLOW, INK, PALETTE, RULE, STYLE, cut_label

# Above this number of values in a condition, only their quantiles are drawn.
_MAX_DOTS = 300
_ROW = 0.24


def score_distributions(view: View, metric: Column) -> Figure:
    """Draw how the values of a score are distributed in every condition.

    Parameters
    ----------
    view
        The table of scores; at most some tens of conditions are legible.
    metric
        The score.

    Returns
    -------
    Figure
        A row for each condition, coloured by the last of its attributes: a thin line from the 5 % to
        the 95 % quantile, a thick one between the quartiles, a white dot at the median, and a small
        dot for each pair where there are at most 300. Undefined scores are left out.
    """
    groups = [i for i in range(len(view.summary.groups)) if view.summary.n_rows[i]]
    values = _values(view, metric)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.2, _ROW * len(groups) + 0.9), layout="constrained", facecolor="white")
        axes = figure.add_subplot()
        axes.grid(axis="x", color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        colours = _colours(view, groups)
        for place, group in enumerate(groups):
            found, colour = values[group], colours[place]
            if not found.size:
                continue
            if found.size <= _MAX_DOTS:
                # Dots of one row are spread over its height in the order of the table.
                spread = ((np.arange(found.size) * 0.618) % 1 - 0.5) * 0.62
                axes.plot(
                    found, place + spread, linestyle="none", marker=".", markersize=3, markeredgewidth=0,
                    color=colour, alpha=0.55, gid="pairs",
                )  # fmt: skip
            low, first, median, third, high = np.quantile(found, [0.05, 0.25, 0.5, 0.75, 0.95])
            axes.plot([low, high], [place] * 2, color=colour, linewidth=1, gid="whole")
            axes.plot([first, third], [place] * 2, color=colour, linewidth=4.5, alpha=0.75, gid="quartiles")
            axes.plot(
                [median], [place], marker="o", markersize=4, markerfacecolor=HOLLOW, markeredgecolor=INK,
                markeredgewidth=0.9, gid="median",
            )  # fmt: skip
        axes.set_ylim(len(groups) - 0.4, -0.6)
        axes.set_yticks(range(len(groups)), [_label(view, group) for group in groups])
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(column_title(metric))
        figure.legend(
            [
                Line2D([], [], color=INK, linestyle="none", marker="o", markersize=4, markerfacecolor=HOLLOW),
                Line2D([], [], color=INK, linewidth=4.5, alpha=0.75),
                Line2D([], [], color=INK, linewidth=1),
            ],
            ["median", "middle half of the pairs", "5 % to 95 %"],
            loc="outside upper right",
            ncols=3,
            fontsize=8,
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
