"""What a search finds."""

import pytest

import lensmetrics as lm
from lensmetrics.explorer.rows import Query, Rows
from tests.pairfiles import write_file


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    path = tmp_path_factory.mktemp("rows") / "a5.h5"
    write_file(path, first=4, step=1, name=["x", "y5", "z", "-1e3", "u", "v"])
    found = Rows(1)
    found.add_file(0, lm.PairStore(path), "a5.h5 natural eps 0.15 ResNet 5 float64")
    return found


@pytest.mark.parametrize(
    ("text", "samples"),
    [
        ("5", [5]),
        ("6 natural", [6]),
        ("64", []),
        ("0.1", []),
        ("-1E3", [7]),
        ("a5", [4, 5, 6, 7, 8, 9]),
        ("RESNET", [4, 5, 6, 7, 8, 9]),
        ("5 nowhere", []),
    ],
)
def test_a_number_finds_samples_and_a_word_also_conditions(rows: Rows, text: str, samples: list[int]) -> None:
    found = rows.page(Query(text=text), 0, 100, [], None)["rows"]
    assert [row["sample"] for row in found] == samples
