"""Differences: points and cells are those of the comparison."""

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import lensmetrics as lm
from tests.figures.overlaps import check_overlaps

SHARED = ["topk_intersection(k=9)", "lens_recall(k=9,w=1)", "kendall"]


def comparison(
    metrics: list[str], pairs: list[tuple[Any, Any]] | None = None, on: str = "training", **by: list[Any]
) -> pd.DataFrame:
    """Return a table like that of `compare`."""
    rng = np.random.default_rng(2)
    rows = [
        dict(zip([*by, "metric"], [*values, metric], strict=True)) | {"first": first, "second": second}
        for *values, (first, second), metric in itertools.product(
            *by.values(), pairs or [("natural", "pgd")], metrics
        )
    ]
    table = pd.DataFrame(rows)
    table["difference"] = rng.uniform(-0.3, 0.3, len(table))
    half = rng.uniform(0.01, 0.4, len(table))
    table["ci_low"], table["ci_high"] = table["difference"] - half, table["difference"] + half
    table["p_holm"] = np.where(half < table["difference"].abs(), 0.01, 0.5)
    table.attrs["on"] = on
    return table


def points(axes: Axes, j: int) -> dict[str, list[float]]:
    """Return the differences of a series from top to bottom, by whether they are certain."""
    return {
        kind: np.asarray(line.get_xdata()).tolist()
        for line in axes.get_lines()
        for kind in ("certain", "uncertain")
        if line.get_gid() == f"{kind}-{j}"
    }


