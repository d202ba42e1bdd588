"""Paired differences between conditions."""

import pandas as pd

from .differences import read_differences
from .forest import draw_points
from .heat import draw_cells
from .style import SCREEN, Look, Picture

# Limits of legibility: points in a row, rows, and points in all.
_MAX_SERIES = 7
_MAX_ROWS = 24
_MAX_POINTS = 80


def difference_figure(table: pd.DataFrame, look: Look = SCREEN) -> Picture:
    """Draw the differences of a comparison.

    Parameters
    ----------
    table
        What `compare` returned, or some of its rows.
    look
        The size of the figure.

    Returns
    -------
    Picture
        A row for each metric with a point and its 95 % interval for each group and pair of conditions
        (with one metric: a row for each group and pair); points are filled where the p of Holm is below
        .05. If these are many, a heat map of groups and metrics (with one metric: of the last column of
        the groups and those before it); cells show + or − where that p is
        below .05.

    Raises
    ------
    ValueError
        If the table is no comparison, or does not fit on a page.
    """
    found = read_differences(table)
    n_series, n_metrics = found.value.shape
    few = n_series <= _MAX_SERIES and n_metrics <= _MAX_ROWS and found.value.size <= _MAX_POINTS
    if few or (n_metrics == 1 and n_series <= 2 * _MAX_SERIES):
        return draw_points(found, look)
    return draw_cells(found, look)
