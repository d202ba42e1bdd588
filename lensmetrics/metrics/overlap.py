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


def _unless_saturated(pair: MapPair, n_near: float, value: float) -> float:
    """Return the value, NaN where a neighbourhood of so many pixels is the whole map."""
    if n_near == pair.unperturbed.size:
        pair.add_status("saturated")
        return math.nan
    return value
