r"""Rank and linear correlation of two maps over all pixels.

=========  ==================================================================================
u, p       the unperturbed and the perturbed map, H pixels high and W pixels wide
w          half-width of the smoothing window in pixels, at least 0; 0 leaves the maps as they are
=========  ==================================================================================

Smoothing sums over the (2w+1)x(2w+1) window inside the map and divides by (2w+1)^2, also at the border; see
:meth:`MapPair.smoothed <lensmetrics.pairs.mappair.MapPair.smoothed>`. Sums are computed in float64: where
values of a map differ by less than 1e-15 of its largest, rounding decides their order.

Ties: equal values share the average of their ranks; -0.0 equals 0.0.

Undefined: NaN where a map is constant (``constant_map``) or not finite (``nan_map``).

Errors: ValueError where w is not an integer of at least 0, TypeError where arrays are given in place of a
pair.

The reference of the smoothed forms is [Kamath2024]_.

.. [Kamath2024] S. Kamath, S. Mittal, A. Deshpande, V. N. Balasubramanian, "Rethinking Robustness of Model
   Attributions", AAAI 2024, doi:10.1609/aaai.v38i3.28047, arXiv:2312.10534.
"""

import math

import numpy as np
import numpy.typing as npt

from ..pairs.checks import FloatMap
from ..pairs.mappair import MapPair
from .registry import built_in


@built_in
def spearman(pair: MapPair) -> float:
    r"""Spearman's rank correlation over all pixels.

    The Pearson correlation of the ranks, where equal values share the average of their ranks; computes
    what ``scipy.stats.spearmanr`` does.

    Returns
    -------
    float
        In [-1, 1]; 1 where both maps order the pixels alike. NaN where a map is constant
        (``constant_map``) or not finite (``nan_map``).

    References
    ----------
    .. [1] A. Ghorbani, A. Abid, J. Zou, "Interpretation of Neural Networks Is Fragile", AAAI 2019.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> lm.spearman(lm.MapPair([[1, 2], [3, 4]], [[1, 2], [4, 3]]))  # 1 - 6 (0 + 0 + 1 + 1) / (4 (16 - 1))
    0.8
    """
    if not pair.finite or pair.constant:
        return math.nan
    covariance, variance_u, variance_p = pair.order_agreement().rank_sums()
    return _ratio(covariance, math.sqrt(variance_u * variance_p))


@built_in
def kendall(pair: MapPair) -> float:
    r"""Kendall's tau-b over all pairs of pixels.

    .. math:: \tau_b = (C - D) / \sqrt{(n_0 - n_u)(n_0 - n_p)}

    C and D count the pairs of pixels that both maps order alike and oppositely, n_0 all pairs,
    n_u and n_p those tied in the unperturbed and in the perturbed map; computes what
    ``scipy.stats.kendalltau`` does. All counts are exact.

    Returns
    -------
    float
        In [-1, 1]; 1 where both maps order the pixels alike. NaN where a map is constant
        (``constant_map``) or not finite (``nan_map``).

    References
    ----------
    .. [1] M. G. Kendall, "The treatment of ties in ranking problems", Biometrika 33, 1945.
    .. [2] J. Chen et al., "Robust Attribution Regularization", NeurIPS 2019: the acceptance
       criterion of its attacks.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> lm.kendall(lm.MapPair([[1, 2, 3]], [[1, 3, 2]]))  # of 3 pairs of pixels, 2 in order and 1 not
    0.3333333333333333
    """
    if not pair.finite or pair.constant:
        return math.nan
    n, tied_u, tied_p, tied_both, discordant = pair.order_agreement().pixel_pairs()
    difference = n - tied_u - tied_p + tied_both - 2 * discordant
    return _ratio(difference, math.sqrt((n - tied_u) * (n - tied_p)))


