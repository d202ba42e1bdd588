"""The list of the worst samples."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

import lensmetrics as lm
from tests.scores import make_scores, named_scores


@pytest.mark.parametrize("highest", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_worst_are_the_first_of_the_sorted_rows(seed: int, highest: bool) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 6, 40) / 8
    values[rng.random(40) < 0.2] = np.nan
    table = make_scores(values, attack=rng.choice(["a10", "a9", "b"], 40))
    rows = [row for row in table.to_dict("records") if not np.isnan(row["kendall"])]
    rows.sort(key=lambda row: -row["kendall"] if highest else row["kendall"])  # stable: ties keep their order
    found = lm.worst(table, "kendall", n=7, highest=highest)
    assert found.columns.tolist() == ["sample", "value", "status"]
    assert found["sample"].tolist() == [row["sample"] for row in rows[:7]]
    assert found["value"].tolist() == [row["kendall"] for row in rows[:7]]
    assert found.attrs["n_undefined"] == np.isnan(values).sum()
    grouped = lm.worst(table, "kendall", n=2, by="attack", highest=highest)
    expected = [row for name in ("a9", "a10", "b") for row in [r for r in rows if r["attack"] == name][:2]]
    assert grouped.columns.tolist() == ["attack", "sample", "value", "status"]
    assert grouped["sample"].tolist() == [row["sample"] for row in expected]
    assert grouped["attack"].tolist() == [row["attack"] for row in expected]
    everything = lm.worst(table, "kendall", n=1000, highest=highest)
    assert everything["sample"].tolist() == [row["sample"] for row in rows]


def test_direction_is_that_of_the_metric() -> None:
    table = make_scores([0.1, 0.9, 0.5], name="lens_recall(k=5,w=1)")
    table["mse"] = table["lens_recall_chance(k=5,w=1)"] = [3.0, 1.0, 2.0]
    assert lm.worst(table, "lens_recall(k=5, w=1)")["sample"].tolist() == [0, 2, 1]
    assert lm.worst(table, lm.get_metric("lens_recall", k=5, w=1))["value"].tolist() == [0.1, 0.5, 0.9]
    assert lm.worst(table, "mse")["value"].tolist() == [3, 2, 1]
    assert lm.worst(table, "mse", highest=False)["value"].tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match=r"neither high nor low values of lens_recall_chance.*--highest"):
        lm.worst(table, "lens_recall_chance")
    assert lm.worst(table, "lens_recall_chance", highest=True)["value"].tolist() == [3, 2, 1]


def test_files_and_names_are_listed() -> None:
    table = named_scores([0.3, 0.1, np.inf], ["x", "ü b", "z"], file=["a.h5", "b.h5", "b.h5"])
    found = lm.worst(table, "kendall")
    assert found.columns.tolist() == ["file", "sample", "name", "value", "status"]
    assert found[["file", "name"]].to_numpy().tolist() == [["b.h5", "ü b"], ["a.h5", "x"]]
    assert found.attrs["n_undefined"] == 1
    by_file = lm.worst(table, "kendall", n=1, by=["file"])
    assert by_file.columns.tolist() == ["file", "sample", "name", "value", "status"]
    assert by_file["value"].tolist() == [0.3, 0.1]


def test_samples_are_left_out_by_status() -> None:
    table = make_scores([0.1, 0.2, 0.3], status=["label_changed", "ok", "not_attacked;identical"])
    assert lm.worst(table, "kendall", exclude=["label_changed"])["sample"].tolist() == [1, 2]
    assert len(lm.worst(table.head(0), "kendall")) == 0
    nothing = lm.worst(table.assign(kendall=np.nan), "kendall", by="status")
    assert (len(nothing), nothing.attrs["n_undefined"]) == (0, 3)


def test_missing_values_form_a_group_at_the_end() -> None:
    table = make_scores([0.1, 0.2, 0.3, 0.4], eps=[np.nan, 16 / 255, 8 / 255, np.nan])
    found = lm.worst(table, "kendall", n=1, by="eps")
    assert found["sample"].tolist() == [2, 1, 0]
    assert found["eps"].isna().tolist() == [False, False, True]


def test_an_attribute_of_integers_may_be_missing_in_some_files() -> None:
    seed = pd.Categorical([1, 1, None])
    table = lm.worst(
        pd.DataFrame({"seed": seed, "sample": [0, 1, 2], "kendall": [0.5, 0.25, 0.75]}), "kendall", by="seed"
    )
    assert table["seed"].tolist()[:2] == [1, 1]
    assert np.isnan(table["seed"].iloc[2])
    assert table["sample"].tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "mse"}, "no scores of mse; it has: lens_recall"),
        ({"metric": "lens_recall(k=6,w=1)"}, r"no scores of .*k=6.*; it has: lens_recall\(k=5,w=1\), lens"),
        ({"metric": "lens_recall"}, r"several scores of lens_recall: lens_recall\(k=5,w=1\), .*; name one"),
        ({"n": 0}, "n must be at least 1, got 0"),
        ({"by": "nope"}, "cannot group by 'nope': the table has sample, status"),
        ({"by": ["lens_recall(k=5,w=1)"]}, "cannot group by"),
        ({"exclude": "tied"}, "cannot exclude 'tied'"),
    ],
)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    table = make_scores([0.1, 0.9], name="lens_recall(k=5,w=1)").assign(**{"lens_recall(k=5,w=2)": 1.0})
    with pytest.raises(ValueError, match=message):
        lm.worst(table, **{"metric": "lens_recall(k=5,w=1)", **options})


def test_own_metrics_have_the_direction_that_a_stored_table_tells(tmp_path: Any) -> None:
    table = pd.DataFrame({"sample": [0, 1], "status": "ok", "spread(i=1)": [0.2, 0.4]})
    facts = {"spread": {"bounds": [0, None], "best": 0, "meaning": "Own."}}
    table.attrs["metric_facts"] = facts
    lm.write_scores(table, tmp_path / "s.parquet")
    assert lm.worst(lm.read_scores(tmp_path / "s.parquet"), "spread")["value"].tolist() == [0.4, 0.2]
    table.attrs["metric_facts"] = {"spread": {**facts["spread"], "best": 0.3}}
    with pytest.raises(ValueError, match="choose with highest"):
        lm.worst(table, "spread")
