"""Which conditions differ in a table of scores, and which of them its files need to be told apart."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .columns import AGAINST, CONDITIONS, condition_columns, unified

if TYPE_CHECKING:
    import pandas as pd


def distinguishing(scores: "pd.DataFrame", ignored: Sequence[str] = ()) -> list[str]:
    """Return the columns that distinguish the conditions in the table, if those in `ignored` are pooled.

    These are the columns of `CONDITIONS` that differ, then every other attribute of the files
    without which two of them would share a group. A column that the columns before it determine is
    left out. A column that differs within a file is not an attribute of the file. `AGAINST` is never left
    out, because means of scores against the target read like means of robustness; where it decides
    nothing it comes first, so that the last column is one that does.

    Raises
    ------
    ValueError
        If one of `ignored` is no condition of the table.
    """
    scores = unified(scores)
    conditions = condition_columns(scores)
    for name in ignored:
        if name not in conditions:
            raise ValueError(
                f"cannot ignore {name!r}: the conditions of the table are {', '.join(conditions) or 'none'}"
            )
    codes = _codes(scores, [name for name in conditions if name not in ignored])
    found = list(codes)
    kept = [found[i] for i in splitting([codes[column] for column in found])]
    return kept if AGAINST in kept or AGAINST not in found else [AGAINST, *kept]


def differing(scores: "pd.DataFrame") -> list[str]:
    """Return the columns of `CONDITIONS` and the attributes of the files that differ in the table."""
    return [name for name, codes in _codes(scores, condition_columns(scores)).items() if codes.any()]


def _codes(scores: "pd.DataFrame", conditions: Sequence[str]) -> dict[str, npt.NDArray[np.int64]]:
    """Return a code for each value of these columns, without those that differ within a file."""
    codes = {column: numbered(scores[column]) for column in conditions}
    found = {name: codes[name] for name in codes if name in CONDITIONS}
    if "file" in scores:
        file = numbered(scores["file"])
        _, first, of_row = np.unique(file, return_index=True, return_inverse=True)
        others = [c for c in conditions if c not in CONDITIONS]
        found |= {c: codes[c] for c in others if np.array_equal(codes[c], codes[c][first][of_row])}
    return found


def left_to_split(scores: "pd.DataFrame", first: Sequence[str], others: Sequence[str]) -> list[str]:
    """Return those of the `others` that the columns before them, `first` included, do not determine."""
    columns = [column for column in [*first, *others] if column in scores]
    kept = [columns[i] for i in splitting([numbered(scores[column]) for column in columns])]
    return [column for column in others if column in kept]


def splitting(columns: Sequence[npt.NDArray[np.int64]]) -> list[int]:
    """Return the positions of the columns of codes that split a group of the columns before them."""
    kept: list[int] = []
    n_groups, group = 1, np.zeros(len(columns[0]) if columns else 0, dtype=np.int64)
    for i, codes in enumerate(columns):
        largest = codes.max(initial=0)
        if largest == 0:
            continue  # one value everywhere; sorting a million of them takes 20 ms
        joined = np.unique(group * (largest + 1) + codes, return_inverse=True)
        if len(joined[0]) > n_groups:
            kept.append(i)
            n_groups, group = len(joined[0]), joined[1]
    return kept


def numbered(values: "pd.Series[Any]") -> npt.NDArray[np.int64]:
    """Return an integer code for each value of a column, with a code for missing values too."""
    import pandas as pd

    codes = pd.factorize(values, use_na_sentinel=False)[0]
    return np.asarray(codes, dtype=np.int64)
