"""Columns of a table of scores: scores, conditions, identity, and the default groups."""

import math
from pathlib import Path
from typing import Any

import h5py
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given

import lensmetrics as lm
from lensmetrics.metrics import registry
from lensmetrics.tables.columns import (
    PROVENANCE,
    condition_columns,
    equal_number,
    is_reserved,
    metric_columns,
    one_kind,
    skipped_attributes,
)
from lensmetrics.tables.differing import distinguishing
from lensmetrics.tables.known import BUILT_IN, CERTIFICATES, FACTS, MetricFacts, known_metrics
from tests.pairfiles import write_file
from tests.scores import files_table, make_scores


def test_scores_are_recognised_by_their_names() -> None:
    table = make_scores([1, 2], eps=[0.1, 0.2])
    more: dict[str, Any] = {"mine(k=3,level=0.5)": [1, 2], "a (b)": 1.0, "pearson": 1}
    table = table.assign(step_size=[0.5, 0.25], **more)
    table.insert(0, "lens_recall(k=3,w=1)", [0, 1])
    assert metric_columns(table) == ["lens_recall(k=3,w=1)", "kendall", "mine(k=3,level=0.5)", "pearson"]
    assert condition_columns(table) == ["eps", "step_size", "a (b)"]
    joined = pd.concat([table, make_scores([3], seed=[7]).assign(beta=0.5)])
    assert metric_columns(joined) == metric_columns(table)
    assert condition_columns(joined) == ["eps", "step_size", "a (b)", "seed", "beta"]
    assert lm.summarize(joined, by=[])["metric"].tolist() == metric_columns(table)


def test_metric_of_another_process_is_recognised(tmp_path: Path) -> None:
    def sharpness(pair: lm.MapPair) -> float:
        return 0.5

    maps = np.random.default_rng(0).normal(size=(2, 3, 5, 5))
    write_file(tmp_path / "a.h5")
    with registry.temporary():
        lm.register(bounds=(0, 1), best=None)(sharpness)
        tables = lm.score(maps[0], maps[1], "sharpness"), lm.evaluate(tmp_path / "a.h5", "sharpness")
    for table in tables:
        assert table.attrs == {"metrics": ["sharpness"]}
        lm.write_scores(table.copy(), tmp_path / "s.parquet")
        found = lm.read_scores(tmp_path / "s.parquet")
        assert metric_columns(found) == metric_columns(table) == ["sharpness"]
        assert lm.summarize(found)["mean"].tolist() == [0.5]
        assert lm.tidy(found)["metric"].tolist() == ["sharpness"] * len(table)
        assert lm.to_xarray(found)["sharpness"].values.tolist() == [0.5] * len(table)
        # The list is ignored for columns that never contain scores.
        found.attrs["metrics"] = ["sharpness", "sample", "eps"]
        assert metric_columns(found.assign(eps=0.1)) == ["sharpness"]


def test_all_attributes_except_provenance_are_conditions(tmp_path: Path) -> None:
    attrs = {"seed": 3, "steps": 40, "layers": [4, 4, 8, 8], "attack": "topk", "eps_norm": "l2"}
    more = {"command": "a b", "versions": "1", "natural_accuracy": 0.9, "checkpoint_sha256": "ab"}
    write_file(tmp_path / "a.h5", attrs={**attrs, **more, "reduction": "sum"})
    write_file(tmp_path / "b.h5", attrs={"seed": "x", "attack": "topk"})
    alone = lm.evaluate(tmp_path / "a.h5", "kendall")
    columns = ["file", "attack", "eps_norm", "layers", "seed", "steps", "sample", "status", "kendall"]
    assert sorted(alone.columns) == sorted(columns)
    assert alone.columns[:3].tolist() == columns[:3]
    assert alone.columns[6:].tolist() == columns[6:]
    assert alone["layers"].unique().tolist() == ["4,4,8,8"]
    assert alone["seed"].cat.categories.tolist() == [3]
    assert all(isinstance(alone[c].dtype, pd.CategoricalDtype) for c in condition_columns(alone))
    both = lm.evaluate([tmp_path / "a.h5", tmp_path / "b.h5"], "kendall")
    assert both["seed"].cat.categories.tolist() == ["3", "x"]  # one kind of value
    joined = pd.concat([alone, lm.evaluate(tmp_path / "b.h5", "kendall")])
    assert lm.summarize(joined)["n"].tolist() == lm.summarize(both)["n"].tolist() == [6, 6]
    assert {*more, "format", "format_version", "checksum_metadata", "reduction"} <= set(PROVENANCE)


