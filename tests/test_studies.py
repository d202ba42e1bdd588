"""The page of a study shows the numbers of its summary."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import lensmetrics as lm
from benchmarks.studies.asked import read_study
from benchmarks.studies.page import main, write_page
from benchmarks.studies.table import study_scores, study_table
from tests.pairfiles import write_file

STUDIES = Path(__file__).parents[1] / "benchmarks" / "studies"
STUDY = {"title": "A small study", "k": 5, "windows": [1], "notes": "Notes."}
TOPK, KENDALL = "topk_intersection(k=5)", "kendall"


@pytest.fixture
def files(tmp_path: Path) -> dict[Path, dict[str, Any]]:
    """Three files; two accepted by Kendall and by top-k intersection, one of them chained; one not made."""
    own: list[dict[str, Any]] = [
        {"training": "natural", "eps": 8 / 255, "acceptance": "kendall", "softening": 1.0},
        {"training": "natural", "eps": 4 / 255, "acceptance": "kendall", "softening": 1.0},
        {"training": "natural", "eps": 8 / 255, "acceptance": "kendall", "softening": [1.0, 3.0]},
        {"training": "natural", "eps": 8 / 255, "acceptance": TOPK, "softening": [1.0, 3.0]},
        {"training": "art", "eps": 8 / 255, "acceptance": "kendall", "softening": 1.0},
    ]
    found = {}
    for i, values in enumerate(own):
        attrs = {"explanation": "gradient", "attack": "topk", "steps": 3, **values}
        path = tmp_path / f"{i}.h5"
        found[path] = attrs
        if values["training"] == "art":
            continue
        chained = {"start_eps": 4 / 255} if isinstance(values["softening"], list) else {}
        facts = {"natural_accuracy": 0.5, "versions": "python 3", **chained}
        norms = np.full(8, values["eps"] / 2, np.float32)
        more: dict[str, Any] = {"n_accepted": [0, *[1] * 7], "perturbation_linf": norms}
        write_file(path, 8, seed=i, attrs={**attrs, **facts}, **more)
    return found


def tabled(files: dict[Path, Any]) -> pd.DataFrame:
    return study_table(STUDY, files, study_scores(STUDY, files), "today")


def test_study_table_is_the_summary_in_the_order_of_the_files(files: dict[Path, Any]) -> None:
    table = tabled(files)
    assert table["training"].tolist() == ["natural"] * 4 + ["art"]
    assert table["eps"].tolist() == [8 / 255, 4 / 255, *[8 / 255] * 3]
    assert table["n"].tolist() == [8, 8, 8, 8, 0]
    facts: Any = table.loc[:3, ["not_attacked", "steps", "accuracy"]].to_numpy()
    assert facts.tolist() == [[1, 3, 0.5]] * 4
    for i, file in enumerate(list(files)[:4]):
        found: Any = lm.summarize(lm.evaluate(file, [TOPK, KENDALL])).set_index("metric")
        row: Any = table.iloc[i]
        for metric in (TOPK, KENDALL):
            assert row[metric] == found.loc[metric, "mean"]
            assert row[f"{metric} attacked"] == found.loc[metric, "mean_attacked"]
            half = (found.loc[metric, "ci_high"] - found.loc[metric, "ci_low"]) / 2
            np.testing.assert_allclose(row[f"{metric} half"], half, rtol=1e-9)


def test_page_shows_the_worst_case_of_each_metric(files: dict[Path, Any], tmp_path: Path) -> None:
    table: Any = tabled(files)
    text = write_page(STUDY, table, tmp_path / "small")
    assert text == (tmp_path / "small.md").read_text(encoding="utf-8")
    assert "today; python 3. k = 5;" in text
    rows = [line for line in text.splitlines() if line.startswith(("| natural", "| art"))]
    assert len(rows) == 4  # the two acceptances of one condition share a row
    (strong,) = [line for line in rows if "| 1,3 |" in line]
    assert "| 8/255, from 4/255 |" in strong
    for metric in (TOPK, KENDALL):
        worst = table.loc[table.loc[2:3, metric].idxmin()]
        cell = f"{worst[metric]:.3f} ± {worst[f'{metric} half']:.3f} ({worst[f'{metric} attacked']:.3f})"
        assert cell in strong
    assert (tmp_path / "small.png").stat().st_size > 5_000


def test_differences_are_paired_and_from_the_first_row(files: dict[Path, Any], tmp_path: Path) -> None:
    table: Any = tabled(files)
    paths = list(files)
    for metric in (TOPK, KENDALL):
        chosen = paths[int(table.loc[2:3, metric].idxmin())]
        first, second = (lm.evaluate(path, [metric])[metric].to_numpy() for path in (paths[0], chosen))
        np.testing.assert_allclose(table.loc[2:3, f"{metric} difference"], (second - first).mean())
    assert table.loc[[0, 1, 4], f"{TOPK} difference"].isna().all()
    assert f"{table.loc[2, f'{TOPK} difference']:+.3f} ±" in write_page(STUDY, table, tmp_path / "small")


def test_page_says_what_is_missing_and_what_failed(files: dict[Path, Any], tmp_path: Path) -> None:
    text = write_page(STUDY, tabled(files), tmp_path / "small")
    assert "1 of 5 files were not made" in text
    assert "| art | gradient | topk | 8/255 | 1 | not run |" in text
    assert "label: 3 of 24 in all rows" in text
    assert "kept the best image by each of `kendall` and `topk_intersection(k=5)` (1 of 4 rows)" in text
    assert "| 4.00/255 | 8 | 1 |" in text


def test_page_is_the_same_from_the_stored_table(files: dict[Path, Any], tmp_path: Path) -> None:
    table = tabled(files)
    table.to_csv(tmp_path / "small.csv", index=False)
    text = write_page(STUDY, pd.read_csv(tmp_path / "small.csv"), tmp_path / "small")
    assert text == write_page(STUDY, table, tmp_path / "small")


@pytest.mark.parametrize("name", ["fashion_mnist", "imagenet", "strength"])
def test_stored_pages_show_the_stored_tables(name: str, tmp_path: Path) -> None:
    """The pages were written from more digits than the tables have."""
    table = pd.read_csv(STUDIES / f"{name}.csv")
    text = write_page(read_study(STUDIES / f"{name}.toml"), table, tmp_path / name)
    stored = (STUDIES / f"{name}.md").read_text(encoding="utf-8")
    number = r"[0-9]+\.[0-9]{3}"
    assert re.sub(number, "x", text) == re.sub(number, "x", stored)
    written, kept = (np.array(re.findall(number, page), dtype=float) for page in (text, stored))
    np.testing.assert_allclose(written, kept, atol=1.1e-3)


def rewritten(tmp_path: Path, old: str = "", new: str = "", change: Any = lambda table: table) -> list[str]:
    """The arguments that write the page of a stored study again, whose TOML file and table were changed."""
    text = (STUDIES / "strength.toml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "strength.toml").write_text(text.replace(old, new, 1) if old else text, encoding="utf-8")
    change(pd.read_csv(STUDIES / "strength.csv")).to_csv(tmp_path / "strength.csv", index=False)
    return [str(tmp_path / "strength.toml")]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("k = 100", "k = 50", "has no column topk_intersection(k=50), topk_intersection(k=50) half,"),
        ("windows = [1]", "windows = [1, 2]", "strength.csv has no column lens_recall(k=100,w=2), "),
        ("windows = [1]", "windows = 1", "windows a list of such, got 100 and 1"),
        ("k = 100", "", "must set title, k and windows in [study]; missing: k"),
        ("[study]", "[other]", "must set title, k and windows in [study]; missing: k, title, windows"),
        ("[study]", "[study", "strength.toml is not TOML"),
        ("eps = 0.1", 'eps = [0.1, "1/5"]', "gradient, attack topk, eps 1/5, and 5 more, which"),
        ('training = "pgd"', 'training = "art"', "has no row of training art, explanation gradient"),
    ],
)
def test_what_a_study_asks_for_and_its_table_lacks_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, sentence: str
) -> None:
    arguments = rewritten(tmp_path, old, new)
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "strength.md").exists()


@pytest.mark.parametrize("name", ["training", "n", "accuracy", "kendall half"])
def test_a_column_that_a_table_lacks_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(rewritten(tmp_path, change=lambda table: table.drop(columns=name)))
    assert f"strength.csv has no column {name}, which the page of" in capsys.readouterr().err
    (tmp_path / "strength.csv").unlink()
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "strength.toml")])
    assert "strength.csv, the table of the study, does not exist; run the study" in capsys.readouterr().err


def test_a_table_that_has_what_is_asked_for_is_a_page(tmp_path: Path) -> None:
    main(rewritten(tmp_path))
    assert (tmp_path / "strength.md").read_text(encoding="utf-8").startswith("# Strength of the topk attack")


def test_files_that_do_not_record_how_they_were_made_have_a_page(
    files: dict[Path, Any], tmp_path: Path
) -> None:
    for path in list(files)[:4]:
        path.unlink()
        write_file(path, 8, attrs=files[path])
    text = write_page(STUDY, tabled(files), tmp_path / "small")
    assert "today; versions are not recorded. k = 5" in text
    assert "Natural accuracy: natural is not recorded." in text
