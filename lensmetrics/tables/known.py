"""What is known about each metric without loading it: bounds, best value and meaning.

Tables and pages need these facts without the compiler that the metrics need.
"""

import math
import sys
from collections.abc import Mapping
from math import inf
from typing import Any, NamedTuple


class MetricFacts(NamedTuple):
    """What tables, pages and the registry state about a metric."""

    bounds: tuple[float, float]  # smallest and largest value other than NaN
    best: float | None  # value for two identical maps, None if that value is not fixed
    meaning: str  # first sentence of the docstring

    @property
    def higher_is_better(self) -> bool | None:
        """Whether higher values mean more similar maps; None if neither end of the range is the best."""
        if self.best is None or self.best not in self.bounds or self.bounds[0] == self.bounds[1]:
            return None
        return self.best == self.bounds[1]

    def plain(self) -> dict[str, Any]:
        """Return the facts as JSON can store them: an infinite bound is null."""
        bounds = [bound if math.isfinite(bound) else None for bound in self.bounds]
        return {"bounds": bounds, "best": self.best, "meaning": self.meaning}


# The metrics that compare the images rather than the maps: whoever scores reads the images for them.
OF_IMAGES = ("image_mse", "image_pearson", "image_ssim")


def is_chance(metric: str) -> bool:
    """Return whether a metric, given by its name, is the level that chance reaches on another one."""
    return metric.endswith("_chance")


# The key of `scores.attrs` under which the facts of metrics that this process may not know are stored.
FACTS = "metric_facts"


def registered() -> Mapping[str, Any]:
    """Return the entries of the registry, or none if it is not loaded.

    Registering a metric loads the registry; tables do not need it otherwise.
    """
    registry = sys.modules.get("lensmetrics.metrics.registry")
    return {} if registry is None else registry.entries()


def known_metrics(attrs: Mapping[Any, Any]) -> dict[str, MetricFacts]:
    """Return the facts of all metrics known here, and of those that the attributes of a table describe."""
    described = attrs.get(FACTS)
    known = {name: read_facts(value) for name, value in described.items()} if described else {}
    for name, entry in registered().items():
        known[name] = MetricFacts(entry.bounds, entry.best, entry.summary)
    return known | CERTIFICATES | BUILT_IN


def read_facts(stored: Mapping[str, Any]) -> MetricFacts:
    """Return the facts that `MetricFacts.plain` wrote.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the value has another form.
    """
    low, high = stored["bounds"]
    bounds = (-inf if low is None else float(low), inf if high is None else float(high))
    best = stored["best"]
    return MetricFacts(bounds, None if best is None else float(best), str(stored["meaning"]))


# The columns of certificates, which are computed from files, not by a function of a pair. Their best value is
# what could be wished for: none follows from two identical maps.
CERTIFICATES = {
    "smoothed_norm": MetricFacts((0, inf), None, "l2 norm of the smoothed map, as its draws estimate it."),
    "certified_cosine": MetricFacts(
        (0, 1), 1, "Proved lower bound on the cosine of two smoothed maps whose inputs differ by at most eps."
    ),
    "certified_eps": MetricFacts(
        (0, inf), inf, "Largest l2 perturbation under which the smoothed maps provably keep a cosine."
    ),
    "certified_radius": MetricFacts(
        (0, inf),
        0,
        "Estimate of the smallest smoothing radius that certifies a cosine at eps; new maps must confirm it.",
    ),
}

# The condition of certificates that is no attribute of a file: the probability that they are wrong.
CERTIFIED_ALPHA = "certified_alpha"

