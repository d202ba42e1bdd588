"""Printing summaries, descriptions of files, and what could not be scored."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import BadSample
from ..messages import printable, say, show_traceback
from ..statuses import UNREADABLE_STATUSES

if TYPE_CHECKING:
    import pandas as pd

    from ..pairfile.store import PairStore
    from ..scoring.runs import Failure

_N_NAMED = 10


def description(store: "PairStore") -> str:
    """Return number, size and channels of the maps in a file."""
    height, width = store.shape
    text = f"{len(store)} pairs of {height}x{width} maps"
    if store.n_channels is None:
        return text
    return f"{text}, {store.n_channels} channels reduced by {store.reduction}"


def print_summary(table: "pd.DataFrame") -> None:
    """Print a summary with three decimals, then how many samples of each group have which status."""
    import pandas as pd

    from ..tables.labels import condition_text
    from ..tables.summary import undefined_reason

    table = table.reset_index(drop=True)
    columns = list(table.columns)
    by = columns[: columns.index("metric")]
    counted = [c for c in columns[columns.index("ci_high") + 1 :] if c.startswith("n_")]
    shown = pd.DataFrame({printable(c): [condition_text(c, value) for value in table[c]] for c in by})
    shown["metric"] = table["metric"].map(printable)
    shown["mean"] = table["mean"].map("{:.3f}".format)
    if "mean_attacked" in table:
        beside = (table["n"] > 0) & (table["n_not_attacked"] > 0)  # elsewhere it equals the mean
        shown["mean_attacked"] = table["mean_attacked"].map("{:.3f}".format).where(beside, "")
    shown["95 % interval"] = [
        f"[{low:.3f}, {high:.3f}]" for low, high in zip(table["ci_low"], table["ci_high"], strict=True)
    ]
    for i, row in table[table["n"] == 0].iterrows():
        reason = undefined_reason(row)
        shown.loc[i, "95 % interval"] = f"undefined: {printable(reason)}" if reason else "undefined"
    shown["sd"] = table["sd"].map("{:.3f}".format)
    counts_of_metric = [c for c in ("n", "n_undefined", "n_excluded") if c in table]
    shown[counts_of_metric] = table[counts_of_metric]
    print(shown.set_index([*map(printable, by), "metric"]).to_string())
    if "mean_attacked" in table:
        print("\nmean_attacked is the mean without the samples whose attack found nothing (not_attacked).")
    if counted:
        _print_counts(table[[*by, *counted]].drop_duplicates(), by, n_excluded="n_excluded" in table)


def _print_counts(counts: "pd.DataFrame", by: Sequence[str], *, n_excluded: bool) -> None:
    import pandas as pd

    from ..tables.labels import condition_text

    print(
        "\nSamples by status, for at least one of the metrics scored (lensmetrics report explains them)"
        + (", including those left out:" if n_excluded else ":")
    )
    for column in by:
        counts[column] = [condition_text(column, value) for value in counts[column]]
    counts.columns = pd.Index(list(map(printable, counts.columns)))
    print(counts.set_index(list(map(printable, by))).to_string() if by else counts.to_string(index=False))


def print_failures(failures: "Sequence[Failure]", scores: "pd.DataFrame | None") -> bool:
    """List the files and samples that are not scored; return whether there are any."""
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
    say("lensmetrics: not scored:")
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    for file, count, problem in rows:
        say(f"  {file:{widths[0]}}  {count:{widths[1]}}  {problem}")
    if any(isinstance(failure.error, BadSample) for failure in failures):
        say(
            "lensmetrics: use --on-bad skip to score the remaining samples; lensmetrics verify lists every "
            "bad one"
        )
    return True
