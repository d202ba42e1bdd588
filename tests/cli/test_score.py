"""``lensmetrics score``."""

import errno
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import lensmetrics as lm
from lensmetrics.scoring.executors import process_pool
from tests.cli.command import Run
from tests.pairfiles import write_file


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
        assert line == f"lensmetrics: k=5 is 12 % of 6x7: at w={w} random pixels reach a recall of {level}"
    table = lm.summarize(expected)
    means, *_, counts = out.split("\n\n")
    assert len(means.splitlines()) == len(table) + 2
    assert counts.endswith(":\nIn all rows: n_few_diverse 6, n_saturated 6\n")
    rows = re.findall(r"(\S+) +(-?\d\.\d{3}|nan) +(?:\[|nan|undefined)", means)
    assert rows == [(row.metric, f"{row.mean:.3f}") for row in table.itertuples()]
    assert "training" in out
    assert "attack" not in out  # it does not vary
    # The same table again, from the file.
    assert run("summarize", "s.parquet") == (0, out, "")


@pytest.mark.usefixtures("files")
def test_result_is_independent_of_workers(run: Run) -> None:
    words = ["score", "a.h5", "b.h5", "part.h5", "-m", "kendall", "lens_recall(k=3, w=1)", "-m", "cosine"]
    outputs = {n: run(*words, "-o", f"{n}.csv", "--workers", n) for n in ("1", "2")}
    without_times = {n: re.sub(r"in .*", "", err) for n, (_, _, err) in outputs.items()}
    assert outputs["1"][:2] == outputs["2"][:2]
    assert without_times["1"] == without_times["2"]
    assert outputs["1"][0] == 1
    assert Path("1.csv").read_bytes() == Path("2.csv").read_bytes()
    columns = lm.read_scores("1.csv").columns.tolist()
    assert columns[-3:] == ["kendall", "lens_recall(k=3,w=1)", "cosine"]


