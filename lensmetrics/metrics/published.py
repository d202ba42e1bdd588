r"""LENS as the released scripts compute it, to compare with printed numbers.

For k, w, S and T see :mod:`lensmetrics.metrics.overlap`; in addition:

=========  ==================================================================================
P_w(S)     the scripts' windows: the flat indices x + a W + b for x in S and integers a, b from -w to w that
           are larger than 0 and smaller than H W
D_S, D_T   the scripts' diverse sets, below
pool       number of the largest values that are candidates for D_S and D_T, from 1 to H W. Defaults are the
           scripts': 600 for 28x28; 6000 for 128x128 with w = 1; 6000, 15000 and 25000 for 227x227 with
           w = 1, 2 and 3. There is no default for other maps.
=========  ==================================================================================

Deviations of the scripts from the definitions:

1. Windows of flat indices run over the right edge into the next row, so pixels at opposite borders count
   as near.
2. Pixel 0, the top left one, is in no window, so identical maps may score below 1; it is dropped from
   diverse sets at the end.
3. Top-k-div loses the second-best candidate: after the first pick, the window of each new best candidate is
   removed before the next one is picked. Where pixel 0 is the first pick, it remains the best candidate for
   one round, and the second-best is kept.
4. The candidates of top-k-div end with the pool. Where these are too few, the scripts stop with an error;
   here the value is NaN (``pool_exhausted``). The divisor is k, even where pixel 0 was dropped from a set.

Ties: the scripts sort unstably, so the digits agree only where there is no tie at the cut and, for diverse
sets, none within the pool or at its edge (``tied_cut`` for ties at the cut and at the edge of the pool).
Their 7x7 window for 128-wide images has rows from -4 to 4 by mistake; this is not reproduced.

Undefined: NaN where a map is not finite (``nan_map``). Of a constant map the value is that of the scripts:
the set is filled by pixel index.

Errors: ValueError where k, w or pool is not an integer in its range or a pool is missing, TypeError where
arrays are given in place of a pair.

The reference is [Kamath2024]_; released code: ksandeshk/LENS at 96f6cc7 (2024-08-28).

.. [Kamath2024] S. Kamath, S. Mittal, A. Deshpande, V. N. Balasubramanian, "Rethinking Robustness of Model
   Attributions", AAAI 2024, doi:10.1609/aaai.v38i3.28047, arXiv:2312.10534.
"""

import math

import numpy as np
import numpy.typing as npt

from ..kernels import published
from ..pairs.checks import check_k, check_w, is_integer
from ..pairs.mappair import MapPair, Which
from .registry import built_in


