"""Means by condition: values, groups and excluded statuses."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

import lensmetrics as lm
from lensmetrics.statuses import EXCLUDABLE_STATUSES, STATUSES
from lensmetrics.tables.summary import undefined_reason
from tests.scores import METRICS, make_scores


def test_summary_is_mean_sd_and_counts(scores: pd.DataFrame) -> None:
    by = ["training", "attack"]
    table = lm.summarize(scores, by=by)
    assert table.columns[:8].tolist() == [*by, "metric", "mean", "sd", "n", "n_undefined", "ci_low"]
    tokens = sorted({token for status in scores["status"] for token in status.split(";")} - {"ok"})
    assert {"checksum", "incomplete", "few_diverse"} <= set(tokens)
    assert table.columns[8:].tolist() == ["ci_high", *(f"n_{token}" for token in tokens)]
    groups = {("None", "topk"): range(6), ("pgd", "topk"): range(6, 10), (None, "random_sign"): range(10, 15)}
    assert len(table) == len(groups) * len(METRICS)
    assert table["metric"].tolist() == [str(metric) for metric in METRICS] * 3
    for (training, attack), rows in groups.items():
        group = scores.loc[list(rows)]
        here = table["training"].isna() if training is None else table["training"] == training
        for _, found in table[here & (table["attack"] == attack)].iterrows():
            values = group[found["metric"]].to_numpy()
            defined = values[~np.isnan(values)]
            assert found["n"] == len(defined)
            if not len(defined):
                assert math.isnan(found["mean"])
                assert math.isnan(found["sd"])
                continue
            np.testing.assert_allclose(found["mean"], defined.mean(), rtol=1e-13)
            assert found["n_undefined"] == len(group) - len(defined)
            if len(defined) == 1:
                assert math.isnan(found["sd"])
                assert math.isnan(found["ci_low"])
                continue
            np.testing.assert_allclose(found["sd"], defined.std(ddof=1), rtol=1e-12, atol=1e-15)
            assert found["ci_low"] - 1e-12 <= found["mean"] <= found["ci_high"] + 1e-12
            for token in tokens:
                assert found[f"n_{token}"] == sum(token in status.split(";") for status in group["status"])


def test_default_groups_are_the_conditions_that_differ(scores: pd.DataFrame) -> None:
    # attack, eps and attack_k are decided by training.
    pd.testing.assert_frame_equal(lm.summarize(scores), lm.summarize(scores, by=["training"]))
    one = scores[scores["training"] == "None"]
    assert lm.summarize(one).columns[0] == "metric"
    pd.testing.assert_frame_equal(lm.summarize(one), lm.summarize(one, by=[]))
    pd.testing.assert_frame_equal(lm.summarize(scores, "attack"), lm.summarize(scores, ["attack"]))


def test_summary_by_file_or_label_or_sample(scores: pd.DataFrame) -> None:
    assert lm.summarize(scores, by=["file"])["n_undefined"].sum() >= 2 * len(METRICS)
    assert len(lm.summarize(scores, by=["label"])) == (6 + 1) * len(METRICS)
    assert lm.summarize(make_scores([1, 2, 4], [5, 5, 6]), by="sample")["mean"].tolist() == [1.5, 4]


def test_missing_values_form_a_group() -> None:
    table = make_scores([1, 2, 3, 4], attack=["a", None, "a", None], eps=[0.1, np.nan, 0.2, np.nan])
    found = lm.summarize(table)
    assert found["n"].tolist() == [1, 1, 2]
    assert found["mean"].tolist() == [1, 3, 3]
    assert found["attack"].isna().tolist() == [False, False, True]


@pytest.mark.parametrize("by", ["nope", "metric", ["attack", "nope"]])
def test_unknown_group_is_refused(by: Any) -> None:
    with pytest.raises(ValueError, match=r"cannot summarize by '\w+': the table has attack, sample, status"):
        lm.summarize(make_scores([1, 2], attack=["a", "b"]), by)


def test_column_added_by_the_user_can_define_groups() -> None:
    table = make_scores([1, 2, 4])
    table["family"] = ["cnn", "vit", "vit"]
    found = lm.summarize(table, by="family")
    assert found["family"].tolist() == ["cnn", "vit"]
    assert found["metric"].tolist() == ["kendall", "kendall"]
    assert found["mean"].tolist() == [1, 3]


def test_summary_of_few_rows() -> None:
    nothing = lm.summarize(make_scores([np.nan, np.nan, np.nan])).iloc[0]
    assert nothing[["mean", "sd", "ci_low", "ci_high"]].isna().all()
    assert (nothing["n"], nothing["n_undefined"]) == (0, 3)
    for values in ([0.25], [0.25, np.nan], [np.nan, 0.25, np.nan]):
        single = lm.summarize(make_scores(values)).iloc[0]
        assert (single["mean"], single["n"], single["n_undefined"]) == (0.25, 1, len(values) - 1)
        assert single[["sd", "ci_low", "ci_high"]].isna().all()
    same = lm.summarize(make_scores([0.1] * 7)).iloc[0]
    np.testing.assert_allclose(same[["mean", "ci_low", "ci_high"]].to_numpy(float), 0.1, rtol=1e-15)
    assert same["sd"] < 1e-16
    empty = lm.summarize(make_scores([])).iloc[0]
    assert (empty["n"], empty["n_undefined"]) == (0, 0)
    assert len(lm.summarize(make_scores([]), by="sample")) == 0


def test_each_token_of_a_status_is_counted() -> None:
    found = lm.summarize(make_scores([1, 2, 3], status=["constant_map;tied_cut", "ok", "tied_cut"])).iloc[0]
    assert (found["n_tied_cut"], found["n_constant_map"]) == (2, 1)
    assert "n_ok" not in found


def test_status_is_optional() -> None:
    table = make_scores([1, 2, 3])
    pd.testing.assert_frame_equal(lm.summarize(table.drop(columns="status")), lm.summarize(table))


def test_infinite_scores_count_as_undefined() -> None:
    found = lm.summarize(make_scores([1, 3, np.inf, -np.inf], name="mse")).iloc[0]
    assert (found["mean"], found["n"], found["n_undefined"]) == (2, 2, 2)
    assert 1 <= found["ci_low"] <= found["ci_high"] <= 3


def test_columns_of_a_summary_cannot_define_groups() -> None:
    for name in ("mean", "n_tied_cut"):
        table = make_scores([1, 2], status=["tied_cut", "ok"]).assign(**{name: ["a", "b"]})
        with pytest.raises(
            ValueError, match=f"cannot summarize by '{name}': a summary has a column of that name"
        ):
            lm.summarize(table, by=name)


def test_samples_are_excluded_by_status() -> None:
    status = ["ok", "not_attacked", "label_changed;not_attacked", "tied_cut", "incomplete"]
    table = make_scores([1, 2, 4, 8, np.nan], status=status)
    plain = lm.summarize(table).iloc[0]
    assert (plain["n"], plain["n_undefined"], plain["mean"]) == (4, 1, 3.75)
    assert plain["mean_attacked"] == 4.5
    assert "n_excluded" not in plain
    found = lm.summarize(table, exclude=["not_attacked"])
    names = ["metric", "mean", "sd", "n", "n_undefined", "n_excluded", "ci_low", "ci_high"]
    counted = ["n_incomplete", "n_label_changed", "n_not_attacked", "n_tied_cut"]
    assert found.columns.tolist() == [*names, *counted]
    row = found.iloc[0]
    assert (row["n"], row["n_undefined"], row["n_excluded"], row["mean"]) == (2, 1, 2, 4.5)
    assert row[counted].tolist() == [1, 1, 2, 1]
    both = lm.summarize(table, exclude=("label_changed", "tied_cut")).iloc[0]
    assert (both["n"], both["n_excluded"], both["mean"], both["mean_attacked"]) == (2, 2, 1.5, 1)
    assert lm.summarize(table, exclude="identical").iloc[0]["n_excluded"] == 0


def test_mean_of_the_attacked_is_reported_beside_the_mean() -> None:
    table = make_scores(
        [1, 2, 4], attack=["a", "a", "b"], status=["ok", "not_attacked;tied_cut", "not_attacked"]
    )
    found = lm.summarize(table)
    assert (
        found.columns.tolist()[6:]
        == ["ci_low", "ci_high", "mean_attacked", "n_not_attacked", "n_tied_cut"][-5:]
    )
    np.testing.assert_array_equal(found["mean_attacked"], [1, np.nan])
    assert found["mean"].tolist() == [1.5, 4]


def test_group_that_is_excluded_entirely_remains() -> None:
    table = make_scores([1, 2, 4], attack=["a", "a", "b"], status=["ok", "ok", "identical"])
    found = lm.summarize(table, exclude=["identical"])
    assert found["n"].tolist() == [2, 0]
    assert found["n_excluded"].tolist() == [0, 1]
    assert math.isnan(found["mean"][1])


@pytest.mark.parametrize("status", sorted({*STATUSES} - {*EXCLUDABLE_STATUSES}))
def test_statuses_of_metrics_cannot_be_excluded(status: str) -> None:
    message = (
        f"cannot exclude '{status}': it is a status of a metric, so it depends on which metrics were scored"
    )
    with pytest.raises(ValueError, match=message):
        lm.summarize(make_scores([1]), exclude=[status])


def test_only_statuses_can_be_excluded() -> None:
    with pytest.raises(
        ValueError, match=r"cannot exclude 'ok': it is not a status of a sample; allowed: checksum, "
    ):
        lm.summarize(make_scores([1]), exclude="ok")
    with pytest.raises(ValueError, match="cannot exclude 'identical': the table has no column 'status'"):
        lm.summarize(make_scores([1]).drop(columns="status"), exclude="identical")
    for status in EXCLUDABLE_STATUSES:
        assert lm.summarize(make_scores([1]), exclude=status)["n_excluded"].tolist() == [0]


def test_metric_without_any_score_has_a_reason() -> None:
    status = ["constant_map", "constant_map;saturated", "nan_map"]
    table = make_scores([np.nan] * 3, status=status)
    table["lens_recall_adjusted(k=3,w=1)"] = np.nan
    table["mse"] = [np.nan, 1, np.nan]
    reasons = [undefined_reason(row) for _, row in lm.summarize(table).iterrows()]
    assert reasons == ["constant_map", "constant_map", ""]
    table["status"] = ["saturated", "saturated", "constant_map"]
    reasons = [undefined_reason(row) for _, row in lm.summarize(table).iterrows()]
    assert reasons == ["constant_map", "saturated", ""]
    assert undefined_reason(lm.summarize(make_scores([np.nan])).iloc[0]) == ""


def test_sums_are_independent_of_the_chunks_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    n = 500
    table = make_scores(
        rng.normal(size=n), rng.integers(90, size=n).tolist(), attack=rng.choice(["a", "b", "c"], n).tolist()
    )
    table["status"] = rng.choice(["ok", "not_attacked"], n)
    whole = lm.summarize(table)
    for rows in (1, 7, 64):
        monkeypatch.setattr("lensmetrics.tables.moments.CHUNK_ROWS", rows)
        pd.testing.assert_frame_equal(lm.summarize(table), whole, rtol=1e-12)
