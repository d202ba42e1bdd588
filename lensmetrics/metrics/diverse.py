r"""Overlap of diverse top-k sets, in which one bright blob counts once.

For k, w, S, T and N_w see :mod:`lensmetrics.metrics.overlap`; in addition:

=========  ==================================================================================
D_S, D_T   the diverse top-k sets of u and of p: repeatedly take the best pixel that is not yet excluded and
           exclude its clipped (2w+1)x(2w+1) window, until there are k or none is left
w          half-width both of the windows of exclusion and of the neighbourhoods N_w, at least 0
=========  ==================================================================================

Shortfall: a set has fewer than k pixels where none was left (``few_diverse``); :func:`n_diverse` counts
them. Metrics divide by the number that was found. The released code divides by k; identical maps would score
below 1 there.

Ties: as in the other top-k sets, by index; ``tied_cut`` where the k-th and the (k+1)-th value of a map are
equal.

Undefined: NaN where a map is constant (``constant_map``) or not finite (``nan_map``). The windows of a set
that ran out of pixels cover the whole map: LENS recall and precision would be 1 for any two maps and
measure nothing, so they are NaN (``saturated``).

Errors: ValueError where k or w is not an integer in its range, TypeError where arrays are given in place
of a pair.

The reference is [Kamath2024]_. On the names recall and precision see
:func:`~lensmetrics.metrics.overlap.lens_recall`.

.. [Kamath2024] S. Kamath, S. Mittal, A. Deshpande, V. N. Balasubramanian, "Rethinking Robustness of Model
   Attributions", AAAI 2024, doi:10.1609/aaai.v38i3.28047, arXiv:2312.10534.
"""

import math

from ..pairs.mappair import MapPair
from .registry import built_in


@built_in
def topk_div_intersection(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""Fraction of the diverse top-k pixels that both maps share.

    .. math:: |D_S \cap D_T| / \max(|D_S|, |D_T|)

    D_S and D_T are the diverse top-k sets of the unperturbed and of the perturbed map: each pixel is the best
    outside the windows of those picked before.

    Parameters
    ----------
    pair
        The two maps.
    k, w
        Size of the diverse sets, 1 to H W pixels, and half-width of the windows of exclusion, at least 0
        pixels, clipped at the border; ties are broken by index. Rules and reference:
        :mod:`lensmetrics.metrics.diverse`.

    Returns
    -------
    float
        In [0, 1]; 1 where the sets are the same. NaN where a map is constant or not finite.

    Notes
    -----
    May fall as w grows; w = 0 is :func:`topk_intersection`. The divisor is what was found (``few_diverse``);
    that of the released code is k.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> pair = lm.MapPair([[9, 8, 7, 0, 6]], [[9, 8, 0, 7, 6]])
    >>> lm.topk_div_intersection(pair, k=2, w=1)  # pixels 0 and 2; pixels 0 and 3
    0.5
    """
    found = pair.diverse_overlap(k, w)
    return found.common / max(found.n_unperturbed, found.n_perturbed)


@built_in
def lens_recall_div(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""Fraction of the perturbed diverse top-k pixels that lie near an unperturbed one.

    .. math:: |N_w(D_S) \cap D_T| / |D_T|

    D_S and D_T are the diverse top-k sets of the unperturbed and of the perturbed map: each pixel is the best
    outside the windows of those picked before. N_w adds all pixels within Chebyshev distance w.

    Parameters
    ----------
    pair
        The two maps.
    k, w
        Size of the diverse sets, 1 to H W pixels, and half-width of the windows of exclusion and of nearness,
        at least 0 pixels, clipped at the border; ties are broken by index. Rules and reference:
        :mod:`lensmetrics.metrics.diverse`.

    Returns
    -------
    float
        In [0, 1]; 1 where every pixel of D_T is within w of a pixel of D_S. NaN where N_w(D_S) is the whole
        map (``saturated``), and where a map is constant or not finite.

    Notes
    -----
    May fall as w grows. The divisor is what was found (``few_diverse``); that of the released code is k.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> pair = lm.MapPair([[9, 8, 7, 0, 0, 6]], [[9, 8, 0, 0, 0, 7]])
    >>> lm.lens_recall_div(pair, k=2, w=1)  # pixels 0 and 2; pixels 0 and 5
    0.5
    """
    found = pair.diverse_overlap(k, w)
    return _unless_saturated(pair, found.near_unperturbed, found.recalled / found.n_perturbed)


@built_in
def lens_precision_div(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""Fraction of the unperturbed diverse top-k pixels that lie near a perturbed one.

    .. math:: |D_S \cap N_w(D_T)| / |D_S|

    D_S and D_T are the diverse top-k sets of the unperturbed and of the perturbed map: each pixel is the best
    outside the windows of those picked before. N_w adds all pixels within Chebyshev distance w.

    Parameters
    ----------
    pair
        The two maps.
    k, w
        Size of the diverse sets, 1 to H W pixels, and half-width of the windows of exclusion and of nearness,
        at least 0 pixels, clipped at the border; ties are broken by index. Rules and reference:
        :mod:`lensmetrics.metrics.diverse`.

    Returns
    -------
    float
        In [0, 1]; 1 where every pixel of D_S is within w of a pixel of D_T. NaN where N_w(D_T) is the whole
        map (``saturated``), and where a map is constant or not finite.

    Notes
    -----
    May fall as w grows. The divisor is what was found (``few_diverse``); that of the released code is k.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> pair = lm.MapPair([[9, 8, 7, 0, 0, 6]], [[9, 8, 0, 0, 0, 7]])
    >>> lm.lens_precision_div(pair, k=2, w=1)  # pixels 0 and 2; pixels 0 and 5
    0.5
    """
    found = pair.diverse_overlap(k, w)
    return _unless_saturated(pair, found.near_perturbed, found.precise / found.n_unperturbed)


@built_in
def n_diverse(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""Number of pixels in the smaller of the two diverse top-k sets.

    .. math:: \min(|D_S|, |D_T|)

    D_S and D_T are the diverse top-k sets of the unperturbed and of the perturbed map: each pixel is the best
    outside the windows of those picked before.

    Parameters
    ----------
    pair
        The two maps.
    k, w
        Size of the diverse sets, 1 to H W pixels, and half-width of the windows of exclusion, at least 0
        pixels, clipped at the border; ties are broken by index. Rules and reference:
        :mod:`lensmetrics.metrics.diverse`.

    Returns
    -------
    float
        In [1, k]; less than k is a shortfall (``few_diverse``). NaN where a map is constant or not finite.

    Notes
    -----
    With w = 3 a random 128x128 map has about 690 mutually diverse pixels. Not in the released code.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> pair = lm.MapPair([[9, 8, 7, 0, 6]], [[0, 9, 0, 0, 8]])
    >>> lm.n_diverse(pair, k=3, w=1)  # pixels 0, 2 and 4; pixels 1 and 4
    2.0
    """
    found = pair.diverse_overlap(k, w)
    return float(min(found.n_unperturbed, found.n_perturbed))


def _unless_saturated(pair: MapPair, n_near: float, value: float) -> float:
    """Return the value, or NaN where a neighbourhood of so many pixels is the whole map."""
    if n_near == pair.unperturbed.size:
        pair.add_status("saturated")
        return math.nan
    return value
