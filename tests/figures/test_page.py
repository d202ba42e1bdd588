"""The lines of the page run as printed."""

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lensmetrics as lm
from lensmetrics.cli import main

PAGE = Path(lm.__file__).parent / "figures" / "README.md"
TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    lensmetrics (.+)$", TEXT, re.MULTILINE)


def write_table() -> None:
    """Write a table like that of the demo, with two eps."""
    rng = np.random.default_rng(4)
    table = pd.DataFrame(
        {
            "training": np.repeat(["natural", "pgd"], 40),
            "attack": np.tile(np.repeat(["topk", "mass"], 20), 2),
            "eps": np.tile(np.repeat([4 / 255, 8 / 255], 10), 4),
            "sample": np.tile(np.arange(10), 8),
            "status": "ok",
        }
    )
    for metric in ("topk_intersection(k=100)", "kendall", *(f"lens_recall(k=100,w={w})" for w in (1, 2))):
        table[metric] = rng.random(80)
    lm.write_scores(table, "scores.parquet")


def test_the_lines_run_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_table()
    assert len(COMMANDS) == 4
    for command in COMMANDS:
        assert main(shlex.split(command)) == 0
    made = {path.name: path.read_bytes() for path in tmp_path.glob("*.pdf")}
    assert made.keys() == {"curves.pdf", "scores.pdf", "comparison.pdf"}
    maps = np.random.default_rng(0).random((2, 20, 20))
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    (change,) = re.findall(r"^    (figure\..+)$", TEXT, re.MULTILINE)
    exec(code + change, {"unperturbed": maps[0], "perturbed": maps[1]})
    assert {path.name for path in tmp_path.glob("*.pdf")} == {*made, "pair.pdf"}
    for name in made:
        assert (tmp_path / name).read_bytes().startswith(b"%PDF")
