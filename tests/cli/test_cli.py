"""The command: what it prints where, its exit status, and one clear sentence for every mistake."""

import errno
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import lensmetrics as lm
from lensmetrics import cli, demo
from lensmetrics.cli import main
from lensmetrics.pairfile.verification import verify_files
from lensmetrics.processes import Isolated
from lensmetrics.scoring import files as runner
from lensmetrics.scoring import worker as scoring
from tests.conftest import IS_COMPILED
from tests.pairfile.hostile_openers import (
    die_once,
    fail_as_a_bug,
    fail_oddly,
    hang_or_die,
    hold_in_a_child,
    open_or_die,
)
from tests.scoring.test_runner import flip_byte, write_file

COMMANDS = ("demo", "score", "summarize", "report", "inspect", "verify", "metrics", "import")
# Warnings are errors there too, but for NumPy's where kernels are not compiled (see conftest).
PYTHON = [sys.executable, "-W", "error", "-W", "ignore:overflow encountered in scalar", "-m", "lensmetrics"]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line in an empty folder; return exit status, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        try:
            status = main(words)
        except SystemExit as stop:
            status = int(stop.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return status, out, err

    return run


@pytest.fixture
def files(tmp_path: Path) -> None:
    """a.h5 and b.h5 are sound, part.h5 lacks a sample, bad.h5 has a damaged one."""
    attrs = {"dataset": "toy", "training": "natural", "attack": "topk", "eps": 0.1}
    write_file(tmp_path / "a.h5", attrs=attrs, labels=True)
    write_file(tmp_path / "b.h5", attrs={**attrs, "training": "pgd"}, seed=1)
    write_file(tmp_path / "part.h5", attrs=attrs, seed=2, missing=[4])
    write_file(tmp_path / "bad.h5", attrs=attrs, seed=3)
    flip_byte(tmp_path / "bad.h5", "unperturbed", 3 * 42 * 4)


# Help


def test_help_of_every_command(run: Run) -> None:
    status, out, err = run("--help")
    assert (status, err) == (0, "")
    assert all(re.search(rf"^ +{command}( |$)", out, re.MULTILINE) for command in COMMANDS)
    for command in COMMANDS:
        status, out, err = run(command, "--help")
        assert (status, err) == (0, "")
        assert out.startswith(f"usage: lensmetrics {command} ")


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"lensmetrics {lm.__version__}\n", "")


@pytest.mark.parametrize(
    "words", [[], ["nope"], ["score"], ["score", "a.h5", "--k", "x"], ["import", "a.npy"]]
)
def test_wrong_usage(run: Run, words: list[str]) -> None:
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert err.startswith("usage: lensmetrics")


# score


@pytest.mark.usefixtures("files")
def test_score_writes_what_evaluate_returns(run: Run) -> None:
    status, out, err = run("score", "a.h5", "b.h5", "--k", "5", "-o", "s.parquet", "--workers", "1")
    assert status == 0
    speed, signs, *chance = err.splitlines()
    assert re.fullmatch(r"scored 12 pairs in \d+\.\d s: \d+ pairs per second", speed)
    assert signs.startswith(
        "lensmetrics: the maps hold negative values: top-k sets are of the largest signed"
    )
    expected = lm.evaluate(["a.h5", "b.h5"], lm.lens_suite(5, adjusted=True))
    levels = lm.evaluate(["a.h5", "b.h5"], [f"lens_recall_chance(k=5,w={w})" for w in (1, 2, 3)])
    for line, w in zip(chance, (1, 2, 3), strict=True):
        mean = levels[f"lens_recall_chance(k=5,w={w})"].mean()
        level = f"{mean:.2f}".removeprefix("0")
        assert mean > 0.5
        assert (
            line == f"lensmetrics: k=5 is 12 % of 6x7: at w={w} random pixels reach a recall of {level} here"
        )
    table = lm.summarize(expected)
    means, counts = out.split("\n\n")
    assert len(means.splitlines()) == len(table) + 2
    assert re.search(r" n_few_diverse +n_saturated\n", counts)
    assert re.findall(r"\S+(?= +-?\d\.\d{3} +\[)", out) == table["metric"][table["n"] > 0].tolist()
    assert re.findall(r"(-?\d\.\d{3}|nan) +(?=\[|undefined: saturated)", out) == [
        f"{mean:.3f}" for mean in table["mean"]
    ]
    assert "training" in out
    assert "attack" not in out  # it does not vary
    # The same table again, from the file.
    assert run("summarize", "s.parquet") == (0, out, "")


@pytest.mark.usefixtures("files")
def test_workers_do_not_show(run: Run) -> None:
    words = ["score", "a.h5", "b.h5", "part.h5", "-m", "kendall", "lens_recall(k=3, w=1)", "-m", "cosine"]
    outputs = {n: run(*words, "-o", f"{n}.csv", "--workers", n) for n in ("1", "2")}
    without_times = {n: re.sub(r"in .*", "", err) for n, (_, _, err) in outputs.items()}
    assert outputs["1"][:2] == outputs["2"][:2]
    assert without_times["1"] == without_times["2"]
    assert outputs["1"][0] == 1
    assert Path("1.csv").read_bytes() == Path("2.csv").read_bytes()
    columns = lm.read_scores("1.csv").columns.tolist()
    assert columns[-3:] == ["kendall", "lens_recall(k=3,w=1)", "cosine"]


def test_chance_of_perfect_pairs_is_said_too(run: Run) -> None:
    """Their recall is 1 and so is their adjusted recall, which does not tell what chance reaches."""
    maps = np.random.default_rng(0).random((30, 16, 16)).astype(np.float32)
    with lm.PairWriter("same.h5", n_samples=30, shape=(16, 16), attrs={}) as writer:
        writer.write(slice(0, 30), maps, maps)
    _, _, err = run("score", "same.h5", "--k", "60", "--windows", "1", "--workers", "1")
    mean = lm.evaluate("same.h5", "lens_recall_chance(k=60,w=1)").iloc[:, -1].mean()
    found = re.search(r"k=60 is 23 % of 16x16: at w=1 random pixels reach a recall of (\.\d\d) here", err)
    assert found is not None
    assert float(found[1]) == pytest.approx(mean, abs=0.02)  # 20 of the 30 are read


