"""What the error of the draws takes from a norm, and how many draws a certificate needs."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lensmetrics.certificates.draws import draws_needed, norm_error


@pytest.mark.parametrize("alpha", [0.05, 0.3])
@pytest.mark.parametrize("n", [4, 64, 400])
def test_the_lower_end_of_a_norm_is_rarely_too_high(n: int, alpha: float) -> None:
    """Draws are one of two orthogonal maps of norm 2, the first with a probability of one half."""
    n_first = np.random.default_rng(n).binomial(n, 0.5, size=4000)
    estimates = 2 * np.hypot(n_first / n, 1 - n_first / n)
    least = estimates - norm_error(n, bound=2, alpha=alpha)
    assert (least > 2 * math.sqrt(0.5)).mean() <= alpha


def test_the_error_follows_its_formula() -> None:
    expected = 3 / 8 + 3 * math.sqrt(2 * math.log(20) / 64)
    assert norm_error(64, bound=3, alpha=0.05) == pytest.approx(expected)


@given(margin=st.floats(1e-3, 1), alpha=st.floats(1e-9, 0.5), bound=st.floats(0.1, 10))
def test_the_draws_needed_are_the_fewest(margin: float, alpha: float, bound: float) -> None:
    (n,) = draws_needed(np.array([margin]), bound=bound, alpha=alpha).tolist()
    assert norm_error(int(n), bound=bound, alpha=alpha) < margin * (1 + 1e-9)
    assert n == 1 or norm_error(int(n) - 1, bound=bound, alpha=alpha) >= margin * (1 - 1e-9)


def test_no_number_of_draws_is_enough_without_a_margin() -> None:
    assert draws_needed(np.array([0.0, -1.0]), bound=1, alpha=0.05).tolist() == [math.inf, math.inf]
