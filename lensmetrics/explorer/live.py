"""The numbers and sets of one pair for any k and w, computed by the library as the sliders move."""

import functools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..metrics.registry import Entry, MetricFunction, entries
from ..metrics.suites import lens_suite
from ..pairs.mappair import MapPair, Which
from ..tables.known import is_chance
from ..tables.labels import metric_title, number_text
from .memory import Kept

# Scores that chance reaches: the metric that says how often, and what it is called with besides k.
_CHANCE = {
    "topk_intersection": ("lens_recall_chance", 0),
    "lens_recall": ("lens_recall_chance", None),
    "lens_precision": ("lens_precision_chance", None),
}
# Scores that chance leaves at 0 on average: the scale says so, or no order agrees with a random one.
_ZERO = ("lens_recall_adjusted", "lens_precision_adjusted", "kendall", "spearman", "pearson")
# Scores that are numbers of pixels.
_COUNTS = ("n_diverse",)
# One bit per pixel and set, in this order.
LAYERS = ("top_u", "top_p", "near_u", "near_p", "diverse_u", "diverse_p")


def windowed_metrics() -> dict[str, Entry]:
    """Return the metrics that the sliders change: those with k or w and nothing else, LENS first."""
    suite = list(dict.fromkeys(metric.name for metric in lens_suite(k=1, windows=[1], adjusted=True)))
    found = {
        name: entry
        for name, entry in entries().items()
        if entry.parameters
        and set(entry.parameters) <= {"k", "w"}
        and not is_chance(name)
        # What the released code computes is no number to explore by.
        and not name.endswith("_published")
    }
    order = {name: i for i, name in enumerate(suite)}
    return dict(sorted(found.items(), key=lambda item: order.get(item[0], len(order))))


def plain_metrics() -> dict[str, Entry]:
    """Return the metrics without parameters, such as `ssim`: no slider changes them."""
    return {name: entry for name, entry in entries().items() if not entry.parameters}


def described(found: dict[str, Entry]) -> list[dict[str, Any]]:
    """Return what a page says about metrics."""
    return [
        {
            "name": name,
            "title": metric_title(name),
            "meaning": entry.summary,
            "bounds": [bound if math.isfinite(bound) else None for bound in entry.bounds],
        }
        for name, entry in found.items()
    ]


def texts(k: int, w: int) -> list[str]:
    """Return the texts of all metrics for this k and w, as tables of scores name them."""
    found = []
    for name, _, has_k, has_w in _calls(tuple(entries().values())):
        params = [f"k={k}"] * has_k + [f"w={w}"] * has_w
        found.append(f"{name}({','.join(params)})")
    return [*found, *plain_metrics()]


def windowed_scores(kept: Kept, pair: MapPair, k: int, w: int) -> dict[str, Any]:
    """Return every score of a pair for this k and w, the level of chance, and the statuses."""
    scores = {}
    for name, function, has_k, has_w in _calls(tuple(entries().values())):
        params = ({"k": k} if has_k else {}) | ({"w": w} if has_w else {})
        scores[name] = _shown(partial(function, pair, **params), _chance(name, pair, k, w))
        if name in _COUNTS and scores[name]["value"] is not None:
            scores[name]["text"] = f"{scores[name]['value']:.0f}"
    tokens = kept.tokens | _tokens(pair, k, w)
    return {"k": k, "w": w, "scores": scores, "status": sorted(tokens)}


@functools.lru_cache(maxsize=1)
def _calls(_: tuple[Entry, ...]) -> list[tuple[str, MetricFunction, bool, bool]]:
    """Return name, function and sliders of every metric; reading signatures takes as long as the scores."""
    return [
        (name, entry.function, "k" in entry.parameters, "w" in entry.parameters)
        for name, entry in windowed_metrics().items()
    ]


def plain_scores(kept: Kept) -> dict[str, Any]:
    """Return the scores of a pair that no slider changes."""
    scores = {
        name: _shown(partial(entry.function, kept.pair), 0.0 if name in _ZERO else None)
        for name, entry in plain_metrics().items()
    }
    small = {"too_small"} & set(kept.pair.status.split(";"))
    return {"scores": scores, "status": sorted(kept.tokens | small)}


def layers(pair: MapPair, k: int, w: int) -> bytes:
    """Return the sets of a pair, one bit per pixel; nothing where a map has no order."""
    if not pair.finite or pair.constant:
        return b""
    masks: list[npt.NDArray[np.bool_]] = [
        pair.top_k("unperturbed", k),
        pair.top_k("perturbed", k),
        pair.neighbourhood("unperturbed", k, w),
        pair.neighbourhood("perturbed", k, w),
    ]
    sides: tuple[Which, ...] = ("unperturbed", "perturbed")
    for which in sides:
        mask = np.zeros(pair.unperturbed.size, np.bool_)
        mask[pair.diverse_top_k(which, k, w)] = True
        masks.append(mask)
    return b"".join(np.packbits(mask, axis=None, bitorder="little").tobytes() for mask in masks)


def _chance(name: str, pair: MapPair, k: int, w: int) -> float | None:
    if name in _ZERO:
        return 0.0
    if name not in _CHANCE:
        return None
    metric, fixed = _CHANCE[name]
    return entries()[metric].function(pair, k=k, w=w if fixed is None else fixed)


def _shown(score: Callable[[], float], chance: float | None) -> dict[str, Any]:
    """Return a score as JSON can hold it and as a page shows it; a metric of the user's may fail."""
    try:
        value = float(score())
    except Exception as error:
        return {"value": None, "text": "–", "problem": f"{type(error).__name__}: {error}"}
    shown: dict[str, Any] = {"value": value if math.isfinite(value) else None, "text": number_text(value)}
    if chance is not None and not math.isnan(value):
        shown["chance"] = number_text(chance)
    return shown


def _tokens(pair: MapPair, k: int, w: int) -> set[str]:
    """Return the statuses for this k and w; the pair itself collects those of all that were asked for."""
    tokens = set()
    for derived in (pair.smoothed(w), pair.absolute()):
        if derived.finite and derived.constant:
            tokens.add("constant_map")
    if not pair.finite or pair.constant:
        return tokens
    if not pair.signed:
        tokens.add("unsigned")
    size = pair.unperturbed.size
    if k < size and _is_tied(pair, k):
        tokens.add("tied_cut")
    found, diverse = pair.overlap(k, w), pair.diverse_overlap(k, w)
    near = (found.near_unperturbed, found.near_perturbed, diverse.near_unperturbed, diverse.near_perturbed)
    if size in (*near, k):
        tokens.add("saturated")
    if min(diverse.n_unperturbed, diverse.n_perturbed) < k:
        tokens.add("few_diverse")
    return tokens


def _is_tied(pair: MapPair, k: int) -> bool:
    """Return whether the k-th and the (k+1)-th largest value of a map, or of its sizes, are equal."""
    absolute = pair.absolute()
    for one in [pair] if absolute is pair or absolute.constant else [pair, absolute]:
        sides: tuple[tuple[Which, npt.NDArray[Any]], ...]
        sides = ("unperturbed", one.unperturbed), ("perturbed", one.perturbed)
        for which, values in sides:
            last, following = values.flat[one.top_pixels(which, k + 1)[-2:]]
            if last == following:
                return True
    return False
