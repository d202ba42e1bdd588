"""Distributions show the defined scores of every condition."""

import numpy as np
import pandas as pd

from lensmetrics.figures.distributions import score_distributions
from lensmetrics.tables.columns import parse_column
from lensmetrics.tables.view import View
from tests.scores import make_scores


def artists(figure: object, gid: str) -> list:  # type: ignore[type-arg]
    return figure.findobj(lambda artist: artist.get_gid() == gid)  # type: ignore[attr-defined,no-any-return]


def test_rows_show_quantiles_and_pairs() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(60)
    values[[3, 50]] = [np.nan, np.inf]
    training = np.repeat(["t10", "t2", "t1"], 20)
    table = make_scores(values, np.tile(np.arange(20), 3).tolist(), training=training)
    figure = score_distributions(View.of(table), parse_column("kendall"))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["t1", "t2", "t10"]
    expected = [values[(training == name) & np.isfinite(values)] for name in ("t1", "t2", "t10")]
    for line, found in zip(artists(figure, "pairs"), expected, strict=True):
        assert line.get_xdata().tolist() == found.tolist()
    (median,) = artists(figure, "median")
    np.testing.assert_allclose(median.get_xdata(), [np.median(found) for found in expected])
    (whole,), (middle,) = artists(figure, "whole"), artists(figure, "quartiles")
    for collection, ends in ((whole, (0.05, 0.95)), (middle, (0.25, 0.75))):
        drawn = [segment[:, 0] for segment in collection.get_segments()]
        np.testing.assert_allclose(drawn, [np.quantile(found, ends) for found in expected])


def test_condition_without_scores_has_an_empty_row() -> None:
    table = make_scores([0.5, 0.25, np.nan, np.nan], [0, 1, 0, 1], training=["a", "a", "b", "b"])
    figure = score_distributions(View.of(table), parse_column("kendall"))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["a", "b"]
    assert artists(figure, "median")[0].get_ydata().tolist() == [0]
    nothing = score_distributions(View.of(table.assign(kendall=np.nan)), parse_column("kendall"))
    assert not artists(nothing, "median")


def test_many_pairs_are_quantiles_alone_and_long_names_leave_room() -> None:
    n = 700
    table = pd.concat(
        [
            make_scores(np.linspace(0, 1, n), training=[name] * n, attack=[40 * "y"] * n)
            for name in ("short", 60 * "x")
        ],
        ignore_index=True,
    ).assign(model=lambda table: table["training"].astype(str))
    figure = score_distributions(View.of(table), parse_column("kendall"))
    assert not artists(figure, "pairs")
    assert figure.axes[0].get_position().x0 < 0.6
