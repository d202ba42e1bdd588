"""Named sets of metrics."""

from collections.abc import Sequence

from .registry import Metric, get_metric


def lens_suite(k: int, windows: Sequence[int] = (1, 2, 3), adjusted: bool = False) -> list[Metric]:
    """Return what the LENS paper reports: 3 metrics, and 5 more for every window half-width.

    Top-k intersection, Kendall and Spearman; for every w LENS recall and precision, top-k-div
    intersection, LENS recall div and LENS precision div. The paper takes k = 100 for MNIST,
    Fashion-MNIST and GTSRB, 1000 for Flower and ImageNet, and w = 1, 2, 3. With ``adjusted`` follow, for
    every w, LENS recall and precision on a scale where chance is 0: raw values of different k, w or
    image sizes do not compare.
    """
    windowed = (
        "lens_recall",
        "lens_precision",
        "topk_div_intersection",
        "lens_recall_div",
        "lens_precision_div",
        *(("lens_recall_adjusted", "lens_precision_adjusted") if adjusted else ()),
    )
    suite = [get_metric("topk_intersection", k=k), get_metric("kendall"), get_metric("spearman")]
    return suite + [get_metric(name, k=k, w=w) for w in windows for name in windowed]