def test_conditions_that_others_decide_are_named(run: Run) -> None:
    for name, attrs in (("a", {"training": "natural", "eps": 0.1}), ("b", {"training": "pgd", "eps": 0.2})):
        write_file(Path(f"{name}.h5"), attrs=attrs)
    words = ("a.h5", "b.h5", "-m", "kendall", "--workers", "1", "-o", "s.parquet")
    said = "lensmetrics: eps differ with training: --by shows them too"
    assert said in run("score", *words)[2].splitlines()
    assert run("summarize", "s.parquet")[2].splitlines() == [said]
    assert run("summarize", "s.parquet", "--by", "training")[2] == ""


def test_a_summary_holds_no_formula(run: Run) -> None:
    write_file(Path("a.h5"), attrs={"training": "=2+3"})
    assert run("score", "a.h5", "-m", "kendall", "--workers", "1", "-o", "s.parquet")[0] == 0
    assert run("summarize", "s.parquet", "--by", "training", "-o", "o.csv")[0] == 0
    assert Path("o.csv").read_text().splitlines()[1].startswith("'=2+3,kendall,")


@pytest.mark.usefixtures("files")
def test_score_takes_suite_windows_and_further_metrics(run: Run) -> None:
    words = ("score", "a.h5", "--workers", "1", "-o", "s.csv")
    assert run(*words, "--k", "4", "--windows", "0", "2", "-m", "mse")[0] == 0
    expected = [*map(str, lm.lens_suite(4, (0, 2), adjusted=True)), "mse"]
    assert lm.read_scores("s.csv").columns.tolist()[-len(expected) :] == expected


@pytest.mark.usefixtures("files")
def test_bad_samples_are_skipped(run: Run) -> None:
    words = ("-m", "kendall", "--workers", "1", "--on-bad", "skip", "-o", "s.parquet")
    status, out, err = run("score", "part.h5", "a.h5", "bad.h5", *words)
    assert status == 1
    assert re.search(r"n +n_undefined *\n.*\n?kendall .* 16 +2 *\n", out)
    assert re.search(r"n_checksum +n_incomplete *\n +1 +1 *\n", out)
    speed, warning, *lines = err.splitlines()
    assert speed.startswith("scored 18 pairs in ")
    assert "3 files have 1 different sets of attributes" in warning
    assert lines == [
        "lensmetrics: not scored:",
        "  bad.h5   1 sample  checksum: 16",
        "  part.h5  1 sample  incomplete",
    ]
    expected = lm.evaluate(["part.h5", "a.h5", "bad.h5"], "kendall")
    pd.testing.assert_frame_equal(lm.read_scores("s.parquet"), expected)


@pytest.mark.parametrize("option", [[], ["--on-bad", "stop"]])
@pytest.mark.usefixtures("files")
def test_bad_samples_stop_their_file_and_no_other(run: Run, option: list[str]) -> None:
    Path("text.h5").write_text("text")
    paths = ("part.h5", "a.h5", "bad.h5", "text.h5", "b.h5", "./a.h5")
    status, out, err = run("score", *paths, "-m", "kendall", "--workers", "1", "-o", "s.csv", *option)
    assert status == 1
    assert err.splitlines()[1:] == [
        "lensmetrics: not scored:",
        "  text.h5  all samples  text.h5 is not an HDF5 file; convert .npy or .npz arrays with "
        "'lensmetrics import'",
        "  a.h5     all samples  a.h5 is given twice, and taken once; give every file once",
        "  part.h5  all samples  the sample at position 4 is incomplete",
        "  bad.h5   all samples  sample 16 at position 3 does not match its checksum",
        "lensmetrics: --on-bad skip scores the other samples of a file, verify names all bad ones",
    ]
    assert run("score", "a.h5", "b.h5", "-m", "kendall", "--workers", "1", "-o", "t.csv")[:2] == (0, out)
    assert Path("s.csv").read_bytes() == Path("t.csv").read_bytes()


@pytest.mark.usefixtures("files")
def test_nothing_is_written_where_all_files_fail(run: Run) -> None:
    assert run("score", "a.h5", "-m", "mse", "-o", "s.csv")[0] == 0
    older = Path("s.csv").read_text()
    Path("text.h5").write_text("text")
    status, out, err = run("score", "text.h5", "bad.h5", "-m", "kendall", "-o", "s.csv", "--overwrite")
    assert (status, out) == (1, "")
    assert re.search(r"^  text\.h5  all samples  text\.h5 is not an HDF5 file", err, re.MULTILINE)
    assert "nothing is written to s.csv: the older table there is unchanged" in err
    assert Path("s.csv").read_text() == older
    assert not Path("s.csv.part").exists()


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["-m", "kendal"], 2, "unknown metric 'kendal'; did you mean 'kendall'?"),
        (["-m", "topk_intersection(k=43)"], 2, r"between 1 and 42 \(the number of pixels\), got 43"),
        (["--k", "0"], 2, "topk_intersection: k must be an integer >= 1, got 0"),
        (["--k", "3", "--windows", "-1"], 2, "w of lens_recall must be .* at least 0, got -1"),
        (["--windows", "1"], 2, "--windows .* needs --k"),
        ([], 2, "say what to score: --k .* -m"),
        (["-m", "kendall", "--workers", "0"], 2, "--workers must be at least 1, got 0"),
        (["missing.h5", "no/way.h5", "-m", "kendall"], 2, "missing.h5 and no/way.h5 do not exist"),
        (["-m", "kendall", "--published"], 2, "--published takes .*: say which with --k"),
        (
            ["-m", "kendall", "--exclude", "saturated"],
            2,
            "cannot exclude 'saturated': it is a status of a metric",
        ),
        (["-m", "kendall", "--exclude", "not_atacked"], 2, "cannot exclude 'not_atacked'.*not_attacked"),
        (["-m", "kendall", "-o", "text.csv"], 2, "text.csv exists and is no table of scores"),
        (["-m", "kendall", "--resume"], 2, "--resume goes on with a table: say which with -o"),
        (["-m", "kendall", "-o", "s.txt"], 2, r"s\.txt: .*\.parquet, \.csv or \.csv\.gz"),
        (["-m", "kendall", "-o", "no/s.csv"], 2, r"no/s\.csv cannot be written: there is no directory no"),
        (["-m", "kendall", "-o", "folder.csv"], 2, r"folder\.csv is a directory"),
    ],
)
@pytest.mark.usefixtures("files")
def test_mistakes_of_score(
    run: Run, monkeypatch: pytest.MonkeyPatch, words: list[str], status: int, message: str
) -> None:
    def too_late(*_: object, **__: object) -> Any:
        raise AssertionError("the mistake must be found before anything is scored")

    Path("folder.csv").mkdir()
    Path("text.csv").write_text("my notes")
    monkeypatch.setattr(runner, "score_slice", too_late)
    found, out, err = run("score", "a.h5", *words)
    assert (found, out) == (status, "")
    assert re.match(f"lensmetrics: .*{message}", err)
    assert len(err.splitlines()) == (2 if "got 43" in message else 1)
    assert not Path("s.csv").exists()


