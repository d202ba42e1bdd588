"""A command replaces files that it wrote itself, and never a file that it reads."""

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import lensmetrics as lm
from lensmetrics.scoring.journal import Journal
from tests.cli.command import Run
from tests.cli.conftest import files, run
from tests.pairfiles import write_file

__all__ = ["files", "run"]  # fixtures

pytestmark = pytest.mark.usefixtures("run", "files")


def contents() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path().iterdir() if path.is_file()}


def score(run: Run, *words: str) -> tuple[int, str, str]:
    return run("score", *words, "--workers", "1")


def _swap(path: Path, output: Path) -> None:
    path.rename(output)
    path.symlink_to(output)


LINKS: dict[str, Callable[[Path, Path], object]] = {
    "itself": lambda path, output: path.rename(output),
    "symbolic link": lambda path, output: output.symlink_to(path),
    "hard link": lambda path, output: output.hardlink_to(path),
    "link to the output": _swap,
}


@pytest.mark.parametrize("kind", LINKS)
@pytest.mark.parametrize("option", [[], ["--overwrite"], ["--resume"]])
def test_score_never_overwrites_its_input(run: Run, kind: str, option: list[str]) -> None:
    LINKS[kind](Path("a.h5"), Path("s.parquet"))
    words = ["b.h5", "s.parquet" if kind == "itself" else "a.h5"]
    before = contents()
    status, out, err = score(run, *words, "-m", "kendall", "-o", "s.parquet", *option)
    assert (status, out) == (2, "")
    assert err.startswith("lensmetrics: s.parquet is the file being read")
    assert len(err.splitlines()) == 1
    assert contents() == before
    with pytest.raises(ValueError, match=r"s\.parquet is the file being read"):
        lm.evaluate(words, "kendall", output="s.parquet", overwrite=True)
    assert contents() == before


@pytest.mark.parametrize("name", ["s.parquet", "s.csv", "s.csv.gz"])
@pytest.mark.parametrize("option", [[], ["--overwrite"], ["--resume"]])
def test_score_replaces_only_tables_of_scores(run: Run, name: str, option: list[str]) -> None:
    for content in (Path("b.h5").read_bytes(), b"sample,value\n1,2\n", b"PAR2 no table", b"\x1f\x8bno"):
        Path(name).write_bytes(content)
        before = contents()
        status, out, err = score(run, "a.h5", "-m", "kendall", "-o", name, *option)
        assert (status, out) == (2, "")
        assert err == (
            f"lensmetrics: {name} exists and is not a table of scores: choose another output, or move that "
            "file away\n"
        )
        with pytest.raises(FileExistsError, match="is not a table of scores"):
            lm.evaluate("a.h5", "kendall", output=name, overwrite=True)
        assert contents() == before
    if name == "s.parquet" and not option:
        Path(name).write_bytes(b"PAR1, and then damage")
        assert score(run, "a.h5", "-m", "kendall", "-o", name)[0] == 2
    # An empty file, as mktemp creates it, or a table whose Parquet metadata is damaged.
    Path(name).write_bytes(b"PAR1, and then damage" if name == "s.parquet" and option else b"")
    assert score(run, "a.h5", "-m", "kendall", "-o", name, *option)[0] == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no such files")
def test_table_cannot_be_written_to_a_pipe(run: Run) -> None:
    os.mkfifo("s.csv")
    status, _, err = score(run, "a.h5", "-m", "kendall", "-o", "s.csv")
    assert (status, err) == (2, "lensmetrics: s.csv is not a regular file; choose another output\n")


@pytest.mark.parametrize("name", ["s.parquet", "s.csv"])
def test_table_of_other_metrics_or_files_is_replaced_only_on_request(run: Run, name: str) -> None:
    words = ["a.h5", "b.h5", "-m", "kendall", "mse", "-o", name]
    assert score(run, *words)[0] == 0
    before = contents()
    assert score(run, *words)[0] == 0  # the same command
    assert score(run, "./b.h5", "./a.h5", "-m", "mse", " kendall ", "-o", name)[0] == 0  # equivalent
    assert score(run, *words)[0] == 0
    assert contents() == before
    others = {
        "metrics": [["a.h5", "b.h5", "-m", "kendall"], ["a.h5", "b.h5", "-m", "kendall", "mse", "ssim"]]
    }
    others["files"] = [["a.h5", "-m", "kendall", "mse"], ["a.h5", "part.h5", "-m", "kendall", "mse"]]
    if name == "s.parquet":  # which also lists the files that failed
        others["files"].append(["a.h5", "b.h5", "part.h5", "-m", "kendall", "mse"])
    for what, commands in others.items():
        for command in commands:
            status, out, err = score(run, *command, "-o", name)
            assert (status, out) == (2, "")
            assert err.startswith(f"lensmetrics: {name} holds the scores of other {what}: ")
            assert "--overwrite" in err
            assert "--resume" in err
            assert contents() == before
            files, metrics = command[: command.index("-m")], command[command.index("-m") + 1 :]
            with pytest.raises(FileExistsError, match=f"holds the scores of other {what}"):
                lm.evaluate(files, metrics, output=name)
    for option in ("--overwrite", "--resume"):
        assert score(run, "a.h5", "-m", "kendall", "-o", name, option)[0] == 0
        pd.testing.assert_frame_equal(lm.read_scores(name), lm.evaluate("a.h5", "kendall"))
        assert score(run, *words, "--overwrite")[0] == 0
        assert contents() == before
    lm.evaluate("b.h5", "kendall", output=name, overwrite=True)
    pd.testing.assert_frame_equal(lm.read_scores(name), lm.evaluate("b.h5", "kendall"))


