"""Scores of a table that was given go to the samples of their own files, and to no others."""

from pathlib import Path

import pandas as pd
import pytest

import lensmetrics as lm
from lensmetrics.explorer.given import GivenScores
from tests.pairfiles import write_file

ATTRS = {"training": "natural", "eps": 8 / 255, "seed": 3, "layers": [4, 8], "norm": "True"}


def given(scores: pd.DataFrame, path: Path) -> object:
    return GivenScores(scores, [path]).of(0, lm.PairStore(path))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"training": "pgd"}, "has training natural for it and the file has pgd"),
        ({"eps": 0.1}, "has eps 8/255 for it and the file has 0.1"),
        ({"eps": 8.0001 / 255}, "has eps 8/255 for it and the file has 0.0313729"),
        ({"seed": 4}, "has seed 3 for it and the file has 4"),
        ({"layers": [4, 9]}, "has layers 4,8 for it and the file has 4,9"),
        ({"norm": "False"}, "has norm True for it and the file has False"),
    ],
)
def test_scores_of_another_file_of_the_same_name_are_not_used(
    tmp_path: Path, changed: dict[str, object], sentence: str
) -> None:
    scored, other = tmp_path / "scored", tmp_path / "other"
    for folder, attrs in ((scored, ATTRS), (other, ATTRS | changed)):
        folder.mkdir()
        write_file(folder / "a.h5", attrs=attrs)
    found = given(lm.evaluate([scored / "a.h5"], ["kendall"]), other / "a.h5")
    assert isinstance(found, str)
    assert sentence in found
    assert found.endswith("give the table of this file, or score the file again")


def test_conditions_that_a_table_states_in_another_way_are_the_same(tmp_path: Path) -> None:
    path, table = tmp_path / "a.h5", tmp_path / "scores.csv"
    write_file(path, attrs=ATTRS | {"version_of_data": "2.0"})
    scores = lm.evaluate([path], ["kendall"])
    scores.to_csv(table, index=False)
    read = pd.read_csv(table)
    single = scores.assign(eps=scores["eps"].astype("float32"), group="mine", seed="3")
    for one in (scores, read, single, scores.drop(columns=["training"]), scores.assign(training=None)):
        assert not isinstance(given(one, path), str)
