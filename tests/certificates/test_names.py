"""The columns of certificates have names that no attribute and no other metric can have."""

import pytest

import lensmetrics as lm
from lensmetrics.tables.columns import is_reserved, parse_column
from lensmetrics.tables.known import CERTIFICATES


def test_names_are_reserved() -> None:
    assert all(is_reserved(name) for name in (*CERTIFICATES, "certified_alpha"))
    assert not any(is_reserved(name) for name in ("radius", "n_draws", "dim", "bound", "nonnegative"))


@pytest.mark.usefixtures("own_metrics")
@pytest.mark.parametrize("name", CERTIFICATES)
def test_no_metric_can_be_registered_under_them(name: str) -> None:
    def mine(pair: lm.MapPair) -> float:
        return 0.0

    mine.__name__ = name
    with pytest.raises(ValueError, match=f"a metric cannot be named '{name}'"):
        lm.register(bounds=(0, 1), best=1)(mine)


def test_parameters_are_not_called_like_a_condition_or_a_metric() -> None:
    column = parse_column("certified_radius(cosine=0.9,eps=0.1)")
    assert column.axes == {"metric_cosine": 0.9, "metric_eps": 0.1}
    assert parse_column("lens_recall(k=9,w=1)").axes == {"k": 9, "w": 1}


@pytest.mark.parametrize(
    ("name", "higher"),
    [
        ("smoothed_norm", None),
        ("certified_cosine", True),
        ("certified_eps", True),
        ("certified_radius", False),
    ],
)
def test_which_end_is_better_is_known(name: str, higher: bool | None) -> None:
    assert CERTIFICATES[name].higher_is_better is higher
