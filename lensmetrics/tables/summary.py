"""Means of scores by condition, with their intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..statuses import UNREADABLE_STATUSES
from .bootstrap import intervals
from .choosing import check_columns, check_exclude, counted_rows, plain
from .columns import SUMMARY, check_table, metric_columns, parse_column, unified
from .differing import distinguishing
from .known import CERTIFICATES, OF_IMAGES
from .moments import moments, ordered
from .natural import in_natural_order
from .sharing import sample_counts
from .sources import source_samples

# Intervals of fewer source samples than this are marked: a percentile bootstrap of them is too narrow.
FEW_SAMPLES = 10


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
        Columns that define the groups, such as ``["training", "attack"]``. The default is every
        condition attribute that differs, then every other attribute without which two files would
        share a group; a column that the columns before it determine is left out. Rows in which such
        a value is missing form a group.
    exclude
        Statuses of samples, such as ``["not_attacked"]``: rows that have one of them are left out.
        Every status of a sample is allowed, and ``tied_cut``.
    seed
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        A row per group and metric: the columns `by`, ``metric`` (its text), ``mean``, ``sd`` (of
        the sample, n - 1), ``n`` (defined scores), ``n_undefined`` (NaN or infinite scores), with
        `exclude` ``n_excluded`` (rows left out), ``ci_low`` and ``ci_high``. If groups pool several
        scores of a source sample, ``n_source_samples`` counts the source samples with a defined score.
        If there are rows with the status ``not_attacked``, ``mean_attacked`` is the mean over the
        others. Last, a column ``n_STATUS`` for each status in the table counts the rows of the group
        that have it, including those left out.

        ``attrs["source_samples"]`` says how many source samples the groups share. It is a list with a
        dictionary for each dataset with several groups: ``dataset`` (None if the groups are not split
        by it), ``groups`` (their number), ``least`` and ``most`` (source samples in a group), and
        ``shared`` (source samples that all groups contain).

    Raises
    ------
    ValueError
        If the table has no scores, a column is missing or cannot define groups, a status cannot be
        left out, or a group pools rows of one dataset with and without names.

    Notes
    -----
    Floats in `by` are equal if their float32 values are finite, normal and equal. Groups are sorted:
    numbers by size and texts in natural order (``expl2`` before ``expl10``), unless their categories
    have an order of their own.

    The 95 % interval is the percentile bootstrap of the mean over 2000 resamples of **source
    samples** (dataset and name if files have names, otherwise dataset and sample number): all rows
    of a sample that a group pools are drawn together, because they share an image. Groups with
    equally many source samples use the same draws. For 20,000 or more source samples with a defined
    score the interval is mean ± 1.96 se with se = sqrt(sum e²) / sum m, where e is the total of a
    source sample minus the mean times m, and m the number of its defined scores; if the e are
    skewed beyond 2, the bootstrap is used here too. The interval is NaN if fewer than two source
    samples have defined scores; one of fewer than ten is unreliable, and is marked where tables are
    printed.

    Examples
    --------
    >>> import pandas as pd
    >>> import lensmetrics as lm
    >>> scores = pd.DataFrame(
    ...     {"training": ["natural", "natural", "pgd", "pgd"], "kendall": [0.25, 0.75, 0.5, 1.0]}
    ... )
    >>> table = lm.summarize(scores, by="training")
    >>> table[["training", "metric", "mean", "sd", "n"]].round(3)
      training   metric  mean     sd  n
    0  natural  kendall  0.50  0.354  2
    1      pgd  kendall  0.75  0.354  2
    """
    check_table(scores, "the table")
    scores = unified(scores)
    if by is None:
        by = distinguishing(scores)
    return aggregated(scores, [by] if isinstance(by, str) else by, exclude=exclude, seed=seed).frame()


