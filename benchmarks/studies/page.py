"""The page of a study: its table, its figure and what a reader must know about the run.

Write it again from the stored CSV files, without maps:

    python -m benchmarks.studies.page benchmarks/studies/imagenet.toml
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lensmetrics.tables.labels import condition_text, number_text

from . import compared, networks
from .asked import read_comparisons, read_study, read_table
from .comparisons import path_beside
from .figure import figure_over_eps
from .table import ACCEPTANCE, CONDITION, Study, conditions, main_metrics, setting_columns, shown, worst_case
from .words import setting_text, title

# A mean perturbation that is smaller than eps by more than this share is shown.
_SMALLER = 0.01


def markdown(study: Study, table: pd.DataFrame, pairs: pd.DataFrame | None) -> str:
    """Return the page without its figure."""
    versions = [*table["versions"].dropna(), "versions are not recorded"][0]
    made = f"{table['made'].iloc[0]}; {versions}"
    lines = [
        f"# {study['title']}",
        "",
        f"{made}. k = {study['k']}; mean ± half of the 95 % bootstrap interval over samples.",
        "",
        *_explanations(study, table),
        *study.get("notes", "").strip().splitlines(),
        *[""] * ("notes" in study),
        *_table(study, table),
    ]
    lines += ["", *networks.section(table)]
    if pairs is not None:
        lines += ["", *compared.section(study, table, pairs)]
    lines += ["", f"All metrics: the CSV file{'s' * (pairs is not None)} of the same name."]
    return "\n".join(lines) + "\n"


def _explanations(study: Study, table: pd.DataFrame) -> Iterator[str]:
    """Yield what a reader must know about the rows, each with its number, and empty lines."""
    rows = list(conditions(table))
    first = pd.concat([part.iloc[:1] for part in rows])
    n_missing = int((table["n"] == 0).sum())
    if n_missing:
        yield f"**Not finished:** {n_missing} of {len(table)} files were not made; their rows say `not run`."
        yield ""
    total, failed = int(first["n"].sum()), int(first["not_attacked"].sum())
    yield (
        f"n counts correctly classified samples; `not_attacked` those of which no perturbed image kept the "
        f"label: {failed} of {total:,} in all rows, failed measurements and not robustness. Means count "
        "their two equal maps" + ("; the mean without them is in brackets." if failed else ".")
    )
    yield ""
    if smaller := _is_smaller(first).sum():
        yield (
            f"In {smaller} of {len(rows)} rows the perturbations are on average smaller than eps: the column "
            "`mean change` has the mean of their norms."
        )
        yield ""
    several = [part for part in rows if len(part) > 1 and ACCEPTANCE in part and (part["n"] > 0).all()]
    if several:
        metric = shown(study)[0]
        gains = [part[metric].iloc[0] - part[metric].min() for part in several]
        names = " and ".join(dict.fromkeys(f"`{a}`" for part in several for a in part[ACCEPTANCE]))
        yield (
            f"The attack kept the best image by each of {names} ({len(several)} of {len(rows)} rows). Each "
            "metric shows the one that left the least of it, the worst case that was found: for top-k "
            f"intersection on average {sum(gains) / len(gains):.3f} less than the first. The CSV file has a "
            "row for each."
        )
        yield ""
    chained = int(first["start_eps"].notna().sum()) if "start_eps" in first else 0
    if chained:
        yield (
            f"Where eps names a second radius ({chained} of {len(rows)} rows), the attack starts at the "
            "image that it found there, so that a curve does not rise because a search found less."
        )
        yield ""
    if _differs(study, table):
        yield (
            "Differences (Δ) are paired by sample, against the first row of the same training, explanation, "
            "attack and eps, ± half of their 95 % interval."
        )
        yield ""


def _table(study: Study, table: pd.DataFrame) -> Iterator[str]:
    settings, metrics = setting_columns(table), shown(study)
    differing = _differs(study, table)
    changed = bool(_is_smaller(table).any())
    labels = bool(table.get("label_changed", pd.Series([0])).sum())
    words = [*CONDITION, *settings]
    numbers = ["mean change"] * changed + ["n", "not_attacked"] + ["label_changed"] * labels
    numbers += list(map(title, metrics)) + [f"Δ {title(metric)}" for metric in differing]
    yield "| " + " | ".join([*words, *numbers]) + " |"
    yield "|" + "---|" * len(words) + "--:|" * len(numbers)
    for rows in conditions(table):
        row = rows.iloc[0]
        cells = [_eps(row) if name == "eps" else setting_text(name, row[name]) for name in words]
        if row["n"] == 0:
            cells += ["not run", *[""] * (len(numbers) - 1)]
        else:
            if changed:
                cells.append(_like_eps(row["perturbation"], row["eps"]))
            counts = ["n", "not_attacked"] + ["label_changed"] * labels
            cells += [str(int(row[name])) for name in counts]
            cells += [_cell(rows.loc[worst_case(rows, metric)], metric) for metric in metrics]
            cells += [_difference(row, metric) for metric in differing]
        yield "| " + " | ".join(cells) + " |"


def _cell(row: Any, metric: str) -> str:
    """Return mean and half interval, and in brackets the mean without those that were not attacked."""
    text = f"{number_text(row[metric])} ± {number_text(row[f'{metric} half'])}"
    attacked = row.get(f"{metric} attacked")
    return f"{text} ({number_text(attacked)})" if row["not_attacked"] and attacked is not None else text


def _difference(row: Any, metric: str) -> str:
    value = row[f"{metric} difference"]
    return "" if pd.isna(value) else f"{value:+.3f} ± {row[f'{metric} difference half']:.3f}"


def _differs(study: Study, table: pd.DataFrame) -> list[str]:
    """Return the main metrics of which the table has differences from the first row of a place."""
    columns = {m: [f"{m} difference", f"{m} difference half"] for m in main_metrics(study)}
    return [m for m, names in columns.items() if table.reindex(columns=names).notna().any().all()]


def _is_smaller(table: pd.DataFrame) -> "pd.Series[bool]":
    """Return the rows whose mean perturbation is clearly smaller than eps."""
    if "perturbation" not in table:
        return pd.Series(False, table.index)
    return table["perturbation"] < (1 - _SMALLER) * table["eps"]


def _eps(row: Any) -> str:
    start = row.get("start_eps")
    text = setting_text("eps", row["eps"])
    return text if start is None or pd.isna(start) else f"{text}, from {setting_text('eps', start)}"


def _like_eps(value: float, eps: float) -> str:
    """Return a mean perturbation in the unit in which eps is written."""
    return f"{value * 255:.2f}/255" if condition_text("eps", eps).endswith("/255") else number_text(value)


def write_page(study: Study, table: pd.DataFrame, base: Path, pairs: pd.DataFrame | None = None) -> str:
    """Write the page and, if eps differs, its figure beside `base`; return the text of the page."""
    text = markdown(study, table, pairs)
    made = table[table["n"] > 0]
    if made["eps"].nunique() > 1:
        figure_over_eps(study, made, title).savefig(base.with_suffix(".png"), dpi=110)
        text += f"\n![Top-k intersection and LENS recall over eps]({base.name}.png)\n"
    base.with_suffix(".md").write_text(text, encoding="utf-8")
    return text


def main(argv: Sequence[str] | None = None) -> None:
    """Write the page of a study again from its stored table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, metavar="FILE.toml")
    options = parser.parse_args(argv)
    base = options.study.with_suffix("")
    try:
        study = read_study(options.study)
        table = read_table(base.with_suffix(".csv"), options.study, study)
        pairs = read_comparisons(path_beside(base), options.study, study, table)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    write_page(study, table, base, pairs)


if __name__ == "__main__":
    main()