def labels(axes: Axes) -> list[str]:
    return [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def test_points_are_differences_with_their_intervals() -> None:
    table = comparison(SHARED, attack=["topk", "mass"])
    figure = lm.plot_comparison(table)
    (axes,) = figure.axes
    assert labels(axes) == ["Top-k intersection", "LENS recall, w = 1", "Kendall"]
    for j, attack in enumerate(["topk", "mass"]):
        rows = table[table["attack"] == attack]
        sure = rows["p_holm"] < 0.05
        assert points(axes, j) == {
            "certain": rows["difference"][sure].tolist(),
            "uncertain": rows["difference"][~sure].tolist(),
        }
        bars: Any = axes.collections[j]
        ends = [segment[:, 0].tolist() for segment in bars.get_segments()]
        assert ends == rows[["ci_low", "ci_high"]].to_numpy().tolist()
    (zero,) = [line for line in axes.get_lines() if line.get_gid() == "zero"]
    assert np.asarray(zero.get_xdata()).tolist() == [0, 0]
    low, high = axes.get_xlim()
    assert low < table["ci_low"].min() < 0 < table["ci_high"].max() < high
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["topk", "mass", "Holm p < .05", "Holm p ≥ .05"]
    assert set(texts(figure)) == {"k = 9", "difference: pgd − natural, 95 % interval"}
    check_overlaps(figure)


def test_metrics_without_a_common_scale_have_their_own_axes() -> None:
    table = comparison([*SHARED, "mse", "mine(a=1)"])
    table.loc[table["metric"] == "mse", ["difference", "ci_low", "ci_high"]] *= 1e-6
    figure = lm.plot_comparison(table)
    assert [labels(axes) for axes in figure.axes][1:] == [["MSE ↓"], ["Mine, a = 1"]]
    assert figure.axes[1].get_xlim()[1] < 1e-5
    assert texts(figure)[-1].endswith("\n↓ a lower score means maps that are more alike")
    check_overlaps(figure)


def test_one_metric_has_a_row_for_each_group_and_pair() -> None:
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    figure = lm.plot_comparison(comparison(SHARED[1:2], pairs, explanation=["gradient", "expl2"]))
    assert labels(figure.axes[0]) == [
        f"{explanation} · {second} − {first}"
        for explanation, (first, second) in itertools.product(["gradient", "expl2"], pairs)
    ]
    assert "LENS recall, k = 9, w = 1" in texts(figure)
    assert "difference: second − first, 95 % interval" in texts(figure)
    check_overlaps(figure)


def test_values_that_are_numbers_have_their_names() -> None:
    figure = lm.plot_comparison(comparison(SHARED, [(4 / 255, 8 / 255)], on="eps"))
    assert "difference: eps 8/255 − eps 4/255, 95 % interval" in texts(figure)


def cells(figure: Figure) -> tuple[Axes, Any]:
    (axes,) = [axes for axes in figure.axes if axes.get_label() == "cells"]
    return axes, axes.get_images()[0].get_array()


def marks(axes: Axes) -> dict[str, set[tuple[int, int]]]:
    found: dict[str, set[tuple[int, int]]] = {"higher": set(), "lower": set()}
    for line in axes.get_lines():
        x, y = (np.asarray(data).astype(int).tolist() for data in (line.get_xdata(), line.get_ydata()))
        found[str(line.get_gid()).split("-")[0]] |= set(zip(y, x, strict=True))
    return found


def test_many_groups_are_a_heat_map() -> None:
    table = comparison(SHARED, explanation=[f"expl{i}" for i in range(12)])
    table.loc[4, ["difference", "p_holm"]] = math.nan
    figure = lm.plot_comparison(table)
    axes, shown = cells(figure)
    assert labels(axes) == [f"expl{i}" for i in range(12)]
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ["Top-k intersection", "LENS recall, w = 1", "Kendall"]
    expected = table["difference"].to_numpy().reshape(12, 3)
    np.testing.assert_allclose(np.ma.filled(shown, np.nan), expected / np.nanmax(np.abs(expected)))
    sure = table["p_holm"].to_numpy().reshape(12, 3) < 0.05
    assert marks(axes) == {
        "higher": set(map(tuple, np.argwhere(sure & (expected > 0)).tolist())),
        "lower": set(map(tuple, np.argwhere(sure & (expected < 0)).tolist())),
    }
    assert "no value" in [text.get_text() for text in figure.legends[0].get_texts()]
    check_overlaps(figure)


def test_metrics_are_the_rows_if_they_are_more() -> None:
    suite = list(map(str, lm.lens_suite(9)))
    table = comparison(suite, explanation=[f"expl{i}" for i in range(8)])
    axes, shown = cells(lm.plot_comparison(table))
    assert len(labels(axes)) == len(suite)
    assert [label.get_text() for label in axes.get_xticklabels()] == [f"expl{i}" for i in range(8)]
    largest = table["difference"].abs().max()
    np.testing.assert_allclose(shown[:, 2], table["difference"][2 * len(suite) : 3 * len(suite)] / largest)


def test_only_metrics_of_which_low_values_are_robust_have_an_arrow() -> None:
    table = comparison(["kendall", "shift(a=1)", "gap(a=1)"])
    for name, bounds in (("shift", [-1, 1]), ("gap", [0, 1])):  # the best shift is in the middle
        facts = {"bounds": bounds, "best": 0, "meaning": "A test."}
        table.attrs.setdefault("metric_facts", {})[name] = facts
    found = [label for axes in lm.plot_comparison(table).axes for label in labels(axes)]
    assert found == ["Kendall", "Shift, a = 1", "Gap, a = 1 ↓"]


def test_a_metric_without_a_common_scale_has_its_own_colours() -> None:
    table = comparison(["kendall", "mse"], explanation=[f"expl{i}" for i in range(9)])
    table.loc[table["metric"] == "mse", "difference"] *= 1e-3
    axes, shown = cells(lm.plot_comparison(table))
    assert np.abs(shown).max(axis=0).tolist() == [1, 1]
    assert [label.get_text() for label in axes.get_xticklabels()][1].startswith("MSE ↓ (±0.000")


def test_a_heat_map_of_one_metric_has_conditions_for_columns() -> None:
    by: dict[str, Any] = {"explanation": [f"e{i}" for i in range(50)], "attack": [f"a{i}" for i in range(5)]}
    table = comparison(["kendall"], **by)
    figure = lm.plot_comparison(table.drop(index=[7]))  # e1, a2
    axes, shown = cells(figure)
    assert labels(axes) == by["explanation"]
    assert [label.get_text() for label in axes.get_xticklabels()] == by["attack"]
    assert shown.mask[1, 2]
    assert shown[2, 0] == pytest.approx(table["difference"][10] / table["difference"].abs().max())
    check_overlaps(figure)


def test_equal_differences_have_a_scale() -> None:
    table = comparison(["kendall"], explanation=[f"e{i}" for i in range(20)])
    shown = cells(lm.plot_comparison(table.assign(difference=0.0, p_holm=1.0)))[1]
    assert not shown.any()
    (axes,) = lm.plot_comparison(table[:1].assign(difference=0.0, ci_low=0.0, ci_high=math.nan)).axes
    assert axes.get_xlim() == (-1, 1)


def test_what_does_not_fit_on_a_page_is_refused() -> None:
    groups: dict[str, Any] = {"explanation": [f"e{i}" for i in range(250)]}
    with pytest.raises(
        ValueError, match=r"the 250 rows need \d+ inches, more than a page .*: compare fewer groups"
    ):
        lm.plot_comparison(comparison(SHARED, **groups))
    wide: dict[str, Any] = {"explanation": [f"e{i}" for i in range(40)]}
    with pytest.raises(ValueError, match=r"the 40 columns do not fit into 3.3 inches"):
        lm.plot_comparison(comparison([f"m(a={i})" for i in range(45)], **wide))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda table: table.drop(columns="difference"),
            "has no column 'difference': pass what compare returned",
        ),
        (lambda table: table[:0], "the comparison has no rows"),
        (lambda table: pd.concat([table, table]), "a group, pair and metric more than once"),
    ],
)
def test_other_tables_are_refused(change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        lm.plot_comparison(change(comparison(SHARED)))


def test_a_real_comparison_is_drawn() -> None:
    rng = np.random.default_rng(0)
    scores = pd.DataFrame({"training": ["natural"] * 12 + ["pgd"] * 12, "sample": [*range(12)] * 2})
    scores["kendall"] = rng.random(24)
    table = lm.compare(scores)
    (axes,) = lm.plot_comparison(table).axes
    assert "difference: pgd − natural, 95 % interval" in texts(lm.plot_comparison(table))
    few = texts(lm.plot_comparison(lm.compare(scores[scores["sample"] < 9])))
    assert "difference: pgd − natural, 95 % interval (some of n < 10)" in few
    (drawn,) = [values for values in points(axes, 0).values() if values]
    assert drawn == table["difference"].tolist()


def test_a_comparison_without_a_defined_difference_says_so() -> None:
    table = comparison(["kendall"], [("natural", "pgd"), ("natural", "trades")])
    (axes,) = lm.plot_comparison(table).axes
    assert [text.get_text() for text in axes.texts] == []
    table[["difference", "ci_low", "ci_high", "p_holm"]] = np.nan
    figure = lm.plot_comparison(table)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["no difference is defined"]
    check_overlaps(figure)