@pytest.mark.parametrize("name", ["s.parquet", "s.csv"])
def test_command_can_be_repeated_after_a_file_failed(run: Run, name: str) -> None:
    words = ["a.h5", "part.h5", "-m", "kendall", "-o", name]
    assert score(run, *words)[0] == 1
    write_file(Path("whole.h5"), seed=2)
    Path("whole.h5").replace("part.h5")
    assert score(run, *words)[0] == 0
    assert len(lm.read_scores(name)) == 12


def test_tables_that_do_not_name_their_files(run: Run) -> None:
    lm.write_scores(lm.evaluate("a.h5", "kendall"), "s.parquet")  # as older versions did
    assert score(run, "b.h5", "-m", "kendall", "-o", "s.parquet")[0] == 2
    assert score(run, "a.h5", "b.h5", "-m", "kendall", "-o", "s.parquet")[0] == 0
    lm.write_scores(lm.evaluate("a.h5", "kendall").drop(columns="file"), "t.parquet")
    assert score(run, "a.h5", "-m", "kendall", "-o", "t.parquet")[0] == 2


KINDS: dict[str, Callable[[Path], object]] = {
    "pair file": lambda path: path.write_bytes(Path("a.h5").read_bytes()),
    "link": lambda path: path.symlink_to("elsewhere"),
    "folder": lambda path: path.mkdir(),
    "text": lambda path: path.write_text("notes of mine\n"),
    "pipe": os.mkfifo,
}


def test_files_with_one_name_in_two_folders_are_distinct(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, source in (("first", "a.h5"), ("second", "b.h5")):
        Path(folder).mkdir()
        Path(source).rename(f"{folder}/x.h5")
    monkeypatch.chdir("first")
    assert score(run, "x.h5", "-m", "kendall", "-o", "t.parquet")[0] == 0
    before = Path("t.parquet").read_bytes()
    monkeypatch.chdir("../second")
    status, _, err = score(run, "x.h5", "-m", "kendall", "-o", "../first/t.parquet")
    assert status == 2
    assert "holds the scores of other files" in err
    assert Path("../first/t.parquet").read_bytes() == before


@pytest.mark.parametrize("name", ["NA", "=b.h5", '"q".h5', "1.0"])
def test_repeated_command_recognises_its_csv(run: Run, name: str) -> None:
    Path("a.h5").rename(name)
    words = (name, "-m", "kendall", "-o", "s.csv")
    assert score(run, *words)[0] == 0
    assert score(run, *words)[0] == 0


@pytest.mark.parametrize("begun", [b"", b"00", b"0123abcd", b"0123abcd ", b'0123abcd ["key", ["ok'])
def test_truncated_journal_is_recognised(run: Run, begun: bytes) -> None:
    Path("s.csv.part").write_bytes(begun)
    assert score(run, "a.h5", "-m", "kendall", "-o", "s.csv")[0] == 0
    assert not Path("s.csv.part").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no such files")
@pytest.mark.parametrize("kind", KINDS)
def test_other_files_with_the_name_of_a_journal_are_kept(run: Run, kind: str) -> None:
    part = Path("s.csv.part")
    KINDS[kind](part)
    before = contents()
    status, out, err = score(run, "b.h5", "-m", "kendall", "-o", "s.csv", "--resume")
    assert (status, out) == (2, "")
    assert err.startswith("lensmetrics: s.csv.part is not the journal of a run")
    assert contents() == before
    assert os.path.lexists(part)
    with pytest.raises(FileExistsError):
        Journal("s.csv")


def test_summarize_and_report_replace_only_their_own_files(run: Run) -> None:
    assert score(run, "a.h5", "-m", "kendall", "-o", "s.csv")[0] == 0
    for command, output, kind in (
        (["summarize", "s.csv"], "o.csv", "summary"),
        (["report", "s.csv", "--maps", "a.h5", "b.h5"], "o.html", "page of lensmetrics"),
    ):
        for content in (Path("a.h5").read_bytes(), Path("s.csv").read_bytes(), b"<!doctype html><p>mine"):
            Path(output).write_bytes(content)
            status, out, err = run(*command, "-o", output)
            assert (status, out) == (2, "")
            assert err.startswith(f"lensmetrics: {output} exists and is not a {kind}: ")
            assert Path(output).read_bytes() == content
        Path(output).unlink()
        for _ in range(2):
            assert run(*command, "-o", output)[0] == 0
    before = contents()
    Path("link.csv").symlink_to("s.csv")
    Path("link.html").symlink_to("a.h5")
    for words in (
        ["summarize", "s.csv", "-o", "s.csv"],
        ["summarize", "link.csv", "-o", "s.csv"],
        ["summarize", "s.csv", "-o", "link.csv"],
        ["report", "s.csv", "--maps", "a.h5", "-o", "link.html"],
    ):
        status, out, err = run(*words)
        assert (status, out) == (2, "")
        assert "is the file being read" in err
    assert {name: data for name, data in contents().items() if not name.startswith("link")} == before
