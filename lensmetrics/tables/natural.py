"""Natural order of texts: ``expl2`` before ``expl10``."""

import operator
import re
from collections.abc import Callable, Iterable
from numbers import Real
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# A run of digits, and those after a decimal point, which stay as they are: 0.05, 0.123 and 0.13 are in order.
_NUMBER = re.compile(r"0*([0-9]+)((?:\.[0-9]+)*)")


def natural_key(text: object) -> tuple[str, str]:
    """Return a key by which texts sort in natural order.

    Runs of digits compare as integers, and every other character as in the plain order of texts.

    >>> sorted(["expl10", "expl2", "expl1"], key=natural_key)
    ['expl1', 'expl2', 'expl10']
    """
    text = str(text)
    # The number of digits in front makes texts compare as the integers do; the 0 keeps their place among
    # other characters.
    return _NUMBER.sub(lambda it: f"0{chr(min(len(it[1]), 0x10FFFF))}{it[1]}{it[2]}", text), text


def in_order(values: Iterable[Any], key: Callable[[str], Any] = natural_key) -> list[Any]:
    """Return values of a condition in order: numbers by size, then texts, by default in natural order."""
    known = list(values)
    texts = [value for value in known if isinstance(value, str)]
    return sorted(value for value in known if not isinstance(value, str)) + sorted(texts, key=key)


def in_natural_order(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return a column whose texts sort in natural order; an order of categories that was chosen stays."""
    import pandas as pd  # importers and commands only need the key

    if isinstance(values.dtype, pd.CategoricalDtype):
        known = values.cat.categories.tolist()
        if values.cat.ordered or not _has_texts(known):
            return values
        wanted = in_order(known)
        chosen = in_order(known, key=str) != known
        return values if wanted == known or chosen else values.cat.reorder_categories(wanted)
    if values.dtype.kind != "O":
        return values
    different = values.dropna().unique().tolist()
    if not _has_texts(different):
        return values
    return values.astype(pd.CategoricalDtype(in_order(different)))


def _has_texts(values: list[Any]) -> bool:
    """Return whether some values are texts, and the others numbers."""
    texts = [isinstance(value, str) for value in values]
    return any(texts) and all(map(operator.or_, texts, (isinstance(value, Real) for value in values)))
