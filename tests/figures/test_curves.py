"""LENS against the window: the lines are the means of the summary."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from lensmetrics.figures.curves import find_curve, lens_curves
from lensmetrics.figures.style import PALETTE
from lensmetrics.tables.summary import summarize
from lensmetrics.tables.view import View
from tests.scores import curve_table


def drawn(table: pd.DataFrame, metric: str = "lens_recall", k: int = 9) -> Figure:
    view = View.of(table)
    return lens_curves(view, find_curve(view.columns, metric, k))


def lines(axes: Axes) -> dict[str, tuple[list[float], list[float], str]]:
    return {
        str(line.get_gid()): (
            [float(x) for x in np.asarray(line.get_xdata())],
            [float(y) for y in np.asarray(line.get_ydata())],
            str(line.get_linestyle()),
        )
        for line in axes.get_lines()
    }


def test_curves_are_means_along_w_with_their_intervals() -> None:
    table = curve_table()
    figure = drawn(table)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["mass", "topk"]
    summary: Any = summarize(table, by=["attack", "training"]).set_index(["attack", "training", "metric"])
    for axes in figure.axes:
        shown = lines(axes)
        for i, training in enumerate(["natural", "pgd"]):
            rows = summary.loc[axes.get_title(loc="left"), training]
            along = [
                f"{name})" for name in ("topk_intersection(k=9", "lens_recall(k=9,w=1", "lens_recall(k=9,w=3")
            ]
            assert shown[f"line-{i}"] == ([0, 1, 3], list(rows.loc[along, "mean"]), "-")
            chance = [f"lens_recall_chance(k=9,w={w})" for w in (0, 1)]
            assert shown[f"chance-{i}"] == ([0, 1], list(rows.loc[chance, "mean"]), "--")
            band = np.asarray(axes.collections[i].get_paths()[0].vertices)[:, 1]
            assert set(rows.loc[along, "ci_low"]) | set(rows.loc[along, "ci_high"]) == set(band)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "natural",
        "pgd",
        "95 % interval",
        "chance level (same colour)",
    ]


def test_curves_of_part_of_a_table_keep_their_colours() -> None:
    table = curve_table()
    table = table[(table["training"] == "pgd") | (table["attack"] == "topk")]
    mass, topk = drawn(table).axes
    assert list(lines(mass)) == ["line-1", "chance-1"]
    assert to_hex(mass.get_lines()[0].get_color()) == PALETTE[1].lower()
    assert list(lines(topk)) == ["line-0", "chance-0", "line-1", "chance-1"]


def test_curves_without_chance_or_conditions() -> None:
    table = curve_table()[["sample", "lens_precision(k=9,w=1)", "lens_recall_chance(k=9,w=1)"]]
    (axes,) = drawn(table, "lens_precision").axes
    assert list(lines(axes)) == ["line-0"]
    with pytest.raises(ValueError, match=r"no column lens_recall\(k=9,w=...\)"):
        drawn(table)


def test_more_panels_than_columns_leave_no_empty_axes() -> None:
    table = curve_table().assign(attack=[f"a{i % 5}" for i in range(40)])
    assert len(drawn(table).axes) == 5


def test_legend_of_many_lines_makes_the_figure_taller() -> None:
    table = curve_table()
    heights = {}
    for n in (2, 30):
        figure = drawn(table.assign(attack="topk", training=[f"t{i % n:02}" for i in range(40)]))
        canvas: Any = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        (legend,) = figure.legends
        heights[n] = figure.get_figheight()
        for axes in figure.axes:
            box = axes.get_tightbbox(renderer)
            assert box is not None
            assert not legend.get_window_extent(renderer).overlaps(box)
            assert axes.get_window_extent(renderer).height > 60
    assert heights[30] > heights[2]
