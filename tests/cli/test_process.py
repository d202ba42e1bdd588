"""The command as a process: its streams, and where it may run."""

import multiprocessing
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import lensmetrics as lm
from lensmetrics.cli import main
from tests.cli.command import PYTHON, Run
from tests.conftest import IS_COMPILED
from tests.pairfiles import write_file


def test_control_characters_never_reach_the_terminal(run: Run) -> None:
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
def test_table_is_written_whoever_reads_the_streams(tmp_path: Path, closed: str, workers: str) -> None:
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
def test_the_command_runs_in_a_process_that_cannot_start_others(tmp_path: Path) -> None:
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
def test_output_without_a_reader(to: str) -> None:
    command = f"'{sys.executable}' -m lensmetrics metrics {to}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""
