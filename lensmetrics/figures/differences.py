"""The table of a comparison as arrays that can be drawn."""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..tables.columns import Column, parse_column
from ..tables.comparison import ON
from ..tables.known import MetricFacts, known_metrics
from ..tables.labels import column_title, condition_text, labelled
from ..tables.summary import FEW_SAMPLES
from .style import cut_label

# The columns of a comparison that figures need; those before `metric` define its groups.
_NEEDED = ("metric", "first", "second", "difference", "ci_low", "ci_high", "p_holm")
_ALPHA = 0.05


class Differences(NamedTuple):
    """A comparison as arrays (series, metric); a series is a group and a pair of conditions."""

    metrics: list[str]  # their labels
    given: str  # the parameters that all metrics share
    shared: npt.NDArray[np.bool_]  # of each metric: whether its differences lie between -2 and 2
    groups: list[
        tuple[str, ...]
    ]  # of each series: the values of the columns that define groups, and the pair
    subject: str  # what all differences are: "pgd − natural", or "second − first"
    value: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    certain: npt.NDArray[np.bool_]  # p after Holm below .05
    few: bool  # whether an interval is of few samples

    @property
    def series(self) -> list[str]:
        """The labels of the series."""
        return [" · ".join(texts) for texts in self.groups]


def read_differences(table: pd.DataFrame) -> Differences:
    """Return the values of a comparison.

    Raises
    ------
    ValueError
        If the table is no comparison, has no rows, or has a group, pair and metric twice.
    """
    missing = [column for column in _NEEDED if column not in table]
    if missing:
        raise ValueError(
            f"the table has no column {missing[0]!r}: pass what compare returned, such as "
            "lm.plot_comparison(lm.compare(scores, on='training'))"
        )
    if table.empty:
        raise ValueError("the comparison has no rows, so there is nothing to draw")
    by = list(table.columns[: list(table.columns).index("metric")])
    texts = list(dict.fromkeys(map(str, table["metric"])))
    columns = [parse_column(text) for text in texts]
    pairs = list(zip(table["first"], table["second"], strict=True))
    n_pairs = len(set(pairs))
    on = str(table.attrs.get(ON, "condition"))
    signs = [f"{_value(on, second)} − {_value(on, first)}" for first, second in pairs]
    # Columns of groups that do not differ say nothing.
    told = [column for column in by if table[column].nunique(dropna=False) > 1]
    keys = [
        tuple(cut_label(labelled(column, value)) for column, value in zip(told, values, strict=True))
        + ((sign,) if n_pairs > 1 else ())
        for values, sign in zip(table[told].itertuples(index=False, name=None), signs, strict=True)
    ]
    # Different values can have the same label once it is cut, so rows are told apart by the values.
    exact = [
        (*map(str, row), *pair) for row, pair in zip(table[by].itertuples(index=False), pairs, strict=True)
    ]
    place = {key: i for i, key in enumerate(dict.fromkeys(exact))}
    row = [place[key] for key in exact]
    column = [texts.index(str(metric)) for metric in table["metric"]]
    if len(set(zip(row, column, strict=True))) < len(table):
        raise ValueError(
            "the comparison has a group, pair and metric more than once: draw one comparison at a time"
        )

    def filled(name: str) -> npt.NDArray[np.float64]:
        values = np.full((len(place), len(texts)), math.nan)
        values[row, column] = table[name].to_numpy(dtype=np.float64)
        return values

    known = known_metrics(table.attrs)
    bounds = [known[c.name].bounds if c.name in known else (-math.inf, math.inf) for c in columns]
    given = {
        key: value
        for key, value in columns[0].params.items()
        if all(c.params.get(key, value) == value for c in columns) and len(columns) > 1
    }
    return Differences(
        [_metric_label(c, list(given), known.get(c.name)) for c in columns],
        ", ".join(f"{key} = {value}" for key, value in given.items()),
        np.array([high <= 2 for _, high in bounds]),
        [keys[row.index(i)] for i in range(len(place))],
        signs[0] if n_pairs == 1 else "second − first",
        filled("difference"),
        filled("ci_low"),
        filled("ci_high"),
        filled("p_holm") < _ALPHA,
        bool(("n" in table) and (table["n"] < FEW_SAMPLES).any()),
    )


def _value(on: str, value: object) -> str:
    return (
        cut_label(labelled(on, value))
        if isinstance(value, int | float)
        else cut_label(condition_text(on, value))
    )


def _metric_label(column: Column, without: list[str], facts: MetricFacts | None) -> str:
    """Return the title of a metric; an arrow marks metrics of which low values are robust."""
    falling = facts is not None and facts.higher_is_better is False
    return column_title(column, without=without) + " ↓" * falling
