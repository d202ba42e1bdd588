"""Scores against a number: the points are the means of the summary."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

import lensmetrics as lm
from tests.figures.overlaps import check_overlaps

SCORE = "lens_recall(k=9,w=1)"
STEPS = [1 / 255, 2 / 255, 4 / 255, 8 / 255, 16 / 255]


def eps_table(eps: Any = STEPS, **columns: list[Any]) -> pd.DataFrame:
    """Return a table with a score and its chance level for every eps and combination of the columns."""
    rng = np.random.default_rng(5)
    rows = [
        dict(zip(["eps", *columns], values, strict=True)) | {"sample": sample, "status": "ok"}
        for *values, sample in itertools.product(eps, *columns.values(), range(6))
    ]
    table = pd.DataFrame(rows)
    table[SCORE] = rng.random(len(table))
    table["lens_recall_chance(k=9,w=1)"] = 0.25
    return table


def points(axes: Axes, gid: str) -> tuple[list[float], list[float]]:
    (line,) = [line for line in axes.get_lines() if line.get_gid() == gid]
    return np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()


def test_points_are_means_with_their_intervals() -> None:
    table = eps_table(attack=["topk", "mass"], training=["natural", "pgd"])
    figure = lm.plot_scores(table, "lens_recall(k=9, w=1)")
    summary = lm.summarize(table, by=["attack", "training", "eps"])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["mass", "topk"]
    for axes in figure.axes:
        for i, training in enumerate(["natural", "pgd"]):
            rows = summary[
                (summary["attack"] == axes.get_title(loc="left"))
                & (summary["training"] == training)
                & (summary["metric"] == SCORE)
            ]
            assert points(axes, f"line-{i}") == (STEPS, rows["mean"].tolist())
            assert points(axes, f"chance-{i}") == (STEPS, [0.25] * 5)
            (interval,) = [c for c in axes.collections if c.get_gid() == f"interval-{i}"]
            ends = np.asarray(interval.get_paths()[0].vertices)[:, 1]
            assert set(ends) == {*rows["ci_low"], *rows["ci_high"]}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        *("natural", "pgd", "95 % interval (some of n < 10)", "chance level (same colour)")
    ]
    check_overlaps(figure)


def ticks(axes: Axes) -> list[str]:
    return [label.get_text() for label in axes.get_xticklabels()]


@pytest.mark.parametrize(
    ("x", "values", "label", "texts", "scale"),
    [
        ("eps", STEPS, "eps, in steps of 1/255", ["1", "2", "4", "8", "16"], "linear"),
        ("eps", [0.0, 8 / 255], "eps, in steps of 1/255", ["0", "8"], "linear"),
        ("eps", [0.1, 0.25], "eps", ["0.1", "0.25"], "linear"),
        ("steps", [1, 10, 100], "steps", ["1", "10", "100"], "log"),
        ("seed", [-3, 5], "seed", ["\N{MINUS SIGN}3", "5"], "linear"),
    ],
)
def test_the_axis_names_its_values(
    x: str, values: list[float], label: str, texts: list[str], scale: str
) -> None:
    (axes,) = lm.plot_scores(eps_table(values).rename(columns={"eps": x}), SCORE, x).axes
    assert axes.figure.get_supxlabel() == label
    assert ticks(axes) == texts
    assert axes.get_xscale() == scale


def test_texts_of_close_ticks_are_left_out() -> None:
    figure = lm.plot_scores(eps_table([1.001, 1.002, 1.5, 2.0]), SCORE)
    assert ticks(figure.axes[0]) == ["1.001", "", "1.5", "2"]
    check_overlaps(figure)


def test_the_scale_follows_the_metric() -> None:
    table = eps_table(training=["natural", "pgd"])
    names = {SCORE: (0, 1.02), "kendall": (-0.208, 1.02), "mse": (0, 0.0105), "mine(a=1)": (49.5, 60.5)}
    low_high: dict[str, list[float]] = {"kendall": [-0.2, 0.5], "mse": [0.004, 0.01], "mine(a=1)": [50, 60]}
    for name, limits in names.items():
        values = np.repeat(low_high.get(name, [0.5, 0.6]), 6)
        shown = table.assign(**{name: np.tile(values, len(table) // 12)}).drop(columns="training")
        (axes,) = lm.plot_scores(shown.assign(eps=np.tile(np.repeat([0.1, 0.2], 6), 5)), name).axes
        assert axes.get_ylim() == pytest.approx(limits, abs=0.02 * limits[1])


def test_rows_without_a_value_are_counted() -> None:
    table = eps_table([0.1, 0.2, np.nan, np.inf])
    with pytest.warns(UserWarning, match="12 of 24 rows have no eps and are not drawn"):
        figure = lm.plot_scores(table, SCORE)
    assert points(figure.axes[0], "line-0")[0] == [0.1, 0.2]
    table["steps"] = pd.array([None] * 12 + [1] * 6 + [2] * 6, dtype="Int64")
    with pytest.warns(UserWarning, match="12 of 24 rows have no steps"):
        figure = lm.plot_scores(table.drop(columns="eps"), SCORE, "steps")
    assert points(figure.axes[0], "line-0")[0] == [1, 2]


def test_a_table_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="eps has 0 values in the table"):
        lm.plot_scores(eps_table()[:0], SCORE)
    with pytest.raises(ValueError, match="the table has no rows to draw"):
        lm.plot_curves(eps_table()[:0], 9)
    table = eps_table([0.1, 0.2]).assign(status=["ok"] * 6 + ["not_attacked"] * 6)
    with pytest.raises(ValueError, match=r"eps has 1 value in the table \(0.1\): a line needs two"):
        lm.plot_scores(table, SCORE, exclude="not_attacked")


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ("training", "training holds 'natural', which is not a number"),
        ("model", "model has 1 value in the table \\(3\\): a line needs two"),
        ("nope", "cannot draw scores against 'nope': the conditions of the table are model, training, eps"),
        ("sample", "cannot draw scores against 'sample'"),
    ],
)
def test_what_is_no_number_is_refused(x: str, message: str) -> None:
    table = eps_table(training=["natural", "pgd"], model=[3])
    with pytest.raises(ValueError, match=message):
        lm.plot_scores(table, SCORE, x)


def test_one_score_is_drawn() -> None:
    table = eps_table()
    with pytest.raises(ValueError, match="the table has no scores of kendall; it has: lens_recall"):
        lm.plot_scores(table, "kendall")
    table["lens_recall(k=9,w=2)"] = 0.5
    with pytest.raises(ValueError, match=r"one score, and lens_recall stands for .*w=2\): name one"):
        lm.plot_scores(table, "lens_recall")


def test_by_chooses_panels_and_lines() -> None:
    table = eps_table(attack=["topk", "mass"], training=["natural", "pgd"])
    panels = lm.plot_scores(table, SCORE, by=["training", "attack"]).axes
    assert [axes.get_title(loc="left") for axes in panels] == ["natural", "pgd"]
    (pooled,) = lm.plot_scores(table, SCORE, by="training").axes
    summary = lm.summarize(table, by=["training", "eps"])
    rows = summary[(summary["training"] == "pgd") & (summary["metric"] == SCORE)]
    assert points(pooled, "line-1") == (STEPS, rows["mean"].tolist())


def test_categories_without_rows_are_not_drawn() -> None:
    table = eps_table(training=["natural", "pgd"]).astype({"training": "category", "eps": "category"})
    figure = lm.plot_scores(table[table["training"] == "pgd"], SCORE)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["mean", "95 % interval (some of n < 10)", "chance level"]
