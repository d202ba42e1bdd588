"""The figure of a study: scores over eps."""

from collections.abc import Callable, Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lensmetrics.figures.style import PALETTE, RULE, STYLE
from lensmetrics.tables.labels import condition_text, labelled

from .table import Study, conditions, setting_columns, shown, worst_case


def figure_over_eps(study: Study, table: pd.DataFrame, title: Callable[[str], str]) -> Figure:
    """Draw top-k intersection and LENS recall over eps: a row per explanation, a column per attack."""
    metrics = shown(study)[:-2]
    lines = _lines(table, metrics)
    explanations, attacks = lines["explanation"].unique(), lines["attack"].unique()
    size = (2.8 * len(attacks), 2.3 * len(explanations) + 0.6)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained", facecolor="white")
        grid = figure.subplots(len(explanations), len(attacks), sharex=True, sharey=True, squeeze=False)
        for axes_row, explanation in zip(grid, explanations, strict=True):
            for axes, attack in zip(axes_row, attacks, strict=True):
                here = (lines["explanation"] == explanation) & (lines["attack"] == attack)
                axes.set_title(f"{condition_text('explanation', explanation)} · {attack}", loc="left")
                _draw_lines(axes, lines[here].sort_values("eps"), metrics, title)
        figure.supxlabel("eps", fontsize=9)
        figure.supylabel(f"mean share of pixels, k = {study['k']}", fontsize=9)
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=len(labels))
    return figure


def _lines(table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Return a row per condition: the worst case of each metric, and the attack with its settings."""
    settings = setting_columns(table)
    found = []
    for rows in conditions(table):
        row = rows.iloc[0].copy()
        for metric in metrics:
            chosen = rows.loc[worst_case(rows, metric)]
            row[metric], row[f"{metric} half"] = chosen[metric], chosen[f"{metric} half"]
        own = [labelled(name, row[name]) for name in settings if not pd.isna(row[name])]
        row["attack"] = ", ".join([row["attack"], *own])
        found.append(row)
    return pd.DataFrame(found)


def _draw_lines(axes: Axes, rows: pd.DataFrame, metrics: Sequence[str], title: Callable[[str], str]) -> None:
    for colour, metric in zip(PALETTE, metrics, strict=False):
        axes.errorbar(
            rows["eps"],
            rows[metric],
            rows[f"{metric} half"],
            label=title(metric),
            color=colour,
            marker="o",
            markersize=3,
            capsize=2,
        )
    axes.set_ylim(0, 1)
    axes.set_xscale("log", base=2)
    axes.set_xticks(rows["eps"], [condition_text("eps", eps) for eps in rows["eps"]])
    axes.minorticks_off()
    axes.grid(axis="y", color=RULE, linewidth=0.6)
