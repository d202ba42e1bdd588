"""One self-contained HTML page about a table of scores."""

from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import pandas as pd

from .. import __version__
from ..disk import check_writable, replacing
from ..figures.curves import Curve, find_curves, lens_curves
from ..figures.svg import inline_svg
from ..statuses import STATUSES
from ..tables.known import known_metrics
from ..tables.labels import labelled, metric_title, number_text
from ..tables.view import View
from .comparisons import comparison
from .disagreement import Disagreement, disagreement
from .distributions import distributions
from .facts import facts_of, page_title, pooled_text, shared_text
from .leading import leading_scores
from .parts import Ids, Shown
from .shades import N_SHADES, Shades, n_panels, shaded
from .tables import FEW_SAMPLES, conditions_of, row_heads, score_tables

if TYPE_CHECKING:
    from ..pairfile.store import PairStore
    from .examples import Examples

# Limits of legibility: panels in a figure and on a page, conditions in tables shown open.
_MAX_PANELS = 24
_MAX_PANELS_OF_PAGE = 100
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
    few = n_panels(view, curves) <= _MAX_PANELS_OF_PAGE
    spread, quantiles = distributions(view, leading, ids)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = resources.files(__package__).joinpath("page.html.jinja").read_text("utf-8")
    html = environment.from_string(source).render(
        title=page_title(view.scores),
        version=__version__,
        facts=facts_of(view),
        warnings=[text for text in (pooled_text(view), shared_text(view)) if text],
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
        curves=list(_curves(view, curves, ids)) if few else [],
        shades=[] if few else [shaded(view, curve, ids) for curve in curves],
        n_shades=N_SHADES,
        comparison=comparison(view, leading, ids),
        spread=spread,
        quantiles=quantiles,
        disagreement=disagreeing,
        figure_of=examples.ids if examples else {},
        examples=examples.shown if examples else [],
        how_chosen=examples.how_chosen if examples else _NO_MAPS,
    )
    return html, examples.notes if examples else []


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


def _curves(view: View, curves: Sequence[Curve], ids: Ids) -> Iterator[Shown]:
    """Yield the curves of LENS recall and precision for every k, in figures of a legible size."""
    for where, part in _parts(view):
        for curve in curves:
            title = ", ".join([f"{metric_title(curve.metric)} against w", f"k = {curve.k}", *where])
            name = ids.new("-".join(["curve", curve.metric, f"k{curve.k}", *where]))
            caption = _curve_caption(part, curve)
            svg = inline_svg(
                lens_curves(part, curve),
                prefix=name,
                description=f"Line chart: {title}. {caption} The tables contain all its values.",
            )
            yield Shown(name, svg, title, caption)


def _parts(view: View) -> Iterator[tuple[list[str], View]]:
    """Split the view by dataset and model, and by explanation if there would be too many panels."""
    panels = view.by[:-1]
    split = [c for c in panels if c in ("dataset", "model")]
    rest = [c for c in panels if c not in split]
    drawn = view.summary.groups[view.summary.n_rows > 0]
    if "explanation" in rest and len(drawn[rest].drop_duplicates()) > _MAX_PANELS:
        split.append("explanation")
    for key, part in view.parts(split):
        yield [labelled(c, value) for c, value in zip(split, key, strict=True)], part


def _curve_caption(view: View, curve: Curve) -> str:
    first, second = "perturbed", "unperturbed"
    if curve.metric == "lens_precision":
        first, second = second, first
    text = f"Each point is the mean share of {first} top-k pixels that have {second} ones within w pixels"
    text += "; at w = 0 both sets must contain the pixel (top-k intersection). " if 0 in curve.score else ". "
    text += "Higher is more robust. "
    if view.by:
        text += (
            "Whether two lines differ by more than the choice of samples does is in the section on differences: "
            "bands of the same samples can overlap, and the lines still differ. "
        )
    text += _left_out(view, curve)
    if not curve.chance:
        return f"{text}To see the level that random pixels reach, score {curve.metric}_chance too."
    w = max(curve.chance)
    level = number_text(view.kept[curve.chance[w]].mean())
    return (
        f"{text}Read the score relative to the line of the same colour that has no marks: the level that k random "
        f"pixels reach, {level} on average at w = {w}."
    )


def _left_out(view: View, curve: Curve) -> str:
    """Name the points that are missing because a condition has no defined score there, and the reason."""
    summary = view.summary
    missing = []
    for group in range(len(summary.groups)):
        undefined = {w: text for w, text in curve.score.items() if not summary.row(group, text)["n"]}
        if not undefined:
            continue
        where = ", ".join(labelled(c, summary.groups[c].iloc[group]) for c in view.by) or "all pairs"
        if len(undefined) < len(curve.score):
            where += f" at w = {', '.join(map(str, undefined))}"
        reason = summary.undefined_reason(group, next(iter(undefined.values())))
        missing.append(where + (f" ({reason})" if reason else ""))
    return f"Not drawn, because no score is defined: {'; '.join(missing)}. " if missing else ""
