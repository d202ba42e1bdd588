"""The sections of a page with lines: LENS against the window, and scores against a number such as eps."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..figures.against import is_number, score_lines
from ..figures.curves import Curve, lens_curves
from ..figures.svg import inline_svg
from ..tables.columns import AGAINST, Column
from ..tables.labels import column_title, labelled, metric_title, number_text
from ..tables.view import View
from .parts import Ids, Shown

# Limit of legibility: panels in a figure.
_MAX_PANELS = 24


class Against(NamedTuple):
    """A figure of a score against a condition."""

    x: str
    shown: Shown


def scores_against(view: View, leading: Sequence[Column], ids: Ids) -> Iterator[Against]:
    """Yield a figure of each leading score against each condition that is a number."""
    drawn = view.summary.groups[view.summary.n_rows > 0]
    for x in view.by:
        panels = [c for c in view.by if c != x][:-1]
        n_panels = len(drawn[panels].drop_duplicates()) if panels else 1
        if n_panels > _MAX_PANELS or not is_number(drawn, x):
            continue
        for column in leading:
            title = f"{column_title(column)} against {x}"
            name = ids.new(f"{column.text}-against-{x}")
            caption = "Each point is the mean over the pairs of a condition, with its 95 % interval."
            svg = inline_svg(
                score_lines(view, column, x),
                prefix=name,
                description=f"Line chart: {title}. {caption} The tables contain all its values.",
            )
            yield Against(x, Shown(name, svg, title, caption))


def curves_of(view: View, curves: Sequence[Curve], ids: Ids) -> Iterator[Shown]:
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
    text += (
        "Higher is more robust. " if AGAINST not in view.scores else "Higher means maps that are more alike. "
    )
    if view.by:
        text += (
            "Whether two lines differ is in the section on differences, which compares sample by sample: the "
            "intervals of two conditions can overlap although one is higher in nearly every sample. "
        )
    text += _left_out(view, curve)
    if not curve.chance:
        return f"{text}To see the level that random pixels reach, score {curve.metric}_chance too."
    w = max(curve.chance)
    level = number_text(view.kept[curve.chance[w]].mean())
    return (
        f"{text}Read the score relative to the dotted line of the same colour: the level that k random "
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
