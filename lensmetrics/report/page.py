"""One self-contained HTML page about a table of scores."""

import itertools
import math
import operator
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import jinja2
import pandas as pd

from .. import __version__
from ..disk import check_writable, replacing
from ..figures.curves import Curve, find_curve, lens_curves
from ..figures.svg import Shown, inline_svg
from ..statuses import STATUSES
from ..tables.columns import CONDITIONS, Column, condition_columns
from ..tables.known import known_metrics
from ..tables.labels import column_title, condition_text, labelled, metric_title, number_text
from ..tables.view import View

if TYPE_CHECKING:
    from ..pairfile.store import PairStore

# Limits of legibility: values listed in the header, panels in a figure, conditions in tables shown open.
_MAX_VALUES = 12
_MAX_PANELS = 24
_MAX_OPEN = 24
_NO_MAPS = (
    "There are none, because the page was made without pair files. To see some, name their folder: "
    "lensmetrics report scores.parquet --maps FOLDER -o report.html"
)


class RowHead(NamedTuple):
    """The value of a condition, beside the rows that share it; n_rows is 0 where a row above shows it."""

    text: str
    n_rows: int


class Cell(NamedTuple):
    """A mean and its interval, with notes where some pairs do not count in it or should not."""

    mean: str
    interval: str
    notes: list[str]


class Table(NamedTuple):
    """One table of the page."""

    title: str
    code: str
    text: str
    heads: list[str]
    rows: list[list[Cell]]


