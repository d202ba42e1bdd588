"""The published formula, which is not a bound."""

from typing import Any

import numpy as np
import numpy.typing as npt

from .arguments import as_distance, plain
from .balls import unshared
from .bounds import Smoothed


def certified_cosine_published(
    norm: npt.ArrayLike,
    *,
    eps: npt.ArrayLike,
    radius: npt.ArrayLike,
    dim: npt.ArrayLike,
    bound: npt.ArrayLike = 1.0,
) -> Any:
    """Return the value that summaries of the paper print as a bound on the cosine, and that is none.

    It is here to compare with published numbers. Use :func:`certified_cosine` to certify.

    Parameters
    ----------
    norm, eps, radius, dim, bound
        As for :func:`certified_cosine`.

    Returns
    -------
    float or ndarray
        norm / sqrt(norm² + (bound V_U / V_S)²) with V_U / V_S = 2 rho, in [0, 1]. NaN where `norm` is 0 or
        NaN.

    Raises
    ------
    ValueError
        If an argument is out of its range.

    Notes
    -----
    V_S is the volume of a ball. No source at hand says what V_U is: here, the volume of all points that
    belong to one of both balls only. The formula puts the difference of the two maps at a right angle to
    the first, but other directions turn a map further. So it is **not sound**:

    * Signed maps: with rho = 0.2 and bound 1.25, h(x) = (1, 0) and h(x') = (0.75, 0.433) are possible. Their
      cosine is 0.866, the formula gives 0.894. If V_U is half of that, it gives even more.
    * Nonnegative maps: with rho = 0.6 and bound 1, h(x) = (0.6, 0) and h(x') = (0, 0.6) are possible. Their
      cosine is 0, the formula gives 0.447. Where bound rho <= norm / 2, it is below the sound bound.

    Source: summaries of Wang and Kong 2024, arXiv:2405.06361; the paper itself was not at hand.

    Examples
    --------
    On a line, two balls of radius 1 at distance 0.4 have rho = 0.2.

    >>> import lensmetrics as lm
    >>> round(lm.certified_cosine_published(1, eps=0.4, radius=1, dim=1, bound=1.25), 3)
    0.894
    >>> round(lm.certified_cosine(1, eps=0.4, radius=1, dim=1, bound=1.25), 3)
    0.866
    """
    smoothed = Smoothed.of(norm, radius, dim, bound, nonnegative=False)
    difference = smoothed.bound * 2 * unshared(as_distance(eps), smoothed.radius, smoothed.dim)
    with np.errstate(invalid="ignore"):
        cosine = smoothed.norm / np.hypot(smoothed.norm, difference)
    return plain(np.where(smoothed.norm > 0, cosine, np.nan))
