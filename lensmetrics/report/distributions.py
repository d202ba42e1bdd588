"""The section of a page on how scores are distributed."""

from typing import NamedTuple

import numpy as np

from ..figures.distributions import score_distributions
from ..figures.svg import inline_svg
from ..tables.columns import Column
from ..tables.labels import column_title, number_text
from ..tables.view import View
from .parts import Ids, Shown

# More conditions than this have a table of quantiles and no figure.
_MAX_ROWS = 40
_QUANTILES = {"lowest": 0.0, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "highest": 1.0}


class Quantiles(NamedTuple):
    """The quantiles of a score, a row for each condition."""

    id: str
    title: str
    heads: list[str]
    rows: list[list[str]]


def distributions(view: View, leading: list[Column], ids: Ids) -> tuple[list[Shown], list[Quantiles]]:
    """Return a figure of each leading score, unless there are too many conditions, and its quantiles."""
    shown, tables = [], []
    n_drawn = int((view.summary.n_rows > 0).sum())
    for column in leading:
        title = column_title(column)
        rows = _quantiles(view, column)
        if 0 < n_drawn <= _MAX_ROWS and any(row[0] != "0" for row in rows):
            name = ids.new(f"distribution-{column.text}")
            caption = (
                "Each row shows the pairs of one condition. Where two rows overlap widely, samples differ "
                "more than the conditions do; the section on differences compares sample by sample."
            )
            svg = inline_svg(
                score_distributions(view, column),
                prefix=name,
                description=f"Distribution of {title} in each condition. {caption}",
            )
            shown.append(Shown(name, svg, title, caption))
        tables.append(Quantiles(ids.new(f"quantiles-{column.text}"), title, ["n", *_QUANTILES], rows))
    return shown, tables


def _quantiles(view: View, column: Column) -> list[list[str]]:
    values = view.scores[column.text].to_numpy(dtype=np.float64)
    group = np.where(view.summary.row_counts & np.isfinite(values), view.summary.row_group, -1)
    order = np.lexsort((values, group))
    ends = np.searchsorted(group[order], np.arange(len(view.summary.groups) + 1))
    rows = []
    for first, last in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        found = values[order[first:last]]
        texts = [number_text(q) for q in np.quantile(found, list(_QUANTILES.values()))] if len(found) else []
        rows.append([f"{len(found):,}", *(texts or ["–"] * len(_QUANTILES))])
    return rows
