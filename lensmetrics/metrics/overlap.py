"""Overlap of the pixels with the largest values: top-k, LENS, diverse top-k.

Throughout, S and T are the top-k sets of the unperturbed and of the perturbed map: the k pixels
with the largest values, equal values by flat (row-major) index, -0.0 equal to 0.0. N_w(S) are the
pixels within Chebyshev distance w of S, clipped at the border of the map. D_S and D_T are the
diverse top-k sets: repeatedly the best pixel not yet excluded is taken and its clipped
(2w+1)x(2w+1) window excluded, until there are k or none is left.
"""

import math

from ..pairs.mappair import MapPair, of_pair
from .registry import register


@register(bounds=(0, 1), best=1)
@of_pair
def topk_intersection(pair: MapPair, *, k: int) -> float:
    r"""Fraction of the top-k pixels that both maps share.

    .. math:: |S \cap T| / k

    Parameters
    ----------
    pair
        The two maps.
    k
        Size of the top sets in pixels, from 1 to the number of pixels.

    Returns
    -------
    float
        In [0, 1], 1 where the sets are the same. NaN where a map is constant (``constant_map``) or
        not finite (``nan_map``).

    Notes
    -----
    Where the k-th and the (k+1)-th value of a map are equal, the tie rule fills the set by index
    and the status says ``tied_cut``: two maps with few values other than 0 share many zeros.

    References
    ----------
    .. [1] A. Ghorbani, A. Abid, J. Zou, "Interpretation of Neural Networks Is Fragile", AAAI 2019.
    """
    return pair.overlap(k, 0).common / k


