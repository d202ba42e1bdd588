"""Distances and similarities of two maps' values.

All use every pixel and no order, so ties do not matter. Unless a metric says otherwise, a constant map has
a value. NaN where a map is not finite (``nan_map``); TypeError where arrays are given in place of a pair.
"""

import math

import numpy as np
import numpy.typing as npt

from ..pairs.checks import FloatMap
from ..pairs.mappair import MapPair
from .registry import built_in

# The defaults of skimage.metrics.structural_similarity, from Wang et al. 2004.
SSIM_SIDE = 7
_SSIM_K1 = 0.01
_SSIM_K2 = 0.03


@built_in
def cosine(pair: MapPair) -> float:
    r"""Cosine of the angle between the two maps, taken as vectors of pixels.

    .. math:: \sum u p \, / \sqrt{\sum u^2 \sum p^2}

    Returns
    -------
    float
        In [-1, 1]; 1 where one map is a positive multiple of the other. NaN where a map is zero
        everywhere (``constant_map``) or not finite (``nan_map``).

    Notes
    -----
    Certified bounds on the change of attributions are bounds on this number [1]_.

    References
    ----------
    .. [1] F. Wang, A. W.-K. Kong, "Certified attribution robustness by uniform smoothing".

    Examples
    --------
    >>> import lensmetrics as lm
    >>> lm.cosine(lm.MapPair([[3, 4]], [[4, 3]]))  # (12 + 12) / (5 * 5)
    0.96
    """
    if not pair.finite:
        return math.nan
    u, p = _unit_peak(pair.unperturbed), _unit_peak(pair.perturbed)
    norms = math.sqrt(float((u * u).sum()) * float((p * p).sum()))
    if norms == 0:
        return math.nan
    return max(-1.0, min(1.0, float((u * p).sum()) / norms))


@built_in
def mse(pair: MapPair) -> float:
    r"""Mean squared difference of the two maps over all pixels.

    .. math:: \sum (u - p)^2 / (H W)

    Returns
    -------
    float
        At least 0, in squared units of the maps: compare only maps on one scale. 0 only for equal maps:
        a mean that is too small for float64 becomes its smallest positive number, one that is too
        large becomes inf. NaN where a map is not finite (``nan_map``).

    References
    ----------
    .. [1] A.-K. Dombrowski et al., "Explanations can be manipulated and geometry is to blame",
       NeurIPS 2019.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> lm.mse(lm.MapPair([[1, 2], [3, 4]], [[1, 2], [3, 8]]))  # 16 / 4
    4.0
    """
    if not pair.finite:
        return math.nan
    # Halved so that differences cannot overflow, scaled so that squares neither overflow nor vanish.
    difference = pair.unperturbed / np.float64(2) - pair.perturbed / np.float64(2)
    peak = float(np.abs(difference).max())
    if peak == 0:
        differs = not np.array_equal(pair.unperturbed, pair.perturbed)
        return math.ulp(0.0) if differs else 0.0
    exponent = math.frexp(peak)[1]
    scaled = np.ldexp(difference, -exponent)
    try:
        mean = math.ldexp(float((scaled * scaled).mean()), 2 * exponent + 2)
    except OverflowError:
        return math.inf
    return max(mean, math.ulp(0.0))


@built_in
def ssim(pair: MapPair) -> float:
    """Mean structural similarity of the two maps.

    Computes what ``skimage.metrics.structural_similarity`` does with its defaults: uniform windows of
    7x7 pixels, all inside the map, sample covariances, K1 = 0.01 and K2 = 0.03. The data range is the
    joint range of both maps.

    Returns
    -------
    float
        In [-1, 1]; 1 for identical maps. NaN where a side is shorter than 7 pixels (``too_small``),
        where both maps have the same value everywhere (``constant_map``), or where a map is not
        finite (``nan_map``).

    Notes
    -----
    Deviations from scikit-image: float32 maps are computed in float64, and variances and the covariance
    are those of the maps shifted by the middle of their joint range, which changes nothing but
    rounding; without the shift, maps with a large offset leave [-1, 1]. The luminance term uses the
    unshifted means. Both maps are scaled by one power of two, so that squares do not overflow.

    References
    ----------
    .. [1] Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from
       error visibility to structural similarity", IEEE TIP 13(4), 2004, doi:10.1109/TIP.2003.819861.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> import numpy as np
    >>> lm.ssim(lm.MapPair(np.eye(7), np.eye(7)))
    1.0
    >>> pair = lm.MapPair(np.eye(6), np.eye(6) + 1)
    >>> lm.ssim(pair), pair.status
    (nan, 'too_small')
    """
    if not pair.finite:
        return math.nan
    if min(pair.shape) < SSIM_SIDE:
        pair.add_status("too_small")
        return math.nan
    peak = max(float(np.abs(values).max()) for values in (pair.unperturbed, pair.perturbed))
    exponent = math.frexp(peak)[1]
    u, p = (np.ldexp(a.astype(np.float64), -exponent) for a in (pair.unperturbed, pair.perturbed))
    data_range = max(u.max(), p.max()) - min(u.min(), p.min())
    return mean_similarity(u, p, data_range) if data_range else math.nan


