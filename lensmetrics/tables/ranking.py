"""The samples with the worst scores."""

import operator
from collections.abc import Sequence

import numpy as np
import pandas as pd

from .choosing import check_columns, chosen_metrics, counted_rows, grouped, plain
from .columns import AGAINST, check_table, parse_column, unified
from .known import known_metrics

# The columns of a list of samples, after those that define the groups.
RANKED = (AGAINST, "file", "sample", "name", "value", "status")


def worst(
    scores: pd.DataFrame,
    metric: object,
    n: int = 10,
    by: str | Sequence[str] | None = None,
    highest: bool | None = None,
    exclude: str | Sequence[str] = (),
) -> pd.DataFrame:
    """List the samples with the worst scores of a metric.

    Parameters
    ----------
    scores
        A table of scores.
    metric
        A metric or its text, such as ``"lens_recall(k=100,w=1)"``; the name alone is enough if the
        table has it once.
    n
        How many samples to list, at least 1.
    by
        Columns that define groups, such as ``["training", "attack"]``: `n` samples of each are listed.
        The default is one list of all samples.
    highest
        Whether the highest scores are the worst. By default, the end of the range of the metric that is
        the best decides; a metric for which neither end is the best needs this choice.
    exclude
        Statuses of samples, such as ``["not_attacked"]``: rows that have one of them are left out.

    Returns
    -------
    DataFrame
        The columns `by`, then ``against``, ``file``, ``sample`` and ``name`` as far as the table has
        them, ``value`` (the score) and ``status``. Groups are in natural order, and within a group the
        worst score is first; of equal scores, the one that comes first in the table.
        ``attrs["n_undefined"]`` is the number of rows with a NaN or infinite score, which are not
        ranked; ``attrs["highest"]`` tells which end came first.

    Raises
    ------
    ValueError
        If the table has no such metric or several, a column does not exist, `n` is below 1, or
        `highest` is needed.

    Examples
    --------
    >>> import pandas as pd
    >>> import lensmetrics as lm
    >>> scores = pd.DataFrame(
    ...     {"sample": [3, 5, 7], "kendall": [0.75, -0.25, 0.5], "status": ["ok", "label_changed", "ok"]}
    ... )
    >>> lm.worst(scores, "kendall", n=2)
       sample  value         status
    0       5  -0.25  label_changed
    1       7   0.50             ok
    """
    check_table(scores, "the table")
    scores = unified(scores)
    columns = chosen_metrics(scores, metric)
    if len(columns) != 1:
        raise ValueError(f"the table has several scores of {metric}: {', '.join(columns)}; name one")
    if (n := operator.index(n)) < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    (column,) = columns
    if highest is None:
        highest = _worst_is_highest(scores, column)
    by = [by] if isinstance(by, str) else list(dict.fromkeys(by or ()))
    check_columns(scores, "group by", by, ["value"])
    kept = scores[counted_rows(scores, exclude)]
    value = kept[column].to_numpy(dtype=np.float64)
    defined = np.isfinite(value)
    group = grouped(kept, by)[0]
    # Stable, so that equal scores keep the order of the table.
    order = np.lexsort((-value if highest else value, group))
    order = order[defined[order]]
    begins = np.flatnonzero(np.diff(group[order], prepend=-1))
    rank = np.arange(len(order)) - np.repeat(begins, np.diff(np.append(begins, len(order))))
    rows = kept.assign(value=value).iloc[order[rank < n]]
    shown = [*by, *(name for name in RANKED if name in rows and name not in by)]
    table = pd.DataFrame({name: plain(rows[name]) for name in shown})
    table.attrs = {"metric": column, "highest": highest, "n_undefined": int(np.count_nonzero(~defined))}
    return table


def _worst_is_highest(scores: pd.DataFrame, column: str) -> bool:
    facts = known_metrics(scores.attrs).get(parse_column(column).name)
    better = None if facts is None else facts.higher_is_better
    if better is None:
        raise ValueError(
            f"neither high nor low values of {column} are known to be the worst: choose with highest=True or "
            "highest=False (on the command line --highest or --lowest)"
        )
    return not better
