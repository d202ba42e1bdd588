"""Parse the text of a metric, such as ``lens_recall(k=1000,w=1)``, without loading any metric."""

import contextlib
import math
import re
import reprlib

_NOT_FINITE = ("inf", "-inf", "nan")
_INTEGER = re.compile("-?[0-9]+")
_FLOAT = re.compile(rf"-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|{'|'.join(_NOT_FINITE)}")

# Shortens what a message quotes: it may be a text of a million characters.
brief = reprlib.Repr()
brief.maxstring = brief.maxother = brief.maxlong = 80


def split_metric(text: str) -> tuple[str, dict[str, int | float]]:
    """Return the name and the parameters in the text of a metric, which need not be registered."""
    match = re.fullmatch(r"\s*(\w+)\s*(?:\((.*)\)\s*)?", text, re.ASCII | re.DOTALL)
    if match is None:
        raise ValueError(
            f"cannot read the metric {brief.repr(text)}; write a name, or for example lens_recall(k=100, w=1)"
        )
    name, inside = match.groups()
    params: dict[str, int | float] = {}
    for part in (inside or "").split(",") if (inside or "").strip() else []:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key.isidentifier() or key in params:
            what = f"{brief.repr(part.strip())} in {brief.repr(text)}"
            raise ValueError(f"cannot read {what}; write each parameter once, as key=value")
        params[key] = read_number(value, text)
    return name, params


def read_number(value: str, text: str) -> int | float:
    """Return the number in a text; Python itself also accepts ``1_0``, ``infinity`` and other alphabets."""
    with contextlib.suppress(ValueError):
        if _INTEGER.fullmatch(value):
            return int(value)
        if _FLOAT.fullmatch(value):
            number = float(value)
            if math.isfinite(number) or value in _NOT_FINITE:  # 1e999 is neither
                return number
    raise ValueError(
        f"cannot read {brief.repr(value)} in the metric {brief.repr(text)}; parameters are numbers such as "
        "3, 0.5 or 1e-3"
    )
