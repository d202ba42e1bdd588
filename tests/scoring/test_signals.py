"""Runs that are interrupted or killed by signals."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lensmetrics as lm
from tests.cli.command import PYTHON
from tests.scoring.runs import Watcher, evaluate

LONG_METRICS = ["lens_kendall(w=2)", "ssim"]
LONG_FILES = [f"{i:02}.h5" for i in range(100)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files with some seconds of work in many tasks."""
    folder = tmp_path_factory.mktemp("long")
    for i, name in enumerate(LONG_FILES):
        unperturbed, perturbed = np.random.default_rng(i).normal(size=(2, 60, 28, 28))
        with lm.PairWriter(folder / name, n_samples=60, shape=(28, 28), attrs={"eps": i}) as writer:
            writer.write(slice(0, 60), unperturbed, perturbed)
    return folder


@pytest.fixture(scope="module")
def expected(written: Path) -> pd.DataFrame:
    """The scores of these files in a run that nothing stops."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(written)
        return lm.evaluate(LONG_FILES, LONG_METRICS)


@pytest.fixture
def long_files(written: Path, tmp_path: Path) -> list[str]:
    """Names of a copy of these files in the folder of the test."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
    return LONG_FILES


def start(folder: Path, files: list[str], *words: str) -> "subprocess.Popen[str]":
    command = [*PYTHON, "score", *files, "-m", *LONG_METRICS, "-o", "s.parquet", *words]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def wait_for(n: int, part: Path, process: "subprocess.Popen[str]") -> None:
    """Wait until the journal has n lines."""
    while not part.exists() or part.read_bytes().count(b"\n") < n:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


@pytest.mark.large
def test_a_second_interrupt_exits_immediately(tmp_path: Path, long_files: list[str]) -> None:
    for i in range(3):
        words = ["--workers", "2", *(["--resume"] if i else [])]
        with start(tmp_path, long_files, *words) as process:
            wait_for(2 * i + 2, tmp_path / "s.parquet.part", process)
            for _ in range(2):
                os.killpg(process.pid, signal.SIGINT)
                time.sleep(0.08)
            out, err = process.communicate(timeout=60)  # the pipes close only when all workers have ended
        assert out == "", err  # a run that ends has written a table
        assert process.returncode in (130, -signal.SIGINT)  # the second may come while Python itself ends
        assert err.startswith("lensmetrics: interrupted\n")


@pytest.mark.large
@pytest.mark.parametrize(
    ("workers", "signals"),
    [("1", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]), ("2", [signal.SIGKILL])],
)
def test_signals_lose_only_slices_in_progress(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    long_files: list[str],
    expected: pd.DataFrame,
    workers: str,
    signals: list[signal.Signals],
) -> None:
    part = tmp_path / "s.parquet.part"
    n = 0
    for i, sent in enumerate(signals):
        words = ["--workers", workers, *(["--resume"] if i else [])]
        with start(tmp_path, long_files, *words) as process:
            wait_for(n + 3, part, process)
            process.send_signal(sent)
            out, err = process.communicate(timeout=60)  # the pipes close only when all workers have ended
        assert out == "", err  # a run that ends has written a table
        if sent == signal.SIGKILL:
            assert (process.returncode, err) == (-sent, "")
        else:
            assert process.returncode == 130
            assert err.startswith("lensmetrics: interrupted\n")
            assert len(err.splitlines()) == 2
            assert "s.parquet.part" in err
        n = part.read_bytes().count(b"\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == [*long_files, "s.parquet.part"]
    monkeypatch.chdir(tmp_path)
    scored = Watcher()
    found = evaluate(long_files, LONG_METRICS, output=Path("s.parquet"), resume=True, progress=scored)
    assert len(scored.slices) == len(long_files) - n
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
