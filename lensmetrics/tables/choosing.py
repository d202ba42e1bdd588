"""What a user chooses from a table of scores: metrics, the rows that count, and values of a condition."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..statuses import EXCLUDABLE_STATUSES, STATUSES
from .columns import identity_columns, metric_columns, parse_column
from .natural import in_order
from .texts import split_metric


def chosen_metrics(scores: pd.DataFrame, metrics: object) -> list[str]:
    """Return the columns of one or several metrics, each once; a name alone stands for all its parameters.

    Raises
    ------
    ValueError
        If the table has no score of a metric.
    """
    columns = metric_columns(scores)
    parsed = [parse_column(column) for column in columns]
    found: dict[str, None] = {}
    several = metrics if isinstance(metrics, Iterable) and not isinstance(metrics, str) else [metrics]
    for text in map(str, several):
        matches = [text] if text in columns else []
        if not matches:
            name, params = split_metric(text)
            matches = [c.text for c in parsed if c.name == name and (not params or c.params == params)]
        if not matches:
            similar = [c.text for c in parsed if c.name == name] or list(
                dict.fromkeys(c.name for c in parsed)
            )
            raise ValueError(f"the table has no scores of {text}; it has: {', '.join(similar)}")
        found |= dict.fromkeys(matches)
    if not found:
        raise ValueError(f"name at least one metric; the table has: {', '.join(columns)}")
    return list(found)


def check_exclude(exclude: str | Sequence[str]) -> list[str]:
    """Return the statuses to leave out, each once; refuse what cannot be left out."""
    statuses = [exclude] if isinstance(exclude, str) else list(dict.fromkeys(exclude))
    for status in statuses:
        if status in EXCLUDABLE_STATUSES:
            continue
        why = "is not a status of a sample"
        if status in STATUSES:
            why = "is a status of a metric, so it depends on which metrics were scored"
        allowed = ", ".join(EXCLUDABLE_STATUSES)
        raise ValueError(f"cannot exclude {status!r}: it {why}; allowed: {allowed}")
    return statuses


def counted_rows(scores: pd.DataFrame, exclude: str | Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which rows have none of the statuses in `exclude`."""
    excluded = check_exclude(exclude)
    if not excluded:
        return np.ones(len(scores), dtype=np.bool_)
    if "status" not in scores:
        raise ValueError(f"cannot exclude {excluded[0]!r}: the table has no column 'status'")
    codes, different = pd.factorize(scores["status"])
    keeps = [set(excluded).isdisjoint(str(status).split(";")) for status in different]
    return np.array([*keeps, True])[codes]  # the last entry belongs to rows whose status is missing


def numbered_in_order(values: "pd.Series[Any]") -> tuple[npt.NDArray[np.intp], list[Any]]:
    """Return the number of every value, and the different values in order; None is last.

    The order is the natural one, unless categories have an order of their own.
    """
    codes, different = pd.factorize(values)
    if isinstance(values.dtype, pd.CategoricalDtype) and values.dtype.ordered:
        ordered = different.sort_values().tolist()
    else:
        ordered = in_order(different.tolist())
    number = {value: i for i, value in enumerate(ordered)}
    missing = [None] if (codes < 0).any() else []
    # The last entry belongs to missing values, whose code is -1.
    return np.array([*(number[value] for value in different.tolist()), len(ordered)])[
        codes
    ], ordered + missing


def grouped(scores: pd.DataFrame, by: Sequence[str]) -> tuple[npt.NDArray[np.intp], pd.DataFrame]:
    """Return the group of every row, and a row with the values of `by` for each group, in natural order."""
    group = np.zeros(len(scores), dtype=np.intp)
    found = {}
    for name in by:
        codes, different = numbered_in_order(scores[name])
        group = np.unique(group * len(different) + codes, return_inverse=True)[1]
        found[name] = codes, different
    first = np.unique(group, return_index=True)[1]
    values = {name: [different[i] for i in codes[first]] for name, (codes, different) in found.items()}
    return group, pd.DataFrame(values, index=range(len(first)))


def check_columns(
    scores: pd.DataFrame, what: str, names: Iterable[str], taken: Iterable[str], *, result: str = "the result"
) -> None:
    """Refuse columns that cannot define conditions; `taken` are the columns of the result."""
    metrics, taken = set(metric_columns(scores)), set(taken)
    for name in names:
        if name not in scores or name in metrics:
            raise ValueError(f"cannot {what} {name!r}: the table has {', '.join(identity_columns(scores))}")
        if name in taken:
            raise ValueError(f"cannot {what} {name!r}: {result} has a column of that name; rename yours")


def plain(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Return the values of a column without categories, numbered from 0."""
    values = values.reset_index(drop=True)
    # Not by the type of the categories: integers cannot hold missing values.
    return pd.Series(values.tolist()) if isinstance(values.dtype, pd.CategoricalDtype) else values
