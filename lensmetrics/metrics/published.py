"""LENS as the released scripts compute it, for comparison with numbers that were printed.

They differ from the definition in four ways: windows are made of flat indices and run over the
right edge into the next row; pixel 0 is in no window; top-k-div loses the second-best candidate;
and its candidates are a pool of the largest values only. Of constant maps too they give what the
scripts give: sets that are filled by pixel index.
"""

import math

import numpy as np
import numpy.typing as npt

from ..kernels import published
from ..pairs.checks import check_k, check_w
from ..pairs.mappair import MapPair, Which, of_pair
from .registry import register


@register(bounds=(0, 1), best=None)
@of_pair
def lens_recall_published(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""LENS recall as the released scripts compute it.

    .. math:: |P_w(S) \cap T| / k

    S and T are the top-k sets of the unperturbed and the perturbed map. P_w(S) holds the flat
    indices x + a W + b for x in S and integers a, b from -w to w, where larger than 0 and smaller
    than H W.

    Parameters
    ----------
    pair
        The two maps.
    k
        Size of the top sets in pixels, from 1 to the number of pixels.
    w
        Half-width of the window in pixels, at least 0.

    Returns
    -------
    float
        In [0, 1], 1 where every perturbed top pixel is near an unperturbed one. NaN where a map is
        not finite (``nan_map``).

    Notes
    -----
    Two deviations from :func:`lens_recall`: windows run over the right edge into the next row, so
    that pixels at opposite borders count as near; pixel 0, the top left one, is in no window, so
    that identical maps need not score 1. The scripts sort unstably: the numbers are theirs digit
    for digit where no tie lies at the cut (status ``tied_cut`` where one does).

    References
    ----------
    .. [1] S. Kamath et al., "Rethinking Robustness of Model Attributions", AAAI 2024,
       arXiv:2312.10534; released code: ksandeshk/LENS at 96f6cc7 (2024-08-28).
    """
    return _near_share(pair, "unperturbed", "perturbed", k, w)


@register(bounds=(0, 1), best=None)
@of_pair
def lens_precision_published(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""LENS precision as the released scripts compute it.

    .. math:: |S \cap P_w(T)| / k

    :func:`lens_recall_published` of the pair with its maps swapped; see there for P_w, the ties
    and the deviations from :func:`lens_precision`.

    Parameters
    ----------
    pair
        The two maps.
    k
        Size of the top sets in pixels, from 1 to the number of pixels.
    w
        Half-width of the window in pixels, at least 0.

    Returns
    -------
    float
        In [0, 1], 1 where every unperturbed top pixel is near a perturbed one. NaN where a map is
        not finite (``nan_map``).

    References
    ----------
    .. [1] S. Kamath et al., "Rethinking Robustness of Model Attributions", AAAI 2024,
       arXiv:2312.10534; released code: ksandeshk/LENS at 96f6cc7 (2024-08-28).
    """
    return _near_share(pair, "perturbed", "unperturbed", k, w)


@register(bounds=(0, 1), best=None)
@of_pair
def topk_div_intersection_published(pair: MapPair, *, k: int, w: int = 1, pool: int | None = None) -> float:
    r"""Intersection of the diverse top-k sets as the released scripts compute it.

    .. math:: |D_S \cap D_T| / k

    Parameters
    ----------
    pair
        The two maps.
    k
        Nominal size of the sets in pixels, from 1 to the number of pixels.
    w
        Half-width of the window that is excluded around each pick, at least 0.
    pool
        Number of the largest values that are candidates, from 1 to the number of pixels. The
        default is the scripts' own: 600 for 28x28; 6000 for 128x128 with w = 1; 6000, 15000 and
        25000 for 227x227 with w = 1, 2 and 3. Elsewhere it must be given.

    Returns
    -------
    float
        In [0, 1]. NaN where the pool holds too few diverse pixels, at which the scripts stop with
        an error (``pool_exhausted``), or where a map is not finite (``nan_map``).

    Notes
    -----
    Deviations from :func:`topk_div_intersection`: the second-best candidate is lost, because after
    the first pick the window of each new best is removed before the next one is picked; windows
    are those of :func:`lens_recall_published`, with pixel 0 in none; candidates end with the pool;
    the denominator is k even where pixel 0 was dropped from a set. Exact where no tie lies at the
    pool's edge or within the pool (status ``tied_cut`` for the edge and the top k).

    References
    ----------
    .. [1] S. Kamath et al., "Rethinking Robustness of Model Attributions", AAAI 2024,
       arXiv:2312.10534; released code: ksandeshk/LENS at 96f6cc7 (2024-08-28).
    """
    sets = _diverse_sets(pair, k, w, pool)
    if sets is None:
        return math.nan
    return len(np.intersect1d(*sets, assume_unique=True)) / k


@register(bounds=(0, 1), best=None)
@of_pair
def lens_recall_div_published(pair: MapPair, *, k: int, w: int = 1, pool: int | None = None) -> float:
    r"""LENS recall of the diverse top-k sets as the released scripts compute it.

    .. math:: |P_w(D_S) \cap D_T| / k

    The sets are those of :func:`topk_div_intersection_published`, the windows P_w those of
    :func:`lens_recall_published`; see there for the deviations from :func:`lens_recall_div`.

    Parameters
    ----------
    pair
        The two maps.
    k
        Nominal size of the sets in pixels, from 1 to the number of pixels.
    w
        Half-width of the windows of exclusion and of nearness, at least 0.
    pool
        Number of candidates, as in :func:`topk_div_intersection_published`.

    Returns
    -------
    float
        In [0, 1]. NaN where the pool holds too few diverse pixels (``pool_exhausted``) or a map is
        not finite (``nan_map``).

    References
    ----------
    .. [1] S. Kamath et al., "Rethinking Robustness of Model Attributions", AAAI 2024,
       arXiv:2312.10534; released code: ksandeshk/LENS at 96f6cc7 (2024-08-28).
    """
    sets = _diverse_sets(pair, k, w, pool)
    if sets is None:
        return math.nan
    return _count_near(pair, sets[1], sets[0], w) / k


@register(bounds=(0, 1), best=None)
@of_pair
def lens_precision_div_published(pair: MapPair, *, k: int, w: int = 1, pool: int | None = None) -> float:
    r"""LENS precision of the diverse top-k sets as the released scripts compute it.

    .. math:: |D_S \cap P_w(D_T)| / k

    The sets are those of :func:`topk_div_intersection_published`, the windows P_w those of
    :func:`lens_recall_published`; see there for the deviations from :func:`lens_precision_div`.

    Parameters
    ----------
    pair
        The two maps.
    k
        Nominal size of the sets in pixels, from 1 to the number of pixels.
    w
        Half-width of the windows of exclusion and of nearness, at least 0.
    pool
        Number of candidates, as in :func:`topk_div_intersection_published`.

    Returns
    -------
    float
        In [0, 1]. NaN where the pool holds too few diverse pixels (``pool_exhausted``) or a map is
        not finite (``nan_map``).

    References
    ----------
    .. [1] S. Kamath et al., "Rethinking Robustness of Model Attributions", AAAI 2024,
       arXiv:2312.10534; released code: ksandeshk/LENS at 96f6cc7 (2024-08-28).
    """
    sets = _diverse_sets(pair, k, w, pool)
    if sets is None:
        return math.nan
    return _count_near(pair, sets[0], sets[1], w) / k


def _near_share(pair: MapPair, dilated: Which, counted: Which, k: int, w: int) -> float:
    k, w = check_k(k, pair.unperturbed.size), check_w(w)
    if not pair.finite:
        return math.nan
    return _count_near(pair, pair.top_pixels(counted, k), pair.top_pixels(dilated, k), w) / k


def _count_near(pair: MapPair, counted: npt.NDArray[np.intp], dilated: npt.NDArray[np.intp], w: int) -> int:
    near = published.flat_windows(dilated, pair.reach(check_w(w)), pair.shape[1], pair.unperturbed.size)
    count: int = published.count_near(counted, near)
    return count


def _diverse_sets(
    pair: MapPair, k: int, w: int, pool: int | None
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]] | None:
    """Return both diverse sets, None where a map is not finite or the pool does not suffice."""
    n = pair.unperturbed.size
    k, w, pool = check_k(k, n), check_w(w), _checked_pool(pool, pair.shape, w)
    if not pair.finite:
        return None
    sets = []
    for which in ("unperturbed", "perturbed"):
        pair.top_pixels(which, k)  # a tie at the cut makes the diverse set doubtful too
        candidates = pair.top_pixels(which, pool)
        picked, sufficed = published.flat_diverse(candidates, k, pair.reach(w), pair.shape[1], n)
        if not sufficed:
            pair.add_status("pool_exhausted")
            return None
        sets.append(picked)
    return sets[0], sets[1]


def _checked_pool(pool: int | None, shape: tuple[int, int], w: int) -> int:
    n = shape[0] * shape[1]
    if pool is None:
        known = {(227, 227, 1): 6000, (227, 227, 2): 15000, (227, 227, 3): 25000, (128, 128, 1): 6000}
        found = 600 if shape == (28, 28) else known.get((*shape, w))
        if found is None:
            msg = (
                f"the released scripts have no candidate pool for maps of {shape[0]}x{shape[1]} pixels "
                f"and w={w}; give pool=, between 1 and {n}, in the text of the metric, as in "
                f"lens_recall_div_published(k=100,w={w},pool={n}): -m takes it, --published does not"
            )
            raise ValueError(msg)
        return found
    if isinstance(pool, bool) or not isinstance(pool, int | np.integer) or not 1 <= pool <= n:
        msg = f"pool must be a whole number between 1 and {n} (the number of pixels), got {pool!r}"
        raise ValueError(msg)
    return int(pool)