@dataclass(frozen=True)
class Summary:
    """What `summarize` knows of each group and metric.

    `groups` has a row per group and the columns that define the groups. `statistics` are arrays
    (group, metric): mean, sd, n, n_undefined, ci_low, ci_high, n_source_samples where it differs from n,
    and mean_attacked where samples were not attacked. `counts` are arrays (group): n_excluded if
    something was excluded, then n_STATUS.
    """

    groups: pd.DataFrame
    metrics: list[str]
    statistics: dict[str, npt.NDArray[Any]]
    counts: dict[str, npt.NDArray[np.int64]]
    n_rows: npt.NDArray[np.int64]  # of every group, without the rows left out
    excluded: list[str]
    row_group: npt.NDArray[np.intp]  # group of every row of the table
    row_counts: npt.NDArray[np.bool_]  # whether the row was not left out
    source_samples: list[dict[str, Any]]  # what `sample_counts` found

    @property
    def tokens(self) -> list[str]:
        """The statuses that occur in the table, apart from ok."""
        return [name.removeprefix("n_") for name in self.counts if name != "n_excluded"]

    def frame(self) -> pd.DataFrame:
        """Return the table of `summarize`."""
        n = len(self.metrics)
        repeat = np.repeat(np.arange(len(self.groups)), n)
        table = self.groups.iloc[repeat].reset_index(drop=True)
        table["metric"] = self.metrics * len(self.groups)
        for name in SUMMARY:
            if name in self.statistics:
                table[name] = self.statistics[name].reshape(-1)
            elif name in self.counts:
                table[name] = np.repeat(self.counts[name], n)
        for token in self.tokens:
            table[f"n_{token}"] = np.repeat(self.counts[f"n_{token}"], n)
        table.attrs["source_samples"] = self.source_samples
        return table

    def has_few_samples(self, group: int, metric: str) -> bool:
        """Return whether the interval of a metric in a group is of too few source samples."""
        row = self.row(group, metric)
        return bool(row.get("n_source_samples", row["n"]) < FEW_SAMPLES)

    def row(self, group: int, metric: str) -> dict[str, Any]:
        """Return the statistics of one group and metric, and the counts of the group."""
        j = self.metrics.index(metric)
        found: dict[str, Any] = {name: values[group, j] for name, values in self.statistics.items()}
        return {"metric": metric, **found, **{name: values[group] for name, values in self.counts.items()}}

    def undefined_reason(self, group: int, metric: str) -> str:
        """Return the status that left a metric without any score in a group, or "" if none explains it."""
        row = self.row(group, metric)
        return undefined_reason({k: v for k, v in row.items() if k.removeprefix("n_") not in self.excluded})

    def part(self, groups: npt.NDArray[np.intp]) -> "Summary":
        """Return the summary of some groups, numbered in this order, and of their rows."""
        number = np.full(len(self.groups), -1)
        number[groups] = np.arange(len(groups))
        row_group = number[self.row_group]
        return Summary(
            self.groups.iloc[groups].reset_index(drop=True),
            self.metrics,
            {name: values[groups] for name, values in self.statistics.items()},
            {name: values[groups] for name, values in self.counts.items()},
            self.n_rows[groups],
            self.excluded,
            row_group[row_group >= 0],
            self.row_counts[row_group >= 0],
            [],
        )


