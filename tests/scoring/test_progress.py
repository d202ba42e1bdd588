"""Progress and messages of a run."""

import io
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lensmetrics as lm


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_shown_on_a_terminal_only(
    study: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lm.evaluate(study, "kendall", progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"scored 19 pairs in \d+\.\d s: \d+ pairs per second\n", err)
    monkeypatch.setattr(sys, "stderr", None)  # closed
    lm.evaluate(study, "kendall", progress=True)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    lm.evaluate(study, "kendall")
    assert not terminal.getvalue()
    lm.evaluate(study, "kendall", progress=True)
    assert "19/19" in terminal.getvalue()
    assert capsys.readouterr().out == ""


def test_negative_values_are_mentioned_if_a_metric_takes_the_top_k(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maps = np.random.default_rng(0).random((2, 3, 5, 5))
    for name, sign in (("signed", -1), ("plain", 1)):
        with lm.PairWriter(tmp_path / f"{name}.h5", n_samples=3, shape=(5, 5), attrs={}) as writer:
            maps[1, 2, 3, 3] *= sign
            writer.write(slice(0, 3), *maps)
            maps[1, 2, 3, 3] *= sign

    def mentioned(name: str, metric: str, **options: Any) -> bool:
        lm.evaluate(tmp_path / f"{name}.h5", metric, progress=True, **options)
        return "maps hold negative values" in capsys.readouterr().err

    output = tmp_path / "s.parquet"
    assert mentioned("signed", "lens_recall(k=3)", output=output)
    assert mentioned("signed", "lens_recall(k=3)", output=output, resume=True)  # nothing is read again
    assert not mentioned("signed", "kendall")
    assert not mentioned("signed", "sign_agreement(k=3)")  # ranks by absolute values
    assert not mentioned("plain", "lens_recall(k=3)")
