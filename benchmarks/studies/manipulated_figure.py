"""The figure of a study of manipulated explanations: box plots beside the unperturbed maps, and smoothing."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lensmetrics.figures.style import INK, PALETTE, RULE, STYLE, line_look

from .manipulated_claims import Condition, Mean, beta_of, mean_of, own_maps, smoothed

# The metrics of the box plots, with their titles.
_METRICS = {"pearson": "PCC", "ssim_normalized": "SSIM", "mse_normalized": "MSE"}
_BEFORE, _AFTER = PALETTE[6], PALETTE[0]


def figure_of(conditions: Sequence[Condition]) -> Figure:
    """Draw the numbers against the target before and after: a column per network, a row per metric.

    Below them stand two rows over beta, where there are smoothed explanations: the gain of PCC when they are
    attacked themselves, and when attacked images are seen through them.
    """
    made = [one for one in own_maps(conditions) if one.n]
    networks = list(dict.fromkeys(one.network for one in made))
    below = [(title, pairs) for title, flag in _BELOW if (pairs := smoothed(conditions, looked_at=flag))]
    lines = list(dict.fromkeys(one.explanation for _, pairs in below for one, _ in pairs))
    n_rows = len(_METRICS) + len(below)
    with mpl.rc_context(STYLE):
        size = (3.9 * max(2, len(networks)), 2.3 * n_rows + 0.7)
        figure = Figure(figsize=size, layout="constrained", facecolor="white")
        grid = figure.subplots(n_rows, max(1, len(networks)), squeeze=False)
        for column, network in enumerate(networks):
            here = [one for one in made if one.network == network]
            for axes, metric in zip(grid[:, column], _METRICS, strict=False):
                _boxes(axes, here, metric)
            grid[0, column].set_title(network, loc="left")
            for axes, (_, pairs) in zip(grid[len(_METRICS) :, column], below, strict=True):
                _over_beta(axes, [(one, plain) for one, plain in pairs if one.network == network], lines)
        titles = [f"{title} with the target" for title in _METRICS.values()] + [title for title, _ in below]
        for title, row in zip(titles, grid, strict=True):
            row[0].set_ylabel(title)
            if not title.startswith("MSE"):  # which depends on the size of the maps
                _share_limits(row)
        boxes = [
            Patch(color=_BEFORE, label="unperturbed map"),
            Patch(color=_AFTER, label="perturbed map"),
        ]
        figure.legend(handles=boxes, loc="outside upper left", ncols=2)
        if lines:
            figure.legend(
                handles=[Line2D([], [], label=name, **_look(lines, name)) for name in lines],
                loc="outside lower left",
                ncols=len(lines),
            )
    return figure


_BELOW = (("gain of PCC, attacked itself", False), ("gain of PCC, seen smoothed", True))


def _share_limits(row: Sequence[Axes]) -> None:
    limits = [axes.get_ylim() for axes in row if axes.axison]
    for axes in row:
        if limits:
            axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))


def _look(lines: Sequence[str], name: str) -> dict[str, Any]:
    look = line_look(list(lines).index(name))
    return {"color": look["color"], "marker": look["marker"], "markersize": 4, "linewidth": 1.2}


def _boxes(axes: Axes, conditions: Sequence[Condition], metric: str) -> None:
    """Draw two boxes for each explanation: median, quartiles, 5 % to 95 %."""
    for offset, colour, column in ((-0.19, _BEFORE, f"{metric} before"), (0.19, _AFTER, metric)):
        values = [one.rows[column].dropna().to_numpy() for one in conditions]
        line: Any = {"color": colour, "linewidth": 1}
        axes.boxplot(
            values,
            positions=np.arange(len(values)) + offset,
            widths=0.32,
            whis=(5, 95),
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": colour, "edgecolor": colour, "alpha": 0.75},
            medianprops={"color": INK, "linewidth": 1.4},
            whiskerprops=line,
            capprops=line,
        )
    if metric == "mse_normalized":
        axes.set_yscale("log")
    names = ["\n".join(one.explanation.replace("_x_", " x_").split("_")) for one in conditions]
    axes.set_xticks(range(len(conditions)), names, fontsize=7)
    axes.set_xlim(-0.6, max(len(conditions), 3) - 0.4)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", color=RULE, linewidth=0.6)


def _over_beta(axes: Axes, pairs: Sequence[tuple[Condition, Condition]], lines: Sequence[str]) -> None:
    """Draw the gain over beta, and right of it that of SmoothGrad and of the unsmoothed explanation."""
    if not pairs:
        axes.set_axis_off()
        return
    views = {one.view for one, _ in pairs}
    betas = sorted(beta_of(view) for view in views if view.startswith("beta "))
    draws = sorted(view for view in views if not view.startswith("beta "))
    places = {f"beta {beta:g}": i for i, beta in enumerate(betas)}
    places |= {view: len(betas) + i for i, view in enumerate(draws)}
    own = len(places)
    for name in lines:
        # Beside one another, so that intervals can be told apart.
        shift = 0.1 * (lines.index(name) - (len(lines) - 1) / 2)
        here = {places[one.view]: one for one, _ in pairs if one.explanation == name}
        plain = [itself for one, itself in pairs if one.explanation == name][:1]
        points = sorted(here.items())
        smooth = [(place, mean_of(one.gain)) for place, one in points if place < len(betas)]
        single = [(place, mean_of(one.gain)) for place, one in points if place >= len(betas)]
        single += [(own, mean_of(one.gain)) for one in plain]
        for found, style in ((smooth, "-"), (single, "none")):
            _errors(axes, [(place + shift, mean) for place, mean in found], style, _look(lines, name))
    axes.axhline(0, color=INK, linewidth=0.6)
    titles = [
        *(f"beta\n{beta:g}" for beta in betas),
        *(view.replace("SmoothGrad, sigma ", "Smooth-\nGrad\n") for view in draws),
        "not\nsmoothed",
    ]
    axes.set_xticks(range(len(titles)), titles, fontsize=7)
    axes.set_xlim(-0.5, own + 0.5)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", color=RULE, linewidth=0.6)


def _errors(axes: Axes, points: Sequence[tuple[float, Mean]], line: str, look: dict[str, Any]) -> None:
    if points:
        values = np.array([mean for _, mean in points])
        axes.errorbar(
            [place for place, _ in points],
            values[:, 0],
            np.abs(values[:, 1:] - values[:, :1]).T,
            linestyle=line,
            capsize=2,
            **look,
        )
