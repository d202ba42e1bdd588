"""What the head of a page says about the table of scores, and what its reader must know."""

import numpy as np
import pandas as pd

from ..tables.columns import CONDITIONS, condition_columns
from ..tables.labels import condition_text
from ..tables.sources import shared_samples, source_samples
from ..tables.view import View

# Values listed in the header.
_MAX_VALUES = 12


def page_title(scores: pd.DataFrame) -> str:
    """Return the title of a page."""
    if "dataset" not in scores or scores["dataset"].isna().all():
        return "Robustness of attribution maps"
    return f"Robustness of attribution maps: {_listed(scores, 'dataset')}"


def facts_of(view: View) -> dict[str, str]:
    """Return what was scored: numbers of files and pairs, k and w, and the values of all conditions."""

    def values(key: str) -> str:
        found = sorted({column.params[key] for column in view.columns if key in column.params})
        return ", ".join(map(str, found)) or "none"

    scores = view.scores
    facts = {}
    if "file" in scores:
        facts["files"] = f"{scores['file'].nunique():,}"
    facts |= {"pairs": f"{len(scores):,}", "conditions": f"{len(view.summary.groups):,}"}
    facts["k (size of the top sets, pixels)"] = values("k")
    facts["w (half-width of the window, pixels)"] = values("w")
    return facts | {name: _listed(scores, name) for name in condition_columns(scores)}


def _listed(scores: pd.DataFrame, name: str) -> str:
    """List the values of a condition in the table, at most as many as fit on a line or two."""
    values = scores[name].astype("category").cat.remove_unused_categories()
    texts = [condition_text(name, value) for value in values.cat.categories]
    if values.isna().any() and name in CONDITIONS and not CONDITIONS[name].of_some_methods:
        texts.append(condition_text(name, None))
    rest = len(texts) - _MAX_VALUES
    return ", ".join(texts[:_MAX_VALUES]) + (f" and {rest} more" if rest > 0 else "")


def shared_text(view: View) -> str:
    """Return how many source samples the conditions share, in a sentence; "" if that is no question."""
    summary = view.summary
    filled = np.flatnonzero(summary.n_rows > 0)
    if len(filled) < 2 or not {"sample", "name"} & set(view.scores):
        return ""
    number = np.full(len(summary.groups), -1)
    number[filled] = np.arange(len(filled))
    group = number[summary.row_group[summary.row_counts]]
    common, each = shared_samples(source_samples(view.kept, group), group, len(filled))
    fewest, most = int(each.min()), int(each.max())
    if fewest == most == common:
        return f"All {len(filled)} conditions have the same {common:,} source samples."
    held = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    text = f"A condition has {held} source samples, and {common:,} of them are in every condition."
    return (
        f"{text} Means of different conditions are then means over different samples: the section on "
        "differences compares two conditions only on the samples that both have."
    )


def pooled_text(view: View) -> str:
    """Return a warning if files that nothing tells apart are averaged together, "" otherwise."""
    if "file" not in view.scores:
        return ""
    columns = condition_columns(view.scores)
    files = view.scores[["file", *columns]].drop_duplicates()
    n_files = files["file"].nunique()
    n_conditions = len(files[columns].drop_duplicates()) if columns else 1
    if n_files <= n_conditions:
        return ""
    sets = "the same attributes" if n_conditions == 1 else f"only {n_conditions} different sets of attributes"
    return (
        f"{n_files} files have {sets}: files with the same attributes are one condition, and are averaged "
        "together on this page. If they belong to different conditions, name what distinguishes them with "
        "lensmetrics set FILE NAME=VALUE, and score them again."
    )
