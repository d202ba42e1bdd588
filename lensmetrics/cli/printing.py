"""Printing summaries, descriptions of files, and what could not be scored."""

from typing import TYPE_CHECKING

from ..errors import BadSample
from ..messages import printable, say, show_traceback
from ..statuses import UNREADABLE_STATUSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from ..pairfile.store import PairStore
    from ..scoring.failures import Failure

_N_NAMED = 10


def description(store: "PairStore") -> str:
    """Return number, size and channels of the maps in a file."""
    height, width = store.shape
    text = f"{len(store)} pairs of {height}x{width} maps"
    if store.n_channels is None:
        return text
    return f"{text}, {store.n_channels} channels reduced by {store.reduction}"


def print_table(table: "pd.DataFrame", *, n_labels: int | None = None) -> None:
    """Print a table of `summarize`, `compare` or `worst` with three decimals, as wide as the terminal.

    The first `n_labels` columns label the rows: by default those up to ``metric``, or up to ``file``.
    """
    from ..tables.writing import text_table

    if n_labels is None:
        names = list(table.columns)
        n_labels = next((names.index(name) + 1 for name in ("metric", "file") if name in names), 0)
    print_texts(text_table(table), n_labels)


def print_texts(texts: "pd.DataFrame", n_labels: int) -> None:
    """Print a table of texts, and its notes below it."""
    from ..tables.writing import is_number_column
    from .layout import Column, table_lines, terminal_width

    columns = []
    for name in texts.columns:
        right = is_number_column(texts[name])
        foldable = not right and not any("[" in text for text in texts[name])  # as intervals have
        columns.append(Column(name, texts[name].tolist(), right=right, foldable=foldable))
    for line in table_lines(columns[:n_labels], columns[n_labels:], terminal_width()):
        print(line)
    for note in texts.attrs.get("notes", []):
        print()
        print_text(note)


def print_text(text: str) -> None:
    """Print a sentence in lines that fit the terminal."""
    from .layout import sentence_lines, terminal_width

    for line in sentence_lines(text, terminal_width()):
        print(line)


def print_summary(table: "pd.DataFrame", *, wide: str | None = None) -> None:
    """Print a summary, how many samples its conditions share, and how many samples have which status.

    The values of the condition `wide` stand side by side.
    """
    from ..tables.sharing import samples_text
    from ..tables.writing import wide_texts

    columns = list(table.columns)
    by = columns[: columns.index("metric")]
    counted = [c for c in columns[columns.index("ci_high") + 1 :] if c.startswith("n_")]
    if wide is None:
        print_table(table)
    else:
        print_texts(wide_texts(table, wide), len(by))
    for counts in table.attrs.get("source_samples", []):
        print()
        print_text(samples_text(counts))
    if counted:
        print()
        print_text(
            "Samples by status, for at least one of the metrics scored (lensmetrics report explains them)"
            + (", including those left out:" if "n_excluded" in table else ":")
        )
        _print_counts(table[[*by, *counted]].drop_duplicates(), len(by))


def _print_counts(counts: "pd.DataFrame", n_labels: int) -> None:
    """Print how many samples have which status; a number that is the same in all rows is printed once."""
    names = list(counts.columns[n_labels:])
    same = [name for name in names if len(counts) > 1 and counts[name].nunique() == 1]
    if same:
        print_text(f"In all rows: {', '.join(f'{name} {counts[name].iloc[0]}' for name in same)}")
    if len(same) < len(names):
        if same:
            print()
        print_table(counts.drop(columns=same), n_labels=n_labels)


def print_failures(
    failures: "Sequence[Failure]", scores: "pd.DataFrame | None", *, done: str = "scored"
) -> bool:
    """List the files and samples with which it could not be `done`; return whether there are any."""
    rows = []
    for failure in failures:
        show_traceback(failure.error)
        rows.append((printable(failure.path), "all samples", str(failure.error)))
    if scores is not None:
        failed = scores[scores["status"].isin(UNREADABLE_STATUSES)]
        for (file, status), group in failed.groupby(["file", "status"], observed=True):
            # Samples that were never written have no number.
            known = [str(sample) for sample in group["sample"] if sample >= 0]
            shown = ", ".join(known[:_N_NAMED]) + (", ..." if len(known) > _N_NAMED else "")
            count = f"{len(group)} sample{'s' if len(group) > 1 else ''}"
            rows.append((printable(file), count, f"{status}: {shown}" if known else str(status)))
    if not rows:
        return False
    say(f"lensmetrics: not {done}:")
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    for file, count, problem in rows:
        say(f"  {file:{widths[0]}}  {count:{widths[1]}}  {problem}")
    if any(isinstance(failure.error, BadSample) for failure in failures):
        say(
            "lensmetrics: use --on-bad skip to score the remaining samples; lensmetrics verify lists every "
            "bad one"
        )
    return True
