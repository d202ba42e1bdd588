"""``lensmetrics metrics``."""

import re

import lensmetrics as lm
from tests.cli.command import Run


def test_metrics_lists_all(run: Run) -> None:
    status, out, err = run("metrics")
    assert (status, err) == (0, "")
    names = re.findall(r"^(\w+)", out, re.MULTILINE)
    assert names == lm.list_metrics()
    assert "lens_recall(k,w=1)\n" in out
    out.encode("ascii")  # so that it prints everywhere
