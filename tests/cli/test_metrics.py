"""``lensmetrics metrics``."""

import inspect
import itertools
import re

import pytest

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


def test_metrics_are_grouped_and_the_suite_is_marked(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = run("metrics")[1]
    assert max(map(len, out.splitlines())) <= 80
    families = [part.split("\n\n") for part in out.split("## ")[1:]]
    assert families[0][0] == "Rank and linear correlation of two maps over all pixels"
    members = [re.findall(r"^(\w+)", family[1], re.MULTILINE) for family in families]
    modules = [{getattr(lm, name).__module__ for name in names} for names in members]
    assert [len(module) for module in modules] == [1] * len(families)
    assert list(itertools.chain(*members)) == lm.list_metrics()
    marked = re.findall(r"^(\w+).*\n(?:    .*\n)*    .* \*$", out, re.MULTILINE)
    assert set(marked) == {metric.name for metric in lm.lens_suite(k=1, adjusted=True)}


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
