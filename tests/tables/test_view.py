"""A view is the summary of its table, and its parts are the views of parts of the table."""

from typing import Any

import numpy as np
import pandas as pd

import lensmetrics as lm
from lensmetrics.tables.view import View
from tests.scores import curve_table, make_scores


def test_view_is_the_summary_of_its_table() -> None:
    table = curve_table()
    view = View.of(table)
    assert view.conditions == ["training", "attack"]
    assert view.by == ["attack", "training"]
    assert [column.text for column in view.columns] == view.summary.metrics
    pd.testing.assert_frame_equal(view.summary.frame(), lm.summarize(table, by=view.by))
    row = view.summary.row(1, "lens_recall(k=2,w=1)")
    expected: Any = lm.summarize(table, by=view.by).set_index(["attack", "training", "metric"])
    found = expected.loc["mass", "pgd", "lens_recall(k=2,w=1)"]
    assert {name: row[name] for name in found.index} == found.to_dict()


def test_parts_are_views_of_parts_of_the_table() -> None:
    table = curve_table().assign(model=["a", "b"] * 20, attack_k=[7.0, np.nan] * 20)
    view = View.of(table)
    parts = view.parts(["model"])
    assert [key for key, _ in parts] == [["a"], ["b"]]
    for (model,), part in parts:
        rows = table[table["model"] == model]
        assert part.conditions == View.of(rows).conditions == ["training", "attack"]
        pd.testing.assert_frame_equal(part.scores, rows, check_dtype=False)
        expected = lm.summarize(rows, by=part.by)
        pd.testing.assert_frame_equal(part.summary.frame()[expected.columns], expected, rtol=1e-12)
    ((_, whole),) = view.parts([])
    assert len(whole.summary.groups) == 8


def test_excluded_rows_belong_to_no_part() -> None:
    status = ["ok", "identical", "identical", "ok;constant_map"]
    table = make_scores([1, 2, 3, np.nan], attack=["a", "a", "b", "c"], status=status)
    view = View.of(table, exclude="identical")
    assert view.kept["kendall"].tolist()[:1] == [1]
    assert view.summary.n_rows.tolist() == [1, 0, 1]
    assert [key for key, _ in view.parts(["attack"])] == [["a"], ["c"]]
    assert view.summary.undefined_reason(2, "kendall") == "constant_map"
    assert view.summary.undefined_reason(1, "kendall") == ""
