"""The examples in docstrings: every public name has one, and each prints what it says."""

import doctest
import importlib
import pkgutil
from types import ModuleType

import pytest

import lensmetrics as lm
from lensmetrics import metrics, pairs
from lensmetrics.metrics.registry import temporary


def modules_of(package: ModuleType) -> list[str]:
    return [f"{package.__name__}.{module.name}" for module in pkgutil.iter_modules(package.__path__)]


@pytest.mark.parametrize("name", [*modules_of(metrics), *modules_of(pairs)])
def test_examples_print_what_they_say(name: str) -> None:
    with temporary():
        assert doctest.testmod(importlib.import_module(name)).failed == 0


REGISTRY = ("Metric", "register", "get_metric", "parse_metric", "list_metrics", "lens_suite")
METHODS = [f"MapPair.{name}" for name in vars(lm.MapPair) if not name.startswith("_")]


@pytest.mark.parametrize("name", [*lm.list_metrics(), *REGISTRY, "MapPair", *METHODS])
def test_public_names_have_an_example(name: str) -> None:
    found: object = lm
    for part in name.split("."):
        found = getattr(found, part)
    assert ">>> " in str(found.__doc__)