@built_in
def mse_normalized(pair: MapPair) -> float:
    r"""Mean squared difference of the two maps, each divided by the sum of its absolute values.

    .. math:: \frac{1}{H W} \sum \left( \frac{u}{\sum |u|} - \frac{p}{\sum |p|} \right)^2

    Returns
    -------
    float
        From 0 to 4 / (H W); 0 where one map is a positive multiple of the other, up to rounding. It falls
        with the square of the number of pixels, so compare only maps of one size. NaN where a map is zero
        everywhere (``constant_map``) or not finite (``nan_map``).

    Notes
    -----
    The MSE of Dombrowski et al. [1]_, whose maps sum to one. Where all values have one sign, as after the
    sum of absolute values over channels, both normalizations are the same; they differ for signed maps.

    References
    ----------
    .. [1] A.-K. Dombrowski et al., "Explanations can be manipulated and geometry is to blame",
       NeurIPS 2019, section 2 and the released code.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> lm.mse_normalized(lm.MapPair([[1, 3]], [[2, 2]]))  # (1/4 - 1/2)^2 and (3/4 - 1/2)^2, halved
    0.0625
    """
    shares = _shares(pair)
    return math.nan if shares is None else mse(shares)


@built_in
def ssim_normalized(pair: MapPair) -> float:
    """SSIM of the two maps, each divided by the sum of its absolute values.

    Otherwise as :func:`ssim`, whose value depends on the scale of one map against the other.

    Returns
    -------
    float
        In [-1, 1]; 1 where one map is a positive multiple of the other. NaN where a side is shorter than 7
        pixels (``too_small``), where a map is zero everywhere or both are constant (``constant_map``), or
        where a map is not finite (``nan_map``).

    Notes
    -----
    The SSIM of Dombrowski et al. [1]_, whose maps sum to one: see :func:`mse_normalized`.

    References
    ----------
    .. [1] A.-K. Dombrowski et al., "Explanations can be manipulated and geometry is to blame",
       NeurIPS 2019, section 2 and the released code.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> import numpy as np
    >>> pair = lm.MapPair(np.eye(7), 8 * np.eye(7))
    >>> lm.ssim_normalized(pair), lm.ssim(pair) < 0.3
    (1.0, True)
    """
    if pair.finite and min(pair.shape) < SSIM_SIDE:
        pair.add_status("too_small")
        return math.nan
    shares = _shares(pair)
    return math.nan if shares is None else ssim(shares)


@built_in
def mass_center_shift(pair: MapPair) -> float:
    """Euclidean distance between the centers of mass of the absolute values of the two maps.

    Returns
    -------
    float
        In pixels, from 0 to the diagonal of the map. NaN where a map is zero everywhere
        (``constant_map``) or not finite (``nan_map``).

    References
    ----------
    .. [1] A. Ghorbani, A. Abid, J. Zou, "Interpretation of Neural Networks Is Fragile", AAAI 2019.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> u = [[2, 0, 0], [0, 0, 0], [0, 0, 0]]
    >>> p = [[0, 0, -4], [0, 0, 0], [0, 0, 0]]
    >>> lm.mass_center_shift(lm.MapPair(u, p))
    2.0
    """
    if not pair.finite:
        return math.nan
    y_u, x_u = _mass_center(pair.unperturbed)
    y_p, x_p = _mass_center(pair.perturbed)
    return math.hypot(y_u - y_p, x_u - x_p)


def mean_similarity(u: npt.NDArray[np.float64], p: npt.NDArray[np.float64], data_range: float) -> float:
    """Return the mean structural similarity of two arrays (height, width) of at least `SSIM_SIDE` a side."""
    lowest, highest = min(u.min(), p.min()), max(u.max(), p.max())
    # E[x^2] - E[x]^2 loses a variance that is small compared to the mean; the shift makes the mean small.
    middle = lowest / 2 + highest / 2
    u, p = u - middle, p - middle
    mean_u, mean_p = _window_mean(u), _window_mean(p)
    n = SSIM_SIDE**2
    sample = n / (n - 1)
    variance_u = sample * (_window_mean(u * u) - mean_u * mean_u)
    variance_p = sample * (_window_mean(p * p) - mean_p * mean_p)
    covariance = sample * (_window_mean(u * p) - mean_u * mean_p)
    c1, c2 = (_SSIM_K1 * data_range) ** 2, (_SSIM_K2 * data_range) ** 2
    mean_u, mean_p = mean_u + middle, mean_p + middle
    similarity = ((2 * mean_u * mean_p + c1) * (2 * covariance + c2)) / (
        (mean_u * mean_u + mean_p * mean_p + c1) * (variance_u + variance_p + c2)
    )
    return max(-1.0, min(1.0, float(similarity.mean())))


def _shares(pair: MapPair) -> MapPair | None:
    """Return both maps divided by the sums of their absolute values; None where that is undefined."""
    if not pair.finite or not (pair.unperturbed.any() and pair.perturbed.any()):
        return None
    scaled = (_unit_peak(values) for values in (pair.unperturbed, pair.perturbed))
    u, p = (values / np.abs(values).sum() for values in scaled)
    return MapPair(u, p)


def _unit_peak(values: FloatMap) -> npt.NDArray[np.float64]:
    """Return the values divided by the largest absolute one, so that squares neither overflow nor vanish."""
    peak = np.float64(np.abs(values).max())
    if peak == 0:
        return values.astype(np.float64)
    # Divide, because subnormal peaks have no finite reciprocal.
    return values / peak


def _window_mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the means over the windows inside the map."""
    from scipy.ndimage import uniform_filter  # slow to import, and only ssim needs it

    border = SSIM_SIDE // 2
    means: npt.NDArray[np.float64] = uniform_filter(values, SSIM_SIDE)
    return means[border:-border, border:-border]


def _mass_center(values: FloatMap) -> tuple[float, float]:
    """Return the row and the column of the center of mass, NaN where there is no mass."""
    mass = np.abs(_unit_peak(values))
    total = float(mass.sum())
    if total == 0:
        return math.nan, math.nan
    height, width = mass.shape
    return float(mass.sum(1) @ np.arange(height)) / total, float(mass.sum(0) @ np.arange(width)) / total
