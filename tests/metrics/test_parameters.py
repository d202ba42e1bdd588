"""Parameters of metrics: ranges, types, defaults."""

from typing import Any

import numpy as np
import pytest

import lensmetrics as lm
from tests import reference

WITH_K = [name for name in reference.TWINS if "k" in reference.parameters(name)]
WITH_W = [name for name in reference.TWINS if "w" in reference.parameters(name)]
PARAMETERS = {"k": 7, "w": 1, "pool": 64}


def random_pair() -> lm.MapPair:
    return lm.MapPair(*np.random.default_rng(8).random((2, 8, 8)))


def ask(name: str, pair: lm.MapPair | None = None, **changed: Any) -> float:
    """Compute one metric of an 8 x 8 pair, with valid parameters except those given."""
    arguments: dict[str, Any] = PARAMETERS | changed
    chosen = {key: arguments[key] for key in reference.parameters(name)}
    value: float = getattr(lm, name)(pair or random_pair(), **chosen)
    return value


@pytest.mark.parametrize("k", [0, -1, 65, 10**6])
@pytest.mark.parametrize("name", WITH_K)
def test_k_must_be_in_range(name: str, k: int) -> None:
    with pytest.raises(ValueError, match=rf"k must be .*between 1 and 64 .*got {k}$"):
        ask(name, k=k)


@pytest.mark.parametrize("k", [2.5, True, "3", None])
@pytest.mark.parametrize("name", WITH_K)
def test_k_must_be_an_integer(name: str, k: object) -> None:
    with pytest.raises((TypeError, ValueError), match="k must be"):
        ask(name, k=k)


@pytest.mark.parametrize("w", [-1, 1.5, True, "1", None, 2**30, 10**200])
@pytest.mark.parametrize("name", WITH_W)
def test_w_must_be_an_integer_in_range(name: str, w: object) -> None:
    with pytest.raises((TypeError, ValueError), match="w must be"):
        ask(name, w=w)


@pytest.mark.parametrize("name", WITH_K)
def test_parameters_are_checked_even_if_the_result_is_known(name: str) -> None:
    """1 == True == 1.0, also as the key of an earlier result."""
    pair = random_pair()
    ask(name, pair, k=1, w=1)
    for bad in (True, 1.0):
        with pytest.raises((TypeError, ValueError), match="k must be"):
            ask(name, pair, k=bad)
        if "w" in reference.parameters(name):
            with pytest.raises((TypeError, ValueError), match="w must be"):
                ask(name, pair, k=1, w=bad)


@pytest.mark.parametrize("name", WITH_K)
def test_numpy_integers_are_integers(name: str) -> None:
    integers: dict[str, Any] = {"k": np.int64(7), "w": np.uint8(1), "pool": np.int32(64)}
    assert ask(name, **integers) == ask(name)


@pytest.mark.parametrize("name", WITH_W)
def test_w_is_1_by_default(name: str) -> None:
    k = 40 if name == "n_diverse" else 7  # more than the 8 x 8 map has diverse pixels
    others = {key: value for key, value in {"k": k, "pool": 64}.items() if key in reference.parameters(name)}
    metric, pair = getattr(lm, name), random_pair()
    assert metric(pair, **others) == metric(pair, w=1, **others) != metric(pair, w=0, **others)


@pytest.mark.parametrize("name", [*WITH_K, *WITH_W])
def test_parameters_are_keyword_only(name: str) -> None:
    pair = lm.MapPair(np.eye(8), np.eye(8))
    with pytest.raises(TypeError):
        getattr(lm, name)(pair, 3)