def test_chance_counts_perfect_pairs_too(run: Run) -> None:
    """Their recall is 1 and so is their adjusted recall, which does not tell what chance reaches."""
    maps = np.random.default_rng(0).random((30, 16, 16)).astype(np.float32)
    with lm.PairWriter("same.h5", n_samples=30, shape=(16, 16), attrs={}) as writer:
        writer.write(slice(0, 30), maps, maps)
    _, _, err = run("score", "same.h5", "--k", "60", "--windows", "1", "--workers", "1")
    mean = lm.evaluate("same.h5", "lens_recall_chance(k=60,w=1)").iloc[:, -1].mean()
    found = re.search(r"k=60 is 23 % of 16x16: at w=1 random pixels reach a recall of (\.\d\d)\n", err)
    assert found is not None
    assert float(found[1]) == pytest.approx(mean, abs=0.02)  # 20 of the 30 are read


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
    assert re.search(r" n +n_source_samples +n_undefined *\n.*\n?kendall .* 16 +\d+ +2 *\n", out)
    assert re.search(r"n_checksum +n_incomplete *\n +1 +1 *\n", out)
    speed, warning, *lines = err.splitlines()
    assert speed.startswith("scored 18 pairs in ")
    assert "3 files have the same attributes; " in warning
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
    paths = ("part.h5", "a.h5", "bad.h5", "text.h5", "b.h5")
    status, out, err = run("score", *paths, "-m", "kendall", "--workers", "1", "-o", "s.csv", *option)
    assert status == 1
    assert err.splitlines()[1:] == [
        "lensmetrics: not scored:",
        "  part.h5  all samples  the sample at position 4 is incomplete",
        "  bad.h5   all samples  sample 16 at position 3 does not match its checksum",
        "  text.h5  all samples  text.h5 is not an HDF5 file; convert .npy or .npz arrays with "
        "'lensmetrics import'",
        "lensmetrics: use --on-bad skip to score the remaining samples; lensmetrics verify lists every "
        "bad one",
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
        (["--k", "3", "--windows", "-1"], 2, "lens_recall: w must be an integer >= 0, got -1"),
        (["--windows", "1"], 2, "--windows .* needs --k"),
        ([], 2, "no metrics given: use --k .* -m"),
        (["-m", "kendall", "--workers", "0"], 2, "--workers must be at least 1, got 0"),
        (["missing.h5", "no/way.h5", "-m", "kendall"], 2, "missing.h5 and no/way.h5 do not exist"),
        (["-m", "kendall", "--published"], 2, "--published needs --k"),
        (
            ["-m", "kendall", "--exclude", "saturated"],
            2,
            "cannot exclude 'saturated': it is a status of a metric",
        ),
        (["-m", "kendall", "--exclude", "not_atacked"], 2, "cannot exclude 'not_atacked'.*not_attacked"),
        (["-m", "kendall", "-o", "text.csv"], 2, "text.csv exists and is not a table of scores"),
        (["", "-m", "kendall"], 2, "the name of a file is empty: name it, or write . for this folder"),
        (["./a.h5", "-m", "kendall"], 2, "a.h5 is named twice: name every file once"),
        (["link.h5", "-m", "kendall"], 2, "a.h5 and link.h5 are one file: name every file once"),
        ([".", "-m", "kendall"], 2, "a.h5 is named twice"),
        (["folder.csv", "-m", "kendall"], 2, r"folder\.csv holds no \.h5 file: name a folder of pair files"),
        (["none/*.h5", "-m", "kendall"], 2, r"no file matches none/\*\.h5"),
        (["-m", "kendall", "--resume"], 2, "--resume needs -o TABLE, the table to continue"),
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
    Path("link.h5").symlink_to("a.h5")
    Path("text.csv").write_text("my notes")
    monkeypatch.setattr("lensmetrics.scoring.runs.score_slice", too_late)
    found, out, err = run("score", "a.h5", *words)
    assert (found, out) == (status, "")
    assert re.match(f"lensmetrics: .*{message}", err)
    assert len(err.splitlines()) == (2 if "got 43" in message else 1)
    assert not Path("s.csv").exists()


@pytest.mark.usefixtures("files")
def test_a_link_that_leads_nowhere_is_left_out_like_a_damaged_file(run: Run) -> None:
    Path("maps").mkdir()
    Path("a.h5").rename("maps/a.h5")
    Path("maps/link.h5").symlink_to("nowhere")
    status, _, err = run("score", "maps", "-m", "kendall", "--workers", "1", "-o", "s.csv")
    assert status == 1
    assert "scored 6 pairs" in err
    assert re.search("not scored:\n  maps/link.h5  all samples  maps/link.h5 ", err)
    assert len(lm.read_scores("s.csv")) == 6
    status, out, err = run("set", "maps", "x=1")
    assert (status, out) == (1, "")
    assert err.startswith("lensmetrics: maps/link.h5 ")
    assert err.endswith("lensmetrics: no file is changed\n")


@pytest.mark.usefixtures("files")
def test_the_command_does_not_say_what_to_do_in_python(run: Run) -> None:
    assert run("score", "a.h5", "-m", "kendall", "--workers", "1", "-o", "s.csv")[0] == 0
    status, _, err = run("score", "a.h5", "-m", "mse", "--workers", "1", "-o", "s.csv")
    assert (status, err) == (
        2,
        "lensmetrics: s.csv holds the scores of other metrics: choose another output, replace it with "
        "--overwrite, or score only what is new with --resume\n",
    )
    with pytest.raises(FileExistsError, match=r"--overwrite \(in Python overwrite=True\), or score"):
        lm.evaluate("a.h5", "mse", output="s.csv")


@pytest.mark.usefixtures("files")
def test_metric_that_does_not_fit_is_reported_with_its_place(run: Run) -> None:
    _, _, err = run("score", "a.h5", "-m", "kendall", "topk_intersection(k=1000000)")
    assert re.search(
        r"^\s*while scoring topk_intersection\(k=1000000\) on sample \d+ of a\.h5$", err, re.MULTILINE
    )


@pytest.mark.usefixtures("files")
def test_interrupt(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("lensmetrics.scoring.runs.score_slice", interrupted)
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


@pytest.mark.usefixtures("files")
def test_damage_of_metadata_is_reported_and_nothing_else_is_lost(run: Run) -> None:
    data = Path("a.h5").read_bytes()
    assert data.count(b"topk") == 1
    Path("a.h5").write_bytes(data.replace(b"topk", b"tipk"))
    status, out, err = run("score", "a.h5", "-m", "kendall", "--workers", "1")
    assert (status, out.count("kendall")) == (0, 1)
    (line,) = [line for line in err.splitlines() if "checksum_metadata does not match" in line]
    assert line.startswith("lensmetrics: a.h5: ")


@pytest.mark.usefixtures("files")
def test_full_shared_memory_is_reported(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("lensmetrics.scoring.executors.ProcessPoolExecutor", full)
    status, out, err = run("score", "a.h5", "b.h5", "-m", "kendall", "--workers", "2", "-o", "s.csv")
    assert (status, out) == (1, "")
    assert err == (
        "lensmetrics: no worker process can be started (No space left on device): free space in the shared "
        "memory, /dev/shm, or use --workers 1\n"
    )
    assert not Path("s.csv").exists()


def test_pool_has_a_worker_for_every_core(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    large = tmp_path / "large.h5"
    with large.open("wb") as file:
        file.truncate(2**28)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    with process_pool(None, [large]) as executor:
        assert executor is not None
    for workers, files in ((None, [tmp_path / "none.h5"]), (1, [large])):
        with process_pool(workers, files) as executor:
            assert executor is None
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3}, raising=False)
    with process_pool(None, [large]) as executor:
        assert executor is None
