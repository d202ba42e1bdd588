"""Overlap of diverse top-k sets."""

import math

from ..pairs.mappair import MapPair, of_pair
from .overlap import _unless_saturated
from .registry import register


@register(bounds=(0, 1), best=1)
@of_pair
def topk_div_intersection(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""Fraction of the diverse top-k pixels that both maps share.

    .. math:: |D_S \cap D_T| / \max(|D_S|, |D_T|)

    Parameters
    ----------
    pair
        The two maps.
    k
        Size of the diverse sets in pixels, from 1 to the number of pixels.
    w
        Half-width of the window that is excluded around each pick, at least 0; 0 gives
        :func:`topk_intersection`.

    Returns
    -------
    float
        In [0, 1], 1 where the sets are the same. NaN where a map is constant (``constant_map``) or
        not finite (``nan_map``).

    Notes
    -----
    A set ends with fewer than k pixels where no pixel is left (status ``few_diverse``,
    :func:`n_diverse`). The released code divides by k, by which identical maps would then score below 1.
    May fall as w grows. Ties go by index (status ``tied_cut`` where the k-th and the (k+1)-th
    value of a map are equal).

    References
    ----------
    .. [1] S. Kamath et al., "Rethinking Robustness of Model Attributions", AAAI 2024,
       arXiv:2312.10534.
    """
    found = pair.diverse_overlap(k, w)
    return found.common / max(found.n_unperturbed, found.n_perturbed)


@register(bounds=(0, 1), best=1)
@of_pair
def lens_recall_div(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""Fraction of the perturbed diverse top-k pixels that lie near an unperturbed one.

    .. math:: |N_w(D_S) \cap D_T| / |D_T|

    Parameters
    ----------
    pair
        The two maps.
    k
        Size of the diverse sets in pixels, from 1 to the number of pixels.
    w
        Half-width of the windows of exclusion and of nearness, at least 0.

    Returns
    -------
    float
        In [0, 1], 1 where every perturbed pick is within w of an unperturbed one. NaN where N_w(D_S) is
        the whole map (``saturated``), or where a map is constant (``constant_map``) or not finite
        (``nan_map``).

    Notes
    -----
    A diverse set that ran out covers the whole map with its windows: the value would be 1 for any two
    maps, so that nothing would be measured. Divides by the set that was found, which has fewer than k
    pixels where none is left (status ``few_diverse``). May fall as w grows. Ties as in
    :func:`topk_div_intersection`; on the names recall and precision see :func:`lens_recall`.

    References
    ----------
    .. [1] S. Kamath et al., "Rethinking Robustness of Model Attributions", AAAI 2024,
       arXiv:2312.10534.
    """
    found = pair.diverse_overlap(k, w)
    return _unless_saturated(pair, found.near_unperturbed, found.recalled / found.n_perturbed)


@register(bounds=(0, 1), best=1)
@of_pair
def lens_precision_div(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""Fraction of the unperturbed diverse top-k pixels that lie near a perturbed one.

    .. math:: |D_S \cap N_w(D_T)| / |D_S|

    Parameters
    ----------
    pair
        The two maps.
    k
        Size of the diverse sets in pixels, from 1 to the number of pixels.
    w
        Half-width of the windows of exclusion and of nearness, at least 0.

    Returns
    -------
    float
        In [0, 1], 1 where every unperturbed pick is within w of a perturbed one. NaN where N_w(D_T) is
        the whole map (``saturated``), or where a map is constant (``constant_map``) or not finite
        (``nan_map``).

    Notes
    -----
    A diverse set that ran out covers the whole map with its windows: the value would be 1 for any two
    maps, so that nothing would be measured. Divides by the set that was found, which has fewer than k
    pixels where none is left (status ``few_diverse``). May fall as w grows. Ties as in
    :func:`topk_div_intersection`; on the names recall and precision see :func:`lens_recall`.

    References
    ----------
    .. [1] S. Kamath et al., "Rethinking Robustness of Model Attributions", AAAI 2024,
       arXiv:2312.10534.
    """
    found = pair.diverse_overlap(k, w)
    return _unless_saturated(pair, found.near_perturbed, found.precise / found.n_unperturbed)


@register(bounds=(1, math.inf), best=None)
@of_pair
def n_diverse(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""Number of pixels in the smaller of the two diverse top-k sets.

    .. math:: \min(|D_S|, |D_T|)

    Parameters
    ----------
    pair
        The two maps.
    k
        Size of the diverse sets in pixels, from 1 to the number of pixels.
    w
        Half-width of the window that is excluded around each pick, at least 0.

    Returns
    -------
    float
        In [1, k]; less than k is a shortfall (``few_diverse``). NaN where a map is constant
        (``constant_map``) or not finite (``nan_map``).

    Notes
    -----
    With w = 3 a random 128x128 map has about 690 mutually diverse pixels. Not in the released code.
    """
    found = pair.diverse_overlap(k, w)
    return float(min(found.n_unperturbed, found.n_perturbed))
