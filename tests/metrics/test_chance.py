"""What chance reaches: against all sets of a tiny map, and a closed form."""

import itertools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import lensmetrics as lm
from tests import reference
from tests.strategies import indicator

Map = npt.NDArray[Any]


@pytest.mark.parametrize(
    ("shape", "k", "w"),
    [((3, 3), 2, 1), ((2, 4), 3, 1), ((1, 7), 2, 2), ((4, 3), 3, 0), ((3, 4), 1, 1), ((1, 2), 1, 0)],
)
def test_chance_is_the_exact_expectation(shape: tuple[int, int], k: int, w: int) -> None:
    fixed = np.random.default_rng(k).random(shape)
    chance = reference.NAN
    hits, n_sets = 0, 0
    for chosen in itertools.combinations(reference.pixels(fixed), k):
        other = indicator(shape, *chosen)
        recall, precision = lm.MapPair(fixed, other), lm.MapPair(other, fixed)
        hits += round(lm.lens_recall(recall, k=k, w=w) * k)
        n_sets += 1
        chance = lm.lens_recall_chance(recall, k=k, w=w)
        assert lm.lens_precision_chance(precision, k=k, w=w) == chance
    assert chance == float(Fraction(hits, n_sets * k))


def uniform_chance(height: int, width: int, k: int, w: int) -> float:
    """Return the expected LENS of two uniform sets: the mean probability that a pixel is near one."""
    n_pixels = height * width
    total = 0.0
    for row, column in itertools.product(range(height), range(width)):
        rows = min(row + w, height - 1) - max(row - w, 0) + 1
        columns = min(column + w, width - 1) - max(column - w, 0) + 1
        missed = 1.0
        for i in range(rows * columns):
            missed *= (n_pixels - k - i) / (n_pixels - i)
        total += 1 - missed
    return total / n_pixels


@pytest.mark.large
@pytest.mark.parametrize(
    ("side", "k", "table", "n_pairs"),
    [
        (28, 100, (0.128, 0.689, 0.961, 0.995), 200),
        (32, 100, (0.098, 0.578, 0.916, 0.983), 200),
        (128, 1000, (0.061, 0.430, 0.781, 0.948), 30),
        (227, 1000, (0.019, 0.160, 0.385, 0.614), 20),
    ],
)
def test_chance_level_of_uniform_sets(side: int, k: int, table: tuple[float, ...], n_pairs: int) -> None:
    rng = np.random.default_rng(side)
    pairs = [lm.MapPair(rng.random((side, side)), rng.random((side, side))) for _ in range(n_pairs)]
    for w, printed in enumerate(table):
        expected = uniform_chance(side, side, k, w)
        assert expected == pytest.approx(printed, abs=0.015)  # the table comes from a small simulation
        for metric, mean in (
            (lm.lens_recall, expected),
            (lm.lens_precision, expected),
            (lm.lens_recall_chance, expected),
            (lm.lens_recall_adjusted, 0.0),
        ):
            scores = np.array([metric(pair, k=k, w=w) for pair in pairs])
            scores = scores[~np.isnan(scores)]  # saturated
            error = scores.std(ddof=1) / math.sqrt(scores.size)
            assert abs(scores.mean() - mean) <= 4.5 * error + 1e-12
