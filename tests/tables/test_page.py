"""The page of the tables lists every status, and its Python runs as printed."""

import re
from pathlib import Path

import numpy as np
import pytest

import lensmetrics as lm
from benchmarks.table import STATUS_PAGE, replaced, status_table
from tests.pairfiles import write_file

TEXT = STATUS_PAGE.read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_status_table_is_current() -> None:
    assert replaced(TEXT, "statuses", status_table()) == TEXT, "run python -m benchmarks.table"


def test_example_runs_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for i, training in enumerate(("natural", "pgd")):
        write_file(Path(f"{training}.h5"), seed=i, attrs={"training": training, "attack": "topk"})
    lm.write_scores(lm.evaluate(["natural.h5", "pgd.h5"], "topk_iou(k=5)"), "scores.parquet")
    names: dict[str, object] = {}
    exec(EXAMPLE, names)
    scores = names["scores"]
    assert isinstance(scores, type(lm.read_scores("scores.parquet")))
    assert np.isfinite(scores["topk_iou(k=5)"]).all()
