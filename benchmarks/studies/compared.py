"""The part of a study's page about its comparisons."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lensmetrics.tables.conclusions import LEVEL
from lensmetrics.tables.labels import p_text

from .comparisons import ATTACKED, COMPARED, NOT_RUN, NOT_TESTED, pgd_accuracy, place_columns
from .table import Study, main_metrics
from .words import setting_text, title

# The columns of the numbers of samples.
_N = ("n", "n_attacked")


def section(study: Study, table: pd.DataFrame, found: pd.DataFrame) -> Iterator[str]:
    """Yield the lines of the page about comparisons."""
    metrics, places = main_metrics(study), place_columns(table)
    yield "## Comparisons"
    yield ""
    n_tests = int(found["p"][found["metric"] == metrics[0]].notna().sum())
    n_failed = int((found["n"].fillna(0) != found["n_attacked"].fillna(0)).sum())
    yield (
        "Differences (Δ) are those of each training from another, paired by sample over the samples in "
        f"common, with 95 % intervals; p is adjusted by Holm for the {n_tests} comparisons of each metric"
        + "; in brackets without those that were not attacked on either side" * bool(n_failed)
        + "."
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
            cells += [text for row in rows for text in (_both(row, _difference), _both(row, _p))]
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
        higher, lower = _shown(rows, 1), _shown(rows, -1)
        texts.append(f"{title(metric)} is higher in {higher} and lower in {lower} of {len(rows)}")
    return f"At an adjusted p below {LEVEL:g}, {' and '.join(texts)} comparisons than for {against}.{note}"


def _shown(rows: pd.DataFrame, sign: int) -> str:
    """Return how many differences of a sign are shown, and in brackets without samples not attacked."""
    n, n_attacked = (
        int(((sign * rows[difference] > 0) & (rows[p] < LEVEL)).sum())
        for difference, p in (("difference", "p_holm"), (ATTACKED["difference"], ATTACKED["p_holm"]))
    )
    return str(n) if (rows["n"].fillna(0) == rows["n_attacked"].fillna(0)).all() else f"{n} ({n_attacked})"


def _counts(rows: Sequence[Mapping[Any, Any]]) -> str:
    """Return the number of samples in common, and in brackets that of those that were attacked."""
    texts = (" to ".join(dict.fromkeys(map(str, sorted(_n(row[name]) for row in rows)))) for name in _N)
    n, n_attacked = texts
    return n if n == n_attacked else f"{n} ({n_attacked})"


def _n(value: float) -> int:
    return 0 if pd.isna(value) else int(value)


def _both(row: Mapping[Any, Any], text: Callable[[Mapping[Any, Any]], str]) -> str:
    """Return the text of a number, and in brackets that without samples that were not attacked."""
    if _n(row["n"]) == _n(row["n_attacked"]):
        return text(row)
    without = {name: row[other] for name, other in ATTACKED.items()}
    return f"{text(row)} ({text(without)})"


def _difference(row: Mapping[Any, Any]) -> str:
    if pd.isna(row["difference"]):
        return "–"
    known = not pd.isna(row.get("ci_low", np.nan))
    ends = f" [{row['ci_low']:+z.3f}, {row['ci_high']:+z.3f}]" if known else ""
    return f"{row['difference']:+z.3f}{ends}"


def _p(row: Mapping[Any, Any]) -> str:
    return p_text(row["p_holm"])