def test_reserved_attribute_of_many_files_is_reported_once(tmp_path: Path) -> None:
    for name in "abc":
        write_file(tmp_path / f"{name}.h5", 2)
        with h5py.File(tmp_path / f"{name}.h5", "a") as file:
            file.attrs["value"] = 5
    with pytest.warns(
        UserWarning, match=r"a\.h5 and 2 more files: the attribute 'value' is left out"
    ) as caught:
        lm.evaluate([tmp_path / f"{name}.h5" for name in "abc"], "kendall")
    assert len([warning for warning in caught if warning.category is UserWarning]) == 1


def test_one_column_has_one_kind_of_value() -> None:
    assert one_kind([1, 0.5, None]) == [1, 0.5, None]
    assert one_kind([1, "a", None]) == ["1", "a", None]
    assert one_kind([[1, 2], 3]) == ["1,2", "3"]
    assert one_kind([[1.0, 3.0, 0.5], 1.0, "10:100"]) == ["1,3,0.5", "1", "10:100"]
    assert one_kind([2**24 + 1, 0.5]) == ["16777217", "0.5"]  # equal to its neighbour as a float
    assert one_kind([2**63, 1]) == ["9223372036854775808", "1"]


def test_reserved_attributes_are_skipped_with_a_warning(tmp_path: Path) -> None:
    names = ["k", "metric", "kendall", "sample", "mean", "n_saturated", "mine(k=3)"]
    assert skipped_attributes(["attack", *names, "n_draws", "steps"]) == names
    assert not any(is_reserved(name) for name in ("attack", "eps", "seed", "n_points", "a (b)"))
    path = tmp_path / "a.h5"
    write_file(path, attrs={"attack": "topk"})
    with h5py.File(path, "a") as file:
        file.attrs["k"] = 5
        file.attrs["kendall"] = 0.5
    with pytest.warns(UserWarning, match="is left out of the table") as caught:
        table = lm.evaluate(path, "spearman")
    assert [str(warning.message) for warning in caught] == [
        f"{path}: the attribute {name!r} is left out of the table, which has its own column of that name; "
        "rename the attribute"
        for name in ("k", "kendall")
    ]
    assert table.columns.tolist() == ["file", "attack", "sample", "status", "spearman"]


@given(value=st.floats(allow_nan=False))
def test_float_equals_its_single_precision_value(value: float) -> None:
    with np.errstate(over="ignore"):
        single = float(np.float32(value))
    normal = math.isfinite(single) and abs(single) >= 2.0**-126
    assert (equal_number(value) == equal_number(single)) == (normal or value == single)
    assert equal_number(equal_number(value)) == equal_number(value)


def test_integers_and_texts_equal_only_themselves() -> None:
    assert equal_number(2**24 + 1) != equal_number(2**24)
    assert equal_number("0.1") == "0.1"
    table = make_scores([1, 2], seed=[2**24, 2**24 + 1], file=["a", "b"])
    assert lm.summarize(table)["n"].tolist() == [1, 1]


@pytest.mark.parametrize("name", ["eps", "step_size"])
def test_one_eps_in_two_precisions_is_one_condition(tmp_path: Path, name: str) -> None:
    values = [float(np.float32(8 / 255)), 8 / 255, 0.1]
    for i, value in enumerate(values):
        write_file(tmp_path / f"{i}.h5", 4, seed=i, attrs={"attack": "topk", name: value})
    table = lm.evaluate([tmp_path / f"{i}.h5" for i in range(3)], "kendall")
    assert set(table[name].cat.categories) == set(values)  # stored values stay
    joined = pd.concat([lm.evaluate(tmp_path / f"{i}.h5", "kendall") for i in range(3)])
    lm.write_scores(table, tmp_path / "s.csv")
    for scores in (table, joined, lm.read_scores(tmp_path / "s.csv"), table.astype({name: "float64"})):
        found = lm.summarize(scores)
        assert found.columns[0] == name
        assert found[name].tolist() == [8 / 255, 0.1]
        assert found["n"].tolist() == [8, 4]
    assert distinguishing(table[:8]) == []
    assert lm.to_xarray(table)[name].values.tolist() == values


def test_floats_outside_single_precision_are_distinct() -> None:
    for values in ([1e-50, 2e-50], [1e200, 2e200], [1e-40, 1.0000001e-40]):
        table = make_scores([1, 2], eps=values)
        assert lm.summarize(table)["n"].tolist() == [1, 1]


