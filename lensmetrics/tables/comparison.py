"""Paired comparisons of conditions: the same samples under two values of a column."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..messages import printable
from .choosing import check_columns, chosen_metrics, counted_rows, grouped, numbered_in_order
from .columns import AGAINST, check_table, equal_number, metric_columns, unified
from .differing import distinguishing, numbered, splitting
from .known import FACTS
from .labels import condition_text, labelled
from .pairing import STATISTICS, Cells, Pair, statistics

# The columns of a comparison, after those that define the groups.
COMPARISON = ("metric", "first", "second", *STATISTICS)
# The key of `attrs` under which a comparison keeps the name of the column that it compares.
ON = "on"
# More comparisons than this would draw more than a million combinations of signs for each of them.
MAX_COMPARISONS = 5000
# Samples that a message names, and values of a column that it lists.
_N_NAMED, _N_LISTED = 3, 20


def compare(
    scores: pd.DataFrame,
    on: str = "training",
    between: Sequence[object] | None = None,
    by: str | Sequence[str] | None = None,
    metrics: object = None,
    exclude: str | Sequence[str] = (),
    seed: int = 0,
) -> pd.DataFrame:
    """Compare conditions on the samples that they share.

    Parameters
    ----------
    scores
        A table of scores.
    on
        The column whose values are compared, such as ``"training"``.
    between
        Two or more of its values, such as ``["natural", "pgd"]``; None is the missing value. Every pair
        of them is compared; the default is all values, in natural order or that of ordered categories.
    by
        Columns that define groups, within which values are compared. The default is every condition
        that differs, apart from `on` and conditions that `on` decides.
    metrics
        One or several metrics or their texts; a name such as ``"lens_recall"`` stands for all its k and
        w. The default is all metrics of the table.
    exclude
        Statuses of samples, such as ``["not_attacked"]``: rows that have one of them are left out.
    seed
        Seed of the bootstrap and of the random signs.

    Returns
    -------
    DataFrame
        A row per group, pair and metric: the columns `by`, ``metric``, ``first`` and ``second`` (the
        two values of `on`), ``n`` (source samples with a defined score on both sides),
        ``mean_first``, ``mean_second`` and ``difference`` (second minus first) over these samples, the
        95 % interval of the difference ``ci_low`` and ``ci_high``, ``p`` and ``p_holm`` in [0, 1], the
        shares of samples whose second score is ``higher``, ``equal`` or ``lower``, and
        ``n_only_first`` and ``n_only_second`` (source samples with a defined score on one side alone).
        ``attrs["on"]`` is `on`; ``attrs["against"]`` what all maps were scored against, if the table says.

    Raises
    ------
    ValueError
        If a column, value, metric or status does not exist, nothing is common to any two conditions,
        samples of one dataset have names in part, or there are more than 5000 comparisons per metric.

    Notes
    -----
    A **source sample** is a dataset and a name if files have names, otherwise a dataset and a sample
    number. Rows of one source sample are averaged first. NaN and infinite scores are undefined. Scores
    that differ by less than 1e-9 of the larger one are equal.

    The interval is the percentile bootstrap of the mean difference over 2000 resamples of source
    samples; it is NaN for fewer than two. ``p`` is that of the two-sided sign-flip permutation test of
    the mean difference: the share of all combinations of signs that give a mean at least as large, up
    to 13 samples; beyond, (r + 1) / (R + 1) for r of R random combinations, where R is 10,000 or 200
    for each row of the metric, if that is more. Means that differ by less than 1e-9 of the mean
    absolute difference are equal. ``p_holm`` is adjusted by Holm's method for all groups and pairs of
    the same metric.

    The interval and p concern the choice of samples. They say nothing about other networks, training
    runs or attacks.

    Examples
    --------
    >>> import pandas as pd
    >>> import lensmetrics as lm
    >>> scores = pd.DataFrame(
    ...     {
    ...         "training": ["natural"] * 6 + ["pgd"] * 6,
    ...         "sample": [0, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 6],
    ...         "kendall": [0.5, 0.25, 0.5, 0.5, 0.75, 0.5, 0.5, 0.75, 0.5, 1.0, 0.75, 0.5],
    ...     }
    ... )
    >>> table = lm.compare(scores, on="training", between=["natural", "pgd"])
    >>> table[["metric", "first", "second", "n", "difference", "p", "higher", "equal", "n_only_first"]]
        metric    first second  n  difference      p  higher  equal  n_only_first
    0  kendall  natural    pgd  5         0.2  0.125     0.8    0.2             1
    """
    return compared(scores, on, between, by, metrics, exclude, seed)


def compared(
    scores: pd.DataFrame,
    on: str,
    between: Sequence[object] | None,
    by: str | Sequence[str] | None,
    metrics: object,
    exclude: str | Sequence[str],
    seed: int = 0,
    *,
    announce: Callable[[int, int], object] = lambda n_comparisons, n_metrics: None,
) -> pd.DataFrame:
    """Do what `compare` does; first call `announce` with the number of comparisons and of metrics."""
    check_table(scores, "the table")
    scores = unified(scores)
    columns = metric_columns(scores) if metrics is None else chosen_metrics(scores, metrics)
    check_columns(scores, "compare on", [on], ())
    if on in ("sample", "name"):
        raise ValueError(
            f"cannot compare on {on!r}, which says which sample a row has: name a condition, such as training"
        )
    rows, level, levels = _compared(scores, on, between)
    rows &= counted_rows(scores, exclude)
    kept, level = scores[rows], level[rows]
    if by is None:
        by = _default_by(kept, on)
    by = [by] if isinstance(by, str) else list(dict.fromkeys(by))
    if on in by:
        raise ValueError(f"cannot compare on {on!r} within groups of {on!r}: leave it out of by")
    check_columns(scores, "group by", by, COMPARISON)
    group, groups = grouped(kept, by)
    cells = Cells.of(kept, columns, group, level, len(groups), len(levels))
    pairs = _pairs(cells, on, levels)
    _refuse_disjoint(kept, cells, pairs, on, levels, group, level)
    announce(len(pairs), len(columns))
    found = statistics(cells, pairs, seed)
    n_metrics = len(columns)
    repeat = np.repeat(np.arange(len(pairs)), n_metrics)
    table = groups.iloc[[pair.group for pair in pairs]].iloc[repeat].reset_index(drop=True)
    table["metric"] = columns * len(pairs)
    for name, side in (("first", 0), ("second", 1)):
        table[name] = (
            pd.Series([levels[pair[1 + side]] for pair in pairs]).iloc[repeat].reset_index(drop=True)
        )
    for name in STATISTICS:
        table[name] = found[name].reshape(-1)
    table.attrs[ON] = on
    if AGAINST in kept and kept[AGAINST].nunique(dropna=False) == 1:
        table.attrs[AGAINST] = kept[AGAINST].iloc[0]
    if FACTS in scores.attrs:
        table.attrs[FACTS] = scores.attrs[FACTS]
    return table


def _compared(
    scores: pd.DataFrame, on: str, between: Sequence[object] | None
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.intp], list[Any]]:
    """Return which rows have one of the compared values, the number of that value, and the values."""
    level, levels = numbered_in_order(scores[on])
    if between is not None:
        chosen = _chosen_levels(on, levels, between)
        number = np.full(len(levels) + 1, -1)
        number[chosen] = np.arange(len(chosen))
        level, levels = number[level], [levels[i] for i in chosen]
    if len(levels) < 2:
        only = f"its only value is {condition_text(on, levels[0])}" if levels else "it has no rows"
        raise ValueError(f"cannot compare on {on!r}: {only}")
    return level >= 0, level, levels


def _chosen_levels(on: str, levels: Sequence[Any], between: Sequence[object]) -> list[int]:
    asked = [between] if isinstance(between, str) else list(between)
    existing = ", ".join(condition_text(on, level) for level in levels[:_N_LISTED])
    existing += f", and {len(levels) - _N_LISTED} others" * (len(levels) > _N_LISTED)
    if len(asked) < 2:
        raise ValueError(f"a comparison needs at least two values of {on!r}; it has: {existing}")
    known = [equal_number(level) for level in levels]
    chosen = []
    for value in asked:
        wanted = None if value is pd.NA or value != value else equal_number(value)  # NaN differs from itself
        matches = [i for i, level in enumerate(known) if level is wanted or level == wanted]
        if not matches:
            raise ValueError(f"no row has {on}={printable(value)}; it has: {existing}")
        if matches[0] in chosen:
            raise ValueError(f"{condition_text(on, value)} is named twice: name different values of {on!r}")
        chosen.append(matches[0])
    return chosen


def _default_by(scores: pd.DataFrame, on: str) -> list[str]:
    """Return the conditions that differ, apart from `on` and those that `on` decides."""
    columns = [on, *(column for column in distinguishing(scores) if column != on)]
    kept = [columns[i] for i in splitting([numbered(scores[column]) for column in columns]) if i > 0]
    return kept if AGAINST in kept or AGAINST not in columns[1:] else [AGAINST, *kept]


def _pairs(cells: Cells, on: str, levels: Sequence[Any]) -> list[Pair]:
    """Return all pairs of values that occur in a group; a side may be empty, but not both."""
    n_groups = (len(cells.first_row) - 1) // len(levels)
    n_rows = np.diff(cells.first_row).reshape(n_groups, len(levels))
    filled = np.count_nonzero(n_rows, axis=1)
    empty = len(levels) - filled
    n_pairs = int((len(levels) * (len(levels) - 1) // 2 - empty * (empty - 1) // 2).sum())
    if n_pairs > MAX_COMPARISONS:
        raise ValueError(
            f"the {len(levels)} values of {on!r} make {n_pairs:,} comparisons for each metric, more than "
            f"{MAX_COMPARISONS:,}: name those that you want to compare with between"
        )
    return [
        Pair(group, first, second)
        for group in range(n_groups)
        for first, second in itertools.combinations(range(len(levels)), 2)
        if n_rows[group, first] or n_rows[group, second]
    ]


def _refuse_disjoint(
    scores: pd.DataFrame,
    cells: Cells,
    pairs: Sequence[Pair],
    on: str,
    levels: Sequence[Any],
    group: npt.NDArray[np.intp],
    level: npt.NDArray[np.intp],
) -> None:
    """Refuse to compare if no pair has a sample in common; say what each side has."""
    if not pairs:
        raise ValueError("nothing to compare: no row is left")
    if any(len(cells.common(pair)[0]) for pair in pairs):
        return
    sided = [pair for pair in pairs if all(_filled(cells, pair))]
    names = [labelled(on, value) for value in levels]
    if not sided:
        which = f"both {names[0]} and {names[1]}" if len(names) == 2 else f"two values of {on!r}"
        raise ValueError(f"nothing to compare: no group has {which}; group by fewer columns, or by none")
    if "sample" not in scores and "name" not in scores:
        raise ValueError(
            "nothing to compare: the table has no column 'sample', so nobody knows which rows belong together"
        )
    pair = sided[0]
    sides = [
        f"{names[side]} has {_samples(scores[(group == pair.group) & (level == side)])}"
        for side in (pair.first, pair.second)
    ]
    raise ValueError(f"nothing to compare: no sample is common: {' and '.join(sides)}")


def _filled(cells: Cells, pair: Pair) -> Iterator[bool]:
    for level in (pair.first, pair.second):
        rows = cells.rows(pair.group, level)
        yield rows.stop > rows.start


def _samples(scores: pd.DataFrame) -> str:
    """Describe samples: how many, the first few, and of which dataset."""
    named = "name" in scores and scores["name"].notna().any()
    different = list(dict.fromkeys(scores["name" if named else "sample"].dropna().tolist()))
    shown = ", ".join(map(printable, different[:_N_NAMED])) + ", ..." * (len(different) > _N_NAMED)
    text = f"{len(different)} sample{'s' * (len(different) != 1)} ({'' if named else 'number '}{shown})"
    if "dataset" in scores and scores["dataset"].notna().any():
        text += f" of {', '.join(map(printable, scores['dataset'].dropna().unique()[:_N_NAMED]))}"
    return text
