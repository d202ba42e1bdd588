"""The page on metrics: its table is what the registry knows, and its Python runs as printed."""

import re
from typing import Any

import numpy as np
import pytest

import lensmetrics as lm
from benchmarks.table import METRICS_PAGE, metric_table, replaced

TEXT = METRICS_PAGE.read_text(encoding="utf-8")
(OWN_METRIC,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_metric_table_is_current() -> None:
    assert replaced(TEXT, "metrics", metric_table()) == TEXT, "run python -m benchmarks.table"


@pytest.mark.usefixtures("own_metrics")
def test_own_metric_runs_as_printed() -> None:
    u, p = np.random.default_rng(0).random((2, 3, 40, 40))
    names: dict[str, Any] = {"u": u, "p": p}
    exec(OWN_METRIC, names)
    assert names["topk_center_shift"](lm.MapPair(u[0], u[0]), k=100) == 0
    assert "topk_center_shift" in lm.list_metrics()


@pytest.mark.large
@pytest.mark.parametrize(("side", "k"), [(28, 100), (32, 100), (128, 1000), (227, 1000)])
def test_table_of_chance_is_right(side: int, k: int) -> None:
    (row,) = re.findall(rf"^\| {side}x{side} \| {k} \| (.*) \|$", TEXT, re.MULTILINE)
    rng = np.random.default_rng(side)
    pairs = [lm.MapPair(*rng.random((2, side, side))) for _ in range(20)]
    for w, printed in enumerate(row.split(" | ")):
        reached = np.mean([lm.lens_recall_chance(pair, k=k, w=w) for pair in pairs])
        assert float(printed) == pytest.approx(reached, abs=0.015)
