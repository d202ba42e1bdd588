"""One self-contained HTML page about a table of scores."""

import functools
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import pandas as pd

from .. import __version__
from ..disk import check_writable, replacing
from ..figures.curves import find_curves
from ..statuses import STATUSES
from ..tables.known import known_metrics
from ..tables.summary import FEW_SAMPLES
from ..tables.view import View
from .comparisons import comparison
from .curves import curves_of, scores_against
from .disagreement import Disagreement, disagreement
from .distributions import distributions
from .facts import facts_of, page_title, subject, warnings_of
from .leading import leading_scores
from .parts import Ids
from .shades import N_SHADES, n_panels, shaded
from .tables import conditions_of, row_heads, score_tables

if TYPE_CHECKING:
    from ..pairfile.store import PairStore
    from .examples import Examples

# Limits of legibility: panels of curves on a page, conditions in tables shown open.
_MAX_PANELS = 60
_MAX_OPEN = 24
_NO_MAPS = (
    "There are none, because the page was made without pair files. To see some, name their folder: "
    "lensmetrics report scores.parquet --maps FOLDER -o report.html"
)


def write_report(
    scores: pd.DataFrame,
    out: Path,
    *,
    stores: "Sequence[PairStore]" = (),
    exclude: Sequence[str] = (),
    show: Sequence[str] = (),
    examples: int | None = None,
) -> list[str]:
    """Write a page about a table of scores: one HTML file that needs no other.

    Parameters
    ----------
    scores
        A table of scores.
    out
        Path of the page. It appears whole or not at all; an older page is replaced.
    stores
        The pair files that were scored, or some of them: example pairs are drawn from them.
    exclude
        Statuses of samples to leave out, as for :func:`summarize`; the page counts them.
    show
        Pairs to show in any case, such as ``topk.h5:12``: a file of the table and a number or name of a
        sample of it.
    examples
        Number of example pairs of every condition, from the lowest to the highest score; None shows
        the lowest, the median and the highest of every training regime.

    Returns
    -------
    list of str
        What whoever wrote the page should know, such as that no pair file is one of the table.

    Raises
    ------
    ValueError
        If the table has no column of scores, a status cannot be left out, or a pair cannot be shown.
    OSError
        If the page cannot be written.
    """
    check_writable(out)
    page, notes = _page(View.of(scores, exclude=exclude), stores, show, examples)
    with replacing(out) as part:
        part.write_text(page, encoding="utf-8")
    return notes


def _page(
    view: View, stores: "Sequence[PairStore]", show: Sequence[str], per_condition: int | None
) -> tuple[str, list[str]]:
    summary = view.summary
    ids = Ids()
    leading = leading_scores(view.columns, known_metrics(view.scores.attrs))
    disagreeing = disagreement(view)
    examples = _examples(view, stores, show, per_condition, disagreeing)
    curves = find_curves(view.columns)
    few = n_panels(view, curves) <= _MAX_PANELS
    spread, quantiles = distributions(view, leading, ids)
    html = _template().render(
        title=page_title(view.scores),
        subject=subject(view),
        version=__version__,
        facts=facts_of(view),
        warnings=warnings_of(view),
        excluded=summary.excluded,
        attacked="mean_attacked" in summary.statistics,
        by=view.by or [""],
        row_heads=row_heads(conditions_of(view)),
        n_pairs=summary.n_rows.tolist(),
        n_excluded=summary.counts["n_excluded"].tolist() if summary.excluded else [],
        statuses={token: _meaning(token) for token in summary.tokens},
        status_counts=[
            [int(summary.counts[f"n_{t}"][i]) for t in summary.tokens] for i in range(len(summary.groups))
        ],
        tables=list(score_tables(view, ids)),
        open=len(summary.groups) <= _MAX_OPEN,
        few_samples=FEW_SAMPLES,
        curves=list(curves_of(view, curves, ids)) if few else [],
        shades=[] if few else [shaded(view, curve, ids) for curve in curves],
        n_shades=N_SHADES,
        against=list(scores_against(view, leading, ids)),
        comparison=comparison(view, leading, ids),
        spread=spread,
        quantiles=quantiles,
        disagreement=disagreeing,
        figure_of=examples.ids if examples else {},
        examples=examples.shown if examples else [],
        how_chosen=examples.how_chosen if examples else _NO_MAPS,
    )
    return html, examples.notes if examples else []


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = resources.files(__package__).joinpath("page.html.jinja").read_text("utf-8")
    return environment.from_string(source)


def _examples(
    view: View,
    stores: "Sequence[PairStore]",
    show: Sequence[str],
    per_condition: int | None,
    disagreeing: Disagreement | None,
) -> "Examples | None":
    if not stores and not show:
        return None
    # Maps need HDF5, the compiler and more of matplotlib, which a page of a table does not.
    from .examples import draw_examples

    also = disagreeing.picks if disagreeing and per_condition is None else []
    return draw_examples(view, stores, per_condition=per_condition, named=show, also=also)


def _meaning(token: str) -> str:
    return STATUSES[token].meaning if token in STATUSES else "This version does not know this status."