@register(bounds=(0, 1), best=1)
@of_pair
def lens_recall(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""Fraction of the perturbed top-k pixels that lie near an unperturbed one.

    .. math:: |N_w(S) \cap T| / k

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
        In [0, 1], 1 where every perturbed top pixel is within w of an unperturbed one. NaN where a
        map is constant (``constant_map``) or not finite (``nan_map``).

    Notes
    -----
    Never falls as w grows; w = 0 gives :func:`topk_intersection`. Windows are clipped at the
    border. Ties at the cut go by index (status ``tied_cut``). Where N_w(S) is the whole map the value
    is 1 whatever the perturbed map is (``saturated``).

    The released code dilates the unperturbed set here. Taking the unperturbed set as the truth
    that is to be retrieved, convention would call this number precision, and
    :func:`lens_precision` recall.

    Values for different k, w or image sizes cannot be compared, because the value that chance
    reaches differs: see :func:`lens_recall_adjusted`.

    References
    ----------
    .. [1] S. Kamath et al., "Rethinking Robustness of Model Attributions", AAAI 2024,
       arXiv:2312.10534.
    """
    return pair.overlap(k, w).recalled / k


@register(bounds=(0, 1), best=1)
@of_pair
def lens_precision(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""Fraction of the unperturbed top-k pixels that lie near a perturbed one.

    .. math:: |S \cap N_w(T)| / k

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
        In [0, 1], 1 where every unperturbed top pixel is within w of a perturbed one. NaN where a
        map is constant (``constant_map``) or not finite (``nan_map``).

    Notes
    -----
    Never falls as w grows; w = 0 gives :func:`topk_intersection`. Windows are clipped at the
    border. Ties at the cut go by index (status ``tied_cut``). Where N_w(T) is the whole map the value
    is 1 whatever the unperturbed map is (``saturated``).

    The released code dilates the perturbed set here. Taking the unperturbed set as the truth
    that is to be retrieved, convention would call this number recall, and :func:`lens_recall`
    precision.

    References
    ----------
    .. [1] S. Kamath et al., "Rethinking Robustness of Model Attributions", AAAI 2024,
       arXiv:2312.10534.
    """
    return pair.overlap(k, w).precise / k


@register(bounds=(0, 2), best=0)
@of_pair
def lens_distance(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""Number of top-k pixels of either map far from the other's, over k.

    .. math:: (|S \setminus N_w(T)| + |T \setminus N_w(S)|) / k

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
        In [0, 2], 0 where every top pixel of either map is within w of one of the other's. NaN
        where a map is constant (``constant_map``) or not finite (``nan_map``).

    Notes
    -----
    Symmetric in the two maps, and 2 - recall - precision. Never rises as w grows; w = 0 gives the
    symmetric difference of the sets over k. For w of at least 1 it is no pseudometric: in a row,
    pixels 0, 1 and 2 as top-1 sets are 0 and 0, but 2, apart at w = 1.

    References
    ----------
    .. [1] S. Kamath et al., "Rethinking Robustness of Model Attributions", AAAI 2024,
       arXiv:2312.10534.
    """
    found = pair.overlap(k, w)
    return (found.n_unperturbed - found.precise + found.n_perturbed - found.recalled) / k


@register(bounds=(0, 1), best=None)
@of_pair
def lens_recall_chance(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""LENS recall to be expected if the perturbed top-k set were drawn at random.

    .. math:: |N_w(S)| / (H W)

    Parameters
    ----------
    pair
        The two maps, of height H and width W.
    k
        Size of the top sets in pixels, from 1 to the number of pixels.
    w
        Half-width of the window in pixels, at least 0.

    Returns
    -------
    float
        In (0, 1]: the exact expectation over all sets of k pixels, S being what it is. NaN where a
        map is constant (``constant_map``) or not finite (``nan_map``).

    Notes
    -----
    Ties at the cut go by index (status ``tied_cut``). Not in the released code.
    """
    return pair.overlap(k, w).near_unperturbed / pair.unperturbed.size


@register(bounds=(0, 1), best=None)
@of_pair
def lens_precision_chance(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""LENS precision to be expected if the unperturbed top-k set were drawn at random.

    .. math:: |N_w(T)| / (H W)

    Parameters
    ----------
    pair
        The two maps, of height H and width W.
    k
        Size of the top sets in pixels, from 1 to the number of pixels.
    w
        Half-width of the window in pixels, at least 0.

    Returns
    -------
    float
        In (0, 1]: the exact expectation over all sets of k pixels, T being what it is. NaN where a
        map is constant (``constant_map``) or not finite (``nan_map``).

    Notes
    -----
    Ties at the cut go by index (status ``tied_cut``). Not in the released code.
    """
    return pair.overlap(k, w).near_perturbed / pair.unperturbed.size


@register(bounds=(-math.inf, 1), best=1)
@of_pair
def lens_recall_adjusted(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""LENS recall on a scale where chance is 0 and perfect is 1.

    .. math:: (x - c) / (1 - c)

    x is :func:`lens_recall` and c :func:`lens_recall_chance` of the pair.

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
        At most 1; 0 is what a random perturbed set reaches on average, less is worse than chance.
        NaN where the neighbourhood covers the whole map and nothing was measured (``saturated``),
        or where a map is constant (``constant_map``) or not finite (``nan_map``).

    Notes
    -----
    Comparable across k, w and image sizes, which raw LENS is not: at w = 1, random sets of k = 100
    in 28x28 reach .688, of k = 1000 in 227x227 .161. May fall as w grows. Ties at the cut go by
    index (status ``tied_cut``). Not in the released code.
    """
    return _adjusted(pair, lens_recall(pair, k=k, w=w), lens_recall_chance(pair, k=k, w=w))


@register(bounds=(-math.inf, 1), best=1)
@of_pair
def lens_precision_adjusted(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""LENS precision on a scale where chance is 0 and perfect is 1.

    .. math:: (x - c) / (1 - c)

    x is :func:`lens_precision` and c :func:`lens_precision_chance` of the pair.

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
        At most 1; 0 is what a random unperturbed set reaches on average, less is worse than
        chance. NaN where the neighbourhood covers the whole map and nothing was measured
        (``saturated``), or where a map is constant (``constant_map``) or not finite (``nan_map``).

    Notes
    -----
    As :func:`lens_recall_adjusted`. Not in the released code.
    """
    return _adjusted(pair, lens_precision(pair, k=k, w=w), lens_precision_chance(pair, k=k, w=w))


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


def _unless_saturated(pair: MapPair, n_near: float, value: float) -> float:
    """Return the value, NaN where a neighbourhood of so many pixels is the whole map."""
    if n_near == pair.unperturbed.size:
        pair.add_status("saturated")
        return math.nan
    return value


def _adjusted(pair: MapPair, value: float, chance: float) -> float:
    if chance == 1:  # the pair says that it is saturated
        return math.nan
    return (value - chance) / (1 - chance)
