"""``lensmetrics compare`` and ``worst``."""

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lensmetrics as lm
from lensmetrics.demo import DATA
from tests.cli.command import Run
from tests.scores import make_scores

RECALL = "lens_recall(k=100,w=1)"


@pytest.fixture
def table(run: Run) -> pd.DataFrame:
    """s.parquet has two trainings, two attacks and three eps; samples 0 to 29, or 5 to 34 for pgd."""
    rng = np.random.default_rng(0)
    parts = []
    for training, start in (("natural", 0), ("pgd", 5)):
        for attack in ("mass", "topk"):
            for eps in (2 / 255, 8 / 255, 16 / 255):
                sample = np.arange(start, start + 30)
                values = 0.5 + 0.01 * np.cos(sample) + 0.002 * rng.normal(size=30) + 0.1 * (training == "pgd")
                conditions = {"training": training, "attack": attack, "eps": eps}
                part = make_scores(
                    values - eps,
                    sample.tolist(),
                    name=RECALL,
                    file=[f"{training}-{attack}-{eps:.3f}.h5"] * 30,
                    **{name: [value] * 30 for name, value in conditions.items()},
                )
                part["kendall"] = np.where(sample == 7, np.nan, rng.random(30))
                parts.append(part)
    lm.write_scores(pd.concat(parts, ignore_index=True), "s.parquet")
    return lm.read_scores("s.parquet")