def test_default_groups_distinguish_files() -> None:
    assert distinguishing(files_table(attack=["a", "b"], seed=[0, 1])) == ["attack"]
    assert distinguishing(files_table(attack=["a", "a"], seed=[0, 1])) == ["seed"]
    assert distinguishing(files_table(attack=["a", "a", "b"], seed=[0, 1, 0], steps=[3, 3, 3])) == [
        "attack",
        "seed",
    ]
    assert distinguishing(files_table(attack=["a", "a"], steps=[3, 4], seed=[0, 1])) == ["steps"]
    # An attribute that some files lack; a fixed condition that those before it decide.
    assert distinguishing(files_table(attack=["a", "a"], steps=[3, None])) == ["steps"]
    assert distinguishing(files_table(attack=["a", "b", "b"], eps=[0.1, 0.2, 0.2])) == ["attack"]
    assert distinguishing(files_table(attack=["a", "b", "b"], eps=[0.1, 0.1, 0.2])) == ["attack", "eps"]


def test_columns_that_differ_within_a_file_are_not_default_groups() -> None:
    table = make_scores([1, 2, 3, 4], file=["a", "a", "b", "b"], seed=[0, 0, 1, 1])
    table["difficulty"] = [1, 2, 1, 2]
    assert distinguishing(table) == ["seed"]
    assert distinguishing(table.drop(columns="file")) == []
    assert lm.summarize(table, by="difficulty")["n"].tolist() == [2, 2]


def test_conditions_determined_by_others_are_left_out() -> None:
    table = pd.DataFrame(
        {
            "dataset": "toy",
            "training": ["natural", "pgd", "natural", "pgd"],
            "attack": ["topk", "topk", "none", "none"],
            "attack_k": [5, 5, np.nan, np.nan],
        }
    )
    assert distinguishing(table) == ["training", "attack"]
    assert distinguishing(table.assign(attack_k=[5, 9, np.nan, 1])) == ["training", "attack"]
    assert distinguishing(table.assign(training="pgd", attack_k=[5, 9, np.nan, np.nan])) == [
        "attack",
        "attack_k",
    ]
    assert distinguishing(table.iloc[:1]) == []


def test_names_follow_the_samples(tmp_path: Path) -> None:
    write_file(tmp_path / "a.h5", 3, missing=[1], name=["x.png", "", "y.png"])
    write_file(tmp_path / "b.h5", 2)
    table = lm.evaluate([tmp_path / "a.h5", tmp_path / "b.h5"], "kendall")
    assert table.columns.tolist() == ["file", "sample", "name", "status", "kendall"]
    assert table["name"].fillna("none").tolist() == ["x.png", "none", "y.png", "none", "none"]
    assert "name" not in lm.evaluate(tmp_path / "b.h5", "kendall")


def test_facts_of_builtin_metrics_are_those_of_the_registry() -> None:
    entries = {name: registry.entries()[name] for name in BUILT_IN}
    assert BUILT_IN.keys() == set(lm.list_metrics())
    for name, entry in entries.items():
        assert BUILT_IN[name] == MetricFacts(entry.bounds, entry.best, entry.summary)


def test_facts_of_a_metric_reach_other_processes(tmp_path: Path) -> None:
    def sharpness(pair: lm.MapPair) -> float:
        """Sharpness of the map.

        No more than that.
        """
        return 0.5

    maps = np.random.default_rng(0).normal(size=(2, 3, 5, 5))
    facts = MetricFacts((-math.inf, 2), 0, "Sharpness of the map.")
    with registry.temporary():
        lm.register(bounds=(-math.inf, 2), best=0)(sharpness)
        table = lm.score(maps[0], maps[1], ["sharpness", "kendall"])
        assert known_metrics(table.attrs)["sharpness"] == facts
        lm.write_scores(table, tmp_path / "a.parquet")
    assert "sharpness" not in known_metrics(table.attrs)
    found = lm.read_scores(tmp_path / "a.parquet")
    assert found.attrs[FACTS].keys() == {"sharpness"}
    lm.write_scores(found, tmp_path / "b.parquet")
    again = lm.read_scores(tmp_path / "b.parquet")
    for attrs in (found.attrs, again.attrs):
        assert known_metrics(attrs) == {**CERTIFICATES, **BUILT_IN, "sharpness": facts}


@pytest.mark.parametrize(
    "stored", ["[1]", '{"a": 3}', '{"a": {"bounds": [0], "best": 1, "meaning": ""}}', "{"]
)
def test_damaged_facts_are_refused(tmp_path: Path, stored: str) -> None:
    path = tmp_path / "a.parquet"
    lm.write_scores(make_scores([0.5]), path)
    table = pa.parquet.read_table(path)
    metadata = table.schema.metadata | {b"lensmetrics_metric_facts": stored.encode()}
    pa.parquet.write_table(table.replace_schema_metadata(metadata), path)
    with pytest.raises(ValueError, match=r"a\.parquet cannot be read as a table of scores"):
        lm.read_scores(path)
