"""Natural order of texts: ``expl2`` before ``expl10``."""

import re
from collections.abc import Iterable
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


def in_order(values: Iterable[Any]) -> list[Any]:
    """Return values of a condition in order: numbers by size, then texts in natural order."""
    known = list(values)
    texts = [value for value in known if isinstance(value, str)]
    return sorted(value for value in known if not isinstance(value, str)) + sorted(texts, key=natural_key)


def in_natural_order(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return a column whose texts sort in natural order; an order of categories that was chosen stays."""
    import pandas as pd  # importers and commands only need the key

    if isinstance(values.dtype, pd.CategoricalDtype):
        known = values.cat.categories.tolist()
        if values.cat.ordered or not _are_texts(known):
            return values
        wanted = sorted(known, key=natural_key)
        return values if wanted == known or sorted(known) != known else values.cat.reorder_categories(wanted)
    if values.dtype.kind != "O":
        return values
    different = values.dropna().unique().tolist()
    if not _are_texts(different):
        return values
    return values.astype(pd.CategoricalDtype(sorted(different, key=natural_key)))


def _are_texts(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
