"""``lensmetrics summarize``: what a person sees, and what the options choose."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lensmetrics as lm
from tests.cli.command import Run
from tests.scores import files_table, make_scores


def study(n: int = 12) -> pd.DataFrame:
    """Return the scores of a suite in 2 x 2 x 2 conditions that share n - 2 of their n samples."""
    rng = np.random.default_rng(0)
    parts = []
    for i, (training, explanation, attack) in enumerate(
        itertools.product(("natural", "pgd"), ("gradient", "integrated"), ("topk", "random_sign"))
    ):
        part = pd.DataFrame({"file": f"maps/{i}.h5", "training": training}, index=range(n))
        part = part.assign(explanation=explanation, attack=attack, sample=np.arange(n) + 2 * (i % 2))
        suite = {str(metric): rng.random(n) for metric in lm.lens_suite(k=1000, windows=(1, 2, 3))}
        parts.append(part.assign(status="ok", **suite))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def table(run: Run) -> pd.DataFrame:
    """s.csv in an empty folder."""
    scores = study()
    lm.write_scores(scores, "s.csv")
    return scores


@pytest.mark.parametrize("width", [60, 80, 132])
@pytest.mark.usefixtures("table")
def test_summary_fits_the_terminal(run: Run, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    status, out, err = run("summarize", "s.csv")
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= width
    values = lm.summarize(lm.read_scores("s.csv"))
    for mean in values["mean"]:
        assert f"{mean:.3f}" in out
    if width == 80:  # a line per condition and metric
        assert len([line for line in out.splitlines() if "[" in line]) == len(values)


@pytest.mark.usefixtures("table")
def test_pipes_and_files_get_whole_lines(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    first, second, *rows = run("summarize", "s.csv")[1].splitlines()
    assert first.split() == ["mean", "95", "%", "interval", "sd", "n", "n_undefined"]
    assert second.split() == ["training", "explanation", "attack", "metric"]
    assert rows[0].split()[:4] == ["natural", "gradient", "random_sign", "topk_intersection(k=1000)"]
    assert max(map(len, rows)) > 100


@pytest.mark.usefixtures("table")
def test_summary_says_how_many_samples_conditions_share(run: Run) -> None:
    out = run("summarize", "s.csv")[1]
    assert "\n12 samples in each of 8 conditions, 10 in all of them.\n" in out
    out = run("summarize", "s.csv", "--by", "training")[1]
    assert "\n14 samples in each of 2 conditions, the same in all of them.\n" in out
    assert out.splitlines()[0].split()[-3:] == ["n", "n_source_samples", "n_undefined"]


def test_interval_of_few_samples_has_a_mark_and_a_footnote(run: Run) -> None:
    lm.write_scores(make_scores([0.25, 0.75]), "s.csv")
    out = run("summarize", "s.csv")[1]
    assert "[0.250, 0.750]*" in out
    assert "\n* fewer than 10 samples: too few for a reliable interval\n" in out


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (["kendall"], ["kendall"]),
        (["lens_recall(k=1000, w=2)"], ["lens_recall(k=1000,w=2)"]),
        (["lens_recall", "kendall"], ["kendall", *(f"lens_recall(k=1000,w={w})" for w in (1, 2, 3))]),
    ],
)
@pytest.mark.usefixtures("table")
def test_some_metrics_are_summarized(run: Run, asked: list[str], shown: list[str]) -> None:
    assert run("summarize", "s.csv", "--metric", *asked, "-o", "t.csv")[0] == 0
    found = pd.read_csv("t.csv")
    assert sorted(set(found["metric"])) == sorted(shown)
    whole = lm.summarize(lm.read_scores("s.csv"))
    expected = whole[whole["metric"].isin(shown)].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-15)


@pytest.mark.usefixtures("table")
def test_values_of_a_condition_stand_side_by_side(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    status, out, _ = run("summarize", "s.csv", "--wide", "training", "-m", "kendall", "-o", "t.csv")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 80
    wide = pd.read_csv("t.csv")
    table = lm.summarize(lm.read_scores("s.csv"))
    kendall = table[table["metric"] == "kendall"]
    assert len(wide) == len(kendall) / 2
    for _, row in wide.iterrows():
        here = (kendall["explanation"] == row["explanation"]) & (kendall["attack"] == row["attack"])
        for regime in ("natural", "pgd"):
            expected = kendall[here & (kendall["training"] == regime)].iloc[0]
            assert row[f"{regime} mean"] == pytest.approx(expected["mean"], rel=1e-15)
            assert f"{expected['mean']:.3f} [{expected['ci_low']:.3f}, {expected['ci_high']:.3f}]" in out
    # A column that the default groups leave out takes the place of those that it determines.
    assert run("summarize", "s.csv", "--wide", "file", "-m", "kendall", "-o", "t.csv")[0] == 0
    columns = pd.read_csv("t.csv").columns
    assert columns[:2].tolist() == ["metric", "file maps/0.h5 mean"]
    assert len(columns) == 1 + 8 * 4


@pytest.mark.parametrize(("suffix", "begins"), [(".tex", "% Table by lensmetrics"), (".md", "<!-- Table by")])
@pytest.mark.usefixtures("table")
def test_tables_for_papers_and_pages(run: Run, suffix: str, begins: str) -> None:
    words = ("summarize", "s.csv", "--by", "training", "-m", "kendall", "-o", f"t{suffix}")
    for more in ([], ["--wide", "training"]):
        assert run(*words, *more)[0] == 0
        text = Path(f"t{suffix}").read_text(encoding="utf-8")
        assert text.startswith(begins)
        for row in lm.summarize(lm.read_scores("s.csv"), by="training").itertuples():
            if row.metric == "kendall":
                assert f"[{row.ci_low:.3f}, {row.ci_high:.3f}]" in text


def test_ignored_conditions_are_pooled(run: Run) -> None:
    table = files_table(attack=["a", "a", "b", "b"], seed=[1, 2, 1, 2])
    lm.write_scores(table, "s.csv")
    assert run("summarize", "s.csv", "-o", "all.csv")[0] == 0
    assert pd.read_csv("all.csv")["mean"].tolist() == [0, 1, 2, 3]
    status, out, err = run("summarize", "s.csv", "--ignore", "seed", "-o", "t.csv")
    assert (status, err) == (0, "")
    assert pd.read_csv("t.csv")["mean"].tolist() == [0.5, 2.5]
    assert "seed" not in out
    for words, message in (
        (["--ignore", "nope"], "cannot ignore 'nope': the conditions of the table are attack, seed"),
        (["--ignore", "sample"], "cannot ignore 'sample'"),
        (["--ignore", "seed", "--by", "attack"], "not allowed with argument"),
    ):
        status, out, err = run("summarize", "s.csv", *words)
        assert (status, out) == (2, "")
        assert message in err


def test_files_that_are_averaged_together_are_named(run: Run) -> None:
    lm.write_scores(files_table(attack=["a", "a", "b"]), "s.csv")
    note = (
        "lensmetrics: 3 files have 2 different sets of attributes; files with the same attributes are "
        "averaged together: tell them apart with lensmetrics set, or use summarize --by file\n"
    )
    assert run("summarize", "s.csv")[2] == note
    assert run("summarize", "s.csv", "--by", "file")[2] == ""


def test_table_without_rows_is_named(run: Run) -> None:
    lm.write_scores(make_scores([], attack=[]), "s.parquet")
    status, out, err = run("summarize", "s.parquet")
    assert (status, err) == (0, "lensmetrics: s.parquet has no rows: there is nothing to summarize\n")
    assert "kendall" in out
    assert run("summarize", "s.parquet", "--by", "attack", "--wide", "attack", "-o", "t.md")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--wide", "nope"], "cannot summarize by 'nope': the table has file, "),
        (["--wide", "kendall"], "cannot summarize by 'kendall'"),
        (["-m", "kendal"], "the table has no scores of kendal; it has: "),
        (["-o", "t.xlsx"], "t.xlsx: unknown kind of table; choose a name that ends in .csv, .tex or .md"),
    ],
)
@pytest.mark.usefixtures("table")
def test_mistakes_leave_nothing_behind(run: Run, words: list[str], message: str) -> None:
    status, out, err = run("summarize", "s.csv", "-o", "t.csv", *words)
    assert (status, out) == (2, "")
    assert err.startswith(f"lensmetrics: {message}")
    assert len(err.splitlines()) == 1
    assert [path.name for path in Path().iterdir()] == ["s.csv"]
