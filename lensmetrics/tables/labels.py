"""The text of conditions, metrics and numbers on pages and in figures."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..messages import printable
from .columns import CONDITIONS, Column, Condition

_WORDS = {"lens": "LENS", "topk": "top-k", "ssim": "SSIM", "mse": "MSE", "fss": "FSS", "iou": "IoU"}
_QUALIFIERS = {"div": "diverse", "published": "as published", "normalized": "normalized"}


def condition_text(name: str, value: Any) -> str:
    """Return the text of a condition's value; an eps such as 0.0314 that is 8/255 is written as 8/255."""
    if pd.isna(value):
        return CONDITIONS.get(name, Condition()).missing
    if name == "eps" and isinstance(value, int | float | np.number):
        steps = float(value) * 255
        if math.isfinite(steps) and abs(steps - round(steps)) < 1e-5 and round(float(value), 2) != value:
            return f"{round(steps)}/255"
    if isinstance(value, float | np.floating):
        return f"{value:g}"
    return printable(value)


def labelled(name: str, value: Any) -> str:
    """Return the text of a condition's value that needs no heading: ``gradient``, but ``eps 8/255``."""
    text = condition_text(name, value)
    plain = name in CONDITIONS and CONDITIONS[name].speaks_for_itself and not pd.isna(value)
    return text if plain else f"{printable(name)} {text}"


def metric_title(name: str) -> str:
    """Return the title of a metric: ``LENS recall (diverse)`` for ``lens_recall_div``."""
    words = name.split("_")
    title = " ".join(_WORDS.get(word, word) for word in words if word not in _QUALIFIERS)
    qualifiers = ", ".join(_QUALIFIERS[word] for word in words if word in _QUALIFIERS)
    return title[:1].upper() + title[1:] + (f" ({qualifiers})" if qualifiers else "")


def column_title(column: Column, *, without: Sequence[str] = ()) -> str:
    """Return the title of a metric with its parameters, apart from those in `without`."""
    shown = [f"{key} = {value}" for key, value in column.params.items() if key not in without]
    return ", ".join([metric_title(column.name), *shown])


def number_text(value: float, *, beside: Sequence[float] = ()) -> str:
    """Return a number with three decimals, or three digits if it is tiny or huge; NaN is a dash.

    A tiny number that is shown with numbers of at least a hundredth, such as the other end of an interval,
    has three decimals as they have.
    """
    if math.isnan(value):
        return "–"
    decimals = value == 0 or 1e-3 <= abs(value) < 1e4
    decimals = decimals or (abs(value) < 1 and any(1e-2 <= abs(other) < 1e4 for other in beside))
    return f"{value:.3f}" if decimals else f"{value:.2e}"


def p_text(p: float) -> str:
    """Return a p with three decimals, but never as 0, nor as 0.050 if it is lower; NaN is a dash."""
    if math.isnan(p):
        return "–"
    if p < 0.001:
        return "< 0.001"
    text = f"{p:.3f}"
    return "< 0.050" if p < 0.05 and text == "0.050" else text
