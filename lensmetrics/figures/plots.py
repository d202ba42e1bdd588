"""The figures of a table that the public interface offers, in the size of a paper."""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..tables.choosing import chosen_metrics
from ..tables.columns import Column, check_table, condition_columns, metric_columns, parse_column, unified
from ..tables.summary import aggregated
from ..tables.view import View
from .against import check_numbers, numbers_of, score_lines
from .comparison import difference_figure
from .curves import find_curve, lens_curves
from .style import Picture, paper


def plot_curves(
    scores: pd.DataFrame,
    k: int = 100,
    *,
    metric: str = "lens_recall",
    by: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] = (),
    width: float = 3.3,
) -> Picture:
    """Draw a LENS score against the half-width of its window.

    Parameters
    ----------
    scores
        A table of scores.
    k
        Size of the top sets in pixels; the table must have the score for this k.
    metric
        The score: ``"lens_recall"``, ``"lens_precision"`` or another metric with parameters k and w.
    by
        Conditions that the figure tells apart: the last one by lines, the others by panels. The
        default is every condition that differs, with a line for each training regime. Conditions
        that are not named are pooled.
    exclude
        Statuses of samples to leave out, as for :func:`summarize`.
    width
        Width in inches, from 2 to 20. One column of a paper has about 3.3 inches (84 mm).

    Returns
    -------
    Figure
        Means with their 95 % intervals, as :func:`summarize` returns them. For LENS recall and
        precision the point at w = 0 is the top-k intersection. The level of chance is dotted, if
        the table has it (``lens_recall_chance``).

    Raises
    ------
    ValueError
        If the table has no such scores, or the figure would be higher than a page.

    Notes
    -----
    The figure is a matplotlib Figure made without pyplot: save it by ``figure.savefig("curves.pdf")``,
    or let a notebook display it. Colours are those of Okabe and Ito; lines also differ by marker, and
    from the eighth on by dashes. A score that is undefined throughout a condition is not drawn.

    Examples
    --------
    >>> import pandas as pd
    >>> import lensmetrics as lm
    >>> scores = pd.DataFrame(
    ...     {
    ...         "training": ["natural", "natural", "pgd", "pgd"],
    ...         "topk_intersection(k=100)": [0.25, 0.75, 0.5, 1.0],
    ...         "lens_recall(k=100,w=1)": [0.5, 0.75, 1.0, 1.0],
    ...     }
    ... )
    >>> figure = lm.plot_curves(scores, k=100)
    >>> [float(y) for y in figure.axes[0].get_lines()[0].get_ydata()]
    [0.5, 0.625]
    """
    view = _view(scores, by, exclude)
    return lens_curves(view, find_curve(view.columns, metric, k), paper(width), _listed(by))


def plot_scores(
    scores: pd.DataFrame,
    metric: object,
    x: str = "eps",
    *,
    by: str | Sequence[str] | None = None,
    exclude: str | Sequence[str] = (),
    width: float = 3.3,
) -> Picture:
    """Draw a score against a condition that is a number, such as eps.

    Parameters
    ----------
    scores
        A table of scores.
    metric
        The score, such as ``"lens_recall(k=100,w=1)"``.
    x
        The condition; the table must have at least two values of it. If the largest is 50 times the
        smallest, the axis is logarithmic.
    by
        The other conditions that the figure tells apart: the last one by lines, the others by
        panels. The default is every condition that differs, with a line for each training regime.
    exclude
        Statuses of samples to leave out, as for :func:`summarize`.
    width
        Width in inches, from 2 to 20. One column of a paper has about 3.3 inches (84 mm).

    Returns
    -------
    Figure
        Means with their 95 % intervals, as :func:`summarize` returns them, and the level of chance,
        dotted, if the table has it (``lens_recall_chance(k=100,w=1)``).

    Raises
    ------
    ValueError
        If the table has no such score, `x` is not a number or has a single value, or the figure would
        be higher than a page.

    Warns
    -----
    UserWarning
        If rows have no value of `x`: they are not drawn.

    Notes
    -----
    eps is written in steps of 1/255 if all its values are such steps.

    Examples
    --------
    >>> import pandas as pd
    >>> import lensmetrics as lm
    >>> scores = pd.DataFrame({"eps": [0.1, 0.1, 0.2, 0.2], "kendall": [0.5, 0.75, 0.25, 0.5]})
    >>> line = lm.plot_scores(scores, "kendall").axes[0].get_lines()[0]
    >>> [float(x) for x in line.get_xdata()], [float(y) for y in line.get_ydata()]
    ([0.1, 0.2], [0.625, 0.375])
    """
    check_table(scores, "the table")
    found = _one_column(scores, metric)
    check_numbers(scores, x)
    view = _view(scores, by, exclude, [x])
    without = ~np.isfinite(numbers_of(view.summary.groups, x))
    n_missing = int(view.summary.n_rows[without].sum())
    if n_missing:
        warnings.warn(f"{n_missing} of {len(view.kept)} rows have no {x} and are not drawn", stacklevel=2)
    return score_lines(view, found, x, paper(width), _listed(by))


