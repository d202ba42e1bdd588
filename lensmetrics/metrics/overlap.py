r"""Overlap of the pixels with the largest values: top-k intersection and LENS.

These symbols and rules hold for every metric here, in :mod:`~lensmetrics.metrics.chance`, and in
:mod:`~lensmetrics.metrics.topk`:

=========  ==================================================================================
u, p       the unperturbed and the perturbed map, H pixels high and W pixels wide
k          size of the top sets in pixels, from 1 to H W
w          half-width of the window in pixels, at least 0: 1 is 3x3, 2 is 5x5, 3 is 7x7
S, T       the top-k sets: the k pixels with the largest values of u and of p
N_w(S)     all pixels within Chebyshev distance w of S, clipped at the border of the map
=========  ==================================================================================

Ties: of equal values the one with the lower flat (row-major) index comes first; -0.0 equals 0.0. Where
the k-th and the (k+1)-th value of a map are equal, the index completes the set, and the status is
``tied_cut``: two maps with few values other than 0 share many zeros.

Borders: windows do not wrap around; pixels outside the map do not exist.

Undefined: NaN where a map is constant (``constant_map``), because the index alone would choose its set,
or not finite (``nan_map``). ``saturated``: N_w(S) or N_w(T) is the whole map, so the value is the same
for any two maps.

Errors: ValueError where k or w is not an integer in its range, TypeError where arrays are given in place
of a pair.

The reference is [Kamath2024]_; released code means ksandeshk/LENS at 96f6cc7 (2024-08-28).

.. [Kamath2024] S. Kamath, S. Mittal, A. Deshpande, V. N. Balasubramanian, "Rethinking Robustness of Model
   Attributions", AAAI 2024, doi:10.1609/aaai.v38i3.28047, arXiv:2312.10534.
"""

from ..pairs.mappair import MapPair
from .registry import built_in


@built_in
def topk_intersection(pair: MapPair, *, k: int) -> float:
    r"""Fraction of the top-k pixels that both maps share.

    .. math:: |S \cap T| / k

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
        In [0, 1]; 1 where the sets are the same. NaN where a map is constant or not finite.

    References
    ----------
    .. [1] A. Ghorbani, A. Abid, J. Zou, "Interpretation of Neural Networks Is Fragile", AAAI 2019.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> pair = lm.MapPair([[9, 8], [7, 0]], [[9, 0], [7, 8]])
    >>> lm.topk_intersection(pair, k=2)  # S is pixels 0 and 1, T is pixels 0 and 3
    0.5
    """
    return pair.overlap(k, 0).common / k


@built_in
def lens_recall(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""Fraction of the perturbed top-k pixels that lie near an unperturbed one.

    .. math:: |N_w(S) \cap T| / k

    S and T are the top-k sets of the unperturbed and of the perturbed map; N_w adds all pixels within
    Chebyshev distance w.

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
        In [0, 1]; 1 where every pixel of T is within w of a pixel of S. NaN where a map is constant or not
        finite.

    Notes
    -----
    Never falls as w grows; w = 0 is :func:`topk_intersection`. Where N_w(S) is the whole map the value
    is 1 whatever the perturbed map is (``saturated``).

    Values for different k, w or image sizes cannot be compared, because the level that chance reaches
    differs: see :func:`lens_recall_adjusted`.

    The names follow the released code, which dilates the unperturbed set here. Retrieval convention,
    with the unperturbed set as the truth to be retrieved, would call this number precision, and
    :func:`lens_precision` recall.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> u = [[9, 8, 0, 0], [7, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 6]]
    >>> p = [[9, 0, 8, 0], [0, 0, 0, 0], [0, 0, 0, 0], [7, 0, 0, 6]]
    >>> lm.lens_recall(lm.MapPair(u, p), k=4, w=1)  # the 7 of p is near no top pixel of u
    0.75
    """
    return pair.overlap(k, w).recalled / k


@built_in
def lens_precision(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""Fraction of the unperturbed top-k pixels that lie near a perturbed one.

    .. math:: |S \cap N_w(T)| / k

    S and T are the top-k sets of the unperturbed and of the perturbed map; N_w adds all pixels within
    Chebyshev distance w.

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
        In [0, 1]; 1 where every pixel of S is within w of a pixel of T. NaN where a map is constant or not
        finite.

    Notes
    -----
    Never falls as w grows; w = 0 is :func:`topk_intersection`. Where N_w(T) is the whole map the value
    is 1 whatever the unperturbed map is (``saturated``).

    The names follow the released code, which dilates the perturbed set here. Retrieval convention, with
    the unperturbed set as the truth to be retrieved, would call this number recall, and
    :func:`lens_recall` precision.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> u = [[9, 8, 0, 0], [7, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 6]]
    >>> p = [[9, 0, 8, 0], [0, 0, 0, 0], [0, 0, 0, 0], [7, 0, 0, 6]]
    >>> lm.lens_precision(lm.MapPair(u, p), k=4, w=1)  # every top pixel of u is near one of p
    1.0
    """
    return pair.overlap(k, w).precise / k


@built_in
def lens_distance(pair: MapPair, *, k: int, w: int = 1) -> float:
    r"""Number of top-k pixels of either map far from the other's, over k.

    .. math:: (|S \setminus N_w(T)| + |T \setminus N_w(S)|) / k

    S and T are the top-k sets of the unperturbed and of the perturbed map; N_w adds all pixels within
    Chebyshev distance w.

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
        In [0, 2]; 0 where every pixel of either set is within w of the other set. NaN where a map is
        constant or not finite.

    Notes
    -----
    Symmetric in the two maps: 2 - recall - precision. Never rises as w grows; w = 0 is the size of the
    symmetric difference of the sets over k. For w >= 1 it is not a pseudometric: if the top-1 sets of three
    maps are pixels 0, 1 and 2 of a row, then at w = 1 the distances are 0 (0 and 1), 0 (1 and 2) and
    2 (0 and 2).

    Examples
    --------
    >>> import lensmetrics as lm
    >>> u = [[9, 8, 0, 0], [7, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 6]]
    >>> p = [[9, 0, 8, 0], [0, 0, 0, 0], [0, 0, 0, 0], [7, 0, 0, 6]]
    >>> lm.lens_distance(lm.MapPair(u, p), k=4, w=1)  # only the 7 of p is far from the other set
    0.25
    """
    found = pair.overlap(k, w)
    return (found.n_unperturbed - found.precise + found.n_perturbed - found.recalled) / k
