"""How the page and its figures name conditions, metrics and numbers."""

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..messages import printable as printable
from .texts import split_metric

# What each status means for the scores, in one sentence.
STATUS = {
    "nan_map": "A map has pixels that are NaN or infinite, so all scores of the pair are undefined.",
    "constant_map": "A map has one value everywhere and ranks no pixel above another, so all metrics that "
    "rank pixels are undefined, those of top-k sets too; published ones keep what the released scripts give.",
    "identical": "Both maps are equal in every pixel: the explanation did not change at all.",
    "not_attacked": "The attack accepted no image, so the perturbed map is that of the unperturbed one: the "
    "score says that the attack failed, not that the explanation is robust.",
    "label_changed": "The network predicts another class for the perturbed input than for the unperturbed "
    "one, so its explanation has a reason to change.",
    "tied_cut": "The k-th and the (k+1)-th value of a map are equal, so its top-k set holds some of the tied "
    "pixels by their index, and such scores can be too high or too low.",
    "few_diverse": "A map has fewer than k mutually diverse pixels; diverse scores divide by their number.",
    "saturated": "The neighbourhood covers the whole map, or k is its number of pixels: plain scores keep a "
    "value that any two maps would have, adjusted and diverse LENS scores are undefined.",
    "unsigned": "Neither map has a negative pixel, so the agreement of signs only counts the overlap.",
    "pool_exhausted": "The published procedure ran out of candidate pixels, so its score is undefined.",
    "too_small": "The map is smaller than the window of a metric, whose score is undefined.",
    "incomplete": "The sample was never finished in its file, so all its scores are undefined.",
    "checksum": "The maps do not match their checksum: the file is damaged, and their scores are undefined.",
}
# Conditions whose values say by themselves what they are.
_PLAIN = ("dataset", "model", "training", "explanation", "attack")
_WORDS = {"lens": "LENS", "topk": "top-k", "ssim": "SSIM", "mse": "MSE", "fss": "FSS", "iou": "IoU"}
_QUALIFIERS = {"div": "diverse", "published": "as published"}


class Column(NamedTuple):
    """A column of scores, taken apart."""

    text: str
    name: str
    params: dict[str, int | float]

    @property
    def family(self) -> tuple[str, tuple[tuple[str, int | float], ...]]:
        """The name and all parameters but w: what a table shows side by side."""
        return self.name, tuple((key, value) for key, value in self.params.items() if key != "w")


def condition_text(name: str, value: Any) -> str:
    """Return the value of a condition attribute for people.

    An eps that is no short decimal but a multiple of 1/255 is written as such.
    """
    if pd.isna(value):
        return "not given"
    if name == "eps" and isinstance(value, int | float | np.number):
        steps = float(value) * 255
        if math.isfinite(steps) and abs(steps - round(steps)) < 1e-5 and round(float(value), 2) != value:
            return f"{round(steps)}/255"
    if isinstance(value, float | np.floating):
        return f"{value:g}"
    return printable(value)


def labelled(name: str, value: Any) -> str:
    """Return the value of a condition so that it stands alone: with its name, unless that is plain."""
    text = condition_text(name, value)
    return text if name in _PLAIN and not pd.isna(value) else f"{printable(name)} {text}"


def metric_title(name: str) -> str:
    """Return the name of a metric for people: ``lens_recall_div`` is LENS recall (diverse)."""
    words = name.split("_")
    title = " ".join(_WORDS.get(word, word) for word in words if word not in _QUALIFIERS)
    qualifiers = ", ".join(_QUALIFIERS[word] for word in words if word in _QUALIFIERS)
    return title[:1].upper() + title[1:] + (f" ({qualifiers})" if qualifiers else "")


def number_text(value: float) -> str:
    """Return a number with three decimals, or with three digits where these say nothing; NaN is a dash."""
    if math.isnan(value):
        return "–"
    return f"{value:.3f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.2e}"


def parse_column(text: str) -> Column:
    """Take the name of a column of scores apart; one that is no text of a metric has no parameters."""
    try:
        return Column(text, *split_metric(text))
    except ValueError:
        return Column(text, text, {})