@built_in
def lens_recall_published(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""LENS recall as the released scripts compute it.

    .. math:: |P_w(S) \cap T| / k

    S and T are the top-k sets of the unperturbed and of the perturbed map; P_w adds the scripts' windows of
    flat indices.

    Parameters
    ----------
    pair
        The two maps.
    k, w
        Size of the top sets, 1 to H W pixels, and half-width of the (2w+1)x(2w+1) window, at least 0. Rules,
        deviations and reference: :mod:`lensmetrics.metrics.published`.

    Returns
    -------
    float
        In [0, 1]; 1 where every pixel of T is in P_w(S). NaN where a map is not finite.

    Notes
    -----
    Differs from :func:`lens_recall` in that windows run over the right edge into the next row, and pixel 0
    is in no window.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> pair = lm.MapPair([[0, 0, 9], [0, 0, 0], [0, 0, 0]], [[0, 0, 0], [9, 0, 0], [0, 0, 0]])
    >>> lm.lens_recall_published(pair, k=1, w=1), lm.lens_recall(pair, k=1, w=1)
    (1.0, 0.0)
    """
    return _near_share(pair, "unperturbed", "perturbed", k, w)


@built_in
def lens_precision_published(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""LENS precision as the released scripts compute it.

    .. math:: |S \cap P_w(T)| / k

    S and T are the top-k sets of the unperturbed and of the perturbed map; P_w adds the scripts' windows of
    flat indices.

    Parameters
    ----------
    pair
        The two maps.
    k, w
        Size of the top sets, 1 to H W pixels, and half-width of the (2w+1)x(2w+1) window, at least 0. Rules,
        deviations and reference: :mod:`lensmetrics.metrics.published`.

    Returns
    -------
    float
        In [0, 1]; 1 where every pixel of S is in P_w(T). NaN where a map is not finite.

    Notes
    -----
    Differs from :func:`lens_precision` in that windows run over the right edge into the next row, and
    pixel 0 is in no window.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> pair = lm.MapPair([[9, 0, 0], [0, 0, 0], [0, 0, 8]], [[9, 0, 0], [0, 0, 0], [0, 0, 8]])
    >>> lm.lens_precision_published(pair, k=2, w=1), lm.lens_precision(pair, k=2, w=1)
    (0.5, 1.0)
    """
    return _near_share(pair, "perturbed", "unperturbed", k, w)


@built_in
def topk_div_intersection_published(pair: MapPair, *, k: int, w: int = 1, pool: int | None = None) -> float:
    r"""Intersection of the diverse top-k sets as the released scripts compute it.

    .. math:: |D_S \cap D_T| / k

    D_S and D_T are the scripts' diverse top-k sets of the unperturbed and of the perturbed map.

    Parameters
    ----------
    pair
        The two maps.
    k, w
        Nominal size of the sets, 1 to H W pixels, and half-width of the windows of exclusion, at least 0
        pixels. Rules, deviations and reference: :mod:`lensmetrics.metrics.published`.
    pool
        Number of the largest values that are candidates, 1 to H W; the scripts' own by default for maps
        of 28x28, 128x128 (w = 1) and 227x227 (w = 1, 2, 3), otherwise required.

    Returns
    -------
    float
        In [0, 1]. NaN where the pool holds too few diverse pixels (``pool_exhausted``), or a map is not
        finite.

    Notes
    -----
    Differs from :func:`topk_div_intersection` in that the second-best candidate is lost, windows are those
    of :func:`lens_recall_published`, candidates end with the pool, and the divisor is always k.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> pair = lm.MapPair([[0, 9, 0, 0, 8, 0, 0, 7, 0]], [[0, 9, 0, 0, 8, 0, 0, 0, 7]])
    >>> lm.topk_div_intersection_published(pair, k=2, w=1, pool=9)  # the 9 and the 7: the 8 is lost
    0.5
    >>> lm.topk_div_intersection(pair, k=2, w=1)  # the 9 and the 8
    1.0
    """
    sets = _diverse_sets(pair, k, w, pool)
    if sets is None:
        return math.nan
    return len(np.intersect1d(*sets, assume_unique=True)) / k


@built_in
def lens_recall_div_published(pair: MapPair, *, k: int, w: int = 1, pool: int | None = None) -> float:
    r"""LENS recall of the diverse top-k sets as the released scripts compute it.

    .. math:: |P_w(D_S) \cap D_T| / k

    D_S and D_T are the scripts' diverse top-k sets of the unperturbed and of the perturbed map; P_w adds the
    scripts' windows of flat indices.

    Parameters
    ----------
    pair
        The two maps.
    k, w
        Nominal size of the sets, 1 to H W pixels, and half-width of the windows of exclusion and of nearness,
        at least 0 pixels. Rules, deviations and reference: :mod:`lensmetrics.metrics.published`.
    pool
        Number of candidates, as in :func:`topk_div_intersection_published`.

    Returns
    -------
    float
        In [0, 1]. NaN where the pool holds too few diverse pixels (``pool_exhausted``), or a map is not
        finite.

    Notes
    -----
    Differs from :func:`lens_recall_div` in the sets, which are those of
    :func:`topk_div_intersection_published`, in the windows, which are those of
    :func:`lens_recall_published`, and in the divisor, which is always k.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> pair = lm.MapPair([[0, 9, 0, 0, 8, 0, 0, 7, 0]], [[0, 9, 0, 0, 8, 0, 0, 0, 7]])
    >>> lm.lens_recall_div_published(pair, k=2, w=1, pool=9)  # the 9 and the 7; the 7s are 1 pixel apart
    1.0
    """
    sets = _diverse_sets(pair, k, w, pool)
    if sets is None:
        return math.nan
    return _count_near(pair, sets[1], sets[0], w) / k


@built_in
def lens_precision_div_published(pair: MapPair, *, k: int, w: int = 1, pool: int | None = None) -> float:
    r"""LENS precision of the diverse top-k sets as the released scripts compute it.

    .. math:: |D_S \cap P_w(D_T)| / k

    D_S and D_T are the scripts' diverse top-k sets of the unperturbed and of the perturbed map; P_w adds the
    scripts' windows of flat indices.

    Parameters
    ----------
    pair
        The two maps.
    k, w
        Nominal size of the sets, 1 to H W pixels, and half-width of the windows of exclusion and of nearness,
        at least 0 pixels. Rules, deviations and reference: :mod:`lensmetrics.metrics.published`.
    pool
        Number of candidates, as in :func:`topk_div_intersection_published`.

    Returns
    -------
    float
        In [0, 1]. NaN where the pool holds too few diverse pixels (``pool_exhausted``), or a map is not
        finite.

    Notes
    -----
    Differs from :func:`lens_precision_div` in the sets, which are those of
    :func:`topk_div_intersection_published`, in the windows, which are those of
    :func:`lens_recall_published`, and in the divisor, which is always k.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> pair = lm.MapPair([[0, 9, 0, 0, 8, 0, 0, 7, 0]], [[0, 9, 0, 0, 8, 0, 0, 0, 7]])
    >>> lm.lens_precision_div_published(pair, k=2, w=1, pool=9)  # the 9 and the 7; the 7s are 1 pixel apart
    1.0
    """
    sets = _diverse_sets(pair, k, w, pool)
    if sets is None:
        return math.nan
    return _count_near(pair, sets[0], sets[1], w) / k


def _near_share(pair: MapPair, dilated: Which, counted: Which, k: int, w: int) -> float:
    """Return the share of one map's top set that is in the windows of the other's."""
    k, w = check_k(k, pair.unperturbed.size), check_w(w)
    if not pair.finite:
        return math.nan
    return _count_near(pair, pair.top_pixels(counted, k), pair.top_pixels(dilated, k), w) / k


def _count_near(pair: MapPair, counted: npt.NDArray[np.intp], dilated: npt.NDArray[np.intp], w: int) -> int:
    """Count the pixels of one set that are in the windows of the other."""
    near = published.flat_windows(dilated, pair.clipped(check_w(w)), pair.shape[1], pair.unperturbed.size)
    return int(published.count_near(counted, near))


def _diverse_sets(
    pair: MapPair, k: int, w: int, pool: int | None
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]] | None:
    """Return both diverse sets, None where a map is not finite or the pool is exhausted."""
    n = pair.unperturbed.size
    k, w, pool = check_k(k, n), check_w(w), _checked_pool(pool, pair.shape, k, w)
    if not pair.finite:
        return None
    sets = []
    for which in ("unperturbed", "perturbed"):
        pair.top_pixels(which, k)  # a tie at the cut makes the diverse set doubtful too
        candidates = pair.top_pixels(which, pool)
        picked, is_complete = published.flat_diverse(candidates, k, pair.clipped(w), pair.shape[1], n)
        if not is_complete:
            pair.add_status("pool_exhausted")
            return None
        sets.append(picked)
    return sets[0], sets[1]


def _checked_pool(pool: int | None, shape: tuple[int, int], k: int, w: int) -> int:
    """Return the pool as an int, by default that of the scripts."""
    n = shape[0] * shape[1]
    if pool is None:
        known = {(227, 227, 1): 6000, (227, 227, 2): 15000, (227, 227, 3): 25000, (128, 128, 1): 6000}
        found = 600 if shape == (28, 28) else known.get((*shape, w))
        if found is None:
            alike = min(n, k * {1: 6, 2: 15, 3: 25}.get(w, 25))  # as for 227x227 and k = 1000
            raise ValueError(
                f"the released scripts have no candidate pool for maps of {shape[0]}x{shape[1]} pixels and "
                f"w={w}, only for 28x28, 128x128 with w=1 and 227x227 with w=1, 2 and 3: instead of "
                f"--published, give a pool, as in -m 'lens_recall_div_published(k={k},w={w},pool={alike})', "
                f"or name metrics that need none, as in -m 'lens_recall_published(k={k},w={w})'"
            )
        return found
    if not is_integer(pool) or not 1 <= pool <= n:
        raise ValueError(f"pool must be an integer between 1 and {n} (the number of pixels), got {pool!r}")
    return int(pool)