def test_comparison_is_printed_written_and_put_in_words(
    run: Run, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    words = ("compare", "s.parquet", "--on", "training", "--between", "natural", "pgd", "--by", "attack")
    status, out, err = run(*words, "-o", "t.csv")
    assert (status, err) == (0, "")
    expected = lm.compare(table, on="training", between=["natural", "pgd"], by=["attack"])
    pd.testing.assert_frame_equal(pd.read_csv("t.csv"), expected, check_dtype=False, rtol=1e-15)
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "In all rows: difference pgd minus natural" in lines
    row = expected.iloc[0]
    interval = f"[{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
    numbers = [f"{row[name]:.3f}" for name in ("mean_first", "mean_second", "difference")]
    expected_cells = [RECALL, *numbers, *interval.split(), "<", "0.001", "25"]
    assert expected_cells in [line.split() for line in lines]
    assert "p is adjusted for the 2 comparisons of each metric (Holm)." in lines
    text = " ".join(out.split())
    size = f"higher by {row['difference']:.3f} {interval}, adjusted p < 0.001"
    assert f"pgd is more robust than natural by {RECALL}: {size}." in text
    assert "No difference between natural and pgd is shown by kendall." in text
    assert "mass, natural and pgd: 24 to 25 common samples (5 only in natural, 5 only in pgd)." in text


def test_values_are_typed_as_they_are_shown(run: Run, table: pd.DataFrame) -> None:
    words = ("compare", "s.parquet", "--on", "eps", "-m", RECALL, "-o", "t.csv", "--between")
    for typed in (["8/255", "2/255"], [str(8 / 255), "0.00784313725490196"], ["0.03137255", "2/255"]):
        status, out, err = run(*words, *typed)
        assert (status, err) == (0, "")
        assert "Maps change less with eps 2/255 than with eps 8/255 by lens_recall" in out
        assert pd.read_csv("t.csv")["first"].unique().tolist() == [8 / 255]
    # All pairs, in natural order.
    assert run("compare", "s.parquet", "--on", "eps", "--by", "training", "-o", "u.csv")[0] == 0
    found = pd.read_csv("u.csv")[["first", "second"]].drop_duplicates().to_numpy().tolist()
    two, eight, sixteen = sorted(table["eps"].unique())
    assert found == [[two, eight], [two, sixteen], [eight, sixteen]]


def test_a_condition_without_a_partner_is_counted_not_shown(run: Run, table: pd.DataFrame) -> None:
    alone = (table["training"] == "pgd") & (table["attack"] == "mass")
    lm.write_scores(table[~alone], "a.parquet")
    status, out, _ = run("compare", "a.parquet", "--by", "attack", "-o", "a.csv")
    assert status == 0
    assert "mass" not in out
    assert "Left out: 1 pair of which only one side has scores." in out.splitlines()
    assert pd.read_csv("a.csv")["attack"].tolist() == ["mass"] * 2 + ["topk"] * 2


def test_a_comparison_of_which_only_one_side_has_scores_says_so(run: Run, table: pd.DataFrame) -> None:
    scores = {name: table[name].where(table["training"] != "pgd") for name in ("kendall", RECALL)}
    lm.write_scores(table.assign(**scores), "b.parquet")
    status, out, err = run("compare", "b.parquet", "--by")
    assert (status, err) == (0, "")
    assert out.splitlines() == ["Left out: 1 pair of which only one side has scores."]


@pytest.mark.usefixtures("table")
def test_conditions_can_be_pooled(run: Run) -> None:
    status, out, err = run("compare", "--by", "-m", RECALL, "--", "s.parquet")
    assert (status, err) == (0, "")
    assert "\nnatural and pgd: 25 common samples (5 only in natural, 5 only in pgd).\n" in out


def test_missing_values_can_be_named(run: Run, table: pd.DataFrame) -> None:
    table["training"] = table["training"].cat.remove_categories("natural")
    lm.write_scores(table, "m.csv")
    status, out, err = run(
        "compare", "m.csv", "--between", "not given", "pgd", "-m", RECALL, "--by", "attack"
    )
    assert (status, err) == (0, "")
    assert "pgd is more robust than training not given by" in out


@pytest.mark.parametrize("word", ["its own", "not given"])
def test_a_missing_value_can_be_named_by_the_words_of_tables(
    run: Run, table: pd.DataFrame, word: str
) -> None:
    attacked = table["training"].map({"natural": None, "pgd": "gradient"})
    table = table.assign(attacked_explanation=attacked.astype("category"), training="natural")
    lm.write_scores(table, "own.csv")
    status, out, err = run(
        *("compare", "own.csv", "--on", "attacked_explanation", "--between", "gradient", word),
        *("-m", RECALL, "--by", "attack"),
    )
    assert (status, err) == (0, "")
    assert "its own minus gradient" in out
    assert "Maps change less with attacked_explanation " in out
    assert "not given" not in out


def test_few_common_samples_are_marked(run: Run, table: pd.DataFrame) -> None:
    lm.write_scores(table[table["sample"].between(0, 11)], "few.parquet")
    status, out, _ = run("compare", "few.parquet", "-m", RECALL)
    assert status == 0
    assert re.search(r"\]\* .* 7\n", out)
    assert "\n* fewer than 10 samples" in out
    assert "7 common samples (5 only in natural)" in out


@pytest.mark.parametrize("suffix", ["tex", "md"])
def test_comparison_as_latex_and_markdown(run: Run, table: pd.DataFrame, suffix: str) -> None:
    assert run("compare", "s.parquet", "--on", "eps", "-m", RECALL, "-o", f"t.{suffix}")[0] == 0
    text = Path(f"t.{suffix}").read_text()
    assert "8/255" in text
    assert len(re.findall("lens.*recall", text)) == len(lm.compare(table, on="eps", metrics=RECALL))


def test_many_comparisons_are_announced(run: Run) -> None:
    lm.write_scores(make_scores(np.arange(24) / 24, [0, 1] * 12, layer=np.repeat(np.arange(12), 2)), "l.csv")
    status, out, err = run("compare", "l.csv", "--on", "layer")
    assert status == 0
    assert "p is adjusted for the 66 comparisons of each metric (Holm)." in out
    assert err.startswith("lensmetrics: 66 comparisons for each of 1 metric; the more there are")


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("words", "expected", "message"),
    [
        (["compare", "none.parquet"], 2, "none.parquet does not exist"),
        (["compare", "s.parquet", "--on", "model"], 2, "cannot compare on 'model': the table has .*training"),
        (["compare", "s.parquet", "--between", "natural"], 2, "at least two values"),
        (
            ["compare", "s.parquet", "--between", "natural", "trades"],
            2,
            "no row has training=trades; it has: ",
        ),
        (
            ["compare", "s.parquet", "--on", "eps", "--between", "1/255", "2/255"],
            2,
            "no row has eps=1/255; it ",
        ),
        (["compare", "s.parquet", "-m", "mse"], 2, "no scores of mse; it has: lens_recall, kendall"),
        (["compare", "s.parquet", "--by", "training"], 2, "leave it out of by"),
        (["compare", "s.parquet", "-o", "t.xlsx"], 2, "t.xlsx: .*ends in .csv, .tex or .md"),
        (["compare", "s.parquet", "-o", "mine.csv"], 2, "mine.csv exists and is not a"),
        (["compare", "d.csv"], 2, r"no sample is common: natural has 30 samples \(number 0, 1, 2, .*pgd has"),
        (["compare", "text.csv"], 1, "text.csv has no column of scores"),
        (["worst", "s.parquet", "-m", "mse"], 2, "no scores of mse"),
        (["worst", "s.parquet", "-m", "kendall", "-n", "0"], 2, "n must be at least 1, got 0"),
        (["worst", "s.parquet", "-m", "kendall", "--by", "nope"], 2, "cannot group by 'nope'"),
        (["worst", "none.parquet", "-m", "kendall"], 2, "none.parquet does not exist"),
    ],
)
def test_mistakes(run: Run, words: list[str], expected: int, message: str) -> None:
    Path("text.csv").write_text("sample,status\n1,ok\n")
    Path("mine.csv").write_text("a,b\n1,2\n")
    table = lm.read_scores("s.parquet")
    lm.write_scores(table.assign(sample=table["sample"] + 100 * (table["training"] == "pgd")), "d.csv")
    status, out, err = run(*words)
    assert (status, out) == (expected, "")
    assert re.fullmatch(f"lensmetrics: .*{message}.*\n", err)
    assert Path("mine.csv").read_text() == "a,b\n1,2\n"
    assert not Path("t.csv").exists()


