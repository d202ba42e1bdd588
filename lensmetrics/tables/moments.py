"""Means, deviations and standard errors of scores by group, a chunk of rows at a time."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

# Number of source samples with a defined score above which an interval comes from its formula instead of
# the bootstrap, unless the totals of the source samples are skewed beyond LARGEST_SKEW.
MANY_SAMPLES = 20_000
LARGEST_SKEW = 2
# Rows per chunk. The arrays of a chunk stay in the cache, so time grows in proportion to the rows.
CHUNK_ROWS = 2**15


class _Chunk(NamedTuple):
    """Consecutive rows that contain all rows of each of their source samples."""

    rows: slice
    groups: slice
    group: npt.NDArray[np.intp]  # of every row, counted from the first of `groups`
    source: npt.NDArray[np.intp]  # of every row, counted from the first of the chunk
    source_group: npt.NDArray[np.intp]  # of every source sample


class Order(NamedTuple):
    """The rows of a table, sorted by group and within a group by source sample."""

    rows: npt.NDArray[np.intp] | slice
    source: npt.NDArray[np.intp]  # of every row
    first_row: npt.NDArray[np.intp]  # of every group, and the end
    first_source: npt.NDArray[np.intp]  # likewise
    chunks: list[_Chunk]


def ordered(source: npt.NDArray[np.intp], group: npt.NDArray[np.intp], n_groups: int) -> Order:
    """Return the order of rows with these source samples and groups."""
    n = int(source.max(initial=0)) + 1
    key = group * n + source
    rows: npt.NDArray[np.intp] | slice = slice(None)
    if (key[1:] < key[:-1]).any():
        rows = np.argsort(key, kind="stable")
    key, group = key[rows], group[rows]
    begins = np.ones(len(key), dtype=np.bool_)
    begins[1:] = key[1:] != key[:-1]
    source = np.cumsum(begins) - 1
    starts = np.flatnonzero(begins)
    cuts = np.searchsorted(starts, np.arange(0, len(key), CHUNK_ROWS))
    edges = np.unique(np.append(np.append(starts, len(key))[cuts], len(key))).tolist()
    chunks = []
    for start, stop in itertools.pairwise(edges):
        here = slice(start, stop)
        groups = slice(int(group[start]), int(group[stop - 1]) + 1)
        numbers = group[here] - groups.start
        chunk = _Chunk(here, groups, numbers, source[here] - source[start], numbers[begins[here]])
        chunks.append(chunk)
    everyone = np.arange(n_groups + 1)
    return Order(
        rows, source, np.searchsorted(group, everyone), np.searchsorted(group[starts], everyone), chunks
    )


def moments(
    columns: Sequence[npt.NDArray[np.float64]], order: Order, not_attacked: npt.NDArray[np.bool_]
) -> dict[str, npt.NDArray[Any]]:
    """Return all statistics that need no resampling, each as an array (group, metric).

    `resampled` marks the intervals that need the bootstrap; the others follow from the standard
    error `se`. Columns and `not_attacked` have the order of `order`.
    """
    found: dict[str, list[npt.NDArray[Any]]] = {}
    for values in columns:
        for name, numbers in _moments(values, order, not_attacked).items():
            found.setdefault(name, []).append(numbers)
    return {name: np.stack(numbers, axis=1) for name, numbers in found.items()}


def _moments(
    values: npt.NDArray[np.float64], order: Order, not_attacked: npt.NDArray[np.bool_]
) -> dict[str, npt.NDArray[Any]]:
    sizes = np.diff(order.first_source)
    n, total, rest, squared, n_attacked, of_attacked, n_defined, squares, cubes = np.zeros((9, len(sizes)))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for chunk in order.chunks:
            part = values[chunk.rows]
            defined = np.isfinite(part)
            n[chunk.groups] += _sums(defined, chunk.group)
            total[chunk.groups] += _sums(np.where(defined, part, 0.0), chunk.group)
        mean = total / n
        # A sum of many numbers loses digits; adding the mean of the remainders restores them.
        for chunk in order.chunks:
            rest[chunk.groups] += _sums(
                _deviation(values[chunk.rows], mean[chunk.groups], chunk), chunk.group
            )
        mean += rest / n
        for chunk in order.chunks:
            part = values[chunk.rows]
            deviation = _deviation(part, mean[chunk.groups], chunk)
            squared[chunk.groups] += _sums(deviation**2, chunk.group)
            defined = np.isfinite(part)
            if not_attacked[chunk.rows].any():
                attacked = defined & ~not_attacked[chunk.rows]
                n_attacked[chunk.groups] += _sums(attacked, chunk.group)
                of_attacked[chunk.groups] += _sums(np.where(attacked, deviation, 0.0), chunk.group)
            else:
                n_attacked[chunk.groups] += _sums(defined, chunk.group)
                of_attacked[chunk.groups] += _sums(deviation, chunk.group)
            if len(chunk.source_group) < len(part):
                deviation = np.bincount(chunk.source, deviation).astype(np.float64)
                defined = np.bincount(chunk.source, defined) > 0
            n_defined[chunk.groups] += _sums(defined, chunk.source_group)
            square = deviation * deviation
            squares[chunk.groups] += _sums(square, chunk.source_group)
            cubes[chunk.groups] += _sums(square * deviation, chunk.source_group)
        skew = (cubes / sizes) / (squares / sizes) ** 1.5
        plain = (n_defined >= MANY_SAMPLES) & ((np.abs(skew) <= LARGEST_SKEW) | (squares == 0))
        return {
            "mean": mean,
            "sd": np.sqrt(squared / np.where(n > 1, n - 1, np.nan)),
            "n": n.astype(np.int64),
            "n_source_samples": n_defined.astype(np.int64),
            "mean_attacked": mean + of_attacked / n_attacked,
            "se": np.where(plain, np.sqrt(squares) / n, np.nan),
            "resampled": ~plain & (n_defined > 1),
        }


def _sums(numbers: npt.NDArray[Any], group: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Return the sum of each group; `group` is sorted."""
    if group[-1] == 0:
        return np.array([numbers.sum(dtype=np.float64)])
    return np.bincount(group, numbers).astype(np.float64)


def _deviation(
    values: npt.NDArray[np.float64], mean: npt.NDArray[np.float64], chunk: _Chunk
) -> npt.NDArray[np.float64]:
    """Return the deviation of each score from the mean of its group, 0 for undefined scores."""
    of_rows = mean if len(mean) == 1 else mean[chunk.group]
    return np.where(np.isfinite(values), values - of_rows, 0.0)
