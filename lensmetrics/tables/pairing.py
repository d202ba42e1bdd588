"""Scores of the same samples under two conditions, and what follows from their differences."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from .bootstrap import mean_intervals
from .permutation import TIED, holm, sign_flip_p
from .sources import source_samples

# What a comparison says of each pair and metric.
STATISTICS = (
    *("n", "mean_first", "mean_second", "difference", "ci_low", "ci_high", "p", "p_holm"),
    *("higher", "equal", "lower", "n_only_first", "n_only_second"),
)
# Two scores that differ by less than this share of the larger one are equal.
_EQUAL = 1e-9
_LARGEST = np.finfo(np.float64).max
# Tests that share their draws, unless their differences exceed so many numbers.
_TESTS, _NUMBERS = 512, 2**22


class Pair(NamedTuple):
    """Two values of the compared column in one group."""

    group: int
    first: int
    second: int


@dataclass(frozen=True)
class Cells:
    """The scores of each source sample in each cell, which is a group and a value of the compared column.

    A row of `values` is a source sample of a cell, a column is a metric; NaN is undefined. Rows are sorted by
    cell and source sample.
    """

    values: npt.NDArray[np.float64]
    source: npt.NDArray[np.intp]  # of every row
    first_row: npt.NDArray[np.intp]  # of every cell, and the end
    n_levels: int

    @classmethod
    def of(
        cls,
        scores: pd.DataFrame,
        columns: Sequence[str],
        group: npt.NDArray[np.intp],
        level: npt.NDArray[np.intp],
        n_groups: int,
        n_levels: int,
    ) -> "Cells":
        source = source_samples(scores, group, comparing=True)
        n_sources = int(source.max(initial=0)) + 1
        key = (group * n_levels + level) * n_sources + source
        different, row = np.unique(key, return_inverse=True)
        values = np.empty((len(different), len(columns)))
        for j, column in enumerate(columns):
            score = scores[column].to_numpy(dtype=np.float64)
            defined = np.isfinite(score)
            n = np.bincount(row[defined], minlength=len(different))
            with np.errstate(invalid="ignore", over="ignore"):
                total = np.bincount(row[defined], score[defined], minlength=len(different))
                values[:, j] = total / np.where(n > 0, n, np.nan)
        cell, source = np.divmod(different, n_sources)
        return cls(values, source, np.searchsorted(cell, np.arange(n_groups * n_levels + 1)), n_levels)

    def rows(self, group: int, level: int) -> slice:
        cell = group * self.n_levels + level
        return slice(int(self.first_row[cell]), int(self.first_row[cell + 1]))

    def common(self, pair: "Pair") -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the scores (sample, metric) of the samples of both sides of a pair."""
        first, second = self.rows(pair.group, pair.first), self.rows(pair.group, pair.second)
        _, i, j = np.intersect1d(
            self.source[first], self.source[second], assume_unique=True, return_indices=True
        )
        return self.values[first][i], self.values[second][j]


def statistics(cells: Cells, pairs: Sequence[Pair], seed: int) -> dict[str, npt.NDArray[Any]]:
    """Return the statistics, each as an array (pair, metric)."""
    shape = len(pairs), cells.values.shape[1]
    found: dict[str, npt.NDArray[Any]] = {name: np.full(shape, np.nan) for name in STATISTICS}
    for name in ("n", "n_only_first", "n_only_second"):
        found[name] = np.zeros(shape, dtype=np.int64)
    for i, pair in enumerate(pairs):
        for name, numbers in _of_pair(cells, pair).items():
            found[name][i] = numbers
    for tests in _batches(found["n"]):
        differences = np.stack(list(_differences(cells, pairs, tests)), axis=1)
        scale = np.abs(differences).max(axis=0)
        differences /= np.where(scale > 0, scale, 1)  # so that no sum overflows
        index = tuple(np.array(tests).T)
        found["p"][index] = sign_flip_p(differences, len(pairs), seed)
        ends = mean_intervals(differences, seed)
        found["ci_low"][index], found["ci_high"][index] = scale * ends.T
    for j in range(shape[1]):
        found["p_holm"][:, j] = holm(found["p"][:, j])
    return found


def _of_pair(cells: Cells, pair: Pair) -> dict[str, npt.NDArray[Any]]:
    """Return the statistics of a pair that need no resampling, for each metric."""
    first, second = cells.common(pair)
    difference = _difference(first, second)
    both = ~np.isnan(difference)
    n = both.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return {
            "n": n,
            "mean_first": np.where(both, first, 0).sum(axis=0) / n,
            "mean_second": np.where(both, second, 0).sum(axis=0) / n,
            "difference": _total(np.where(both, difference, 0)) / n,
            "higher": (difference > 0).sum(axis=0) / n,
            "equal": (difference == 0).sum(axis=0) / n,
            "lower": (difference < 0).sum(axis=0) / n,
            "n_only_first": _n_defined(cells, pair.group, pair.first) - n,
            "n_only_second": _n_defined(cells, pair.group, pair.second) - n,
        }


def _total(differences: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the sum of each column, exactly 0 where rounding alone makes it differ from 0."""
    total = differences.sum(axis=0)
    return np.where(np.abs(total) <= TIED * np.abs(differences).sum(axis=0), 0.0, total)


def _n_defined(cells: Cells, group: int, level: int) -> npt.NDArray[np.int64]:
    defined = ~np.isnan(cells.values[cells.rows(group, level)])
    return np.asarray(defined.sum(axis=0), dtype=np.int64)


def _difference(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return second minus first, exactly 0 where rounding alone makes them differ."""
    with np.errstate(over="ignore"):
        difference = second - first
    equal = np.abs(difference) <= _EQUAL * np.maximum(np.abs(first), np.abs(second))
    return np.clip(np.where(equal, 0.0, difference), -_LARGEST, _LARGEST)


def _batches(n: npt.NDArray[np.int64]) -> Iterator[list[tuple[int, int]]]:
    """Yield tests (pair, metric) of equally many samples, which share their draws; none is empty."""
    for size in np.unique(n[n > 0]).tolist():
        tests = [(i, j) for i, j in np.argwhere(n == size).tolist()]
        length = max(1, min(_TESTS, _NUMBERS // size))
        for start in range(0, len(tests), length):
            yield tests[start : start + length]


def _differences(
    cells: Cells, pairs: Sequence[Pair], tests: Sequence[tuple[int, int]]
) -> Iterator[npt.NDArray[np.float64]]:
    """Yield the differences of each test, without undefined ones."""
    for i, members in itertools.groupby(tests, key=lambda test: test[0]):
        difference = _difference(*cells.common(pairs[i]))
        for _, j in members:
            column = difference[:, j]
            yield column[~np.isnan(column)]
