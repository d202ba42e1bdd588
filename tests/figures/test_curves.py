"""LENS against the window: the lines are the means of the summary."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lensmetrics.figures.curves import Curve, find_curve, find_curves, lens_curves
from lensmetrics.figures.style import HOLLOW, PALETTE, SCREEN, line_look, paper
from lensmetrics.tables.summary import summarize
from lensmetrics.tables.view import View
from tests.figures.overlaps import check_overlaps
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
            assert shown[f"chance-{i}"][:2] == ([0, 1], list(rows.loc[chance, "mean"]))
            (interval,) = [c for c in axes.collections if c.get_gid() == f"interval-{i}"]
            band = np.asarray(interval.get_paths()[0].vertices)[:, 1]
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
    with pytest.raises(ValueError, match=r"no column lens_recall\(k=9,w=...\); score that metric first"):
        drawn(table)
    with pytest.raises(ValueError, match=r"no column lens_precision\(k=2,w=...\); it has k = 9"):
        drawn(table, "lens_precision", 2)


def test_the_curves_of_a_table_are_found() -> None:
    curves = find_curves(View.of(curve_table()).columns)
    assert [(curve.k, curve.metric) for curve in curves] == [
        (2, "lens_recall"),
        (9, "lens_recall"),
        (9, "lens_precision"),
    ]
    assert curves[2] == Curve(
        "lens_precision", 9, {0: "topk_intersection(k=9)", 1: "lens_precision(k=9,w=1)"}, {}
    )


def test_an_interval_of_a_single_point_is_a_bar() -> None:
    table = curve_table()[["training", "lens_recall(k=2,w=1)"]]
    (axes,) = drawn(table, k=2).axes
    summary = summarize(table, by="training")
    for i in (0, 1):
        _, bar = [c for c in axes.collections if c.get_gid() == f"interval-{i}"]
        ends = np.asarray(bar.get_paths()[0].vertices)[:, 1]
        assert ends.tolist() == [summary["ci_low"][i], summary["ci_high"][i]]


def test_a_single_sample_has_no_interval() -> None:
    figure = drawn(curve_table()[:1])
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["mean", "chance level"]


def test_a_panel_without_defined_scores_says_so() -> None:
    table = curve_table()
    table.loc[table["attack"] == "mass", table.columns.str.startswith("lens_precision")] = np.nan
    table = table.drop(columns="topk_intersection(k=9)")
    mass, topk = drawn(table, "lens_precision").axes
    assert [text.get_text() for text in mass.texts] == ["no score is defined"]
    assert not topk.texts


def test_more_panels_than_columns_leave_no_empty_axes() -> None:
    table = curve_table().assign(attack=[f"a{i % 5}" for i in range(40)])
    assert len(drawn(table).axes) == 5


@pytest.mark.parametrize("n", [1, 2, 7, 12, 30])
def test_any_number_of_lines_can_be_told_apart(n: int) -> None:
    table = curve_table().assign(attack="topk", training=[f"t{i % n}" for i in range(40)])
    figure = drawn(table)
    assert len(figure.axes) == -(-n // 12)  # no panel has more than 12 lines
    of_line: dict[str, list[Line2D]] = {}
    for axes in figure.axes:
        for line in axes.get_lines():
            of_line.setdefault(str(line.get_gid()), []).append(line)
    looks = {
        gid: (to_hex(line.get_color()), line.get_marker(), line.get_linestyle(), line.get_markerfacecolor())
        for gid, (line,) in of_line.items()
        if gid.startswith("line-")
    }
    assert len(looks) == n
    assert len(set(looks.values())) == n
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    # With 30 regimes, each has one source sample.
    intervals = ["95 % interval" + " (some of n < 10)" * (n > 1)] * (n < 30)
    levels = ["mean"] if n == 1 else [f"t{i}" for i in range(n)]
    assert names[:-1] == levels + intervals


def test_lines_differ_without_their_colours() -> None:
    looks = [line_look(i) for i in range(56)]
    in_grey = {(look["marker"], str(look["linestyle"]), look["markerfacecolor"] == HOLLOW) for look in looks}
    assert len(in_grey) == 56


def test_texts_cover_nothing() -> None:
    for n, look in ((2, SCREEN), (30, paper(3.3))):
        table = curve_table().assign(training=[f"a regime with a long name, {i % n}" for i in range(40)])
        view = View.of(table)
        figure = lens_curves(view, find_curve(view.columns, "lens_recall", 9), look)
        check_overlaps(figure)
        assert figure.get_figwidth() <= look.width + 1e-9


def test_a_figure_higher_than_a_page_is_refused() -> None:
    table = curve_table().assign(attack=[f"a{i}" for i in range(40)], training=["x", "y"] * 20)
    view = View.of(table)
    curve = find_curve(view.columns, "lens_recall", 9)
    with pytest.raises(ValueError, match=r"40 panels need \d+ inches, more than a page \(9.5\): draw fewer"):
        lens_curves(view, curve, paper(3.3))