def aggregated(
    scores: pd.DataFrame, by: Sequence[str], *, exclude: str | Sequence[str] = (), seed: int = 0
) -> Summary:
    """Aggregate a checked table whose equal floats are unified; the parameters are those of `summarize`."""
    excluded = check_exclude(exclude)
    left_out = ~counted_rows(scores, excluded)
    tokens, has = _tokens(scores)
    by = list(dict.fromkeys(by))
    metrics = metric_columns(scores)
    taken = ("metric", *SUMMARY, *(f"n_{token}" for token in tokens))
    check_columns(scores, "summarize by", by, taken, result="a summary")
    group = np.zeros(len(scores), dtype=np.intp)
    first = np.zeros(1, dtype=np.intp)
    if by:
        sortable = [in_natural_order(scores[column]) for column in by]
        numbers = scores[[]].groupby(sortable, sort=True, observed=True, dropna=False).ngroup()
        group = np.asarray(numbers, dtype=np.intp)
        first = np.unique(group, return_index=True)[1]

    def count(rows: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        return np.bincount(group[rows], minlength=len(first))

    n_rows = count(~left_out)
    kept = scores[~left_out] if left_out.any() else scores
    not_attacked = has.get("not_attacked", left_out)[~left_out]
    source = source_samples(kept, group[~left_out])
    found = _statistics(kept, metrics, source, group[~left_out], len(first), not_attacked, seed)
    if not not_attacked.any():
        del found["mean_attacked"]
    if np.array_equal(found["n"], found["n_source_samples"]):
        del found["n_source_samples"]
    counts = {"n_excluded": count(left_out)} if excluded else {}
    groups = pd.DataFrame(
        {column: plain(scores[column].iloc[first]) for column in by}, index=range(len(first))
    )
    shared: list[dict[str, Any]] = []
    if len(groups) > 1 and ("sample" in scores or "name" in scores):
        scored = ~np.any([left_out, *(has[t] for t in UNREADABLE_STATUSES if t in has)], axis=0)
        shared = sample_counts(groups, source[scored[~left_out]], group[scored])
    return Summary(
        groups,
        metrics,
        found | {"n_undefined": n_rows[:, np.newaxis] - found["n"]},
        counts | {f"n_{token}": count(has[token]) for token in tokens},
        n_rows,
        excluded,
        group,
        ~left_out,
        shared,
    )


def _statistics(
    scores: pd.DataFrame,
    metrics: Sequence[str],
    source: npt.NDArray[np.intp],
    group: npt.NDArray[np.intp],
    n_groups: int,
    not_attacked: npt.NDArray[np.bool_],
    seed: int,
) -> dict[str, npt.NDArray[Any]]:
    """Return mean, deviation, counts and interval, each as an array (group, metric)."""
    order = ordered(source, group, n_groups)
    columns = [scores[column].to_numpy(dtype=np.float64)[order.rows] for column in metrics]
    found = moments(columns, order, not_attacked[order.rows])
    half = 1.96 * found.pop("se")
    low, high = -half, half
    wanted = [(i, j) for i, j in np.argwhere(found.pop("resampled")).tolist()]
    for (i, j), ends in intervals(columns, found["mean"], wanted, order, seed):
        low[i, j], high[i, j] = ends
    return found | {"ci_low": found["mean"] + low, "ci_high": found["mean"] + high}


def undefined_reason(row: "pd.Series[Any] | Mapping[str, Any]") -> str:
    """Return the status that left a metric without any score in a group, or "" if none explains it.

    `row` is a row of a summary. The result is the most frequent of the statuses that can leave that
    metric undefined.
    """
    metric = parse_column(str(row["metric"]))
    possible = [*UNREADABLE_STATUSES, "nan_map"]
    if metric.name in CERTIFICATES:
        possible.append("uncertified")
    elif metric.name.endswith("_published"):
        possible.append("pool_exhausted")
    else:
        possible += ["constant_map"] + ["saturated"] * ("w" in metric.params)
        possible += ["too_small"] * ("k" not in metric.params) + ["no_image"] * (metric.name in OF_IMAGES)
    counts = {status: int(row.get(f"n_{status}", 0)) for status in possible}
    most = max(possible, key=counts.__getitem__)
    return most if not row["n"] and counts[most] else ""


def _tokens(scores: pd.DataFrame) -> tuple[list[str], dict[str, npt.NDArray[np.bool_]]]:
    """Return the statuses in the table, sorted, and for each of them which rows have it."""
    codes, different = pd.factorize(scores["status"] if "status" in scores else pd.Series(dtype=object))
    words = [set(str(status).split(";")) for status in different]
    tokens = sorted(set().union(*words) - {"ok"})
    # The last entry belongs to rows whose status is missing (code -1).
    return tokens, {t: np.array([*(t in word for word in words), False])[codes] for t in tokens}
