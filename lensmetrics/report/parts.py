"""What a page consists of: figures and tables with their titles, texts and ids."""

import re
from typing import NamedTuple


class Shown(NamedTuple):
    """A figure on a page: its id, ``<svg>`` element, title and caption."""

    id: str
    svg: str
    title: str
    caption: str


class Ids:
    """The ids of one page: each is made from a text, and occurs once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def new(self, text: str) -> str:
        """Return an id that a link can name: ``lens_recall(k=100,w=1)`` becomes ``lens_recall-k-100-w-1``."""
        base = slug(text)
        found, n = base, 1
        while found in self._taken:
            n += 1
            found = f"{base}-{n}"
        self._taken.add(found)
        return found


def slug(text: str) -> str:
    """Return a text with everything but letters, digits, dots and underscores replaced by hyphens."""
    return re.sub(r"[^\w.]+", "-", text).strip("-") or "x"
