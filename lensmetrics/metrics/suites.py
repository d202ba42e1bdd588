"""Named sets of metrics."""

from collections.abc import Iterable, Sequence

from .registry import Metric, get_metric


def lens_suite(
    k: int | Sequence[int], windows: Sequence[int] = (1, 2, 3), adjusted: bool = False
) -> list[Metric]:
    """Return what the LENS paper reports: 3 metrics, and 5 more for every window half-width.

    The three are top-k intersection, Kendall and Spearman; the five are LENS recall and precision,
    top-k-div intersection, LENS recall div and LENS precision div.

    Parameters
    ----------
    k
        Size of the top sets in pixels. The paper uses 100 for MNIST, Fashion-MNIST and GTSRB, and 1000 for
        Flower and ImageNet. Several sizes give the metrics of each; Kendall and Spearman, which have none,
        are there once.
    windows
        Half-widths w; the paper uses 1, 2 and 3.
    adjusted
        Add, for every w, LENS recall and precision on a scale where chance is 0: raw values cannot be
        compared across k, w or image sizes.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> for metric in lm.lens_suite(k=100, windows=[1]):
    ...     print(metric)
    topk_intersection(k=100)
    kendall
    spearman
    lens_recall(k=100,w=1)
    lens_precision(k=100,w=1)
    topk_div_intersection(k=100,w=1)
    lens_recall_div(k=100,w=1)
    lens_precision_div(k=100,w=1)
    """
    windowed = (
        "lens_recall",
        "lens_precision",
        "topk_div_intersection",
        "lens_recall_div",
        "lens_precision_div",
        *(("lens_recall_adjusted", "lens_precision_adjusted") if adjusted else ()),
    )
    sizes = list(k) if isinstance(k, Iterable) else [k]
    suite = [get_metric("topk_intersection", k=size) for size in sizes]
    suite += [get_metric("kendall"), get_metric("spearman")]
    suite += [get_metric(name, k=size, w=w) for size in sizes for w in windows for name in windowed]
    return list(dict.fromkeys(suite))
