"""What a request asks for, read strictly: every mistake gets one sentence."""

import math
import re
from collections.abc import Mapping

from ..messages import printable
from .rows import FIXED, Query, Rows

_INTEGER = re.compile(r"0|[1-9][0-9]{0,17}")
# Characters of what one searches for.
_MOST_WORDS = 200


class Refusal(Exception):
    """A request that cannot be answered, with the status of HTTP and a sentence for the reader."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


def whole(asked: Mapping[str, str], name: str, low: int, high: int, default: int | None = None) -> int:
    """Return an integer from `low` to `high`."""
    text = asked.get(name, "" if default is None else str(default))
    if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
        raise Refusal(400, f"{name} must be an integer from {low} to {high}, got {printable(text)[:40]!r}")
    return int(text)


def number(asked: Mapping[str, str], name: str) -> float | None:
    """Return a finite number, or None where nothing is asked."""
    text = asked.get(name, "")
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Refusal(400, f"{name} must be a number, got {printable(text)[:40]!r}")
    return value


def column(asked: Mapping[str, str], name: str, rows: Rows, *, fixed: bool = False) -> str:
    """Return the text of a column of the table: one of scores, or with `fixed` any to sort by."""
    text = asked.get(name, "")
    allowed = [*(FIXED if fixed else ()), *rows.columns()]
    if text not in allowed:
        known = ", ".join(allowed) or "none yet"
        raise Refusal(400, f"the table has no column {printable(text)[:80]!r}; it has {known}")
    return text


def query(asked: Mapping[str, str], rows: Rows) -> Query:
    """Return which rows are asked for, and in which order."""
    return Query(
        file=whole(asked, "only", 0, len(rows.blocks) - 1) if asked.get("only") else None,
        text=asked.get("text", "")[:_MOST_WORDS],
        status=asked.get("status", ""),
        metric=column(asked, "metric", rows) if asked.get("metric") else "",
        low=number(asked, "low"),
        high=number(asked, "high"),
        sort=column(asked, "sort", rows, fixed=True) if asked.get("sort") else "file",
        falling=asked.get("falling") == "1",
    )
