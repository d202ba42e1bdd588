"""The part of a study's page about its networks: how long they were trained, and what they reach."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

# Columns of the table of networks, and their titles.
COLUMNS = {
    "begins_from": "begins from",
    "training_steps": "steps",
    "accuracy": "accuracy",
    "pgd_accuracy": "PGD accuracy",
    "attribution_share": "attribution term",
}


def section(table: pd.DataFrame) -> Iterator[str]:
    """Yield the lines of the page about networks: a table if more is recorded than the accuracy."""
    known = [name for name in COLUMNS if name in table and table[name].notna().any()]
    rows = table.groupby("training", sort=False, dropna=False)
    if set(known) <= {"accuracy"}:
        made = table[table["n"] > 0].groupby("training", sort=False, dropna=False)
        yield f"Natural accuracy: {_accuracies(made['accuracy'].first())}."
        return
    yield "## Networks"
    yield ""
    yield from _explanations(table, known)
    yield "| training | " + " | ".join(COLUMNS[name] for name in known) + " |"
    yield "|---|" + "".join("---|" if name == "begins_from" else "--:|" for name in known)
    for training, row in rows[known].first().iterrows():
        cells = [_cell(name, row[name]) for name in known]
        if pd.isna(row.get("accuracy")):
            run = [name for name in known if name != "begins_from"]
            cells = [*cells[: len(known) - len(run)], "not run", *[""] * (len(run) - 1)]
        yield f"| {training} | " + " | ".join(cells) + " |"


def _explanations(table: pd.DataFrame, known: Sequence[str]) -> Iterator[str]:
    """Yield how the accuracies were measured, where all networks agree in it, and what the columns are."""
    measured = table.reindex(columns=["accuracy_samples", "pgd_settings"]).dropna().drop_duplicates()
    if len(measured) == 1:
        n, pgd = measured.iloc[0]
        text = f"Accuracies are those on {int(n):,} test samples, under PGD with {pgd}."
        if "attribution_share" in known:
            text += " `attribution term` is its share of the loss in the last epoch (1 is all)."
        yield text
        yield ""


def _cell(name: str, value: Any) -> str:
    if pd.isna(value):
        return "–"
    if name == "begins_from":
        return str(value)
    return f"{int(value):,}" if name == "training_steps" else f"{value:.3f}"


def _accuracies(found: "pd.Series[float]") -> str:
    texts: Mapping[Any, float] = found.to_dict()
    return ", ".join(f"{t} {'is not recorded' if pd.isna(a) else f'{a:.3f}'}" for t, a in texts.items())
