"""The page of a study compares trainings on common samples, and says which networks it has."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import lensmetrics as lm
from benchmarks.studies import networks
from benchmarks.studies.comparisons import comparison_table, path_beside
from benchmarks.studies.page import main, write_page
from benchmarks.studies.table import study_scores, study_table
from lensmetrics.tables.permutation import holm
from tests.pairfiles import write_file

STUDY = {"title": "Regimes", "k": 5, "windows": [1], "against": ["natural", "pgd"], "least_pgd_accuracy": 0.3}
TOPK, KENDALL = "topk_intersection(k=5)", "kendall"
TOML = """
[study]
title = "Regimes"
k = 5
windows = [1]
against = ["natural", "pgd"]
least_pgd_accuracy = 0.3
"""
# Each network with the place of its first sample in the dataset.
FIRST = {"natural": 10, "pgd": 12, "art-weight=1.0": 10, "art-weight=0.1": 10}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, dict[str, Any]]:
    """The published and the strong attack on four networks, of which the last was not made.

    The strong attack has a file for each of two acceptances.
    """
    folder = tmp_path_factory.mktemp("files")
    found = {}
    for training, first in FIRST.items():
        for softening, acceptance in ((1.0, "kendall"), (3.0, "kendall"), (3.0, TOPK)):
            attrs: dict[str, Any] = {
                "training": training,
                "explanation": "gradient",
                "attack": "topk",
                "eps": 0.1,
                "softening": softening,
                "acceptance": acceptance,
            }
            path = folder / f"{training}-{softening}-{acceptance}.h5"
            found[path] = attrs
            if training != "art-weight=0.1":
                accuracies = {"natural_accuracy": 0.9, "pgd_accuracy": 0.0 if training == "natural" else 0.5}
                write_file(path, 9, seed=len(found), first=first, attrs={**attrs, **accuracies})
    return found


def tables(files: dict[Path, Any], study: Any = STUDY, **change: Any) -> tuple[Any, Any]:
    """The table and the comparisons of a study, with changed columns of the table."""
    scores = study_scores(study, files)
    table = study_table(study, files, scores, "today").assign(**change)
    return table, comparison_table(study, table, scores, list(map(str, files)))


def weak_pgd(table: pd.DataFrame) -> Any:
    return np.where(table["training"] == "pgd", 0.125, 0.5)


def test_each_training_is_compared_against_both_where_all_else_agrees(files: dict[Path, Any]) -> None:
    _, found = tables(files)
    first = found[found["metric"] == TOPK]
    pairs = first[["training", "against"]].drop_duplicates().to_numpy().tolist()
    assert pairs == [
        *(["pgd", "natural"], ["art-weight=1.0", "natural"], ["art-weight=0.1", "natural"]),
        *(["art-weight=1.0", "pgd"], ["art-weight=0.1", "pgd"]),
    ]
    assert first["softening"].tolist() == [1, 1, 1, 3, 3, 3, 1, 1, 3, 3]
    assert (first["result"] == "not run").tolist() == (first["training"] == "art-weight=0.1").tolist()


def test_numbers_are_those_of_compare_adjusted_for_all_comparisons_of_the_metric(
    files: dict[Path, Any],
) -> None:
    table, found = tables(files)
    names = list(map(str, files))
    for metric in (TOPK, KENDALL):
        rows = found[(found["metric"] == metric) & (found["result"] == "compared")]
        np.testing.assert_allclose(rows["p_holm"], holm(rows["p"].to_numpy()))
        (row,) = rows[
            (rows["training"] == "pgd") & (rows["against"] == "natural") & (rows["softening"] == 3)
        ].to_dict("records")
        # Of the two acceptances, the one that left less of the metric.
        worst = [
            names[table.loc[(table["training"] == training) & (table["softening"] == 3), metric].idxmin()]
            for training in ("natural", "pgd")
        ]
        (expected,) = lm.compare(lm.evaluate(worst, [metric]), "file", worst, by=[]).to_dict("records")
        assert (row["n"], row["n_only_first"], row["n_only_second"]) == (8, 1, 1)
        for name in ("mean_first", "mean_second", "difference", "ci_low", "ci_high", "p"):
            assert row[name] == pytest.approx(expected[name], rel=1e-9), name


def test_comparisons_against_a_network_with_little_pgd_accuracy_are_not_tested(
    files: dict[Path, Any], tmp_path: Path
) -> None:
    table, found = tables(files, pgd_accuracy=weak_pgd)
    against = found[found["against"] == "pgd"]
    assert set(against["result"]) == {"not tested", "not run"}
    assert against["p"].isna().all()
    natural = found[(found["metric"] == TOPK) & (found["result"] == "compared")]
    assert len(natural) == 4  # a natural network needs no accuracy under PGD
    np.testing.assert_allclose(natural["p_holm"], holm(natural["p"].to_numpy()))
    text = write_page(STUDY, table, tmp_path / "small", found)
    assert (
        "The accuracy of pgd under PGD is 0.125, and this study compares from 0.3 on, so 2 of 4 "
        "comparisons read `not tested`. 2 of 4 comparisons read `not run`."
    ) in text
    assert text.endswith("`not run`.\n\nAll metrics: the CSV files of the same name.\n")  # without a table


def test_accuracy_that_is_not_recorded_is_not_enough(files: dict[Path, Any], tmp_path: Path) -> None:
    table, found = tables(files, pgd_accuracy=np.nan)
    assert "compared" not in set(found["result"][found["against"] == "pgd"])
    assert "The accuracy of pgd under PGD is not recorded, and" in write_page(
        STUDY, table, tmp_path / "s", found
    )


def test_page_counts_the_differences(files: dict[Path, Any], tmp_path: Path) -> None:
    table, found = tables(files)
    text = write_page(STUDY, table, tmp_path / "small", found)
    for against in ("natural", "pgd"):
        rows = found[(found["metric"] == TOPK) & (found["against"] == against)]
        rows = rows[rows["result"] == "compared"]
        higher, lower = (
            int(((sign * rows["difference"] > 0) & (rows["p_holm"] < 0.05)).sum()) for sign in (1, -1)
        )
        sentence = f"Top-k intersection is higher in {higher} and lower in {lower} of {len(rows)} and Kendall"
        assert f"### Against {against}\n\nAt an adjusted p below 0.05, {sentence}" in text
    row = found[(found["training"] == "pgd") & (found["metric"] == TOPK)].iloc[0]
    cell = f"{row['difference']:+.3f} [{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]"
    assert f"| pgd | gradient | topk | 0.1 | 1 | 8 | {cell} |" in text
    assert "| art-weight=0.1 | gradient | topk | 0.1 | 3 | not run |" in text.split("### Against pgd")[1]


def test_what_is_left_without_samples_that_were_not_attacked_is_in_brackets(tmp_path: Path) -> None:
    """Such a sample is a failed measurement; its equal maps would make its network look robust."""
    files = {}
    for training, failed in (("natural", 0), ("pgd", 1)):
        path = tmp_path / f"{training}.h5"
        files[path] = {"training": training, "explanation": "gradient", "attack": "topk", "eps": 0.1}
        accepted = [0] * failed + [1] * (8 - failed)
        write_file(path, 8, seed=failed, attrs=files[path], n_accepted=accepted)
    table, found = tables(files)
    (row,) = found[found["metric"] == TOPK].to_dict("records")
    natural, pgd = (lm.evaluate(path, [TOPK])[TOPK].to_numpy()[1:] for path in files)
    assert (row["n"], row["n_attacked"]) == (8, 7)
    assert row["difference_attacked"] == pytest.approx((pgd - natural).mean())
    text = write_page(STUDY, table, tmp_path / "small", found)
    assert (
        f"] ({row['difference_attacked']:+.3f}) | {row['p_holm']:.3f} ({row['p_holm_attacked']:.3f}) |"
        in text
    )
    assert "| pgd | gradient | topk | 0.1 | 8 (7) |" in text
    assert "Top-k intersection is higher in 0 (0) and lower in 0 (0) of 1 and" in text
    assert "in brackets without those that were not attacked on either side" in text


def test_networks_without_a_sample_in_common_are_not_compared(tmp_path: Path) -> None:
    files = {}
    for training, first in (("natural", 0), ("pgd", 1)):  # even and odd samples
        path = tmp_path / f"{training}.h5"
        files[path] = {"training": training, "explanation": "gradient", "attack": "topk", "eps": 0.1}
        write_file(path, first=first, attrs=files[path])
    table, found = tables(files)
    assert "| pgd | gradient | topk | 0.1 | 0 | – | – | – | – |" in write_page(
        STUDY, table, tmp_path / "small", found
    )


@pytest.fixture
def stored(files: dict[Path, Any], tmp_path: Path) -> Path:
    """The TOML file of a study beside its two tables."""
    table, found = tables(files)
    table.to_csv(tmp_path / "small.csv", index=False, float_format="%.9g")
    found.to_csv(path_beside(tmp_path / "small"), index=False, float_format="%.9g")
    (tmp_path / "small.toml").write_text(TOML, encoding="utf-8")
    return tmp_path / "small.toml"


def test_page_is_the_same_from_the_stored_tables(
    files: dict[Path, Any], stored: Path, tmp_path: Path
) -> None:
    main([str(stored)])
    written = write_page(STUDY, *tables(files)[:1], tmp_path / "other", tables(files)[1])
    assert stored.with_suffix(".md").read_text(encoding="utf-8") == written


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('["natural", "pgd"]', '["natural"]', "has not the comparisons that"),
        ("0.3", "0.6", "has not the comparisons that"),
        ('["natural", "pgd"]', '"pgd"', "against in [study] must be a list of trainings"),
        ('["natural", "pgd"]', "[]", "against in [study] must be a list of trainings"),
        ('["natural", "pgd"]', '["natural", "pgt"]', "against in [study] names pgt, of which the table"),
        ("0.3", "30", "least_pgd_accuracy in [study] must be from 0 to 1, got 30"),
        ('against = ["natural", "pgd"]', "", "least_pgd_accuracy in [study] has no effect without against"),
    ],
)
def test_comparisons_that_are_not_stored_are_named(
    stored: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, sentence: str
) -> None:
    stored.write_text(TOML.replace(old, new), encoding="utf-8")
    with pytest.raises(SystemExit, match="2"):
        main([str(stored)])
    assert sentence in capsys.readouterr().err


def test_stored_comparisons_that_are_absent_or_lack_a_column_are_named(
    stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = path_beside(stored.with_suffix(""))
    pd.read_csv(path).drop(columns="p_holm").to_csv(path, index=False)
    with pytest.raises(SystemExit, match="2"):
        main([str(stored)])
    assert "small-comparisons.csv has no column p_holm, which the page" in capsys.readouterr().err
    path.unlink()
    with pytest.raises(SystemExit, match="2"):
        main([str(stored)])
    assert "small-comparisons.csv, the comparisons of the study, does not" in capsys.readouterr().err


def test_networks_are_a_table_of_what_their_checkpoints_say() -> None:
    table = pd.DataFrame(
        {
            "training": ["natural", "natural", "art", "pgd"],
            "begins_from": ["rar weights", "rar weights", "natural", "natural"],
            "training_steps": [6000, 6000, 8000, np.nan],
            "accuracy": [0.9, 0.9, 0.8, np.nan],
            "pgd_accuracy": [0.01, 0.01, 0.5, np.nan],
            "attribution_share": [np.nan, np.nan, 0.25, np.nan],
            "accuracy_samples": [2000, 2000, 2000, np.nan],
            "pgd_settings": [*["eps 0.1, 20 steps of 0.01"] * 3, None],
            "n": [5, 5, 5, 0],
        }
    )
    lines = list(networks.section(table))
    assert "Accuracies are those on 2,000 test samples, under PGD with eps 0.1, 20 steps" in lines[2]
    assert lines[4:] == [
        "| training | begins from | steps | accuracy | PGD accuracy | attribution term |",
        "|---|---|--:|--:|--:|--:|",
        "| natural | rar weights | 6,000 | 0.900 | 0.010 | – |",
        "| art | natural | 8,000 | 0.800 | 0.500 | 0.250 |",
        "| pgd | natural | not run |  |  |  |",
    ]
