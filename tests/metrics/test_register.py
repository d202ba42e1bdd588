"""Register metrics of one's own: what is accepted, and what is refused."""

from typing import Any

import numpy as np
import pytest

import lensmetrics as lm
from lensmetrics.metrics.registry import as_metrics, entries, temporary


def test_temporary_metrics_are_forgotten() -> None:
    def known_for_a_while(pair: lm.MapPair) -> float:
        return 0.0

    before = lm.list_metrics()
    with pytest.raises(RuntimeError, match="even so"), temporary():  # noqa: PT012
        lm.register(bounds=(0, 1), best=None)(known_for_a_while)
        with temporary():
            assert lm.list_metrics() == [*before, "known_for_a_while"]
        assert lm.list_metrics() == [*before, "known_for_a_while"]
        raise RuntimeError("even so")
    assert lm.list_metrics() == before


@pytest.mark.usefixtures("own_metrics")
def test_registered_function_is_returned_unchanged() -> None:
    def share_above(pair: lm.MapPair, *, level: float = 0.5) -> float:
        """Share of pixels above a level."""
        return float((pair.unperturbed > level).mean())

    assert lm.register(bounds=(0, 1), best=None)(share_above) is share_above
    assert lm.list_metrics()[-1] == "share_above"
    metric = lm.parse_metric("share_above(level=2.5)")
    assert str(metric) == "share_above(level=2.5)"
    assert lm.parse_metric(str(metric)) == metric
    assert str(lm.get_metric("share_above", level=np.float64(0.25))) == "share_above(level=0.25)"
    assert metric(lm.MapPair([[1, 2, 3, 4]], [[1, 2, 3, 4]])) == 0.5
    assert entries()["share_above"].signature == "share_above(level=0.5)"
    scores = lm.score(np.ones((2, 3, 3)), np.ones((2, 3, 3)), ["share_above", metric])
    assert scores["share_above(level=0.5)"].tolist() == [1, 1]
    assert scores["share_above(level=2.5)"].tolist() == [0, 0]


@pytest.mark.usefixtures("own_metrics")
@pytest.mark.parametrize("level", ["nan", "-0.0", "0.0", "1", "1.0", "inf"])
def test_metrics_are_equal_where_their_texts_are(level: str) -> None:
    @lm.register(bounds=(0, 1), best=None)
    def above(pair: lm.MapPair, *, level: float) -> float:
        return level

    metric = lm.parse_metric(f"above(level={level})")
    assert str(metric) == f"above(level={level})"
    same = lm.parse_metric(str(metric))
    assert metric == same
    assert as_metrics([metric, same]) == [metric]
    for other in {"nan", "-0.0", "0.0", "1", "1.0"} - {level}:
        assert metric != lm.parse_metric(f"above(level={other})")
    assert metric != str(metric)


@pytest.mark.usefixtures("own_metrics")
def test_parameters_must_be_numbers() -> None:
    @lm.register(bounds=(0, 1), best=None)
    def half(pair: lm.MapPair, *, level: float) -> float:
        return level

    high: Any = "high"
    with pytest.raises(ValueError, match="level"):
        lm.get_metric("half", level=high)  # its text could not be read again


@pytest.mark.usefixtures("own_metrics")
def test_taken_names_are_refused() -> None:
    def kendall(pair: lm.MapPair) -> float:
        return 0.0

    def sample(pair: lm.MapPair) -> float:
        return 0.0

    for function in (kendall, sample):
        with pytest.raises(ValueError, match=f"cannot be named '{function.__name__}'"):
            lm.register(bounds=(0, 1), best=None)(function)
    assert lm.get_metric("kendall").function is lm.kendall


@pytest.mark.usefixtures("own_metrics")
@pytest.mark.parametrize("name", ["name", "k", "w", "pool", "metric", "value", "eps_norm", "status"])
def test_metrics_must_not_have_the_name_of_a_column(name: str) -> None:
    def metric(pair: lm.MapPair) -> float:
        return 0.0

    metric.__name__ = name
    with pytest.raises(ValueError, match=f"cannot be named '{name}'"):
        lm.register(bounds=(0, 1), best=None)(metric)


@pytest.mark.usefixtures("own_metrics")
@pytest.mark.parametrize(
    "parameter",
    ["metric", "value", "sample", "name", "label", "status", "file", "eps", "eps_norm", "attack_k"],
)
def test_parameters_must_not_have_the_name_of_a_column(parameter: str) -> None:
    functions: dict[str, Any] = {}
    exec(f"def odd(pair, *, {parameter}=3): return 0.0", functions)
    message = f"the metric odd cannot have a parameter '{parameter}': tables have a column of that name"
    with pytest.raises(ValueError, match=message):
        lm.register(bounds=(0, 1), best=None)(functions["odd"])
    assert "odd" not in lm.list_metrics()


@pytest.mark.usefixtures("own_metrics")
def test_positional_parameters_are_refused() -> None:
    def share(pair: lm.MapPair, level: float) -> float:
        return level

    with pytest.raises(ValueError, match="keyword-only"):
        lm.register(bounds=(0, 1), best=None)(share)
    assert "share" not in lm.list_metrics()
