"""Means of scores by condition, and their intervals."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..statuses import METRIC_STATUSES, SAMPLE_STATUSES
from .columns import (
    SUMMARY,
    check_table,
    distinguishing,
    identity_columns,
    metric_columns,
    parse_column,
    unified,
)

# Statuses that `summarize` can leave out.
EXCLUDABLE = (*SAMPLE_STATUSES, "tied_cut")
_N_RESAMPLES = 2000
# From so many source samples with a score on, the interval comes from its formula.
_MANY = 20_000
_LARGEST_SKEW = 2
# So many rows of a column are worked on at a time.
_CHUNK_ROWS = 2**15
# Weights of resamples are drawn in chunks of about this many numbers, for so many source samples at a time.
_CHUNK = 2**20
_BLOCK = 2**15
# As many means at a time, of groups of one size, have their intervals found, if their totals are not more.
_BATCH = 512
_TOTALS = 2**24


def summarize(
    scores: pd.DataFrame,
    by: Sequence[str] | None = None,
    *,
    exclude: str | Sequence[str] = (),
    seed: int = 0,
) -> pd.DataFrame:
    """Aggregate the scores of each condition.

    Parameters
    ----------
    scores
        A table of scores.
    by
        Columns whose values tell the groups apart, such as ``["training", "attack"]``; the default
        is every condition attribute that differs, then any other attribute without which two files
        would fall into one group, those left out that the ones before them decide. Rows in which
        such a value is missing are a group of their own.
    exclude
        Statuses of samples, such as ``["not_attacked"]``: rows that have one are left out. It can
        be any status of the sample, or ``tied_cut``.
    seed
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        A row per group and metric: the columns `by`, ``metric`` (its text), ``mean``, ``sd`` (of
        the sample, n - 1), ``n`` (scores that are defined), ``n_undefined`` (NaN or infinite), with `exclude`
        ``n_excluded`` (rows left out), ``ci_low`` and ``ci_high``; ``mean_attacked``, the mean over
        the rows that are not ``not_attacked``, where there are rows that are; then ``n_`` and the
        name of each status that occurs in the table: how many of the group's rows have it, whether
        left out or not.

    Raises
    ------
    ValueError
        If the table has no scores, a column is not there or cannot tell groups apart, a status
        cannot be left out, or a group pools rows of one dataset with and without names.

    Notes
    -----
    Floats in `by` are equal where their float32 values are finite, normal and equal.

    The 95 % interval is the percentile bootstrap of the mean over 2000 resamples of **source
    samples** (dataset and name where files have names, else dataset and sample number): all rows of
    a sample that a group pools are drawn together, because they share an image. Groups with the
    same number of source samples use the same draws. From 20,000 source samples with a defined
    score on, the interval is mean ± 1.96 se with se = sqrt(sum e²) / sum m, where e is a source
    sample's total minus the mean times m, and m its number of defined scores; the bootstrap stays
    where the e are skewed beyond 2. The interval is NaN where fewer than two source samples have
    defined scores.
    """
    check_table(scores, "the table")
    excluded = _checked_statuses(scores, exclude)
    scores = unified(scores)
    tokens, has = _tokens(scores)
    by = distinguishing(scores) if by is None else [by] if isinstance(by, str) else list(dict.fromkeys(by))
    metrics = metric_columns(scores)
    for column in by:
        if column not in scores or column in metrics:
            msg = f"cannot summarize by {column!r}: the table has {', '.join(identity_columns(scores))}"
            raise ValueError(msg)
        if column in ("metric", *SUMMARY, *(f"n_{token}" for token in tokens)):
            msg = f"cannot summarize by {column!r}: a summary has a column of that name; rename yours"
            raise ValueError(msg)
    group = np.zeros(len(scores), dtype=np.intp)
    first = np.zeros(1, dtype=np.intp)
    if by:
        numbers = scores.groupby(by, sort=True, observed=True, dropna=False).ngroup()
        group = np.asarray(numbers, dtype=np.intp)
        first = np.unique(group, return_index=True)[1]

    def count(rows: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        return np.repeat(np.bincount(group[rows], minlength=len(first)), len(metrics))

    left_out = np.zeros(len(scores), dtype=np.bool_)
    for token in excluded:
        left_out |= has.get(token, False)
    kept = scores[~left_out] if left_out.any() else scores
    not_attacked = has.get("not_attacked", left_out)[~left_out]
    found = _statistics(kept, group[~left_out], len(first), not_attacked, seed)
    table = pd.DataFrame({column: _repeated(scores[column], first, len(metrics)) for column in by})
    table["metric"] = metrics * len(first)
    for name in ("mean", "sd", "n"):
        table[name] = found[name].reshape(-1)
    table["n_undefined"] = count(~left_out) - table["n"]
    if excluded:
        table["n_excluded"] = count(left_out)
    table["ci_low"], table["ci_high"] = found["ci_low"].reshape(-1), found["ci_high"].reshape(-1)
    if not_attacked.any():
        table["mean_attacked"] = found["mean_attacked"].reshape(-1)
    for token in tokens:
        table[f"n_{token}"] = count(has[token])
    return table


def undefined_reason(row: "pd.Series[Any] | Mapping[str, Any]") -> str:
    """Return the status that left a metric without any score in a whole group: "" where none says it.

    `row` is a row of a summary. It is the most frequent of the statuses that can undo that metric.
    """
    metric = parse_column(str(row["metric"]))
    possible = ["incomplete", "checksum", "nan_map"]
    if metric.name.endswith("_published"):
        possible.append("pool_exhausted")
    else:
        possible += ["constant_map"] + ["saturated"] * ("w" in metric.params)
        possible += ["too_small"] * ("k" not in metric.params)
    counts = {status: int(row.get(f"n_{status}", 0)) for status in possible}
    most = max(possible, key=counts.__getitem__)
    return most if not row["n"] and counts[most] else ""


def _checked_statuses(scores: pd.DataFrame, exclude: str | Sequence[str]) -> list[str]:
    statuses = [exclude] if isinstance(exclude, str) else list(dict.fromkeys(exclude))
    for status in statuses:
        if status in EXCLUDABLE:
            continue
        why = "is no status of a sample"
        if status in METRIC_STATUSES:
            why = "is a status of a metric, which depends on the metrics that were asked"
        msg = f"cannot exclude {status!r}: it {why}; allowed: {', '.join(EXCLUDABLE)}"
        raise ValueError(msg)
    if statuses and "status" not in scores:
        msg = f"cannot exclude {statuses[0]!r}: the table has no column 'status'"
        raise ValueError(msg)
    return statuses


def _tokens(scores: pd.DataFrame) -> tuple[list[str], dict[str, npt.NDArray[np.bool_]]]:
    """Return the statuses of the table, sorted, and of each which rows have it."""
    codes, different = pd.factorize(scores["status"] if "status" in scores else pd.Series(dtype=object))
    words = [set(str(status).split(";")) for status in different]
    tokens = sorted(set().union(*words) - {"ok"})
    # The last place is for rows whose status is missing.
    return tokens, {t: np.array([*(t in word for word in words), False])[codes] for t in tokens}


def _repeated(values: "pd.Series[Any]", rows: npt.NDArray[np.intp], n: int) -> "pd.Series[Any]":
    """Return the values at some rows, each n times, as plain ones."""
    found = values.iloc[np.repeat(rows, n)].reset_index(drop=True)
    return pd.Series(found.tolist()) if isinstance(found.dtype, pd.CategoricalDtype) else found


class _Chunk(NamedTuple):
    """Some rows that follow each other, with all rows of each of their source samples."""

    rows: slice
    groups: slice
    group: npt.NDArray[np.intp]  # of every row, counted from the first of `groups`
    source: npt.NDArray[np.intp]  # of every row, counted from the first of the chunk
    source_group: npt.NDArray[np.intp]  # of every source sample


class _Order(NamedTuple):
    """The rows of a table in the order of their groups and, within these, of their source samples."""

    rows: npt.NDArray[np.intp] | slice
    source: npt.NDArray[np.intp]  # of every row
    first_row: npt.NDArray[np.intp]  # of every group, and the end
    first_source: npt.NDArray[np.intp]  # likewise
    chunks: list[_Chunk]


def _statistics(
    scores: pd.DataFrame,
    group: npt.NDArray[np.intp],
    n_groups: int,
    not_attacked: npt.NDArray[np.bool_],
    seed: int,
) -> dict[str, npt.NDArray[Any]]:
    """Return mean, deviation, counts and interval, each (group, metric)."""
    order = _ordered(_source_samples(scores, group), group, n_groups)
    columns = [scores[column].to_numpy(dtype=np.float64)[order.rows] for column in metric_columns(scores)]
    found: dict[str, list[npt.NDArray[Any]]] = {}
    for values in columns:
        for name, numbers in _moments(values, order, not_attacked[order.rows]).items():
            found.setdefault(name, []).append(numbers)
    table = {name: np.stack(numbers, axis=1) for name, numbers in found.items()}
    half = 1.96 * table["se"]
    low, high = -half, half
    wanted = [(i, j) for i, j in np.argwhere(table["resampled"]).tolist()]
    for (i, j), ends in _bootstrap(columns, table["mean"], wanted, order, seed):
        low[i, j], high[i, j] = ends
    return table | {"ci_low": table["mean"] + low, "ci_high": table["mean"] + high}


def _ordered(source: npt.NDArray[np.intp], group: npt.NDArray[np.intp], n_groups: int) -> _Order:
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
    # Arrays of a chunk stay in the cache: a table ten times as long then takes ten times as long.
    cuts = np.searchsorted(starts, np.arange(0, len(key), _CHUNK_ROWS))
    edges = np.unique(np.append(np.append(starts, len(key))[cuts], len(key))).tolist()
    chunks = []
    for start, stop in itertools.pairwise(edges):
        here = slice(start, stop)
        groups = slice(int(group[start]), int(group[stop - 1]) + 1)
        numbers = group[here] - groups.start
        chunk = _Chunk(here, groups, numbers, source[here] - source[start], numbers[begins[here]])
        chunks.append(chunk)
    everyone = np.arange(n_groups + 1)
    return _Order(
        rows, source, np.searchsorted(group, everyone), np.searchsorted(group[starts], everyone), chunks
    )


def _moments(
    values: npt.NDArray[np.float64], order: _Order, not_attacked: npt.NDArray[np.bool_]
) -> dict[str, npt.NDArray[Any]]:
    """Return of one metric, for every group, what is known without resampling.

    `resampled` says whose interval is not: the standard error of the others is `se`.
    """
    sizes = np.diff(order.first_source)
    n, total, rest, squared, n_attacked, of_attacked, n_defined, squares, cubes = np.zeros((9, len(sizes)))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for chunk in order.chunks:
            part = values[chunk.rows]
            defined = np.isfinite(part)
            n[chunk.groups] += _sums(defined, chunk.group)
            total[chunk.groups] += _sums(np.where(defined, part, 0.0), chunk.group)
        mean = total / n
        # Sums of many numbers lose digits, sums of what is left of them do not.
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
        plain = (n_defined >= _MANY) & ((np.abs(skew) <= _LARGEST_SKEW) | (squares == 0))
        return {
            "mean": mean,
            "sd": np.sqrt(squared / np.where(n > 1, n - 1, np.nan)),
            "n": n.astype(np.int64),
            "mean_attacked": mean + of_attacked / n_attacked,
            "se": np.where(plain, np.sqrt(squares) / n, np.nan),
            "resampled": ~plain & (n_defined > 1),
        }


def _sums(numbers: npt.NDArray[Any], group: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Return the sum of each group; groups follow each other."""
    if group[-1] == 0:
        return np.array([numbers.sum(dtype=np.float64)])
    return np.bincount(group, numbers).astype(np.float64)


