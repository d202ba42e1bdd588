"""Help, wrong usage, and errors in general."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lensmetrics as lm
from lensmetrics.cli import COMMANDS, main
from tests.cli.command import Run
from tests.pairfile.hostile_openers import (
    fail_as_a_bug,
)
from tests.pairfiles import write_file


def test_help_of_every_command(run: Run) -> None:
    status, out, err = run("--help")
    assert (status, err) == (0, "")
    assert all(re.search(rf"^ +{command}( |$)", out, re.MULTILINE) for command in COMMANDS)
    assert "LENSMETRICS_TRACEBACK=1" in out
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


def modules_of(*words: str) -> set[str]:
    """Return the modules that a process has imported after it ran the command."""
    code = f"""
import sys
from lensmetrics.cli import main
try:
    status = main({words})
finally:
    print("\\n", *sys.modules)
assert status == 0
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("words", [["--help"], ["score", "--help"]])
def test_help_imports_no_library(words: list[str]) -> None:
    loaded = modules_of(*words)
    assert "lensmetrics.cli" in loaded
    assert not loaded & {"numpy", "pandas", "numba", "h5py", "xarray", "matplotlib", "distributed"}


@pytest.mark.usefixtures("files")
def test_reading_a_table_loads_no_compiler(run: Run) -> None:
    lm.write_scores(lm.evaluate(["a.h5", "b.h5"], "kendall"), "s.parquet")
    assert not modules_of("summarize", "s.parquet") & {"numba", "h5py", "matplotlib"}
    assert not modules_of("report", "s.parquet") & {"numba", "h5py"}


def test_certifying_loads_no_compiler(run: Run) -> None:
    attrs = {"radius": 1.0, "n_draws": 100, "dim": 42, "bound": 9.0, "nonnegative": 0}
    write_file(Path("a.h5"), attrs=attrs)
    assert not modules_of("certify", "a.h5", "--eps", "0.1") & {"numba", "matplotlib", "xarray"}


@pytest.mark.parametrize("command", ["inspect", "verify", "score", "summarize", "report"])
@pytest.mark.usefixtures("files")
def test_missing_inputs_are_all_named_before_any_work(run: Run, command: str) -> None:
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
def test_unfinished_file_is_named_where_the_finished_one_is_missing(run: Run) -> None:
    shutil.copy("a.h5", "half.h5.part")
    status, out, err = run("inspect", "half.h5")
    assert (status, out) == (2, "")
    assert err.splitlines() == [
        "lensmetrics: half.h5 does not exist",
        "half.h5.part does: finish it with PairWriter.resume",
    ]


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("summarize", "s.csv", "-o", "s.csv"), "is the file being read"),
        (("summarize", "s.csv", "-o", "a.h5"), "choose a name that ends in .csv, .tex or .md"),
        (("report", "s.csv", "-o", "a.h5"), "writes a .html file"),
        (("import", "u.npy", "p.npy", "-o", "a.csv"), "writes a .h5 file"),
        (("import", "u.npy", "p.npy", "-o", "n.h5", "--set", "eps=1", "eps=2"), "eps is given twice"),
    ],
)
def test_output_never_replaces_other_files(run: Run, words: tuple[str, ...], message: str) -> None:
    assert run("score", "a.h5", "-m", "kendall", "--workers", "1", "-o", "s.csv")[0] == 0
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    status, _, err = run(*words)
    assert status == 2
    assert message in err
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before


@pytest.mark.usefixtures("files")
def test_a_bug_ends_in_a_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lensmetrics.cli.opening.open_store", fail_as_a_bug)
    with pytest.raises(TypeError, match="a bug of ours") as caught:
        main(["inspect", "a.h5"])
    (note,) = caught.value.__notes__
    assert note.startswith("in the child process:\nTraceback")
    assert "in fail_as_a_bug" in note


def test_recursion_without_end_is_a_bug(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(*_: object) -> None:
        endless()

    monkeypatch.setattr("lensmetrics.cli.metrics.run", endless)
    with pytest.raises(RecursionError):
        main(["metrics"])


def test_traceback_of_a_mistake_is_shown_on_request(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["summarize", "none.csv"]
    assert run(*words) == (2, "", "lensmetrics: none.csv does not exist\n")
    monkeypatch.setenv("LENSMETRICS_TRACEBACK", "1")
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):\n")
    assert err.endswith("\nlensmetrics: none.csv does not exist\n")


def test_traceback_of_a_file_that_is_not_scored_is_shown_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    for value, shown in (("0", False), ("1", True)):
        monkeypatch.setenv("LENSMETRICS_TRACEBACK", value)
        assert main(["score", str(damaged), "-m", "kendall"]) == 1
        err = capsys.readouterr().err
        assert "damaged.h5" in err
        assert ("Traceback (most recent call last)" in err) == shown
