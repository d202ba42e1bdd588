"""Texts in natural order: laws, against the plain order and against the numbers in them."""

import re
from typing import Any

import hypothesis.strategies as st
import pandas as pd
import pytest
from hypothesis import given

import lensmetrics as lm
from lensmetrics.tables.columns import unified
from lensmetrics.tables.natural import in_natural_order, in_order, natural_key
from tests.scores import make_scores


def ordered(*texts: str) -> list[str]:
    return sorted(texts, key=natural_key)


@pytest.mark.parametrize(
    "texts",
    [
        ["expl1", "expl2", "expl10", "expl11"],
        ["a9b", "a10a", "a10b"],
        ["x01", "x1", "x2", "x002b"],
        ["eps0.05", "eps0.1", "eps0.25", "eps1", "eps10"],
        ["0.05", "0.1", "0.123", "0.13", "0.305", "0.45", "1.0625", "1.5"],
        ["4/255", "8/255", "16/255"],
        ["ILSVRC2012_val_00000002", "ILSVRC2012_val_00000013"],
        ["", "0", "A", "a", "a b", "a-b", "a1", "ab"],
        ["é2", "é10"],
    ],
)
def test_runs_of_digits_compare_as_numbers(texts: list[str]) -> None:
    assert ordered(*reversed(texts)) == texts


@given(st.lists(st.text("ab-_ .Zé~", max_size=5)))
def test_texts_without_digits_keep_the_plain_order(texts: list[str]) -> None:
    assert ordered(*texts) == sorted(texts)


@given(st.lists(st.integers(0, 10**30)), st.sampled_from(["", "a", "-", "z_"]))
def test_integers_with_one_prefix_have_their_order(numbers: list[int], prefix: str) -> None:
    assert ordered(*(f"{prefix}{n}b" for n in numbers)) == [f"{prefix}{n}b" for n in sorted(numbers)]


def slow_key(text: str) -> list[tuple[str, int]]:
    """A character by itself; a run of digits, which do not follow a decimal point, as a 0 with its value."""
    key: list[tuple[str, int]] = []
    for number, decimals, other in re.findall(r"([0-9]+)((?:\.[0-9]+)*)|((?s:.))", text):
        key += [("0", int(number))] if number else []
        key += [(character, 0) for character in decimals + other]
    return key


@given(st.text("019a-z.", max_size=6), st.text("019a-z.", max_size=6))
def test_key_compares_as_the_slow_one_does(first: str, second: str) -> None:
    assert len(set(map(natural_key, (first, second)))) == len({first, second})
    if slow_key(first) != slow_key(second):
        assert (natural_key(first) < natural_key(second)) == (slow_key(first) < slow_key(second))


def test_numbers_are_before_texts() -> None:
    assert in_order(["b10", 3, "b9", 0.5]) == [0.5, 3, "b9", "b10"]


def test_numbers_and_texts_have_one_order_everywhere() -> None:
    values: list[Any] = ["b10", 3, "b9", 0.5]
    wanted = [0.5, 3, "b9", "b10"]
    plain = make_scores([1, 2, 3, 4]).assign(step=values)
    for table in (plain, plain.astype({"step": pd.CategoricalDtype([0.5, 3, "b10", "b9"])})):
        assert lm.summarize(table, by="step")["step"].tolist() == wanted
        assert lm.worst(table, "kendall", by="step")["step"].tolist() == wanted
        compared = lm.compare(table.assign(sample=0), on="step")
        assert list(dict.fromkeys([*compared["first"], *compared["second"]])) == wanted


def test_groups_of_a_summary_are_in_natural_order() -> None:
    names = ["expl10", "expl2", "expl1"]
    table = make_scores([1, 2, 4], explanation=names)
    plain = table.assign(explanation=names)
    for found in map(lm.summarize, (table, plain)):
        assert found["explanation"].tolist() == ["expl1", "expl2", "expl10"]
        assert found["mean"].tolist() == [4, 2, 1]
    assert unified(table)["explanation"].cat.categories.tolist() == ["expl1", "expl2", "expl10"]
    by_file = lm.summarize(table.assign(file=["b10.h5", "b9.h5", "a.h5"]), by="file")
    assert by_file["file"].tolist() == ["a.h5", "b9.h5", "b10.h5"]
    numbers = lm.summarize(make_scores([1, 2, 4], eps=[10.0, 2.0, 0.5]))
    assert numbers["eps"].tolist() == [0.5, 2, 10]


def test_an_order_that_was_chosen_stays() -> None:
    sizes = ["small10", "large", "small9"]
    chosen = pd.Series(pd.Categorical(sizes, categories=sizes))
    for values in (chosen, chosen.cat.as_ordered()):
        assert in_natural_order(values) is values
        table = make_scores([1, 2, 3]).assign(size=values)
        assert lm.summarize(table, by="size")["size"].tolist() == sizes
    pairs = lm.compare(table.assign(sample=0), on="size")[["first", "second"]]
    assert pairs.to_numpy().tolist() == [sizes[:2], sizes[::2], sizes[1:]]
    numbers = pd.Series([10, 9])
    assert in_natural_order(numbers) is numbers
