r"""Further comparisons of the top-k sets: IoU, distance, densities and signs.

For k, w, S, T, ties, borders and errors see :mod:`lensmetrics.metrics.overlap`; but ``sign_agreement`` takes
as S and T the k pixels with the largest absolute values. What chance reaches has no closed form, except
for :func:`topk_iou`.

Undefined: NaN where a map is constant (``constant_map``) or not finite (``nan_map``). At k = H W both sets
are the whole map (``saturated``).
"""

import math

import numpy as np
import numpy.typing as npt

from ..kernels import windows
from ..pairs.checks import check_w
from ..pairs.mappair import MapPair
from .registry import built_in


@built_in
def topk_iou(pair: MapPair, *, k: int) -> float:
    r"""Intersection over union of the top-k sets of both maps.

    .. math:: |S \cap T| / |S \cup T|

    S and T are the top-k sets of the unperturbed and of the perturbed map.

    Parameters
    ----------
    pair
        The two maps.
    k
        Size of the top sets, 1 to H W pixels; ties at the cut are broken by index (``tied_cut``). Rules and
        reference: :mod:`lensmetrics.metrics.overlap`.

    Returns
    -------
    float
        In [0, 1]; 1 where the sets are the same, as at k = H W for any two maps (``saturated``). NaN where
        a map is constant or not finite.

    Notes
    -----
    With i = :func:`topk_intersection` it is i / (2 - i), so it orders pairs in the same way. Two random
    sets reach on average the mean of c / (2k - c), where c is hypergeometric (k draws from the H W pixels,
    k of which are hits): .068 for k = 100 in 28x28.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> pair = lm.MapPair([[9, 8, 7], [0, 0, 0]], [[9, 0, 8], [0, 0, 7]])
    >>> lm.topk_iou(pair, k=3)  # 2 pixels shared, 4 in all
    0.5
    """
    common = pair.overlap(k, 0).common
    return common / (2 * k - common)


@built_in
def topk_distance(pair: MapPair, *, k: int) -> float:
    r"""Mean distance from a top-k pixel of either map to the nearest one of the other map.

    .. math::
        \frac{1}{2} \Big( \frac{1}{k} \sum_{t \in T} \min_{s \in S} |s - t|
        + \frac{1}{k} \sum_{s \in S} \min_{t \in T} |s - t| \Big)

    S and T are the top-k sets of the unperturbed and of the perturbed map.

    Parameters
    ----------
    pair
        The two maps.
    k
        Size of the top sets, 1 to H W pixels; ties at the cut are broken by index (``tied_cut``). Rules and
        reference: :mod:`lensmetrics.metrics.overlap`.

    Returns
    -------
    float
        In pixels, Euclidean, from 0 (the sets are the same) to the diagonal of the map. NaN where a map
        is constant or not finite.

    Notes
    -----
    The symmetric average Hausdorff distance of the two sets. There is no w to choose, and the value cannot
    saturate below k = H W, but it depends on k and on the size of the map: compare only values of one k
    and one size.

    References
    ----------
    .. [1] M.-P. Dubuisson, A. K. Jain, "A modified Hausdorff distance for object matching", ICPR 1994:
       the mean of both directed distances is their variant with the average.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> pair = lm.MapPair([[9, 8, 0, 0]], [[9, 0, 0, 8]])
    >>> lm.topk_distance(pair, k=2)  # from T to S 0 and 2 pixels, from S to T 0 and 1
    0.75
    """
    if math.isnan(pair.overlap(k, 0).common):
        return math.nan
    from scipy.spatial import KDTree  # slow to import, and only this metric needs it

    points = [_points(pair.top_pixels(which, k), pair.shape[1]) for which in ("unperturbed", "perturbed")]
    directed = [np.mean(KDTree(of).query(other)[0]) for of, other in (points, points[::-1])]
    return float(directed[0] + directed[1]) / 2


@built_in
def fss(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""Fractions skill score of the top-k sets: how alike their densities are in windows.

    .. math:: 1 - \frac{\sum (P - Q)^2}{\sum (P^2 + Q^2)}

    P and Q are, for each pixel, the share of the (2w+1)x(2w+1) window around it that is in S and in T, the
    top-k sets of the unperturbed and of the perturbed map.

    Parameters
    ----------
    pair
        The two maps.
    k, w
        Size of the top sets, 1 to H W pixels, and half-width of the (2w+1)x(2w+1) window, at least 0; ties at
        the cut are broken by index. Rules and reference: :mod:`lensmetrics.metrics.overlap`.

    Returns
    -------
    float
        In [0, 1]; 1 where every window holds as many pixels of S as of T. NaN where a map is constant or
        not finite.

    Notes
    -----
    w = 0 is :func:`topk_intersection`. There are no pixels outside the map, and the divisor is
    (2w+1)^2 also at the border. Symmetric in the two maps, unlike LENS recall; not monotone in w. The
    level of chance is below that of LENS recall (k = 1000, w = 3 in 227x227: .49, there .61).

    References
    ----------
    .. [1] N. M. Roberts, H. W. Lean, "Scale-selective verification of rainfall accumulations from
       high-resolution forecasts of convective events", Monthly Weather Review 136, 2008.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> u = [[9, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    >>> p = [[0, 9, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    >>> lm.fss(lm.MapPair(u, p), k=1, w=1)  # the 9 is in 4 windows of u, in these and 2 more of p: 1 - 2/10
    0.8
    """
    w = check_w(w)
    if math.isnan(pair.overlap(k, w).common):
        return math.nan
    u, p = (
        windows.window_counts(pair.top_pixels(which, k), pair.clipped(w), *pair.shape)
        for which in ("unperturbed", "perturbed")
    )
    difference, total = windows.square_sums(u, p)
    return float(1 - difference / total)


@built_in
def sign_agreement(pair: MapPair, *, k: int) -> float:
    r"""Fraction of the k pixels largest by absolute value that both maps share with one sign.

    .. math:: |\{x \in S \cap T : \operatorname{sign} u(x) = \operatorname{sign} p(x)\}| / k

    S and T are here the k pixels with the largest absolute values of u and of p.

    Parameters
    ----------
    pair
        The two maps, u and p.
    k
        Size of the sets, 1 to H W pixels; ties at the cut are broken by index (``tied_cut``).

    Returns
    -------
    float
        In [0, 1]; 1 where both maps have the same pixels with the same signs; the sign of 0 is 0. NaN
        where the absolute values of a map are all equal (``constant_map``), or a map is not finite
        (``nan_map``).

    Notes
    -----
    Where neither map has a negative pixel, signs cannot differ and the value only counts the overlap:
    status ``unsigned``, as always for maps that were reduced by ``abs_sum``. The level of chance depends on
    the signs of both maps.

    References
    ----------
    .. [1] S. Krishna et al., "The Disagreement Problem in Explainable Machine Learning: A
       Practitioner's Perspective", TMLR 2024 (signed agreement of the top features).

    Examples
    --------
    >>> import lensmetrics as lm
    >>> pair = lm.MapPair([[5, -4, 3, 0]], [[5, 4, 3, 0]])
    >>> lm.sign_agreement(pair, k=2)  # the 5 keeps its sign, the 4 does not
    0.5
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
    """Return the row and the column of each pixel."""
    return np.stack(np.divmod(pixels, width), axis=1)
