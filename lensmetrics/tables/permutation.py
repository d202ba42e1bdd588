"""Sign-flip permutation tests of paired differences, and Holm's adjustment for many of them."""

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
    n = len(differences)
    scale = np.abs(differences).max(axis=0, initial=0)
    differences = differences / np.where(scale > 0, scale, 1)  # their sum cannot overflow
    total = differences.sum(axis=0)
    threshold = np.abs(total) - TIED * np.abs(differences).sum(axis=0)
    if n == 0:
        return np.full(differences.shape[1], np.nan)
    if n <= EXACT_SAMPLES:
        # The opposite of all signs gives the same absolute value, so one sign can stay.
        minus = (np.arange(2 ** (n - 1))[:, np.newaxis] >> np.arange(n)) & 1
        sums = total - 2 * (minus.astype(np.float64) @ differences)
        p: npt.NDArray[np.float64] = (np.abs(sums) >= threshold).mean(axis=0)
    else:
        flips = n_flips(n_tests)
        reached = np.zeros(differences.shape[1], dtype=np.int64)
        rng = np.random.default_rng(seed)
        length = max(1, _CHUNK // n)
        for start in range(0, flips, length):
            rows = min(length, flips - start)
            drawn = rng.integers(256, size=(rows, -(-n // 8)), dtype=np.uint8)
            minus = np.unpackbits(drawn, axis=1, count=n).astype(np.float64)
            reached += np.count_nonzero(np.abs(total - 2 * (minus @ differences)) >= threshold, axis=0)
        p = (reached + 1) / (flips + 1)
    return np.where(np.isfinite(total), p, np.nan)


def holm(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the p of a family of tests adjusted by Holm's step-down rule; NaN belongs to no family."""
    adjusted = np.full(len(p), np.nan)
    order = np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]  # NaN is sorted last
    steps = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps * p[order]), 1)
    return adjusted
