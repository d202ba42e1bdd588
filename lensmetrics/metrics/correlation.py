"""Rank and linear correlation of two maps over all pixels."""

import math

import numpy as np
import numpy.typing as npt

from ..pairs.checks import FloatMap
from ..pairs.mappair import MapPair, of_pair
from .registry import register


@register(bounds=(-1, 1), best=1)
@of_pair
def spearman(pair: MapPair) -> float:
    r"""Spearman's rank correlation over all pixels.

    The Pearson correlation of the ranks, equal values sharing the average of theirs; what
    ``scipy.stats.spearmanr`` computes.

    Returns
    -------
    float
        In [-1, 1], 1 where both maps order the pixels alike. NaN where a map is constant
        (``constant_map``) or not finite (``nan_map``).

    References
    ----------
    .. [1] A. Ghorbani, A. Abid, J. Zou, "Interpretation of Neural Networks Is Fragile", AAAI 2019.
    """
    if not pair.finite or pair.constant:
        return math.nan
    covariance, variance_u, variance_p = pair.rank_sums()
    return _ratio(covariance, math.sqrt(variance_u * variance_p))


@register(bounds=(-1, 1), best=1)
@of_pair
def kendall(pair: MapPair) -> float:
    r"""Kendall's tau-b over all pairs of pixels.

    .. math:: \tau_b = (C - D) / \sqrt{(n_0 - n_u)(n_0 - n_p)}

    C and D count the pairs of pixels that both maps order alike and oppositely, n_0 all pairs,
    n_u and n_p those tied in the unperturbed and in the perturbed map; what
    ``scipy.stats.kendalltau`` computes. All counts are exact.

    Returns
    -------
    float
        In [-1, 1], 1 where both maps order the pixels alike. NaN where a map is constant
        (``constant_map``) or not finite (``nan_map``).

    References
    ----------
    .. [1] M. G. Kendall, "The treatment of ties in ranking problems", Biometrika 33, 1945.
    .. [2] J. Chen et al., "Robust Attribution Regularization", NeurIPS 2019: the acceptance
       criterion of its attacks.
    """
    if not pair.finite or pair.constant:
        return math.nan
    n, tied_u, tied_p, tied_both, discordant = pair.pixel_pairs()
    difference = n - tied_u - tied_p + tied_both - 2 * discordant
    return _ratio(difference, math.sqrt((n - tied_u) * (n - tied_p)))


@register(bounds=(-1, 1), best=1)
@of_pair
def lens_spearman(pair: MapPair, *, w: int = 1) -> float:
    """Spearman's rank correlation of the w-smoothed maps.

    Parameters
    ----------
    pair
        The two maps.
    w
        Half-width of the window in pixels, at least 0; 0 gives :func:`spearman`.

    Returns
    -------
    float
        In [-1, 1], as :func:`spearman`. NaN where a map, before or after smoothing, is constant or
        not finite: what smoothing makes of a constant map is the image border alone.

    Notes
    -----
    Smoothing sums over the (2w+1)x(2w+1) window inside the map and divides by (2w+1)^2 also at the
    border; see :meth:`MapPair.smoothed`. Not in the released code. Sums are made in float64: where
    values of a map differ by less than 1e-15 of its largest, their rounding decides the order.

    References
    ----------
    .. [1] S. Kamath et al., "Rethinking Robustness of Model Attributions", AAAI 2024,
       arXiv:2312.10534.
    """
    return math.nan if pair.constant else spearman(pair.smoothed(w))


@register(bounds=(-1, 1), best=1)
@of_pair
def lens_kendall(pair: MapPair, *, w: int = 1) -> float:
    """Kendall's tau-b of the w-smoothed maps.

    Parameters
    ----------
    pair
        The two maps.
    w
        Half-width of the window in pixels, at least 0; 0 gives :func:`kendall`.

    Returns
    -------
    float
        In [-1, 1], as :func:`kendall`. NaN where a map, before or after smoothing, is constant or
        not finite: what smoothing makes of a constant map is the image border alone.

    Notes
    -----
    Smoothing sums over the (2w+1)x(2w+1) window inside the map and divides by (2w+1)^2 also at the
    border; see :meth:`MapPair.smoothed`. Not in the released code. Sums are made in float64: where
    values of a map differ by less than 1e-15 of its largest, their rounding decides the order.

    References
    ----------
    .. [1] S. Kamath et al., "Rethinking Robustness of Model Attributions", AAAI 2024,
       arXiv:2312.10534.
    """
    return math.nan if pair.constant else kendall(pair.smoothed(w))


@register(bounds=(-1, 1), best=1)
@of_pair
def pearson(pair: MapPair) -> float:
    """Pearson's linear correlation over all pixels.

    Returns
    -------
    float
        In [-1, 1], 1 where one map is the other times a positive number plus a constant. NaN where
        a map is constant (``constant_map``) or not finite (``nan_map``).

    References
    ----------
    .. [1] A.-K. Dombrowski et al., "Explanations can be manipulated and geometry is to blame",
       NeurIPS 2019 (there PCC).
    """
    if not pair.finite or pair.constant:
        return math.nan
    u, p = (_centred(values) for values in (pair.unperturbed, pair.perturbed))
    return _ratio(float((u * p).sum()), math.sqrt(float((u * u).sum()) * float((p * p).sum())))


def _centred(values: FloatMap) -> npt.NDArray[np.float64]:
    """Return the deviations from the mean, scaled to about 1 by powers of two.

    Nearly constant values have deviations of a few units in the last place: these are kept, because the
    difference of two numbers that are less than a factor of two apart is exact.
    """
    lowest, highest = np.float64(values.min()), np.float64(values.max())
    deviations = values - (lowest / 2 + highest / 2)
    for _ in range(2):
        deviations = np.ldexp(deviations, -np.frexp(np.abs(deviations).max())[1])
        deviations = deviations - deviations.mean()
    return deviations


def _ratio(numerator: float, denominator: float) -> float:
    """Divide, and cut off what rounding adds beyond 1."""
    return max(-1.0, min(1.0, numerator / denominator))
