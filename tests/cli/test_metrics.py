"""``lensmetrics metrics``."""

import inspect
import re

import lensmetrics as lm
from lensmetrics.metrics import overlap
from tests.cli.command import Run


def test_metrics_lists_all(run: Run) -> None:
    status, out, err = run("metrics")
    assert (status, err) == (0, "")
    names = re.findall(r"^(\w+)", out, re.MULTILINE)
    assert names == lm.list_metrics()
    assert "lens_recall(k,w=1)\n" in out
    out.encode("ascii")  # so that it prints everywhere


def test_metrics_explains_one(run: Run) -> None:
    status, out, err = run("metrics", "lens_recall")
    assert (status, err) == (0, "")
    signature, bounds, blank, *documentation = out.splitlines()
    assert (signature, bounds, blank) == ("lens_recall(k,w=1)", "    [0, 1], best 1", "")
    explained, rules = "\n".join(documentation).split("\n\nRules in lensmetrics.metrics.overlap\n\n")
    assert explained == inspect.getdoc(lm.lens_recall)
    assert rules == inspect.getdoc(overlap)


def test_unknown_metric_is_compared_with_known_ones(run: Run) -> None:
    status, out, err = run("metrics", "lens_recal")
    assert (status, out) == (2, "")
    assert err.startswith("lensmetrics: unknown metric 'lens_recal'; did you mean 'lens_recall'?")