def plot_comparison(table: pd.DataFrame, *, width: float = 3.3) -> Picture:
    """Draw the differences of a comparison with their intervals.

    Parameters
    ----------
    table
        What :func:`compare` returned, or some of its rows.
    width
        Width in inches, from 2 to 20. One column of a paper has about 3.3 inches (84 mm).

    Returns
    -------
    Figure
        A row for each metric, with a point and its 95 % interval for each group and pair; with a single
        metric, a row for each group and pair. Points are filled where the p value after Holm is below
        .05. With more than seven groups and pairs, or fourteen of a single metric, a heat map: its
        cells show + or − where that p value is below .05. Metrics that have no common scale, such as
        ``mse``, are drawn on their own.

    Raises
    ------
    ValueError
        If the table is no comparison or has no rows, or the figure would be higher than a page.

    Examples
    --------
    >>> import pandas as pd
    >>> import lensmetrics as lm
    >>> table = pd.DataFrame(
    ...     {
    ...         "metric": ["kendall", "spearman"],
    ...         "first": ["natural", "natural"],
    ...         "second": ["pgd", "pgd"],
    ...         "difference": [0.2, 0.1],
    ...         "ci_low": [0.1, -0.1],
    ...         "ci_high": [0.3, 0.3],
    ...         "p_holm": [0.001, 0.4],
    ...     }
    ... )
    >>> axes = lm.plot_comparison(table).axes[0]
    >>> [label.get_text() for label in axes.get_yticklabels()]
    ['Kendall', 'Spearman']
    """
    return difference_figure(table, paper(width))


def _one_column(scores: pd.DataFrame, metric: object) -> Column:
    """Return the column of a score; refuse a name that stands for several."""
    found = chosen_metrics(scores, metric)
    if len(found) > 1:
        raise ValueError(f"a figure shows one score, and {metric} stands for {', '.join(found)}: name one")
    return parse_column(found[0])


def _view(
    scores: pd.DataFrame, by: str | Sequence[str] | None, exclude: str | Sequence[str], x: Sequence[str] = ()
) -> View:
    """Return the view of a table whose conditions are `by` and `x`; `by` is by default those that differ."""
    check_table(scores, "the table")
    # A value that no row has any longer needs no line in the legend.
    unused = [c for c in condition_columns(scores) if isinstance(scores[c].dtype, pd.CategoricalDtype)]
    scores = scores.assign(**{c: scores[c].cat.remove_unused_categories() for c in unused})
    if by is None:
        view = View.of(scores, exclude=exclude)
        if set(x) <= set(view.conditions):
            return view
        by = view.by
    scores = unified(scores)
    columns = [parse_column(text) for text in metric_columns(scores)]
    named = list(dict.fromkeys([*(_listed(by) or []), *x]))
    return View(scores, columns, named, aggregated(scores, named, exclude=exclude))


def _listed(by: str | Sequence[str] | None) -> list[str] | None:
    return None if by is None else [by] if isinstance(by, str) else list(by)