@built_in
def lens_spearman(pair: MapPair, *, w: int = 1) -> float:
    """Spearman's rank correlation of the w-smoothed maps.

    Parameters
    ----------
    pair
        The two maps.
    w
        Half-width of the window, at least 0 pixels; 0 is :func:`spearman`. Windows are clipped at the
        border and divided by (2w+1)^2 also there: see :mod:`lensmetrics.metrics.correlation`.

    Returns
    -------
    float
        In [-1, 1]; 1 where both smoothed maps order the pixels alike. NaN where a map, before or after
        smoothing, is constant or not finite: smoothing a constant map only shows the image border.

    Notes
    -----
    Not in the released code. Reference: :mod:`lensmetrics.metrics.correlation`.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> pair = lm.MapPair([[9, 0, 0, 0]], [[0, 9, 0, 0]])
    >>> round(lm.spearman(pair), 3), round(lm.lens_spearman(pair, w=1), 3)  # u becomes 1 1 0 0, p 1 1 1 0
    (-0.333, 0.577)
    """
    return math.nan if pair.constant else spearman(pair.smoothed(w))


@built_in
def lens_kendall(pair: MapPair, *, w: int = 1) -> float:
    """Kendall's tau-b of the w-smoothed maps.

    Parameters
    ----------
    pair
        The two maps.
    w
        Half-width of the window, at least 0 pixels; 0 is :func:`kendall`. Windows are clipped at the
        border and divided by (2w+1)^2 also there: see :mod:`lensmetrics.metrics.correlation`.

    Returns
    -------
    float
        In [-1, 1]; 1 where both smoothed maps order the pixels alike. NaN where a map, before or after
        smoothing, is constant or not finite: smoothing a constant map only shows the image border.

    Notes
    -----
    Not in the released code. Reference: :mod:`lensmetrics.metrics.correlation`.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> pair = lm.MapPair([[9, 0, 0, 0]], [[0, 9, 0, 0]])
    >>> round(lm.kendall(pair), 3), round(lm.lens_kendall(pair, w=1), 3)  # u becomes 1 1 0 0, p 1 1 1 0
    (-0.333, 0.577)
    """
    return math.nan if pair.constant else kendall(pair.smoothed(w))


@built_in
def pearson(pair: MapPair) -> float:
    """Pearson's linear correlation over all pixels.

    Returns
    -------
    float
        In [-1, 1]; 1 where one map is a positive multiple of the other plus a constant. NaN where
        a map is constant (``constant_map``) or not finite (``nan_map``).

    References
    ----------
    .. [1] A.-K. Dombrowski et al., "Explanations can be manipulated and geometry is to blame",
       NeurIPS 2019 (as PCC).

    Examples
    --------
    >>> import lensmetrics as lm
    >>> lm.pearson(lm.MapPair([[1, 0], [0, 1]], [[1, 0], [1, 0]]))
    0.0
    """
    if not pair.finite or pair.constant:
        return math.nan
    return linear_correlation(pair.unperturbed, pair.perturbed)


def linear_correlation(first: FloatMap, second: FloatMap) -> float:
    """Return Pearson's correlation of two finite arrays, neither of which has one value everywhere."""
    u, p = _centered(first), _centered(second)
    return _ratio(float((u * p).sum()), math.sqrt(float((u * u).sum()) * float((p * p).sum())))


def _centered(values: FloatMap) -> npt.NDArray[np.float64]:
    """Return the deviations from the mean, scaled to about 1 by powers of two.

    The deviations of nearly constant values, a few units in the last place, are kept, because the
    difference of two numbers that are less than a factor of two apart is exact.
    """
    lowest, highest = np.float64(values.min()), np.float64(values.max())
    deviations = values - (lowest / 2 + highest / 2)
    for _ in range(2):
        deviations = np.ldexp(deviations, -np.frexp(np.abs(deviations).max())[1])
        deviations = deviations - deviations.mean()
    return deviations


def _ratio(numerator: float, denominator: float) -> float:
    """Return the quotient, limited to [-1, 1], which rounding can exceed."""
    return max(-1.0, min(1.0, numerator / denominator))
