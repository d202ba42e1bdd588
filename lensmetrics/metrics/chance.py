"""What random sets of k pixels reach, and scores with chance at 0.

For k, w, S, T, N_w, ties, borders and undefined values see :mod:`lensmetrics.metrics.overlap`. None of
these metrics is in the released code. Raw LENS values cannot be compared across k, w and image sizes, the
adjusted ones can: at w = 1, random sets of k = 100 in 28x28 reach .688, of k = 1000 in 227x227 .161.
"""

import math

from ..pairs.mappair import MapPair
from .overlap import lens_precision, lens_recall
from .registry import built_in


@built_in
def lens_recall_chance(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""LENS recall to be expected if the perturbed top-k set were drawn at random.

    .. math:: c = |N_w(S)| / (H W)

    S is the top-k set of the unperturbed map; N_w adds all pixels within Chebyshev distance w.

    Parameters
    ----------
    pair
        The two maps, of height H and width W.
    k, w
        Size of the top sets, 1 to H W pixels, and half-width of the (2w+1)x(2w+1) window, at least 0; ties at
        the cut are broken by index and windows are clipped at the border. Rules and reference:
        :mod:`lensmetrics.metrics.overlap`.

    Returns
    -------
    float
        In (0, 1]: given S, the exact expectation over all sets of k pixels. NaN where a map is constant
        or not finite.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> u = [[9, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    >>> p = [[0, 9, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    >>> lm.lens_recall_chance(lm.MapPair(u, p), k=1, w=1)  # 4 of 16 pixels are near the 9 of u
    0.25
    """
    return pair.overlap(k, w).near_unperturbed / pair.unperturbed.size


@built_in
def lens_precision_chance(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""LENS precision to be expected if the unperturbed top-k set were drawn at random.

    .. math:: c = |N_w(T)| / (H W)

    T is the top-k set of the perturbed map; N_w adds all pixels within Chebyshev distance w.

    Parameters
    ----------
    pair
        The two maps, of height H and width W.
    k, w
        Size of the top sets, 1 to H W pixels, and half-width of the (2w+1)x(2w+1) window, at least 0; ties at
        the cut are broken by index and windows are clipped at the border. Rules and reference:
        :mod:`lensmetrics.metrics.overlap`.

    Returns
    -------
    float
        In (0, 1]: given T, the exact expectation over all sets of k pixels. NaN where a map is constant
        or not finite.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> u = [[9, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    >>> p = [[0, 9, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    >>> lm.lens_precision_chance(lm.MapPair(u, p), k=1, w=1)  # 6 of 16 pixels are near the 9 of p
    0.375
    """
    return pair.overlap(k, w).near_perturbed / pair.unperturbed.size


@built_in
def lens_recall_adjusted(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""LENS recall on a scale where chance is 0 and perfect is 1.

    .. math:: (x - c) / (1 - c)

    x is :func:`lens_recall` and c is :func:`lens_recall_chance` of the pair.

    Parameters
    ----------
    pair
        The two maps.
    k, w
        Size of the top sets, 1 to H W pixels, and half-width of the (2w+1)x(2w+1) window, at least 0; ties at
        the cut are broken by index and windows are clipped at the border. Rules and reference:
        :mod:`lensmetrics.metrics.overlap`.

    Returns
    -------
    float
        At most 1; 0 is what a random perturbed set reaches on average, less is worse than chance. NaN
        where N_w(S) is the whole map, so that nothing was measured (``saturated``), or where a map is
        constant or not finite.

    Notes
    -----
    Comparable across k, w and image sizes. May fall as w grows.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> u = [[9, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 8]]
    >>> p = [[0, 9, 0, 0], [0, 0, 0, 0], [8, 0, 0, 0], [0, 0, 0, 0]]
    >>> lm.lens_recall_adjusted(lm.MapPair(u, p), k=2, w=1)  # one of two found, where chance finds half
    0.0
    """
    return _adjusted(lens_recall(pair, k=k, w=w), lens_recall_chance(pair, k=k, w=w))


@built_in
def lens_precision_adjusted(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""LENS precision on a scale where chance is 0 and perfect is 1.

    .. math:: (x - c) / (1 - c)

    x is :func:`lens_precision` and c is :func:`lens_precision_chance` of the pair.

    Parameters
    ----------
    pair
        The two maps.
    k, w
        Size of the top sets, 1 to H W pixels, and half-width of the (2w+1)x(2w+1) window, at least 0; ties at
        the cut are broken by index and windows are clipped at the border. Rules and reference:
        :mod:`lensmetrics.metrics.overlap`.

    Returns
    -------
    float
        At most 1; 0 is what a random unperturbed set reaches on average, less is worse than chance. NaN
        where N_w(T) is the whole map, so that nothing was measured (``saturated``), or where a map is
        constant or not finite.

    Notes
    -----
    Comparable across k, w and image sizes. May fall as w grows.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> u = [[9, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 8]]
    >>> p = [[9, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 8, 0, 0]]
    >>> lm.lens_precision_adjusted(lm.MapPair(u, p), k=2, w=1)  # (1/2 - 10/16) / (1 - 10/16)
    -0.3333333333333333
    """
    return _adjusted(lens_precision(pair, k=k, w=w), lens_precision_chance(pair, k=k, w=w))


def _adjusted(value: float, chance: float) -> float:
    """Return the share of what chance leaves; NaN where it leaves nothing."""
    return math.nan if chance == 1 else (value - chance) / (1 - chance)
