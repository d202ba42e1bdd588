"""Further comparisons of the top-k sets, S of the unperturbed and T of the perturbed map.

The sets are those of :mod:`lensmetrics.metrics.overlap`, but for ``sign_agreement``, which takes the
pixels with the largest absolute values.
"""

import math

import numpy as np
import numpy.typing as npt

from ..kernels import windows
from ..pairs.checks import check_w
from ..pairs.mappair import MapPair, of_pair
from .registry import register


@register(bounds=(0, 1), best=1)
@of_pair
def topk_iou(pair: MapPair, *, k: int) -> float:
    r"""Intersection over union of the top-k sets of both maps.

    .. math:: |S \cap T| / |S \cup T|

    Parameters
    ----------
    pair
        The two maps.
    k
        Size of the top sets in pixels, from 1 to the number of pixels.

    Returns
    -------
    float
        In [0, 1], 1 where the sets are the same. NaN where a map is constant (``constant_map``) or not
        finite (``nan_map``).

    Notes
    -----
    With i = :func:`topk_intersection` it is i / (2 - i), so it orders pairs in the same way. Two random
    sets reach on average the mean of c / (2k - c), c being hypergeometric (k draws of the H W pixels, k
    of them hits): .068 for k = 100 in 28x28. Ties at the cut go by index (status ``tied_cut``); at
    k = H W the value is 1 for any two maps (``saturated``).
    """
    common = pair.overlap(k, 0).common
    return common / (2 * k - common)


@register(bounds=(0, math.inf), best=0)
@of_pair
def topk_distance(pair: MapPair, *, k: int) -> float:
    r"""Mean distance from a top-k pixel of either map to the nearest one of the other map.

    .. math::
        \frac{1}{2} \Big( \frac{1}{k} \sum_{t \in T} \min_{s \in S} |s - t|
        + \frac{1}{k} \sum_{s \in S} \min_{t \in T} |s - t| \Big)

    Parameters
    ----------
    pair
        The two maps.
    k
        Size of the top sets in pixels, from 1 to the number of pixels.

    Returns
    -------
    float
        In pixels, Euclidean, from 0 (the sets are the same) to the diagonal of the map. NaN where a map
        is constant (``constant_map``) or not finite (``nan_map``).

    Notes
    -----
    The symmetric average Hausdorff distance of the two sets. It has no w to choose and cannot
    saturate below k = H W, but it depends on k and on the size of the map, so that only values of one k
    and one size compare. What chance reaches has no closed form. Ties at the cut go by index (status
    ``tied_cut``).

    References
    ----------
    .. [1] M.-P. Dubuisson, A. K. Jain, "A modified Hausdorff distance for object matching", ICPR 1994:
       the mean of both directed distances is their variant with the average.
    """
    if math.isnan(pair.overlap(k, 0).common):
        return math.nan
    from scipy.spatial import KDTree  # which takes a while, and only this needs it

    points = [_points(pair.top_pixels(which, k), pair.shape[1]) for which in ("unperturbed", "perturbed")]
    directed = [np.mean(KDTree(of).query(other)[0]) for of, other in (points, points[::-1])]
    return float(directed[0] + directed[1]) / 2


@register(bounds=(0, 1), best=1)
@of_pair
def fss(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""Fractions skill score of the top-k sets: how alike their densities are in windows.

    .. math:: 1 - \frac{\sum (P - Q)^2}{\sum (P^2 + Q^2)}

    P and Q are, for each pixel, the share of the (2w+1)x(2w+1) window around it that is in S and in T.

    Parameters
    ----------
    pair
        The two maps.
    k
        Size of the top sets in pixels, from 1 to the number of pixels.
    w
        Half-width of the window in pixels, at least 0: 1 is 3x3, 2 is 5x5, 3 is 7x7.

    Returns
    -------
    float
        In [0, 1], 1 where every window holds as many pixels of S as of T. NaN where a map is constant
        (``constant_map``) or not finite (``nan_map``).

    Notes
    -----
    w = 0 gives :func:`topk_intersection`. Outside the map there are no pixels, and the divisor is
    (2w+1)^2 also at the border. Symmetric in the two maps, unlike LENS recall; not monotone in w. Chance
    has no closed form; it is below that of LENS recall (k = 1000, w = 3 in 227x227: .49, there .61). Ties
    at the cut go by index (status ``tied_cut``).

    References
    ----------
    .. [1] N. M. Roberts, H. W. Lean, "Scale-selective verification of rainfall accumulations from
       high-resolution forecasts of convective events", Monthly Weather Review 136, 2008.
    """
    w = check_w(w)
    if math.isnan(pair.overlap(k, w).common):
        return math.nan
    u, p = (
        windows.window_counts(pair.top_pixels(which, k), pair.reach(w), *pair.shape)
        for which in ("unperturbed", "perturbed")
    )
    difference, total = windows.square_sums(u, p)
    return float(1 - difference / total)


@register(bounds=(0, 1), best=1)
@of_pair
def sign_agreement(pair: MapPair, *, k: int) -> float:
    r"""Fraction of the k pixels largest by absolute value that both maps share with one sign.

    .. math:: |\{x \in S \cap T : \operatorname{sign} u(x) = \operatorname{sign} p(x)\}| / k

    S and T are here the k pixels with the largest absolute values of u and of p.

    Parameters
    ----------
    pair
        The two maps, u and p.
    k
        Size of the sets in pixels, from 1 to the number of pixels.

    Returns
    -------
    float
        In [0, 1], 1 where both maps have the same pixels with the same signs; 0 has the sign of 0. NaN
        where the absolute values of a map are all the same (``constant_map``), or a map is not finite
        (``nan_map``).

    Notes
    -----
    Where neither map has a negative pixel, no sign can differ, and this only counts the overlap: status
    ``unsigned``, as of maps that were reduced by ``abs_sum``. What chance reaches has no closed form: it
    depends on the signs of both maps. Ties at the cut go by index (``tied_cut``).

    References
    ----------
    .. [1] S. Krishna et al., "The Disagreement Problem in Explainable Machine Learning: A
       Practitioner's Perspective", TMLR 2024 (there signed agreement of the top features).
    """
    by_size = pair.absolute()
    if math.isnan(by_size.overlap(k, 0).common):
        return math.nan
    if not pair.signed:
        pair.add_status("unsigned")
    tops = (by_size.top_pixels("unperturbed", k), by_size.top_pixels("perturbed", k))
    common = np.intersect1d(*tops, assume_unique=True)
    signs = (np.sign(a.reshape(-1)[common]) for a in (pair.unperturbed, pair.perturbed))
    return float(np.equal(*signs).sum()) / k


def _points(pixels: npt.NDArray[np.intp], width: int) -> npt.NDArray[np.intp]:
    """Row and column of each pixel."""
    return np.stack(np.divmod(pixels, width), axis=1)
