"""What the head of a page says about the table of scores, and what its reader must know."""

import pandas as pd

from ..tables.columns import AGAINST, CONDITIONS, condition_columns
from ..tables.known import CERTIFICATES
from ..tables.labels import condition_text
from ..tables.sharing import pooling_text, samples_text
from ..tables.view import View

# Values listed in the header.
_MAX_VALUES = 12


def page_title(scores: pd.DataFrame) -> str:
    """Return the title of a page."""
    if "dataset" not in scores or scores["dataset"].isna().all():
        return "Robustness of attribution maps"
    return f"Robustness of attribution maps: {_listed(scores, 'dataset')}"


def subject(view: View) -> str:
    """Return the sentence that says what the scores of a page compare, or its certificates prove."""
    if view.columns and all(column.name in CERTIFICATES for column in view.columns):
        return (
            "How much of a smoothed attribution map is proved to survive any perturbation of the input up "
            "to a size in the l2 norm. No attack has a part in it: its conditions only say which file the "
            "unperturbed maps are from."
        )
    scores = view.scores
    against = set(scores[AGAINST].dropna()) if AGAINST in scores else set()
    if "target" not in against:
        return (
            "How much of an attribution map survives a small perturbation of the input: scores that compare "
            "each unperturbed map with its perturbed one."
        )
    if against == {"target"} and scores[AGAINST].notna().all():
        return (
            "How close attribution maps come to the target of an attack: scores that compare each target "
            "with the perturbed map. Maps that are more alike are less robust."
        )
    return (
        "How far perturbed attribution maps are from the unperturbed ones, and how close they come to the "
        "target of an attack: the condition against says which of them a score compares with."
    )


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


def warnings_of(view: View) -> list[str]:
    """Return what a reader must know to compare the conditions: pooled files, and samples in common."""
    found = []
    pooled = pooling_text(view.scores)
    if pooled:
        found.append(
            f"{pooled} on this page. If they belong to different conditions, name what tells them apart with "
            "lensmetrics set FILE NAME=VALUE, and score them again."
        )
    for counts in view.summary.source_samples:
        text = f"There are {samples_text(counts)}"
        if counts["shared"] < counts["most"]:
            text += (
                " So the means of two conditions are over different samples; the section on differences "
                "compares conditions only on the samples that both have."
            )
        found.append(text)
    return found
