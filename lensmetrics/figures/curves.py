"""Curves of LENS scores against the window."""

from collections.abc import Sequence
from typing import NamedTuple

from ..tables.columns import Column
from ..tables.labels import metric_title
from ..tables.view import View
from .lines import Line, Panel, levels_of, line_figure, names_of, place_of, title_of
from .panels import Axis
from .style import SCREEN, Look, Picture

# The metrics whose value for w = 0 is the top-k intersection: only these are drawn as curves.
CURVES = ("lens_recall", "lens_precision")


class Curve(NamedTuple):
    """The columns of a LENS score along w (half-width -> column), and those of its chance level."""

    metric: str
    k: int
    score: dict[int, str]
    chance: dict[int, str]


def find_curves(columns: Sequence[Column]) -> list[Curve]:
    """Return every curve that a table has, by k, LENS recall before precision."""
    given = {
        (int(c.params["k"]), CURVES.index(c.name))
        for c in columns
        if c.name in CURVES and isinstance(c.params.get("k"), int) and set(c.params) <= {"k", "w"}
    }
    return [find_curve(columns, CURVES[i], k) for k, i in sorted(given)]


def find_curve(columns: Sequence[Column], metric: str, k: int) -> Curve:
    """Return the columns of a LENS metric along w; the top-k intersection is the point at w = 0.

    Raises
    ------
    ValueError
        If there is no such column.
    """
    found = {
        (c.name, int(c.params.get("w", 0))): c.text
        for c in columns
        if c.params.get("k") == k and set(c.params) <= {"k", "w"}
    }
    along = {w: text for (name, w), text in sorted(found.items()) if name == metric}
    if not along:
        sizes = sorted({int(c.params["k"]) for c in columns if c.name == metric and "k" in c.params})
        has = f"; it has k = {', '.join(map(str, sizes))}" if sizes else "; score that metric first"
        raise ValueError(f"the table has no column {metric}(k={k},w=...){has}")
    if ("topk_intersection", 0) in found and metric in CURVES:
        along = {0: found["topk_intersection", 0]} | along
    chance = {w: text for (name, w), text in sorted(found.items()) if name == f"{metric}_chance"}
    return Curve(metric, k, dict(sorted(along.items())), chance)


def lens_curves(view: View, curve: Curve, look: Look = SCREEN, by: Sequence[str] | None = None) -> Picture:
    """Draw a LENS score against the half-width of its window.

    Parameters
    ----------
    view
        The table of scores.
    curve
        The columns to draw. The chance level is a dotted line in the colour of the score.
    look
        The size of the figure.
    by
        The conditions in the order of panels; the last one tells lines apart. The default is that
        of the view.

    Returns
    -------
    Picture
        A line with its 95 % interval for each training regime (or for each value of the last
        condition, if all regimes are equal), and a panel for each combination of the others. With
        more than 5 lines in a panel, error bars replace bands; more than 12 are spread over panels.
    """
    by = view.by if by is None else by
    split, line = by[:-1], by[-1] if by else None
    levels = levels_of(view.kept[line]) if line is not None else [None]
    panels = []
    for key, part in view.parts(split):
        places = [0] if line is None else [place_of(levels, v) for v in part.summary.groups[line]]
        groups = sorted(range(len(places)), key=places.__getitem__)
        panels.append(
            Panel(title_of(split, key), [_line(part, group, places[group], curve) for group in groups])
        )
    ticks = sorted({*curve.score, *curve.chance})
    space = 0.06 * (ticks[-1] - ticks[0]) or 0.5
    limits = ticks[0] - space, ticks[-1] + space
    axis = Axis("half-width w of the window in pixels", limits, ticks, list(map(str, ticks)))
    y_label = f"{metric_title(curve.metric)}, k = {curve.k}"
    return line_figure(panels, names_of(line, levels), look, axis, y_label, (0, 1))


def _line(view: View, group: int, place: int, curve: Curve) -> Line:
    rows = [view.summary.row(group, text) for text in curve.score.values()]
    chance = [view.summary.row(group, text)["mean"] for text in curve.chance.values()]
    mean, low, high = ([float(row[name]) for row in rows] for name in ("mean", "ci_low", "ci_high"))
    few = any(view.summary.has_few_samples(group, text) for text in curve.score.values())
    x, chance_x = list(map(float, curve.score)), list(map(float, curve.chance))
    return Line(place, x, mean, low, high, chance_x, chance, few)
