"""Sign-flip permutation tests of paired differences, and Holm's adjustment for many of them."""

from typing import Any

import numpy as np
import numpy.typing as npt

# Up to so many samples, all combinations of signs are tried.
EXACT_SAMPLES = 13
# Combinations drawn at random for more samples, at least, and for every test of a family: the smallest
# possible p, times the number of tests, stays below 1/200.
MIN_FLIPS = 10_000
FLIPS_PER_TEST = 200
# Sums that differ by less than this share of the sum of absolute differences count as equal.
TIED = 1e-9
# Numbers in the signs that are drawn at a time.
_CHUNK = 2**20


def n_flips(n_tests: int) -> int:
    """Return how many combinations of signs are drawn for each test of a family."""
    return max(MIN_FLIPS, FLIPS_PER_TEST * n_tests)


def sign_flip_p(differences: npt.NDArray[np.float64], n_tests: int, seed: int) -> npt.NDArray[np.float64]:
    """Return the two-sided p of each column (sample, test): how often random signs make so large a mean.

    All columns share the signs, which depend on the number of samples and the seed alone. `n_tests` is the
    size of the family.
    """
    n, n_columns = differences.shape
    if n == 0:
        return np.full(n_columns, np.nan)
    by_test = np.ascontiguousarray(differences.T)
    total = by_test.sum(axis=1)
    # With minus signs at some samples, the sum is total - 2 * (sum of these samples). It is as large as the
    # total, with either sign, where the sum of these samples is at most `low` or at least `high`.
    slack = TIED * np.abs(by_test).sum(axis=1)
    low = ((total - np.abs(total) + slack) / 2)[:, np.newaxis]
    high = ((total + np.abs(total) - slack) / 2)[:, np.newaxis]
    if n <= EXACT_SAMPLES:
        # The opposite of all signs gives the same absolute value, so one sign can stay.
        minus = (np.arange(2 ** (n - 1)) >> np.arange(n)[:, np.newaxis]) & 1
        exact: npt.NDArray[np.float64] = _n_reached(by_test, minus, low, high) / 2 ** (n - 1)
        return exact
    flips = n_flips(n_tests)
    reached = np.zeros(n_columns, dtype=np.int64)
    rng = np.random.default_rng(seed)
    length = max(1, _CHUNK // max(n, n_columns))
    for start in range(0, flips, length):
        rows = min(length, flips - start)
        drawn = rng.integers(256, size=(rows, -(-n // 8)), dtype=np.uint8)
        reached += _n_reached(by_test, np.unpackbits(drawn, axis=1, count=n).T, low, high)
    p: npt.NDArray[np.float64] = (reached + 1) / (flips + 1)
    return p


def _n_reached(
    by_test: npt.NDArray[np.float64],
    minus: npt.NDArray[Any],
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
) -> npt.NDArray[np.int64]:
    """Count for each test the combinations of signs (sample, combination) that reach its total."""
    sums = by_test @ minus.astype(np.float64)
    reached: npt.NDArray[np.int64] = np.count_nonzero((sums <= low) | (sums >= high), axis=1)
    return reached


def holm(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the p of a family of tests adjusted by Holm's step-down rule; NaN belongs to no family."""
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]  # NaN is sorted last
    steps = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps * p[order]), 1)
    return adjusted