@pytest.mark.usefixtures("files")
def test_score_says_where_a_metric_does_not_fit(run: Run) -> None:
    _, _, err = run("score", "a.h5", "-m", "kendall", "topk_intersection(k=1000000)")
    assert re.search(
        r"^\s*while scoring topk_intersection\(k=1000000\) on sample \d+ of a\.h5$", err, re.MULTILINE
    )


@pytest.mark.usefixtures("files")
def test_interrupt(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(scoring, "_score_blocks", interrupted)
    status, out, err = run("score", "a.h5", "-m", "kendall", "--workers", "1", "-o", "s.csv")
    assert (status, out) == (130, "")
    assert "interrupted" in err
    assert not Path("s.csv").exists()


@pytest.mark.usefixtures("files")
def test_score_takes_published_metrics(run: Run) -> None:
    write_file(Path("large.h5"), 2, (28, 28))
    words = ("score", "large.h5", "--workers", "1", "-o", "s.csv", "--k", "4", "--windows", "1", "2")
    assert run(*words, "--published")[0] == 0
    published = ("recall", "precision", "topk_div_intersection", "recall_div", "precision_div")
    names = [name if name.startswith("topk") else f"lens_{name}" for name in published]
    found = [text for text in lm.read_scores("s.csv").columns if "_published" in text]
    assert [text.partition(",pool")[0].rstrip(")") for text in found] == [
        f"{name}_published(k=4,w={w}" for w in (1, 2) for name in names
    ]


@pytest.mark.parametrize("text", ["1_0", "\u0663", " 3", "+3", "03", "3.0", "x", "", "1e2"])
@pytest.mark.parametrize("option", ["--k", "--windows", "--workers"])
def test_integers_are_written_as_integers(run: Run, option: str, text: str) -> None:
    status, out, err = run("score", "a.h5", "-m", "kendall", option, text)
    assert (status, out) == (2, "")
    assert err.endswith(f"argument {option}: expected an integer, got {text!r}\n")


@pytest.fixture
def attacked() -> None:
    """c.h5 has a sample that was not attacked, and one whose map is constant; d.h5 only such as these."""
    unperturbed, perturbed = np.random.default_rng(5).random((2, 4, 6, 7))
    perturbed[1] = unperturbed[1]
    perturbed[2] = 0
    for name, rows in (("c", [0, 1, 2, 3]), ("d", [1, 2])):
        n = len(rows)
        with lm.PairWriter(f"{name}.h5", n_samples=n, shape=(6, 7), attrs={"training": name}) as writer:
            chosen = unperturbed[rows], perturbed[rows]
            writer.write(slice(0, n), *chosen, sample=rows, n_accepted=[int(row != 1) for row in rows])


@pytest.mark.usefixtures("run", "attacked")
def test_failed_attacks_can_be_left_out(run: Run) -> None:
    words = ["score", "c.h5", "d.h5", "-m", "kendall", "-o", "s.csv", "--workers", "1"]
    status, out, _ = run(*words)
    assert status == 0
    whole = lm.read_scores("s.csv")
    assert whole["status"].tolist() == [
        *("ok", "identical;not_attacked", "constant_map", "ok"),
        *("identical;not_attacked", "constant_map"),
    ]
    (mean,) = whole["kendall"][[0, 1, 3]].to_frame().mean()
    (attacked,) = whole["kendall"][[0, 3]].to_frame().mean()
    lines = out.splitlines()
    assert lines[0].split() == ["mean", "mean_attacked", "95", "%", "interval", "sd", "n", "n_undefined"]
    assert lines[2].split()[:4] == ["c", "kendall", f"{mean:.3f}", f"{attacked:.3f}"]
    assert lines[3].split()[:4] == ["d", "kendall", "1.000", "nan"]
    assert "mean_attacked is the mean without the samples whose attack found nothing (not_attacked)." in out
    assert re.search(r"n_constant_map +n_identical +n_not_attacked *\n.*\nc +1 +1 +1 *\nd +1 +1 +1", out)

    before = Path("s.csv").read_bytes()
    status, left, _ = run(*words, "--exclude", "not_attacked")
    assert status == 0
    assert Path("s.csv").read_bytes() == before  # the table has every sample
    assert run("summarize", "s.csv", "--exclude", "not_attacked")[:2] == (0, left)
    lines = left.splitlines()
    assert "mean_attacked" not in left
    assert lines[0].split()[-3:] == ["n", "n_undefined", "n_excluded"]
    assert lines[2].split()[:3] == ["c", "kendall", f"{attacked:.3f}"]
    assert lines[2].split()[-3:] == ["2", "1", "1"]
    assert re.fullmatch(r"d +kendall +nan +undefined: constant_map +nan +0 +1 +1", lines[3])
    assert re.search(r"\nc +1 +1 +1 *\nd +1 +1 +1", left)  # all are counted
    both = run("summarize", "s.csv", "--exclude", "not_attacked", "constant_map", "-o", "t.csv")
    assert both[0] == 0
    pd.testing.assert_series_equal(pd.read_csv("t.csv")["n_excluded"], pd.Series([2, 2], name="n_excluded"))


@pytest.mark.usefixtures("files")
def test_damage_of_metadata_is_said_and_nothing_else_is_lost(run: Run) -> None:
    data = Path("a.h5").read_bytes()
    assert data.count(b"topk") == 1
    Path("a.h5").write_bytes(data.replace(b"topk", b"tipk"))
    status, out, err = run("score", "a.h5", "-m", "kendall", "--workers", "1")
    assert (status, out.count("kendall")) == (0, 1)
    (line,) = [line for line in err.splitlines() if "checksum_metadata does not match" in line]
    assert line.startswith("lensmetrics: a.h5: ")


# summarize


@pytest.mark.usefixtures("files")
def test_summarize_by_and_into_a_file(run: Run) -> None:
    run("score", "a.h5", "b.h5", "-m", "kendall", "--workers", "1", "-o", "s.parquet")
    status, out, err = run("summarize", "s.parquet", "--by", "training", "attack", "eps", "-o", "t.csv")
    assert (status, err) == (0, "")
    expected = lm.summarize(lm.read_scores("s.parquet"), by=["training", "attack", "eps"])
    pd.testing.assert_frame_equal(pd.read_csv("t.csv"), expected, check_dtype=False, rtol=1e-15)
    assert all(word in out for word in ("training", "attack", "eps", "pgd", "natural", "topk"))


@pytest.mark.parametrize(
    ("words", "expected", "message"),
    [
        (["none.parquet"], 2, "none.parquet does not exist"),
        (["none.csv"], 2, "none.csv does not exist"),
        (["a.h5"], 1, "a.h5 cannot be read as a table of scores"),
        (["text.csv"], 1, "text.csv has no column of scores"),
        (["s.csv", "--by", "nope"], 2, "cannot summarize by 'nope': the table has .*training"),
        (["s.csv", "--exclude", "nope"], 2, "cannot exclude 'nope': it is no status of a sample; allowed: "),
        (["s.csv", "-o", "no/t.csv"], 2, "no/t.csv cannot be written"),
    ],
)
@pytest.mark.usefixtures("files")
def test_mistakes_of_summarize(run: Run, words: list[str], expected: int, message: str) -> None:
    Path("text.csv").write_text("sample,status\n1,ok\n")
    lm.write_scores(lm.evaluate("a.h5", "kendall").assign(training="x"), "s.csv")
    status, out, err = run("summarize", *words)
    assert (status, out) == (expected, "")
    assert re.fullmatch(f"lensmetrics: .*{message}.*\n", err)


# inspect, verify, metrics


@pytest.mark.usefixtures("files")
def test_inspect(run: Run) -> None:
    write_file(Path("c.h5"), 2, (4, 9), channels=3, attrs={"attack": "topk", "note": "two words"})
    status, out, err = run("inspect", "c.h5", "part.h5")
    assert (status, err) == (0, "")
    assert "c.h5: 2 pairs of 4x9 maps, 3 channels reduced by abs_sum; 2 complete" in out
    assert "part.h5: 6 pairs of 6x7 maps; 5 complete" in out
    assert "attack: topk" in out
    assert "note: two words" in out


@pytest.mark.usefixtures("files")
def test_inspect_goes_on_after_a_bad_file(run: Run) -> None:
    Path("text.h5").write_text("text")
    status, out, err = run("inspect", "text.h5", "a.h5")
    assert status == 1
    assert err.startswith("lensmetrics: text.h5 is not an HDF5 file")
    assert out.startswith("a.h5: 6 pairs")


@pytest.mark.parametrize("command", ["inspect", "verify", "score", "summarize", "report"])
@pytest.mark.usefixtures("files")
def test_missing_inputs_are_named_before_any_work(run: Run, command: str) -> None:
    before = sorted(Path().iterdir())
    words = {"score": ["-m", "kendall", "-o", "s.csv"], "report": ["--maps", "a.h5", "none"]}.get(command, [])
    if command in ("summarize", "report"):
        status, out, err = run(command, "none.csv", *words)
        expected = "none.csv does" if command == "summarize" else "none.csv and none do"
    else:
        status, out, err = run(command, "none.h5", "a.h5", "other.h5", "none.h5", *words)
        expected = "none.h5 and other.h5 do"
    assert (status, out, err) == (2, "", f"lensmetrics: {expected} not exist\n")
    assert sorted(Path().iterdir()) == before


@pytest.mark.usefixtures("files")
def test_a_missing_file_that_is_unfinished_is_said(run: Run) -> None:
    shutil.copy("a.h5", "half.h5.part")
    status, out, err = run("inspect", "half.h5")
    assert (status, out) == (2, "")
    assert err.splitlines() == [
        "lensmetrics: half.h5 does not exist",
        "half.h5.part does: finish it with PairWriter.resume",
    ]


@pytest.mark.usefixtures("files")
def test_verify(run: Run) -> None:
    status, out, err = run("verify", "a.h5", "b.h5")
    assert (status, out, err) == (0, "a.h5: good\nb.h5: good\n", "")
    Path("text.h5").write_text("text")
    status, out, err = run("verify", "text.h5", "part.h5", "bad.h5", "a.h5")
    assert status == 1
    assert re.fullmatch("lensmetrics: text.h5 is not an HDF5 file.*\n", err)
    assert re.search(r"^part\.h5: .*position 4: incomplete$", out, re.MULTILINE)
    assert "bad.h5: sample 16 at position 3: checksum\n" in out
    assert out.endswith("a.h5: good\n")


@pytest.mark.usefixtures("files")
def test_verify_says_neighbours_in_a_line(run: Run) -> None:
    write_file(Path("most.h5"), 500, (2, 2), missing=range(10, 500))
    with lm.PairWriter("worn.h5", n_samples=9, shape=(3, 3), attrs={}) as writer:
        writer.write(slice(0, 9), *np.zeros((2, 9, 3, 3), np.float32), sample=[4, 5, 6, 7, 8, 20, 21, 22, 23])
    for position in (1, 2, 4, 5, 6):
        flip_byte(Path("worn.h5"), "perturbed", position * 36)
    status, out, err = run("verify", "most.h5", "worn.h5")
    assert (status, err) == (1, "")
    assert out.splitlines() == [
        "most.h5: positions 10-499: incomplete (490 samples)",
        "worn.h5: samples 5-6 at positions 1-2: checksum (2 samples)",
        "worn.h5: sample 8 at position 4: checksum",
        "worn.h5: samples 20-21 at positions 5-6: checksum (2 samples)",
    ]


def test_verify_never_hangs() -> None:
    paths = [Path(name) for name in ("long", "hang", "die", "a")]
    began = time.monotonic()
    first, *others, last = verify_files(paths, seconds=2, verifier=hang_or_die)
    assert time.monotonic() - began < 50
    assert first == (paths[0], [(0, 0, "checksum")], "")
    assert last == (paths[3], [(0, 0, "checksum")], "")
    assert [verdict.error for verdict in others] == [
        "hang: no response within 2 s; the file may be damaged or its disk unresponsive",
        "die: HDF5 crashed while reading it, so the file is damaged; regenerate or copy it again",
    ]


def test_a_process_that_is_killed_does_not_condemn_its_file(tmp_path: Path) -> None:
    with Isolated(die_once) as isolated:
        assert isolated(tmp_path / "killed") == 1
    with Isolated(fail_oddly) as isolated, pytest.raises(lm.FormatError, match=r"a cannot be read \(Memory"):
        isolated(Path("a"))


@pytest.mark.usefixtures("capfd")  # the process prints why it cannot start
def test_a_process_that_cannot_start_condemns_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("only_here")
    exec("def function(path, alive): pass", vars(module))
    monkeypatch.setitem(sys.modules, "only_here", module)
    with Isolated(module.function) as isolated, pytest.raises(RuntimeError, match="does not start"):
        isolated(Path("a"))


@pytest.mark.skipif(sys.platform == "win32", reason="has no timers of this kind")
def test_a_hanging_process_does_not_outlive_its_parent_for_long(tmp_path: Path) -> None:
    parent = multiprocessing.get_context("spawn").Process(target=hold_in_a_child, args=(tmp_path / "pid",))
    parent.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    parent.kill()
    parent.join()
    pid = int((tmp_path / "held").read_text())
    began = time.monotonic()
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_text():
        assert time.monotonic() - began < 20
        time.sleep(0.1)


@pytest.mark.usefixtures("run", "files")  # which change the folder
def test_inspect_ends_where_its_output_does() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs a device that is always full")
    with Path("/dev/full").open("w") as full:
        words = [sys.executable, "-m", "lensmetrics", "inspect", *["a.h5"] * 500]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.usefixtures("files")
def test_a_file_that_crashes_hdf5_fails_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_open_store", open_or_die)
    shutil.copy("a.h5", "die.h5")
    problem = "die.h5: HDF5 crashed while reading it, so the file is damaged; regenerate or copy it again\n"
    status, _, err = run("score", "die.h5", "a.h5", "-m", "kendall", "-o", "s.parquet")
    assert status == 1
    assert err.endswith(f"not scored:\n  die.h5  all samples  {problem}")
    pd.testing.assert_frame_equal(lm.read_scores("s.parquet"), lm.evaluate("a.h5", "kendall"))
    status, out, err = run("inspect", "die.h5", "a.h5")
    assert (status, err) == (1, f"lensmetrics: {problem}")
    assert out.startswith("a.h5: ")
    status, _, err = run("report", "s.parquet", "--maps", ".")
    assert (status, err) == (0, f"lensmetrics: left out: {problem}wrote report.html\n")


def test_metrics_lists_all(run: Run) -> None:
    status, out, err = run("metrics")
    assert (status, err) == (0, "")
    names = re.findall(r"^(\w+)", out, re.MULTILINE)
    assert names == lm.list_metrics()
    assert "lens_recall(k,w=1)\n" in out
    out.encode("ascii")  # so that it prints everywhere


# import


@pytest.mark.parametrize("layout", ["flat", "maps", "channels", "npz"])
def test_import_then_score(run: Run, layout: str) -> None:
    maps = np.random.default_rng(0).normal(size=(2, 5, 6, 7)).astype(np.float32)
    reduced = maps
    shape = ["--shape", "6", "7"] if layout == "flat" else []
    sources = ["u.npy", "p.npy"]
    if layout == "flat":
        maps = maps.reshape(2, 5, 42)
    elif layout == "channels":
        maps = np.random.default_rng(0).normal(size=(2, 5, 3, 6, 7)).astype(np.float32)
        reduced = np.abs(maps).sum(2)
    if layout == "npz":
        np.savez("both.npz", unperturbed=maps[0], perturbed=maps[1])
        sources = ["both.npz", "both.npz"]
    else:
        for source, array in zip(sources, maps, strict=True):
            np.save(source, array)
    np.save("labels.npy", np.arange(5))
    np.save("samples.npy", np.array([9, 3, 4, 5, 8]))
    options = ["--labels", "labels.npy", "--samples", "samples.npy"]
    settings = ["--set", "dataset=toy", "eps=8/255", "--set", "seed=3", "note=a=b", "rate=1e-3"]
    status, out, err = run("import", *sources, *shape, "-o", "a.h5", *options, *settings)
    assert (status, out) == (0, "")
    assert err.startswith("wrote a.h5: 5 pairs of 6x7 maps")
    attrs = lm.PairStore("a.h5").attrs
    found = {name: attrs[name] for name in ("dataset", "eps", "seed", "note", "rate")}
    assert found == {"dataset": "toy", "eps": 8 / 255, "seed": 3, "note": "a=b", "rate": 1e-3}
    assert run("score", "a.h5", "--k", "5", "-o", "s.parquet", "--workers", "1")[0] == 0
    scores = lm.read_scores("s.parquet")
    assert scores["sample"].tolist() == [9, 3, 4, 5, 8]
    assert scores["label"].tolist() == [0, 1, 2, 3, 4]
    expected = lm.score(reduced[0], reduced[1], lm.lens_suite(5))
    for metric in lm.lens_suite(5):
        np.testing.assert_array_equal(scores[str(metric)], expected[str(metric)])


@pytest.mark.parametrize(
    ("words", "expected", "message"),
    [
        (["u.npy", "p.npy", "-o", "no/x.h5"], 2, "no/x.h5 cannot be written: there is no directory no"),
        (["u.npy", "p.npy", "-o", "there.h5"], 2, "there.h5 exists already"),
        (["u.npy", ".", "-o", "x.h5"], 2, r"\. is a directory; give a \.npy, \.npz or HDF5 file"),
        (["u.npy", "none.npy", "-o", "x.h5"], 2, "none.npy does not exist"),
        (["a.npy", "b.npy:x", "-o", "x.h5", "--samples", "c.npy", "--labels", "a.npy"], 2,
         r"a\.npy, b\.npy:x and c\.npy do not exist"),
        (["u.npy", "v.npy", "-o", "x.h5"], 1, r"u\.npy has maps \(5, 6, 7\) but v\.npy has \(4, 6, 7\)"),
        (["text.npy", "u.npy", "-o", "x.h5"], 1, "text.npy is text, no"),
        (["u.npy", "./u.npy", "-o", "x.h5"], 2, r"u\.npy and \./u\.npy are one array"),
        (["u.npy:x", "p.npy", "-o", "x.h5"], 2, r"u\.npy is not an \.npz file: it has no array named 'x'"),
        (["both.npz:x", "p.npy", "-o", "x.h5"], 2, r"both\.npz has no array 'x'; it has 2: u, p; name one"),
        (["both.npz", "p.npy", "-o", "x.h5"], 2, r"both\.npz has no array 'unperturbed'; it has 2: u, p"),
        (["u.npy", "p.npy", "-o", "x.h5", "--labels", "u.npy"], 1, r"u\.npy is \(5, 6, 7\); labels must"),
        (["flat.npy", "flat.npy", "-o", "x.h5"], 2, r"flat\.npy is \(5, 42\).*--shape"),
        (["flat.npy", "flat.npy", "-o", "x.h5", "--shape", "6", "8"], 1, "48 pixels"),
        (["u.npy", "p.npy", "-o", "x.h5", "--set", "format=x"], 2, "attribute 'format'"),
        (["u.npy", "p.npy", "-o", "x.h5", "--set", "seed=" + "9" * 20], 2, "attribute 'seed' is 9.* int64"),
        (["u.npy", "p.npy", "-o", "x.h5", "--method", "1"], 2, "--method is for LATEC's .* leave it out"),
        (["huge.npy", "u.npy", "-o", "x.h5", "--dtype", "float32"], 2, "'unperturbed' holds .* beyond"),
    ],
)  # fmt: skip
def test_mistakes_of_import(run: Run, words: list[str], expected: int, message: str) -> None:
    maps = np.random.default_rng(0).normal(size=(5, 6, 7))
    np.save("u.npy", maps)
    np.save("p.npy", maps + 1)
    np.save("huge.npy", maps * 1e60)
    np.savez("both.npz", u=maps, p=maps + 1)
    np.save("v.npy", maps[:4])
    np.save("flat.npy", maps.reshape(5, 42))
    Path("text.npy").write_text("text")
    Path("there.h5").touch()
    before = sorted(Path().iterdir())
    status, out, err = run("import", *words)
    assert (status, out) == (expected, "")
    assert re.fullmatch(f"lensmetrics: .*{message}.*\n", err)
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize("word", ["novalue", "=3", ""])
def test_attribute_needs_name_and_value(run: Run, word: str) -> None:
    status, _, err = run("import", "u.npy", "p.npy", "-o", "a.h5", "--set", word)
    assert status == 2
    assert f"expected NAME=VALUE, got '{word}'" in err


# demo, report


@pytest.mark.large
def test_demo_replaces_nothing_but_its_own(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("out").mkdir()
    status, out, err = run("demo", "-o", "out")
    assert status == 0
    assert "training" in out
    assert "wrote out/scores.parquet and out/report.html" in err
    assert sorted(path.name for path in Path("out").iterdir()) == ["report.html", "scores.parquet"]
    scores = lm.read_scores("out/scores.parquet")
    assert set(scores.groupby("file", observed=True).size()) == {64}
    assert (scores["training"].nunique(), scores["explanation"].nunique(), scores["attack"].nunique()) == (
        2,
        2,
        2,
    )
    monkeypatch.setattr(demo, "evaluate", lambda *_: scores)
    monkeypatch.setattr(demo, "write_report", lambda *_, **__: None)
    assert run("demo", "-o", "out") == (0, out, err)  # its own files may be replaced
    page = Path("out/report.html").read_bytes()
    Path("out/report.html").write_text("mine")
    status, _, err = run("demo", "-o", "out")
    assert status == 2
    assert "out/report.html exists and is no page of lensmetrics" in err
    assert Path("out/report.html").read_text() == "mine"
    Path("out/report.html").write_bytes(page)
    lm.write_scores(scores.assign(file="mine.h5"), "out/scores.parquet")
    status, _, err = run("demo", "-o", "out")
    assert status == 2
    assert "out/scores.parquet exists and is not the demo's" in err
    assert set(lm.read_scores("out/scores.parquet")["file"]) == {"mine.h5"}


@pytest.mark.usefixtures("files")
def test_report_is_one_page(run: Run) -> None:
    run("score", "a.h5", "b.h5", "--k", "5", "--workers", "1", "-o", "s.parquet")
    Path("maps").mkdir()
    Path("maps/a.h5").symlink_to("../a.h5")
    for maps in ([], ["--maps", "maps", "b.h5"]):
        Path("r.html").unlink(missing_ok=True)
        status, out, err = run("report", "s.parquet", "-o", "r.html", *maps)
        assert (status, out, err) == (0, "", "wrote r.html\n")
        page = Path("r.html").read_text()
        assert page.rstrip().endswith("</html>")
        assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    assert run("report", "s.parquet", "-o", "no/r.html")[0] == 2
    assert run("report", "none.parquet", "-o", "q.html")[0] == 2
    assert not Path("q.html").exists()


# What is printed, and who listens


def test_no_name_or_text_reaches_the_terminal_as_it_is(run: Run) -> None:
    """A name could fake a good verdict, or order the terminal about."""
    names = ["\x1b[32mred.h5", "x\nb.h5: good\n.h5", "tab\there\r.h5", "\u202egood.h5"]
    for i, name in enumerate(names):
        write_file(Path(name), seed=i, attrs={"training": name, f"a{name}": "x"}, missing=[i])
    Path("none\n.csv").write_text("no table")
    Path("text\x1b.h5").write_text("text")
    words = [
        ["score", *names, "text\x1b.h5", "-m", "kendall", "-o", "o\n.csv", "--workers", "1"],
        ["score", *names, "-m", "kendall", "-o", "o\n.csv", "--on-bad", "skip", "--workers", "1"],
        ["score", *names, "-m", "mse", "-o", "o\n.csv"],
        ["summarize", "o\n.csv", "--by", "file", f"a{names[0]}", f"a{names[1]}"],
        ["summarize", "o\n.csv", "--by", "training"],
        ["summarize", "none\n.csv"],
        ["summarize", "missing\n.csv"],
        ["report", "o\n.csv", "--maps", ".", "-o", "o\n.html"],
        ["inspect", *names, "text\x1b.h5"],
        ["verify", *names, "text\x1b.h5"],
        ["import", "u\x1b.npy", "u\x1b.npy", "-o", "i\n.h5"],
    ]
    for command in words:
        _, out, err = run(*command)
        assert out + err
        assert all(line.isprintable() for line in (out + err).split("\n")), command
        assert "b.h5: good" not in (out + err).split("\n"), command
        assert not any(line.startswith("b.h5") for line in (out + err).split("\n")), command


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&-", "2>&- >&-", "<&- >&- 2>&-", "2>/dev/full"])
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.usefixtures("files")
def test_a_table_needs_no_listener(tmp_path: Path, closed: str, workers: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs a POSIX shell and a device that is always full")
    words = f"score a.h5 b.h5 -m kendall -o s.csv --workers {workers}"
    # Unsigned integers wrap around in kernels, of which NumPy warns where they are not compiled.
    strict = "-W error" if IS_COMPILED else ""
    command = f"'{sys.executable}' {strict} -m lensmetrics {words} {closed}"
    before = (tmp_path / "a.h5").read_bytes()
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert (tmp_path / "a.h5").read_bytes() == before
    expected = lm.evaluate([tmp_path / "a.h5", tmp_path / "b.h5"], "kendall")["kendall"]
    pd.testing.assert_series_equal(lm.read_scores(tmp_path / "s.csv")["kendall"], expected)
    assert "kendall" in done.stdout or ">&-" in closed.replace("2>&-", "")
    assert "scored 12 pairs" in done.stderr or "2>" in closed


@pytest.mark.usefixtures("files")
def test_a_bug_is_no_mistake_of_the_user(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_open_store", fail_as_a_bug)
    with pytest.raises(TypeError, match="a bug of ours") as caught:
        main(["inspect", "a.h5"])
    (note,) = caught.value.__notes__
    assert note.startswith("in the child process:\nTraceback")
    assert "in fail_as_a_bug" in note


def test_every_error_shows_where_it_arose_on_request(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["summarize", "none.csv"]
    assert run(*words) == (2, "", "lensmetrics: none.csv does not exist\n")
    monkeypatch.setenv("LENSMETRICS_TRACEBACK", "1")
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):\n")
    assert err.endswith("\nlensmetrics: none.csv does not exist\n")


# As a process of its own


@pytest.mark.usefixtures("files")
def test_the_command_runs_in_a_process_that_may_start_none(tmp_path: Path) -> None:
    words = ["score", str(tmp_path / "a.h5"), "-m", "kendall", "-o", str(tmp_path / "s.csv")]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(main, (words,)) == 0
        assert pool.apply(main, (["verify", words[1]],)) == 0
        assert pool.apply(main, ([*words, "--workers", "2"],)) == 2
    assert len(lm.read_scores(tmp_path / "s.csv")) == 6


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_command_runs_from_a_script_on_stdin(tmp_path: Path, workers: str) -> None:
    words = ["score", "a.h5", "b.h5", "-m", "kendall", "-o", "s.csv", "--workers", workers]
    script = f"from lensmetrics.cli import main\nraise SystemExit(main({words}))\n"
    command = [*PYTHON[: PYTHON.index("-m")], "-"]
    done = subprocess.run(
        command, input=script, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert len(lm.read_scores(tmp_path / "s.csv")) == 12


@pytest.mark.usefixtures("files")
def test_shared_memory_that_is_full_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("concurrent.futures.ProcessPoolExecutor", full)
    status, out, err = run("score", "a.h5", "b.h5", "-m", "kendall", "--workers", "2", "-o", "s.csv")
    assert (status, out) == (1, "")
    assert err == (
        "lensmetrics: no processes can be started to score with (No space left on device): make room in the "
        "shared memory, /dev/shm, or give --workers 1\n"
    )
    assert not Path("s.csv").exists()


@pytest.mark.usefixtures("files")
def test_process_shows_no_bar_without_a_terminal(tmp_path: Path) -> None:
    words = ["score", "a.h5", "b.h5", "-m", "kendall", "--workers", "1", "-o", "s.csv"]
    done = subprocess.run([*PYTHON, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert re.fullmatch(r"scored .* pairs per second\n", done.stderr)
    assert "kendall" in done.stdout
    done = subprocess.run(
        [*PYTHON, "inspect", "none.h5"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "lensmetrics: none.h5 does not exist\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a POSIX shell")
@pytest.mark.parametrize("to", ["| true", ">&-"])
def test_output_that_nobody_reads(to: str) -> None:
    command = f"'{sys.executable}' -m lensmetrics metrics {to}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_help_comes_without_loading_anything() -> None:
    code = """
import sys
from lensmetrics.cli import main
try:
    main(["score", "--help"])
finally:
    print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "lensmetrics.cli" in loaded
    assert not loaded & {"numpy", "pandas", "numba", "h5py", "xarray", "matplotlib"}


def test_pool_takes_what_the_process_may_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    large = tmp_path / "large.h5"
    with large.open("wb") as file:
        file.truncate(2**28)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    with cli._pool(None, [large]) as executor:
        assert executor is not None
    for workers, files in ((None, [tmp_path / "none.h5"]), (1, [large])):
        with cli._pool(workers, files) as executor:
            assert executor is None
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    with cli._pool(None, [large]) as executor:
        assert executor is None


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("summarize", "s.csv", "-o", "s.csv"), "is the file being read"),
        (("summarize", "s.csv", "-o", "a.h5"), "writes a .csv file"),
        (("report", "s.csv", "-o", "a.h5"), "writes a .html file"),
        (("import", "u.npy", "p.npy", "-o", "a.csv"), "writes a .h5 file"),
        (("import", "u.npy", "p.npy", "-o", "n.h5", "--set", "eps=1", "eps=2"), "gives eps twice"),
    ],
)
def test_output_never_replaces_what_it_should_not(run: Run, words: tuple[str, ...], message: str) -> None:
    assert run("score", "a.h5", "-m", "kendall", "--workers", "1", "-o", "s.csv")[0] == 0
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    status, _, err = run(*words)
    assert status == 2
    assert message in err
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    "text",
    [
        *("eps=8/0", "eps=1e999", "seed=1e999", "x=8e999/255", "eps=", "=3", "eps=8_255", "eps=linf"),
        *("eps= 1", "eps=+1", "eps=8/25_5", "eps=1/2/3", "eps=infinity", "eps=\u0663", "eps=01"),
    ],
)
def test_settings_that_are_no_values_are_refused(run: Run, text: str) -> None:
    status, _, err = run("import", "u.npy", "p.npy", "-o", "a.h5", "--set", text)
    assert status == 2
    assert text in err


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8/255", 8 / 255),
        ("0.5/255", 0.5 / 255),
        ("3", 3),
        ("-3", -3),
        ("0", 0),
        ("0.10", 0.1),
        (".5", 0.5),
        ("-1e-3", -1e-3),
        ("1E3", 1000.0),
        *((text, text) for text in ("2026/11", "8/256", "8_255", "1_0", "2026_11", "018", "+5", " 7 ", "7 ")),
        *(
            (text, text)
            for text in ("nan", "inf", "infinity", "1e", "1.", "0x10", "\u0663", "1/2/255", "/255")
        ),
        *((text, text) for text in ("8/255 ", "1,5", "--3", "True", "a=b")),
    ],
)
def test_what_is_a_number_in_a_setting(text: str, value: object) -> None:
    name, found = cli._attribute(f"note={text}")
    assert name == "note"
    assert type(found) is type(value)
    assert found == value


@pytest.mark.parametrize(("text", "value"), [("1/16", 0.0625), ("8/255", 8 / 255), (".25", 0.25), ("1", 1)])
def test_eps_is_a_number(text: str, value: float) -> None:
    assert cli._attribute(f"eps={text}") == ("eps", value)


def test_eps_of_an_attack_without_a_bound_is_nan() -> None:
    assert np.isnan(cli._attribute("eps=nan")[1])


@pytest.mark.parametrize("option", ["--shape", "--method"])
@pytest.mark.parametrize("text", ["1_0", "\u0663", " 3", "+3", "03", "3.0", "x", ""])
def test_integers_of_import_are_written_as_integers(run: Run, option: str, text: str) -> None:
    words = [option, text, "3"] if option == "--shape" else [option, text]
    status, _, err = run("import", "u.npy", "p.npy", "-o", "a.h5", *words)
    assert status == 2
    assert f"argument {option}: expected an integer, got {text!r}" in err


def test_import_says_what_negative_values_mean_and_how_many_ties_it_made(run: Run) -> None:
    maps = np.random.default_rng(0).normal(size=(2, 3, 8, 8))
    maps[0, 1, 0, :2] = 1, np.nextafter(1, 2)
    np.save("u.npy", maps[0])
    np.save("p.npy", maps[1])
    status, out, err = run("import", "u.npy", "p.npy", "-o", "a.h5", "--dtype", "float32")
    assert (status, out) == (0, "")
    wrote, ties, signs = err.splitlines()
    assert wrote == "wrote a.h5: 3 pairs of 8x8 maps"
    assert ties == "lensmetrics: new ties in float32: 1 (values of one map that differed and are now equal)"
    assert signs == (
        "lensmetrics: the maps hold negative values: top-k sets are of the largest signed values, so that "
        "negative attributions rank last; import absolute values where the sign does not matter"
    )
