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
from lensmetrics.tables.conclusions import LEVEL
from lensmetrics.tables.labels import p_text

from .table import CONDITION, Study, conditions, main_metrics, setting_columns, shown, worst_case
from .words import setting_text, title

# What the result of a comparison may be.
COMPARED, NOT_TESTED, NOT_RUN = "compared", "not tested", "not run"
# The columns of numbers, as in ``lm.compare``: first is the training that is compared against.
NUMBERS = (
    *("n", "mean_first", "mean_second", "difference", "ci_low", "ci_high", "p", "p_holm"),
    *("n_only_first", "n_only_second"),
)


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
    wanted = list(asked(study, table))
    for metric in shown(study):
        sides = [
            [rows_of[files[worst_case(rows, metric)]] for rows in row["rows"]]
            if row["result"] == COMPARED
            else []
            for row in wanted
        ]
        numbers = _compared(scores, metric, sides)
        for i, row in enumerate(wanted):
            named = {name: value for name, value in row.items() if name != "rows"}
            found.append({**named, "metric": metric, **numbers.get(i, {})})
    names = ["training", "against", *place_columns(table), "result", "metric", *NUMBERS]
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


def section(study: Study, table: pd.DataFrame, found: pd.DataFrame) -> Iterator[str]:
    """Yield the lines of the page about comparisons."""
    metrics, places = main_metrics(study), place_columns(table)
    yield "## Comparisons"
    yield ""
    n_tests = int((found["result"][found["metric"] == metrics[0]] == COMPARED).sum())
    yield (
        "Differences (Δ) are those of each training from another, paired by sample over the samples in "
        f"common, with 95 % intervals; p is adjusted by Holm for the {n_tests} comparisons of each metric."
    )
    for against in study["against"]:
        rows = found[found["against"] == against]
        yield from ["", f"### Against {against}", "", _summary(study, table, rows, against)]
        if (rows["result"] == COMPARED).any():
            yield from ["", *_rows(study, rows, places)]


def _rows(study: Study, found: pd.DataFrame, places: Sequence[str]) -> Iterator[str]:
    """Yield the table of the comparisons against one training."""
    metrics, words = main_metrics(study), ["training", *places]
    numbers = ["n in common", *(column for metric in metrics for column in (f"Δ {title(metric)}", "p"))]
    yield "| " + " | ".join([*words, *numbers]) + " |"
    yield "|" + "---|" * len(words) + "--:|" * len(numbers)
    by_metric = [found[found["metric"] == metric].to_dict("records") for metric in metrics]
    for rows in zip(*by_metric, strict=True):
        cells = [setting_text(name, rows[0][name]) for name in words]
        if rows[0]["result"] == COMPARED:
            cells.append(_counts(rows))
            cells += [cell for row in rows for cell in (_difference(row), p_text(row["p_holm"]))]
        else:
            cells += [rows[0]["result"], *[""] * (len(numbers) - 1)]
        yield "| " + " | ".join(cells) + " |"


def _summary(study: Study, table: pd.DataFrame, found: pd.DataFrame, against: str) -> str:
    """Return a sentence about all comparisons against one training."""
    first = found[found["metric"] == main_metrics(study)[0]]
    if not len(first):
        return f"0 comparisons, as no training that is not compared above has settings of {against}."
    missing = int((first["result"] == NOT_RUN).sum())
    note = f" {missing} of {len(first)} comparisons read `not run`." if missing else ""
    if (n_weak := int((first["result"] == NOT_TESTED).sum())) > 0:
        accuracy, least = pgd_accuracy(table, against), study["least_pgd_accuracy"]
        has = "is not recorded" if np.isnan(accuracy) else f"is {accuracy:.3f}"
        return (
            f"The accuracy of {against} under PGD {has}, and this study compares from {least:g} on, so "
            f"{n_weak} of {len(first)} comparisons read `not tested`.{note}"
        )
    texts = []
    for metric in main_metrics(study):
        rows = found[(found["metric"] == metric) & (found["result"] == COMPARED)]
        differing = rows["difference"][rows["p_holm"] < LEVEL]
        higher = int((differing > 0).sum())
        texts.append(
            f"{title(metric)} is higher in {higher} and lower in {len(differing) - higher} of {len(rows)}"
        )
    return f"At an adjusted p below {LEVEL:g}, {' and '.join(texts)} comparisons than for {against}.{note}"


def _counts(rows: Sequence[Mapping[Any, Any]]) -> str:
    numbers = [0 if pd.isna(row["n"]) else int(row["n"]) for row in rows]
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _difference(row: Mapping[Any, Any]) -> str:
    if pd.isna(row["difference"]):
        return "–"
    ends = "" if pd.isna(row["ci_low"]) else f" [{row['ci_low']:+z.3f}, {row['ci_high']:+z.3f}]"
    return f"{row['difference']:+z.3f}{ends}"
