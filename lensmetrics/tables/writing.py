"""Tables for readers: summaries, comparisons and lists of samples as texts, and as CSV, LaTeX or Markdown."""

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..disk import replacing
from ..messages import printable
from .columns import SUMMARY
from .csv_files import write_csv
from .labels import condition_text, number_text, p_text
from .summary import FEW_SAMPLES, undefined_reason
from .wide import Spread, wide_table

if TYPE_CHECKING:
    from typing import Any

TABLE_SUFFIXES = (".csv", ".tex", ".md")
FEW_NOTE = f"* fewer than {FEW_SAMPLES} samples: too few for a reliable interval"
ATTACKED_NOTE = "mean_attacked is the mean without the samples whose attack found nothing (not_attacked)."
INTERVAL = "95 % interval"
# The columns of statistics; every other column of numbers shows values of conditions.
_STATISTICS = {
    *(*SUMMARY, "value", "difference", "mean_first", "mean_second"),
}
# Columns of comparisons that would make a table wider than a page.
_IN_CSV_ONLY = {"p", "higher", "equal", "lower", "n_only_first", "n_only_second"}
_WITH_INTERVAL = ("mean", "mean_attacked", "sd", "difference")
# The first lines of files that this module writes, by which commands know what they may replace.
MARKS = {".tex": "% Table by lensmetrics, needs the package booktabs", ".md": "<!-- Table by lensmetrics -->"}
_NUMBER = re.compile(r"(< |-)?[0-9]+(\.[0-9]+)?(e[+-][0-9]+)?|-?inf|nan|–?")


def check_table_suffix(path: Path) -> None:
    """Refuse a name that does not say which kind of table to write."""
    if path.suffix not in TABLE_SUFFIXES:
        raise ValueError(f"{path}: unknown kind of table; choose a name that ends in .csv, .tex or .md")


def write_table(table: pd.DataFrame, path: Path, *, wide: str | None = None) -> None:
    """Write a table as CSV with all digits, or as it is printed in LaTeX (booktabs) or Markdown.

    `table` comes from `summarize`, `compare` or `worst`; of a summary, the values of the condition `wide`
    can stand side by side. The file appears whole or not at all.
    """
    check_table_suffix(path)
    with replacing(path) as part:
        if path.suffix == ".csv":
            write_csv(table if wide is None else wide_table(table, wide), part)
            return
        texts = text_table(table, missing="–") if wide is None else wide_texts(table, wide, missing="–")
        text = _latex(texts) if path.suffix == ".tex" else _markdown(texts)
        part.write_text(f"{MARKS[path.suffix]}\n{text}", encoding="utf-8", newline="\n")


def text_table(table: pd.DataFrame, *, missing: str = "nan") -> pd.DataFrame:
    """Return a table with the texts to show: three decimals, and each interval in one column.

    Of a summary, the mean stands beside its interval, and statuses are not counted; of a comparison, p
    before its adjustment, shares and samples of one side are left out. The text `missing`
    stands for an undefined number. ``attrs["notes"]`` lists what to say below the table.
    """
    texts: dict[str, list[str]] = {}
    for name in _shown_columns(table):
        values = table[name].tolist()
        if name == "ci_low":
            texts[INTERVAL] = _intervals(table, missing)
        elif name in _STATISTICS and table[name].dtype.kind == "f":
            ends = _ends(table) if name in _WITH_INTERVAL else [()] * len(table)
            pairs = zip(values, ends, strict=True)
            texts[name] = [missing if math.isnan(v) else number_text(v, beside=e) for v, e in pairs]
        elif name == "p_holm":
            texts[name] = [missing if math.isnan(p) else p_text(p) for p in values]
        elif name in ("metric", "status"):
            texts[printable(name)] = list(map(printable, values))
        else:
            # The columns first and second of a comparison hold values of the compared condition.
            condition = str(table.attrs.get("on")) if name in ("first", "second") else name
            texts[printable(name)] = [condition_text(condition, value) for value in values]
    if "mean_attacked" in texts:
        beside = ((table["n"] > 0) & (table["n_not_attacked"] > 0)).tolist()  # elsewhere it equals the mean
        texts["mean_attacked"] = [
            text if b else "" for text, b in zip(texts["mean_attacked"], beside, strict=True)
        ]
    shown = pd.DataFrame(texts, index=range(len(table)), dtype=object)
    few = any(text.endswith("*") for text in texts.get(INTERVAL, []))
    shown.attrs["notes"] = [ATTACKED_NOTE] * ("mean_attacked" in texts) + [FEW_NOTE] * few
    return shown


def wide_texts(table: pd.DataFrame, column: str, *, missing: str = "nan") -> pd.DataFrame:
    """Return the texts of a summary with a column for each value of a condition: mean and interval."""
    texts = text_table(table, missing=missing)
    spread = Spread.of(table, column)
    parts = zip(texts["mean"], texts[INTERVAL], table["n_undefined"], strict=True)
    cells = [_cell(mean, interval, n, missing) for mean, interval, n in parts]
    cells.append("")  # for groups that do not exist, whose place is -1
    beside = {text: [cells[i] for i in places.tolist()] for text, places in spread.places.items()}
    shown = pd.concat([text_table(spread.rows), pd.DataFrame(beside, dtype=object)], axis=1)
    shown.attrs["notes"] = [note for note in texts.attrs["notes"] if note != ATTACKED_NOTE]
    if "n_excluded" in table:
        n = int(table.loc[table["metric"] == table["metric"].iloc[0], "n_excluded"].sum())
        shown.attrs["notes"].append(f"{n:,} sample{' is' if n == 1 else 's are'} left out.")
    return shown


