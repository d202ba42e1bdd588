"""Every public name of pairs and metrics has an example; pytest runs them as doctests."""

import pytest

import lensmetrics as lm

REGISTRY = ("Metric", "register", "get_metric", "parse_metric", "list_metrics", "lens_suite")
METHODS = [f"MapPair.{name}" for name in vars(lm.MapPair) if not name.startswith("_")]


@pytest.mark.parametrize("name", [*lm.list_metrics(), *REGISTRY, "MapPair", *METHODS])
def test_public_names_have_an_example(name: str) -> None:
    found: object = lm
    for part in name.split("."):
        found = getattr(found, part)
    assert ">>> " in str(found.__doc__)
