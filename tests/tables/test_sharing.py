"""How many source samples conditions share, against sets; and which files are averaged together."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

import lensmetrics as lm
from lensmetrics.tables.sharing import pooling_text, samples_text
from tests.scores import files_table, make_scores, named_scores


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), min_size=1, max_size=20))
def test_shared_samples_are_the_intersection_of_sets(rows: list[tuple[int, int]]) -> None:
    table = make_scores(np.ones(len(rows)), [s for _, s in rows], attack=[f"a{a}" for a, _ in rows])
    sets: dict[int, set[int]] = {}
    for attack, sample in rows:
        sets.setdefault(attack, set()).add(sample)
    found = lm.summarize(table, by="attack").attrs["source_samples"]
    sizes = [len(samples) for samples in sets.values()]
    shared = len(set.intersection(*sets.values()))
    one = {"dataset": None, "groups": len(sets), "least": min(sizes), "most": max(sizes), "shared": shared}
    assert found == ([one] if len(sets) > 1 else [])


def test_samples_are_shared_within_a_dataset() -> None:
    columns: dict[str, Any] = {"dataset": list("mmmmcc"), "attack": list("aabbab")}
    table = make_scores(np.ones(6), [1, 2, 2, 3, 2, 2], **columns)
    first, second = lm.summarize(table).attrs["source_samples"]
    assert first == {"dataset": "c", "groups": 2, "least": 1, "most": 1, "shared": 1}
    assert second == {"dataset": "m", "groups": 2, "least": 2, "most": 2, "shared": 1}
    assert samples_text(first) == "1 sample of c in each of 2 conditions, the same in all of them."
    assert samples_text(second) == "2 samples of m in each of 2 conditions, 1 in all of them."
    assert lm.summarize(table, by="attack").attrs["source_samples"][0]["shared"] == 2  # c2 and m2
    assert lm.summarize(table, by="dataset").attrs["source_samples"] == []


def test_samples_without_a_number_cannot_be_told_apart() -> None:
    table = make_scores([1, 2], attack=["a", "b"]).drop(columns="sample")
    assert lm.summarize(table).attrs["source_samples"] == []


def test_names_identify_samples_where_files_have_them() -> None:
    table = named_scores([1, 2, 3], ["x", "y", "x"], attack=["a", "a", "b"])
    ((counts),) = lm.summarize(table).attrs["source_samples"]
    assert (counts["least"], counts["most"], counts["shared"]) == (1, 2, 1)
    assert samples_text(counts) == "1 to 2 samples in each of 2 conditions, 1 in all of them."


def test_samples_that_could_not_be_read_or_are_left_out_do_not_count() -> None:
    status = ["ok", "incomplete", "ok", "not_attacked"]
    table = make_scores([1, np.nan, 1, 1], [1, 2, 1, 2], attack=["a", "a", "b", "b"], status=status)
    (counts,) = lm.summarize(table).attrs["source_samples"]
    assert (counts["least"], counts["most"], counts["shared"]) == (1, 2, 1)
    (counts,) = lm.summarize(table, exclude="not_attacked").attrs["source_samples"]
    assert (counts["least"], counts["most"], counts["shared"]) == (1, 1, 1)
    (counts,) = lm.summarize(table, exclude=["not_attacked", "tied_cut"], by="attack").attrs["source_samples"]
    assert samples_text(counts | {"shared": 0}) == "1 sample in each of 2 conditions, none in all of them."


@pytest.mark.parametrize("by", ["sample", ["attack", "status"]])
def test_groups_made_of_samples_share_none_by_construction(by: Any) -> None:
    table = make_scores([1, 2], attack=["a", "b"])
    assert lm.summarize(table, by=by).attrs["source_samples"] == []


def test_source_samples_are_counted_where_groups_pool_them() -> None:
    table = make_scores([1, 2, np.nan, 4, 5], [1, 1, 2, 2, 3], attack=list("aaaab"))
    found = lm.summarize(table)
    assert found.columns.tolist()[:6] == ["attack", "metric", "mean", "sd", "n", "n_source_samples"]
    assert found["n"].tolist() == [3, 1]
    assert found["n_source_samples"].tolist() == [2, 1]
    assert "n_source_samples" not in lm.summarize(table.iloc[[0, 2, 4]])


def test_files_with_equal_attributes_are_named() -> None:
    same = "files with the same attributes are averaged together"
    assert pooling_text(files_table(attack=["a", "a"])) == f"2 files have the same attributes; {same}"
    text = pooling_text(files_table(attack=["a", "a", "b"]))
    assert text == f"3 files have 2 different sets of attributes; {same}"
    assert pooling_text(files_table(attack=["a", "b"])) == ""
    assert pooling_text(make_scores([1, 2])) == ""
    assert pooling_text(pd.DataFrame({"file": ["a", "b"], "kendall": [1.0, 2.0]})).startswith("2 files have")
