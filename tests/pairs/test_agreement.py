"""Counts behind the rank correlations, on ties of every length."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats

import lensmetrics as lm
from lensmetrics.pairs.agreement import PixelPairs

Map = npt.NDArray[Any]
Builder = Callable[[np.random.Generator], Map]

N = 10_000
# Ties are handled by the lengths of their groups: up to 32, from N / 256 = 39 on, and between.
BUILDERS: dict[str, Builder] = {
    "no ties": lambda rng: rng.permutation(N),
    "few ties": lambda rng: np.where(rng.random(N) < 0.005, rng.integers(0, 20, N), rng.permutation(N)),
    "pairs": lambda rng: rng.permutation(N) // 2,
    "between": lambda rng: rng.permutation(N) // 36,
    "long": lambda rng: rng.permutation(N) // 400,
    "short, between and long": lambda rng: np.floor(rng.exponential(1, N) * 60),
    "half zeros": lambda rng: np.maximum(rng.permutation(N) - N // 2, 0),
    "two levels": lambda rng: rng.integers(0, 2, N),
    "rising": lambda rng: np.arange(N),
}


def counted(u: Map, p: Map) -> PixelPairs:
    """Compare every two pixels."""
    counts = np.zeros(4, np.int64)
    for i in range(0, N, 500):
        du = np.sign(u[i : i + 500, None] - u)
        dp = np.sign(p[i : i + 500, None] - p)
        for j, found in enumerate((du == 0, dp == 0, (du == 0) & (dp == 0), du * dp < 0)):
            counts[j] += np.count_nonzero(found)
    tied_u, tied_p, tied_both, discordant = counts.tolist()
    return PixelPairs(
        N * (N - 1) // 2, (tied_u - N) // 2, (tied_p - N) // 2, (tied_both - N) // 2, discordant // 2
    )


@pytest.mark.large
@pytest.mark.parametrize("kind_p", BUILDERS)
@pytest.mark.parametrize("kind_u", BUILDERS)
def test_counts_equal_those_of_all_pairs_of_pixels(kind_u: str, kind_p: str) -> None:
    rng = np.random.default_rng(0)
    u, p = BUILDERS[kind_u](rng).astype(np.int16), BUILDERS[kind_p](rng).astype(np.int16)
    found = lm.MapPair(u.reshape(100, 100), p.reshape(100, 100)).order_agreement()
    assert found.pixel_pairs() == counted(u, p)
    ranks_u, ranks_p = ((2 * scipy.stats.rankdata(a) - N - 1).astype(np.int64) for a in (u, p))
    expected = (ranks_u @ ranks_p, ranks_u @ ranks_u, ranks_p @ ranks_p)
    assert found.rank_sums() == tuple(int(value) for value in expected)
