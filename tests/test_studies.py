"""The page of a study shows the numbers of its summary."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lensmetrics as lm
from benchmarks.studies.page import MOVED, read_study, study_table, write_page
from tests.pairfiles import write_file

STUDIES = Path(__file__).parents[1] / "benchmarks" / "studies"
STUDY = {"title": "A small study", "k": 5, "windows": [1], "notes": "Notes."}


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = []
    for i, (training, eps) in enumerate([("natural", 8 / 255), ("natural", 4 / 255), ("art", 8 / 255)]):
        attrs = {"training": training, "explanation": "gradient", "attack": "topk", "eps": eps, "steps": 3}
        facts = {"natural_accuracy": 0.5, "versions": "python 3"}
        paths.append(tmp_path / f"{i}.h5")
        write_file(paths[-1], 8, seed=i, attrs={**attrs, **facts}, n_accepted=[0, *[1] * 7])
    return paths


def test_study_table_is_the_summary_in_the_order_of_the_files(files: list[Path]) -> None:
    table = study_table(STUDY, files, "today")
    assert table["training"].tolist() == ["natural", "natural", "art"]
    assert table["eps"].tolist() == [8 / 255, 4 / 255, 8 / 255]
    assert table[["n", "resisted", "steps", "accuracy"]].to_numpy().tolist() == [[8, 1, 3, 0.5]] * 3
    for i, file in enumerate(files):
        found = lm.summarize(lm.evaluate(file, ["topk_intersection(k=5)", "kendall"])).set_index("metric")
        row = table.iloc[i]
        assert row[MOVED] == found.loc["topk_intersection(k=5)", "mean_attacked"]
        np.testing.assert_allclose(row["kendall"], found.loc["kendall", "mean"], rtol=1e-12)
        half = (found.loc["kendall", "ci_high"] - found.loc["kendall", "ci_low"]) / 2
        np.testing.assert_allclose(row["kendall half"], half, rtol=1e-9)


def test_study_page_shows_the_table(files: list[Path], tmp_path: Path) -> None:
    table = study_table(STUDY, files, "today")
    text = write_page(STUDY, table, tmp_path / "small")
    assert text == (tmp_path / "small.md").read_text(encoding="utf-8")
    assert "today; python 3. k = 5;" in text
    row = table.iloc[0]
    cells = [f"{row[m]:.3f} ± {row[f'{m} half']:.3f}" for m in ("topk_intersection(k=5)", "kendall")]
    (line,) = [line for line in text.splitlines() if line.startswith("| natural | gradient | topk | 8/255 |")]
    assert all(cell in line for cell in cells)
    assert (tmp_path / "small.png").stat().st_size > 5_000


@pytest.mark.parametrize("name", ["fashion_mnist", "imagenet"])
def test_stored_pages_show_the_stored_tables(name: str, tmp_path: Path) -> None:
    """The pages were written from more digits than the tables have."""
    table = pd.read_csv(STUDIES / f"{name}.csv")
    text = write_page(read_study(STUDIES / f"{name}.toml"), table, tmp_path / name)
    stored = (STUDIES / f"{name}.md").read_text(encoding="utf-8")
    number = r"[0-9]+\.[0-9]{3}"
    assert re.sub(number, "x", text) == re.sub(number, "x", stored)
    written, kept = (np.array(re.findall(number, page), dtype=float) for page in (text, stored))
    np.testing.assert_allclose(written, kept, atol=1.1e-3)
