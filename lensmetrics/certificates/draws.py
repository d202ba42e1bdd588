"""How far the mean of some draws can be from the smoothed map, and how many draws a certificate needs."""

import math

import numpy as np

from .arguments import Floats


def norm_error(n_draws: int, *, bound: float, alpha: float) -> float:
    """Return by how much the mean of `n_draws` draws can be longer than the smoothed map.

    With probability 1 - `alpha` or more, the norm of the smoothed map is at least that of the mean minus
    bound / sqrt(n) + bound sqrt(2 ln(1 / alpha) / n). The first term bounds the expected distance of mean and
    smoothed map, the second the excess of a distance that one draw changes by 2 bound / n at most.

    Source: C. McDiarmid, "On the method of bounded differences", 1989.

    Examples
    --------
    >>> round(norm_error(64, bound=1, alpha=0.05), 2), round(norm_error(10_000, bound=1, alpha=0.05), 3)
    (0.43, 0.034)
    """
    return _error_of_one(bound, alpha) / math.sqrt(n_draws)


def draws_needed(margin: Floats, *, bound: float, alpha: float) -> Floats:
    """Return for how many draws `norm_error` is below a margin; infinite where that is not above 0.

    Examples
    --------
    >>> import numpy as np
    >>> draws_needed(np.array([0.5, 0.1, 0]), bound=1, alpha=0.05)
    array([  48., 1189.,   inf])
    """
    with np.errstate(divide="ignore"):
        n = np.floor((_error_of_one(bound, alpha) / np.maximum(margin, 0)) ** 2) + 1
    return np.asarray(n, dtype=np.float64)


def _error_of_one(bound: float, alpha: float) -> float:
    return bound * (1 + math.sqrt(-2 * math.log(alpha)))
