"""How the page and its figures name conditions, metrics and numbers."""

import math
from typing import Any

import numpy as np
import pandas as pd

from ..messages import printable as printable

# Conditions whose values say by themselves what they are.
_PLAIN = ("dataset", "model", "training", "explanation", "attack")
_WORDS = {"lens": "LENS", "topk": "top-k", "ssim": "SSIM", "mse": "MSE", "fss": "FSS", "iou": "IoU"}
_QUALIFIERS = {"div": "diverse", "published": "as published"}


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
