"""Natural order of texts: ``expl2`` before ``expl10``."""

import re
from collections.abc import Iterable
from typing import Any

# A run of digits; the digits after a decimal point are compared as they stand: 0.05 is before 0.1.
_NUMBER = re.compile(r"(?a:(?<!\d\.)0*(\d+))")


def natural_key(text: object) -> tuple[str, str]:
    """Return a key by which texts sort in natural order.

    Runs of digits compare as integers, and every other character as in the plain order of texts.

    >>> sorted(["expl10", "expl2", "expl1"], key=natural_key)
    ['expl1', 'expl2', 'expl10']
    """
    text = str(text)
    # The number of digits in front makes texts compare as the integers do; the 0 keeps their place among
    # other characters.
    return _NUMBER.sub(lambda match: f"0{chr(min(len(match[1]), 0x10FFFF))}{match[1]}", text), text


def in_order(values: Iterable[Any]) -> list[Any]:
    """Return values of a condition in order: numbers by size, then texts in natural order."""
    texts = [value for value in values if isinstance(value, str)]
    others = [value for value in values if not isinstance(value, str)]
    return sorted(others) + sorted(texts, key=natural_key)
