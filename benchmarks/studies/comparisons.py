"""Paired comparisons of the trainings of a study, against those that its entry ``against`` names.

Each training is compared with each of them wherever explanation, attack, eps and all settings agree, on the
samples that both have. Of several acceptances those of ``worst_case`` are compared.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import lensmetrics as lm
from lensmetrics.tables.choosing import counted_rows

from .table import CONDITION, Study, conditions, setting_columns, shown, worst_case
from .words import setting_text

# What the result of a comparison may be.
COMPARED, NOT_TESTED, NOT_RUN = "compared", "not tested", "not run"
# The columns of numbers, as in ``lm.compare``: first is the training that is compared against.
NUMBERS = (
    *("n", "mean_first", "mean_second", "difference", "ci_low", "ci_high", "p", "p_holm"),
    *("n_only_first", "n_only_second"),
)
# The same without samples that were not attacked in either of both files.
ATTACKED = {name: f"{name}_attacked" for name in ("n", "difference", "p_holm")}


def path_beside(base: Path) -> Path:
    """Return the CSV file of the comparisons, beside that of the table."""
    return base.with_name(f"{base.name}-comparisons.csv")


def place_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns that must agree in what is compared."""
    return [name for name in (*CONDITION, *setting_columns(table)) if name != "training"]


def asked(study: Study, table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield what is compared: the columns of the place, training, against, result, and the rows of both.

    Two trainings of `against` are compared once.

    Raises
    ------
    ValueError
        If the table has no row of one of `against`.
    """
    trainings, places = list(table["training"].unique()), place_columns(table)
    if unknown := [name for name in study["against"] if name not in trainings]:
        raise ValueError(
            f"against in [study] names {unknown[0]}, of which the table has no row; it has "
            f"{', '.join(map(str, trainings))}"
        )
    for i, against in enumerate(study["against"]):
        for _, place in table.groupby(places, sort=False, dropna=False):
            rows = {part["training"].iloc[0]: part for part in conditions(place)}
            for training in trainings:
                if {training, against} <= rows.keys() and training not in study["against"][: i + 1]:
                    both = (rows[against], rows[training])
                    result = _result(study, table, against, both)
                    where = {name: both[0][name].iloc[0] for name in places}
                    yield {"training": training, "against": against, **where, "result": result, "rows": both}


def key(row: Mapping[Any, Any], places: Sequence[str]) -> tuple[str, ...]:
    """Return what tells comparisons apart, and the result, as texts that a CSV file does not change."""
    values = (setting_text(name, row[name]) for name in places)
    return (str(row["training"]), str(row["against"]), *values, row["result"])


def pgd_accuracy(table: pd.DataFrame, training: str) -> float:
    """Return the accuracy under PGD of a training, NaN if it is not recorded."""
    rows = table.reindex(columns=["training", "pgd_accuracy"])
    known = rows["pgd_accuracy"][rows["training"] == training].dropna()
    return float(known.iloc[0]) if len(known) else np.nan


def comparison_table(
    study: Study, table: pd.DataFrame, scores: pd.DataFrame, files: Sequence[str]
) -> pd.DataFrame:
    """Return a row per comparison and metric; `files` are those of the rows of `table`.

    Numbers are those of ``lm.compare``, and its adjusted p is for all comparisons of the metric here.
    """
    found = []
    rows_of = scores.groupby("file", observed=True).indices
    attacked = counted_rows(scores, "not_attacked")
    wanted = list(asked(study, table))
    for metric in shown(study):
        sides = [
            [rows_of[files[worst_case(rows, metric)]] for rows in row["rows"]]
            if row["result"] == COMPARED
            else []
            for row in wanted
        ]
        numbers = _compared(scores, metric, sides)
        without = _compared(scores, metric, [[rows[attacked[rows]] for rows in both] for both in sides])
        for i, found_without in without.items():
            numbers[i] |= {ATTACKED[name]: found_without[name] for name in ATTACKED}
        for i, row in enumerate(wanted):
            named = {name: value for name, value in row.items() if name != "rows"}
            found.append({**named, "metric": metric, **numbers.get(i, {})})
    names = ["training", "against", *place_columns(table), "result", "metric", *NUMBERS, *ATTACKED.values()]
    return pd.DataFrame(found).reindex(columns=names)


def _compared(scores: pd.DataFrame, metric: str, sides: Sequence[Sequence[Any]]) -> dict[int, dict[str, Any]]:
    """Return the numbers of each comparison, whose sides are rows of `scores`, that has common samples."""
    sample = scores["sample"].to_numpy()
    kept = {
        i: both for i, both in enumerate(sides) if both and len(np.intersect1d(*(sample[b] for b in both)))
    }
    if not kept:
        return {}
    rows = scores.iloc[np.concatenate([rows for both in kept.values() for rows in both])]
    lengths = [(i, side, len(rows)) for i, both in kept.items() for side, rows in enumerate(both)]
    rows = rows.reset_index(drop=True).assign(
        comparison=np.repeat([i for i, _, _ in lengths], [n for *_, n in lengths]),
        side=np.repeat([side for _, side, _ in lengths], [n for *_, n in lengths]),
    )
    found = lm.compare(rows, "side", by="comparison", metrics=metric)
    return {row["comparison"]: {name: row[name] for name in NUMBERS} for row in found.to_dict("records")}


def _result(study: Study, table: pd.DataFrame, against: str, rows: Sequence[pd.DataFrame]) -> str:
    if any((part["n"] == 0).any() for part in rows):
        return NOT_RUN
    return NOT_TESTED if _is_weak(study, table, against) else COMPARED


def _is_weak(study: Study, table: pd.DataFrame, against: str) -> bool:
    """Return whether a training against PGD was too short to be compared against."""
    least = study.get("least_pgd_accuracy")
    return against != "natural" and least is not None and not pgd_accuracy(table, against) >= least