def write_report(
    scores: pd.DataFrame, out: Path, *, stores: "Sequence[PairStore]" = (), exclude: Sequence[str] = ()
) -> None:
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

    Raises
    ------
    ValueError
        If the table has no column of scores, or a status cannot be left out.
    OSError
        If the page cannot be written.
    """
    check_writable(out)
    page = _page(View.of(scores, exclude=exclude), stores)
    with replacing(out) as part:
        part.write_text(page, encoding="utf-8")


def _page(view: View, stores: "Sequence[PairStore]") -> str:
    summary = view.summary
    groups = summary.groups
    shown = [[condition_text(c, value) for value in groups[c]] for c in view.by]
    conditions = list(zip(*shown, strict=True)) if shown else [("all pairs",)]
    examples: list[Shown] = []
    how_chosen = _NO_MAPS
    if stores:
        # Maps need HDF5, the compiler and more of matplotlib, which a page of a table does not.
        from .examples import draw_examples

        examples, how_chosen = draw_examples(view, stores)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = resources.files(__package__).joinpath("page.html.jinja").read_text("utf-8")
    return environment.from_string(source).render(
        title=_title(view.scores),
        version=__version__,
        facts=_facts(view),
        excluded=summary.excluded,
        attacked="mean_attacked" in summary.statistics,
        by=view.by or [""],
        row_heads=_row_heads(conditions),
        n_pairs=summary.n_rows.tolist(),
        n_excluded=summary.counts["n_excluded"].tolist() if summary.excluded else [],
        statuses={token: _meaning(token) for token in summary.tokens},
        status_counts=[
            [int(summary.counts[f"n_{t}"][i]) for t in summary.tokens] for i in range(len(groups))
        ],
        tables=list(_tables(view)),
        few=len(groups) <= _MAX_OPEN,
        curves=list(_curves(view)),
        examples=examples,
        how_chosen=how_chosen,
    )


def _meaning(token: str) -> str:
    return STATUSES[token].meaning if token in STATUSES else "This version does not know this status."


def _title(scores: pd.DataFrame) -> str:
    if "dataset" not in scores or scores["dataset"].isna().all():
        return "Robustness of attribution maps"
    return f"Robustness of attribution maps: {_listed(scores, 'dataset')}"


def _listed(scores: pd.DataFrame, name: str) -> str:
    """List the values of a condition in the table, at most as many as fit on a line or two."""
    values = scores[name].astype("category").cat.remove_unused_categories()
    texts = [condition_text(name, value) for value in values.cat.categories]
    if values.isna().any() and name in CONDITIONS and not CONDITIONS[name].of_some_methods:
        texts.append(condition_text(name, None))
    rest = len(texts) - _MAX_VALUES
    return ", ".join(texts[:_MAX_VALUES]) + (f" and {rest} more" if rest > 0 else "")


def _facts(view: View) -> dict[str, str]:
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


def _row_heads(conditions: Sequence[Sequence[str]]) -> list[list[RowHead]]:
    """Join the heads of consecutive rows that share a value and all values before it."""
    heads: list[list[RowHead]] = [[] for _ in conditions]
    for j in range(len(conditions[0]) if conditions else 0):
        rows = iter(heads)
        for shared, same in itertools.groupby(conditions, key=operator.itemgetter(slice(j + 1))):
            n_rows = len(list(same))
            for i in range(n_rows):
                next(rows).append(RowHead(shared[j], 0 if i else n_rows))
    return heads


def _tables(view: View) -> Iterator[Table]:
    """Yield a table of all metrics without w, then one along w for every other metric."""
    known = known_metrics(view.scores.attrs)
    plain = [column for column in view.columns if "w" not in column.params]
    if plain:
        heads = [column_title(c) for c in plain]
        text = " ".join(f"{metric_title(c.name)}: {known[c.name].meaning}" for c in plain if c.name in known)
        yield Table("Metrics without a window", "", text, heads, _cells(view, plain))
    families = dict.fromkeys(column.family for column in view.columns if "w" in column.params)
    for name, params in families:
        members = [c for c in view.columns if c.family == (name, params) and "w" in c.params]
        members.sort(key=lambda column: column.params["w"])
        if name in ("lens_recall", "lens_precision") and members[0].params["w"] > 0:
            members = [c for c in view.columns if c.family == ("topk_intersection", params)] + members
        inside = ", ".join(f"{key}={value}" for key, value in (*params, ("w", "…")))
        yield Table(
            column_title(members[-1], without=["w"]),
            f"{name}({inside})",
            known[name].meaning if name in known else "",
            [f"w = {c.params['w']}" if "w" in c.params else "w = 0 (top-k intersection)" for c in members],
            _cells(view, members),
        )


def _cells(view: View, members: Sequence[Column]) -> list[list[Cell]]:
    groups = range(len(view.summary.groups))
    return [[_cell(view, group, member.text) for member in members] for group in groups]


def _cell(view: View, group: int, metric: str) -> Cell:
    row = view.summary.row(group, metric)
    interval = f"[{number_text(row['ci_low'])}, {number_text(row['ci_high'])}]"
    if math.isnan(row["ci_low"]):
        interval = "(no interval)" if row["n"] else ""
    notes = []
    if row["n_undefined"]:
        reason = view.summary.undefined_reason(group, metric)
        notes.append(f"n = {row['n']}, {row['n_undefined']} undefined" + (f": {reason}" if reason else ""))
    if row["n"] and row.get("n_not_attacked", 0) and "mean_attacked" in row:
        notes.append(f"{number_text(row['mean_attacked'])} without not_attacked")
    return Cell(number_text(row["mean"]), interval, notes)


def _curves(view: View) -> Iterator[Shown]:
    """Yield the curves of LENS recall and precision for every k, in figures of a legible size."""
    names = ("lens_recall", "lens_precision")
    given = {
        (c.params["k"], names.index(c.name))
        for c in view.columns
        if c.name in names and isinstance(c.params.get("k"), int) and set(c.params) <= {"k", "w"}
    }
    curves = [find_curve(view.columns, names[i], int(k)) for k, i in sorted(given)]
    for i, (where, part) in enumerate(_parts(view)):
        for curve in curves:
            title = ", ".join([f"{metric_title(curve.metric)} against w", f"k = {curve.k}", *where])
            caption = _curve_caption(part, curve)
            svg = inline_svg(
                lens_curves(part, curve),
                prefix=f"curve-{i}-{curve.metric}-{curve.k}",
                description=f"Line chart: {title}. {caption} The tables contain all its values.",
            )
            yield Shown(svg, title, caption)


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
    text += (
        "Higher is more robust. Where the bands of two lines do not overlap, the difference exceeds sampling "
        "variation. "
    )
    text += _left_out(view, curve)
    if not curve.chance:
        return f"{text}To see the level that random pixels reach, score {curve.metric}_chance too."
    w = max(curve.chance)
    level = number_text(view.kept[curve.chance[w]].mean())
    return (
        f"{text}Read the score relative to the dashed line of the same colour: the level that k random "
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