def _cell(mean: str, interval: str, n_undefined: int, missing: str) -> str:
    """Return mean and interval in one text, and how many scores are undefined."""
    if interval.startswith("undefined"):
        return interval
    text = mean if interval == missing else f"{mean} {interval}"
    return f"{text} ({n_undefined} undefined)" if n_undefined else text


def _shown_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns in the order in which they are shown; ci_low stands for the interval."""
    columns = [column for column in table.columns if column != "ci_high"]
    if {"first", "second", "difference"} <= set(columns):
        return [column for column in columns if column not in _IN_CSV_ONLY]
    if not is_summary(table.columns):
        return columns
    by = columns[: columns.index("metric") + 1]
    statistics = (
        "mean",
        "mean_attacked",
        "ci_low",
        "sd",
        "n",
        "n_source_samples",
        "n_undefined",
        "n_excluded",
    )
    return by + [name for name in statistics if name in columns[len(by) :]]


def is_summary(columns: Iterable[object]) -> bool:
    """Return whether a table with these columns is one that `summarize` returned."""
    return {"metric", "mean", "sd", "n", "n_undefined", "ci_low", "ci_high"} <= set(columns)


def _intervals(table: pd.DataFrame, missing: str) -> list[str]:
    """Return the texts of intervals, or the reason why a metric of a summary has no score at all."""
    # Rows of one source sample are not independent, so it is source samples that count.
    n = table.get("n_source_samples", table.get("n", pd.Series(FEW_SAMPLES, index=table.index)))
    rows = zip(_ends(table), (n < FEW_SAMPLES).tolist(), strict=True)
    texts = [interval_text(low, high, few=few, missing=missing) for (low, high), few in rows]
    if is_summary(table.columns):
        for i in np.flatnonzero(table["n"] == 0).tolist():
            reason = undefined_reason(table.iloc[i])
            texts[i] = f"undefined: {printable(reason)}" if reason else "undefined"
    return texts


def interval_text(low: float, high: float, *, few: bool = False, missing: str = "nan") -> str:
    """Return the text of an interval, with a mark if it is of few samples."""
    if math.isnan(low):
        return missing
    texts = (number_text(value, beside=(low, high)) for value in (low, high))
    return f"[{', '.join(texts)}]" + "*" * few


def _ends(table: pd.DataFrame) -> list[tuple[float, ...]]:
    """Return the ends of the interval of each row, if the table has intervals."""
    names = [name for name in ("ci_low", "ci_high") if name in table]
    return list(table[names].itertuples(index=False, name=None)) if names else [()] * len(table)


def is_number_column(texts: "pd.Series[Any]") -> bool:
    """Return whether all texts of a column are numbers, which are aligned at the right."""
    return all(_NUMBER.fullmatch(text) for text in texts)


def _latex(texts: pd.DataFrame) -> str:
    """Return a table in LaTeX."""
    aligned = "".join("r" if is_number_column(texts[name]) else "l" for name in texts.columns)
    lines = texts.to_latex(index=False, escape=True, column_format=aligned).splitlines()
    # After the end of a row, \\, an opening bracket and an asterisk would be its arguments.
    lines = [re.sub(r"^([\[*])", r"{\1}", line) for line in lines]
    lines = [re.sub(r"(?<![^ \[}])-(?=[0-9])", "$-$", line) for line in lines]  # a hyphen is no minus
    notes = [
        rf"\multicolumn{{{len(aligned)}}}{{l}}{{\footnotesize {note}}} \\"
        for note in (text.replace("_", r"\_") for text in texts.attrs["notes"])
    ]
    # Outside mathematics, the usual fonts show other characters in place of these.
    return re.sub("[<>|]", r"$\g<0>$", "\n".join([*lines[:-1], *notes, lines[-1], ""]))


def _markdown(texts: pd.DataFrame) -> str:
    columns = []
    for name in texts.columns:
        cells = [_markdown_cell(str(text)) for text in (name, *texts[name])]
        width = max(3, *map(len, cells))
        number = is_number_column(texts[name])
        cells.insert(1, "-" * (width - 1) + ":" if number else "-" * width)
        columns.append([cell.rjust(width) if number else cell.ljust(width) for cell in cells])
    lines = [f"| {' | '.join(row)} |" for row in zip(*columns, strict=True)]
    return "\n".join([*lines, *(f"\n{_markdown_cell(note)}" for note in texts.attrs["notes"]), ""])


def _markdown_cell(text: str) -> str:
    """Escape what Markdown would read as markup; an underscore between letters is a plain one."""
    text = re.sub(r"([\\`*|<>#~]|(?<!\w)_|_(?!\w)|(?<=\])\()", r"\\\1", text)
    return text.replace("&", "&amp;")
