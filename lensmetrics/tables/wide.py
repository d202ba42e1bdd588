"""Summaries in which each value of a condition has its own columns."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from .labels import labelled

# The statistics of each value, in the form with all digits.
_STATISTICS = ("mean", "ci_low", "ci_high", "n")


@dataclass(frozen=True)
class Spread:
    """A summary whose values of one condition stand side by side.

    `rows` has a row for each metric of each group without that condition. `places` are, for the text of each
    value, the rows of the summary (-1: there is no such group).
    """

    rows: pd.DataFrame
    places: dict[str, npt.NDArray[np.intp]]

    @classmethod
    def of(cls, table: pd.DataFrame, column: str) -> "Spread":
        """Return a summary by `column` and others in this form."""
        names = list(table.columns)
        by = names[: names.index("metric")]
        if column not in by:
            raise ValueError(f"cannot spread {column!r}: the summary is by {', '.join(by) or 'nothing'}")
        keys = [*(name for name in by if name != column), "metric"]
        of_row: dict[tuple[Any, ...], int] = {}
        numbers = [of_row.setdefault(key, len(of_row)) for key in _tuples(table, keys)]
        values = [value for (value,) in _tuples(table, [column])]
        texts = _texts(column, list(dict.fromkeys(values)), keys)
        first = np.unique(numbers, return_index=True)[1]
        places = {text: np.full(len(first), -1, dtype=np.intp) for text in texts.values()}
        for i, (row, value) in enumerate(zip(numbers, values, strict=True)):
            places[texts[value]][row] = i
        return cls(table[keys].iloc[first].reset_index(drop=True), places)


def _tuples(table: pd.DataFrame, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the values of each row; a missing value is None, which equals itself."""
    lists = [[None if pd.isna(value) else value for value in table[name].tolist()] for name in columns]
    return list(zip(*lists, strict=True))


def _texts(column: str, values: Sequence[Any], taken: Sequence[str]) -> dict[Any, str]:
    """Return the text of each value; one that is shown like another, or as a column, gets all its digits."""
    texts = [labelled(column, value) for value in values]
    counts = Counter([*texts, *taken])
    return {
        value: f"{column} {value!r}" if counts[text] > 1 else text
        for value, text in zip(values, texts, strict=True)
    }


def wide_table(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return a summary with columns mean, ci_low, ci_high and n for each value of a condition.

    Where a group has no such value, n is 0 and the others are missing.
    """
    spread = Spread.of(table, column)
    found = {}
    for text, places in spread.places.items():
        for name in _STATISTICS:
            values = table[name].to_numpy()[places]
            found[f"{text} {name}"] = np.where(places < 0, 0 if name == "n" else np.nan, values)
    return pd.concat([spread.rows, pd.DataFrame(found, index=spread.rows.index)], axis=1)