def _deviation(
    values: npt.NDArray[np.float64], mean: npt.NDArray[np.float64], chunk: _Chunk
) -> npt.NDArray[np.float64]:
    """Return how far scores are from the mean of their group, 0 where they are not defined."""
    of_rows = mean if len(mean) == 1 else mean[chunk.group]
    return np.where(np.isfinite(values), values - of_rows, 0.0)


def _source_samples(scores: pd.DataFrame, group: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Number the source samples of the rows: equal numbers for rows of one sample of one dataset."""
    dataset = np.zeros(len(scores), dtype=np.intp)
    if "dataset" in scores:
        dataset = _sorted_codes(scores["dataset"])
    if "name" in scores and scores["name"].notna().any():
        named = scores["name"].notna().to_numpy()
        _refuse_mixed(scores, group, dataset, named)
        sample = _sorted_codes(scores["name"])
        if not named.all() and "sample" in scores:
            sample = np.where(named, sample, sample.max() + 1 + _sorted_codes(scores["sample"]))
    elif "sample" in scores:
        sample = _sorted_codes(scores["sample"])
    else:
        return np.arange(len(scores), dtype=np.intp)
    return dataset * (int(sample.max(initial=0)) + 1) + sample


def _sorted_codes(values: "pd.Series[Any]") -> npt.NDArray[np.intp]:
    codes, different = pd.factorize(values, sort=True)
    return np.where(codes < 0, len(different), codes).astype(np.intp)


def _refuse_mixed(
    scores: pd.DataFrame,
    group: npt.NDArray[np.intp],
    dataset: npt.NDArray[np.intp],
    named: npt.NDArray[np.bool_],
) -> None:
    """Refuse to pool rows of one dataset with names and without: are they the same samples?"""
    scored = scores[metric_columns(scores)].notna().any(axis=1).to_numpy()
    place = group * (int(dataset.max(initial=0)) + 1) + dataset
    both = np.intersect1d(place[scored & named], place[scored & ~named])
    if len(both):
        row = int(np.flatnonzero(place == both[0])[0])
        of = f" of {scores['dataset'].iloc[row]}" if "dataset" in scores else ""
        msg = (
            f"samples{of} with names and samples without fall into one group, and nothing says which of them "
            "are the same: tell them apart with by, for example by 'file'"
        )
        raise ValueError(msg)


def _bootstrap(
    columns: Sequence[npt.NDArray[np.float64]],
    mean: npt.NDArray[np.float64],
    wanted: Sequence[tuple[int, int]],
    order: _Order,
    seed: int,
) -> Iterator[tuple[tuple[int, int], npt.NDArray[np.float64]]]:
    """Yield (group, metric) and the ends of its interval, less the mean, for those that are wanted.

    Those with as many source samples share their draws, which take most of the time.
    """
    sizes = np.diff(order.first_source)
    by_size: dict[int, list[tuple[int, int]]] = {}
    for i, j in wanted:
        by_size.setdefault(int(sizes[i]), []).append((i, j))
    for n, members in by_size.items():
        length = max(1, min(_BATCH, _TOTALS // n))
        for start in range(0, len(members), length):
            batch = members[start : start + length]
            totals = np.empty((n, 2, len(batch)))
            for position, (i, j) in enumerate(batch):
                rows = slice(order.first_row[i], order.first_row[i + 1])
                values, source = columns[j][rows], order.source[rows] - order.first_source[i]
                defined = np.isfinite(values)
                deviation = np.where(defined, values - mean[i, j], 0.0)
                totals[:, 0, position] = np.bincount(source, deviation)
                totals[:, 1, position] = np.bincount(source, defined)
            yield from zip(batch, _ends(_resampled_means(totals, seed)), strict=True)


def _ends(means: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the ends (mean, 2) of the intervals of means (resample, mean)."""
    ends = np.quantile(means, [0.025, 0.975], axis=0).T
    # A resample may miss every sample with a defined score; it has no mean.
    for i in np.flatnonzero(np.isnan(ends).any(axis=1)):
        ends[i] = np.nanquantile(means[:, i], [0.025, 0.975])
    return ends


def _resampled_means(totals: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float64]:
    """Return the means (resample, mean) of totals and counts (source sample, 2, mean) that are drawn.

    Many source samples are drawn a block at a time, so that the totals of a block stay in the cache.
    """
    n, _, n_means = totals.shape
    totals = totals.reshape(n, 2 * n_means)
    means = np.empty((_N_RESAMPLES, n_means))
    rng = np.random.default_rng(seed)
    blocks = [slice(start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK)]
    sizes = np.array([block.stop - block.start for block in blocks])
    length = max(1, _CHUNK // min(n, _BLOCK))
    for start in range(0, _N_RESAMPLES, length):
        rows = min(length, _N_RESAMPLES - start)
        shares = rng.multinomial(n, sizes / n, size=rows)
        sums = np.zeros((rows, 2 * n_means))
        for block, size, share in zip(blocks, sizes.tolist(), shares.T, strict=True):
            drawn = rng.integers(size, size=int(share.sum()))
            drawn += np.repeat(size * np.arange(rows), share)
            times = np.bincount(drawn, minlength=rows * size).reshape(rows, size).astype(np.float64)
            sums += times @ totals[block]
        deviation, defined = np.split(sums, 2, axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            means[start : start + rows] = deviation / defined
    return means