def test_worst_samples_are_listed(run: Run, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    status, out, err = run("worst", "s.parquet", "-m", "kendall", "-n", "3", "-o", "w.csv")
    assert (status, err) == (0, "")
    expected = lm.worst(table, "kendall", n=3)
    pd.testing.assert_frame_equal(pd.read_csv("w.csv"), expected, check_dtype=False, check_categorical=False)
    lines = out.splitlines()
    row = expected.iloc[0]
    assert lines[0].split() == ["file", "sample", "value", "status"]
    assert lines[1].split() == [row["file"], str(row["sample"]), f"{row['value']:.3f}", "ok"]
    assert "kendall, lowest first." in lines
    assert "12 scores are undefined (NaN or infinite) and not ranked." in lines
    highest = run("worst", "s.parquet", "-m", "kendall", "--highest")[1].splitlines()[1].split()
    assert highest[2] == f"{table['kendall'].max():.3f}"
    by = run("worst", "s.parquet", "-m", "lens_recall(k=100, w=1)", "-n", "1", "--by", "training", "eps")
    assert (by[0], by[2]) == (0, "")
    assert re.search(r"\nnatural +2/255 .*\n +8/255 .*\n +16/255 .*\npgd +2/255 ", by[1])


def test_worst_needs_neither_files_nor_statuses(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    Path("n.csv").write_text("sample,kendall\n1,0.5\n2,0.25\n")
    status, out, err = run("worst", "n.csv", "-m", "kendall")
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == "kendall, lowest first."


@pytest.mark.parametrize("metrics", [["kendall"], ["kendall", RECALL]])
def test_long_values_fit_the_terminal(
    run: Run, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, metrics: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table["file"] = [f"/data/{'long-' * 12}{name}" for name in table["file"]]
    lm.write_scores(table, "l.parquet")
    status, out, err = run("compare", "l.parquet", "--on", "file", "-m", *metrics)
    assert (status, "66 comparisons" in err) == (0, True)
    assert max(map(len, out.splitlines())) <= 80
    assert "minus" in out


@pytest.mark.parametrize(
    ("folders", "shown", "said"),
    [
        (["/data/maps", "/data/maps"], "natural-", "The files are in /data/maps."),
        (["maps/a", "maps/b"], "a/natural-", "The files are in maps."),
        (["maps", "/data/maps"], "maps/natural-", None),
        (["/data", "/maps"], "/data/natural-", None),
    ],
)
def test_common_folder_of_files_is_said_once(
    run: Run,
    table: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    folders: list[str],
    shown: str,
    said: str | None,
) -> None:
    of_training = dict(zip(("natural", "pgd"), folders, strict=True))
    trainings, names = table["training"].astype(str), table["file"].astype(str)
    table["file"] = [f"{of_training[t]}/{name}" for t, name in zip(trainings, names, strict=True)]
    lm.write_scores(table, "f.parquet")
    words = ("worst", "f.parquet", "-m", RECALL, "-n", "1", "--by", "training")
    in_full = run(*words)[1]
    assert f"{folders[0]}/natural-" in in_full
    assert "The files are in" not in in_full
    monkeypatch.setenv("COLUMNS", "80")
    lines = run(*words, "-o", "w.csv")[1].splitlines()
    assert any(line.split()[1:2] and line.split()[1].startswith(shown) for line in lines)
    assert [line for line in lines if line.startswith("The files are in")] == [said] * (said is not None)
    assert pd.read_csv("w.csv")["file"].str.startswith(tuple(folders)).all()


def test_which_end_is_worst_may_have_to_be_said(run: Run, table: pd.DataFrame) -> None:
    lm.write_scores(table.rename(columns={"kendall": "lens_recall_chance(k=100,w=1)"}), "c.parquet")
    words = ("worst", "c.parquet", "-m", "lens_recall_chance")
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert "--highest or --lowest" in err
    assert "lens_recall_chance(k=100,w=1), lowest first." in run(*words, "--lowest")[1]
    assert "lens_recall_chance(k=100,w=1), highest first." in run(*words, "--highest")[1]
    assert run(*words, "--highest", "--lowest")[0] == 2


@pytest.mark.large
def test_lines_of_the_page_print_what_it_shows(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = (Path(lm.__file__).parent / "tables/README.md").read_text(encoding="utf-8")
    (part,) = re.findall(r"\n## Comparing conditions\n.*?(?=\n## Files\n)", text, re.DOTALL)
    commands = re.findall(r"\n    lensmetrics ((?:compare|worst) (?:.*\\\n)*.*)\n", part)
    compare, worst = (shlex.split(command.replace("\\\n", " ")) for command in commands)
    metrics = ["lens_recall(k=100,w=1)", "lens_recall(k=100,w=3)", "lens_recall_adjusted(k=100,w=3)"]
    lm.write_scores(lm.evaluate(sorted(DATA.glob("*.h5")), metrics), "scores.parquet")
    status, out, err = run(*compare)
    assert (status, err) == (0, "")
    (shown,) = re.findall(r"shortened\):\n\n((?:    .*\n|\n)+)", part)
    for block in shown.split("\n\n"):
        assert " ".join(block.split()) in " ".join(out.split())
    status, out, err = run(*worst)
    assert (status, err) == (0, "")
    assert len(re.findall(r" \d+ +0\.\d{3}  ok$", out, re.MULTILINE)) == 5 * 4
