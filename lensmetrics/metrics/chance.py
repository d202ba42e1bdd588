"""What random sets of k pixels reach, and scores with chance at 0."""

import math

from ..pairs.mappair import MapPair, of_pair
from .overlap import lens_precision, lens_recall
from .registry import register


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


def _adjusted(pair: MapPair, value: float, chance: float) -> float:
    if chance == 1:  # the pair says that it is saturated
        return math.nan
    return (value - chance) / (1 - chance)
