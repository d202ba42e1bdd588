"""Fixtures of the tests of the command."""

from pathlib import Path

import pytest

from lensmetrics.cli import main
from tests.cli.command import Run
from tests.pairfiles import flip_byte, write_file


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
