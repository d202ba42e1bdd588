"""Which scores a page puts first: those by which it chooses examples and compares conditions."""

from collections.abc import Sequence

from ..tables.columns import Column
from ..tables.known import MetricFacts


def leading_score(columns: Sequence[Column]) -> Column | None:
    """Return the score by which examples are chosen, None if the table has none that suits.

    It is LENS recall with the smallest window of w > 0, otherwise top-k intersection.
    """
    found = _recalls(columns) + _intersections(columns)
    return found[0] if found else None


def leading_scores(columns: Sequence[Column], known: dict[str, MetricFacts]) -> list[Column]:
    """Return one or two scores that stand for the others: LENS recall and top-k intersection of one k.

    Without them, it is the first score that has a best value, or the first of all.
    """
    score = leading_score(columns)
    if score is None:
        ranked = [c for c in columns if c.name in known and known[c.name].best is not None]
        return [*ranked, *columns][:1]
    return [score, *[c for c in _intersections(columns) if c != score and c.params["k"] == score.params["k"]]]


def contrasted(columns: Sequence[Column], known: dict[str, MetricFacts]) -> tuple[Column, Column] | None:
    """Return the two scores whose disagreement is of interest, None if the table has fewer than two.

    These are top-k intersection and LENS recall of one k; otherwise the score that leads and the
    first of another name that has a best value.
    """
    leading = leading_scores(columns, known)
    if len(leading) == 2:
        return leading[1], leading[0]
    if not leading:
        return None
    first = leading[0]
    others = [
        c for c in columns if c.name != first.name and c.name in known and known[c.name].best is not None
    ]
    return (
        (first, others[0]) if others and first.name in known and known[first.name].best is not None else None
    )


def _recalls(columns: Sequence[Column]) -> list[Column]:
    found = [c for c in _whole(columns) if c.name == "lens_recall" and {*c.params} == {"k", "w"}]
    return sorted(found, key=lambda c: (c.params["w"] == 0, c.params["w"], c.params["k"]))


def _intersections(columns: Sequence[Column]) -> list[Column]:
    found = [c for c in _whole(columns) if c.name == "topk_intersection" and {*c.params} == {"k"}]
    return sorted(found, key=lambda c: c.params["k"])


def _whole(columns: Sequence[Column]) -> list[Column]:
    """Return the columns whose parameters are all integers."""
    return [c for c in columns if all(isinstance(value, int) for value in c.params.values())]