# The registry takes the bounds and best values of its own metrics from here; a test compares the meanings
# with the docstrings.
BUILT_IN = {
    "cosine": MetricFacts(
        (-1, 1), 1, "Cosine of the angle between the two maps, taken as vectors of pixels."
    ),
    "fss": MetricFacts(
        (0, 1), 1, "Fractions skill score of the top-k sets: how alike their densities are in windows."
    ),
    "image_mse": MetricFacts(
        (0, 1), 0, "Mean squared difference of the two images over all pixels and channels."
    ),
    "image_pearson": MetricFacts(
        (-1, 1), 1, "Pearson's linear correlation of the two images over all pixels and channels."
    ),
    "image_ssim": MetricFacts((-1, 1), 1, "Mean structural similarity of the two images."),
    "kendall": MetricFacts((-1, 1), 1, "Kendall's tau-b over all pairs of pixels."),
    "lens_distance": MetricFacts(
        (0, 2), 0, "Number of top-k pixels of either map far from the other's, over k."
    ),
    "lens_kendall": MetricFacts((-1, 1), 1, "Kendall's tau-b of the w-smoothed maps."),
    "lens_precision": MetricFacts(
        (0, 1), 1, "Fraction of the unperturbed top-k pixels that lie near a perturbed one."
    ),
    "lens_precision_adjusted": MetricFacts(
        (-inf, 1), 1, "LENS precision on a scale where chance is 0 and perfect is 1."
    ),
    "lens_precision_chance": MetricFacts(
        (0, 1), None, "LENS precision to be expected if the unperturbed top-k set were drawn at random."
    ),
    "lens_precision_div": MetricFacts(
        (0, 1), 1, "Fraction of the unperturbed diverse top-k pixels that lie near a perturbed one."
    ),
    "lens_precision_div_published": MetricFacts(
        (0, 1), None, "LENS precision of the diverse top-k sets as the released scripts compute it."
    ),
    "lens_precision_published": MetricFacts(
        (0, 1), None, "LENS precision as the released scripts compute it."
    ),
    "lens_recall": MetricFacts(
        (0, 1), 1, "Fraction of the perturbed top-k pixels that lie near an unperturbed one."
    ),
    "lens_recall_adjusted": MetricFacts(
        (-inf, 1), 1, "LENS recall on a scale where chance is 0 and perfect is 1."
    ),
    "lens_recall_chance": MetricFacts(
        (0, 1), None, "LENS recall to be expected if the perturbed top-k set were drawn at random."
    ),
    "lens_recall_div": MetricFacts(
        (0, 1), 1, "Fraction of the perturbed diverse top-k pixels that lie near an unperturbed one."
    ),
    "lens_recall_div_published": MetricFacts(
        (0, 1), None, "LENS recall of the diverse top-k sets as the released scripts compute it."
    ),
    "lens_recall_published": MetricFacts((0, 1), None, "LENS recall as the released scripts compute it."),
    "lens_spearman": MetricFacts((-1, 1), 1, "Spearman's rank correlation of the w-smoothed maps."),
    "mass_center_shift": MetricFacts(
        (0, inf), 0, "Euclidean distance between the centers of mass of the absolute values of the two maps."
    ),
    "mse": MetricFacts((0, inf), 0, "Mean squared difference of the two maps over all pixels."),
    "mse_normalized": MetricFacts(
        (0, 4), 0, "Mean squared difference of the two maps, each divided by the sum of its absolute values."
    ),
    "n_diverse": MetricFacts(
        (1, inf), None, "Number of pixels in the smaller of the two diverse top-k sets."
    ),
    "pearson": MetricFacts((-1, 1), 1, "Pearson's linear correlation over all pixels."),
    "sign_agreement": MetricFacts(
        (0, 1), 1, "Fraction of the k pixels largest by absolute value that both maps share with one sign."
    ),
    "spearman": MetricFacts((-1, 1), 1, "Spearman's rank correlation over all pixels."),
    "ssim": MetricFacts((-1, 1), 1, "Mean structural similarity of the two maps."),
    "ssim_normalized": MetricFacts(
        (-1, 1), 1, "SSIM of the two maps, each divided by the sum of its absolute values."
    ),
    "topk_distance": MetricFacts(
        (0, inf), 0, "Mean distance from a top-k pixel of either map to the nearest one of the other map."
    ),
    "topk_div_intersection": MetricFacts(
        (0, 1), 1, "Fraction of the diverse top-k pixels that both maps share."
    ),
    "topk_div_intersection_published": MetricFacts(
        (0, 1), None, "Intersection of the diverse top-k sets as the released scripts compute it."
    ),
    "topk_intersection": MetricFacts((0, 1), 1, "Fraction of the top-k pixels that both maps share."),
    "topk_iou": MetricFacts((0, 1), 1, "Intersection over union of the top-k sets of both maps."),
}
