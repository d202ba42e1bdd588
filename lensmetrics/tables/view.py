"""A table of scores with everything that tables, figures and pages about it need, computed once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .columns import Column, check_table, metric_columns, parse_column, unified
from .differing import distinguishing, numbered, splitting
from .summary import Summary, aggregated


@dataclass(frozen=True)
class View:
    """A table of scores, its columns and conditions, and its summary by condition."""

    scores: pd.DataFrame  # equal floats of a condition are one value
    columns: list[Column]
    conditions: list[str]  # the columns that distinguish the conditions, as `distinguishing` orders them
    summary: Summary  # groups are sorted by `by`

    @classmethod
    def of(cls, scores: pd.DataFrame, *, exclude: str | Sequence[str] = (), seed: int = 0) -> "View":
        """Return the view of a table of scores; the parameters are those of `summarize`."""
        check_table(scores, "the table")
        scores = unified(scores)
        conditions = distinguishing(scores)
        columns = [parse_column(text) for text in metric_columns(scores)]
        return cls(
            scores,
            columns,
            conditions,
            aggregated(scores, _training_last(conditions), exclude=exclude, seed=seed),
        )

    @property
    def by(self) -> list[str]:
        """The conditions in the order of tables and figures: the training regime is last.

        Regimes are what a study compares, so they are adjacent rows of a table and lines of a figure.
        """
        return _training_last(self.conditions)

    @property
    def kept(self) -> pd.DataFrame:
        """The rows that were not left out."""
        counted = self.summary.row_counts
        return self.scores if counted.all() else self.scores[counted]

    def parts(self, columns: Sequence[str]) -> list[tuple[list[Any], "View"]]:
        """Split the view by some of its conditions; return the values and the view of each part.

        Groups without any row that counts belong to no part.
        """
        summary = self.summary
        filled = np.flatnonzero(summary.n_rows > 0)
        codes = [numbered(summary.groups[column]) for column in columns]
        parts: dict[tuple[int, ...], list[int]] = {}
        for group in filled.tolist():
            parts.setdefault(tuple(int(code[group]) for code in codes), []).append(group)
        return [
            ([summary.groups[column].iloc[groups[0]] for column in columns], self._part(groups))
            for groups in parts.values()
        ]

    def _part(self, groups: Sequence[int]) -> "View":
        rows = np.isin(self.summary.row_group, groups)
        summary = self.summary.part(np.asarray(groups, dtype=np.intp))
        kept = splitting([numbered(summary.groups[column]) for column in self.conditions])
        scores = self.scores if rows.all() else self.scores[rows]
        return View(scores, self.columns, [self.conditions[i] for i in kept], summary)


def _training_last(conditions: Sequence[str]) -> list[str]:
    return sorted(conditions, key="training".__eq__)
