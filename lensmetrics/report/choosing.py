"""Which pairs a page shows: chosen by their scores, or named by the reader."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..messages import printable
from ..tables.columns import Column
from ..tables.labels import labelled, metric_title
from ..tables.view import View

_MAX_EXAMPLES = 12
# Files and samples that a message lists.
_N_LISTED = 5


class Pick(NamedTuple):
    """A row of the table whose pair is shown, and why."""

    row: int  # position in the table
    title: str


def pick_by_score(view: View, rule: Column, held: npt.NDArray[np.bool_]) -> tuple[list[Pick], str]:
    """Choose pairs of every training regime by their score alone; return also how they were chosen.

    `held` says which rows of the table have maps.
    """
    usable = np.flatnonzero(held & view.summary.row_counts & view.scores[rule.text].notna().to_numpy())
    regimes: list[tuple[str, npt.NDArray[np.intp]]] = [("all pairs", usable)]
    of_regimes = "training" in view.scores
    if of_regimes:
        of_row = view.scores["training"].iloc[usable].reset_index(drop=True)
        grouped = pd.Series(usable).groupby(of_row, sort=True, observed=True, dropna=False)
        regimes = [(labelled("training", value), part.to_numpy()) for value, part in grouped]
    n = 3 if 3 * len(regimes) <= _MAX_EXAMPLES else 1
    picks = [pick for name, rows in regimes[:_MAX_EXAMPLES] for pick in _ranked(view, rule, rows, n, name)]
    of_each = "of each training regime " if of_regimes else ""
    if len(regimes) > _MAX_EXAMPLES:
        of_each = f"of each of the first {_MAX_EXAMPLES} of {len(regimes)} training regimes "
    return picks, _how(rule, n, of_each)


def pick_of_conditions(
    view: View, rule: Column, held: npt.NDArray[np.bool_], n: int
) -> tuple[list[Pick], str]:
    """Choose n pairs of every condition, evenly spaced from the lowest to the highest score."""
    usable = held & view.summary.row_counts & view.scores[rule.text].notna().to_numpy()
    picks = []
    for group in range(len(view.summary.groups)):
        rows = np.flatnonzero(usable & (view.summary.row_group == group))
        name = condition_title(view, group)
        picks += _ranked(view, rule, rows, n, name)
    return picks, _how(rule, n, "of each condition " if view.by else "")


def condition_title(view: View, group: int) -> str:
    """Return the values of a condition as one text."""
    return ", ".join(labelled(c, view.summary.groups[c].iloc[group]) for c in view.by) or "all pairs"


def pick_named(scores: pd.DataFrame, texts: Sequence[str]) -> list[Pick]:
    """Find the rows that texts such as ``topk.h5:12`` name: a file of the table and a sample of it.

    The file is named by its path in the table, its name or its name without suffix; the sample by
    its name if files have names, otherwise by its number.

    Raises
    ------
    ValueError
        If the table has no such file or sample, or several.
    """
    if not texts:
        return []
    if "file" not in scores or "sample" not in scores:
        raise ValueError("the table does not name the files and samples of its pairs, so none can be shown")
    files = [str(file) for file in scores["file"].unique()]
    return [Pick(_named(scores, files, text), f"{text}") for text in dict.fromkeys(texts)]


def _named(scores: pd.DataFrame, files: Sequence[str], text: str) -> int:
    # A path or a name can contain colons, so each of them may be the one that separates the two.
    places = [i for i, character in enumerate(text) if character == ":"]
    if not places:
        raise ValueError(f"cannot show {text!r}: write FILE:SAMPLE, as in {Path(files[0]).name}:0")
    known = []
    for place in reversed(places):
        name, sample = text[:place], text[place + 1 :]
        found = _files_named(files, name)
        if len(found) > 1:
            raise ValueError(
                f"cannot show {text!r}: {len(found)} files of the table have the name {name}; write the "
                f"path that the table has, as in {found[0]}:{sample}"
            )
        if found:
            rows = _rows_of(scores, found[0], sample)
            if len(rows):
                return int(rows[0])
            known.append((found[0], sample))
    if known:
        file, sample = known[0]
        of_file = scores[scores["file"].astype(str) == file]
        column = "name" if "name" in scores and of_file["name"].notna().any() else "sample"
        raise ValueError(
            f"cannot show {text!r}: {Path(file).name} has no sample {sample} in the table; it has "
            f"{_some(of_file[column])}"
        )
    raise ValueError(
        f"cannot show {text!r}: the table has no file {text[: places[-1]]}; it has "
        f"{_some(pd.Series([Path(file).name for file in files]))}"
    )


def _files_named(files: Sequence[str], name: str) -> list[str]:
    """Return the files that a name fits best: as a path, else as a file name, else without its suffix."""
    for same in (
        [file for file in files if file == name],
        [file for file in files if Path(file).name == name],
        [file for file in files if Path(file).stem == name],
    ):
        if same:
            return same
    return []


def _rows_of(scores: pd.DataFrame, file: str, sample: str) -> npt.NDArray[np.intp]:
    of_file = (scores["file"].astype(str) == file).to_numpy()
    if "name" in scores:
        rows = np.flatnonzero(of_file & (scores["name"].astype(object) == sample).to_numpy())
        if len(rows):
            return rows
    return np.flatnonzero(of_file & (scores["sample"].astype(str) == sample).to_numpy())


def _some(values: "pd.Series[Any]") -> str:
    different = [printable(value) for value in values.dropna().unique()]
    rest = len(different) - _N_LISTED
    return ", ".join(different[:_N_LISTED]) + (f" and {rest} more" if rest > 0 else "")


def _ranked(view: View, rule: Column, rows: npt.NDArray[np.intp], n: int, name: str) -> list[Pick]:
    """Return n of the rows, evenly spaced by the rank of their score; among equal scores the first."""
    order = view.scores[rule.text].iloc[rows].reset_index(drop=True).sort_values(kind="stable").index
    last = len(order) - 1
    if last < 0:
        return []
    # Of an even number of pairs, the lower of the two in the middle is the median.
    places = [last // 2] if n == 1 else [i * last // (n - 1) for i in range(n)]
    titles = {last // 2: "median", last: "highest", 0: "lowest"} if n != 1 else {last // 2: "median"}
    return [
        Pick(
            int(rows[order[place]]),
            f"{name}: {titles.get(place, f'rank {place + 1} of {last + 1} by')} {metric_title(rule.name)}",
        )
        for place in dict.fromkeys(places)
    ]


def _how(rule: Column, n: int, of_each: str) -> str:
    which = {
        1: "the pair with the median",
        2: "the pairs with the lowest and the highest",
        3: "the pairs with the lowest, the median and the highest",
    }.get(n, f"{n} pairs, evenly spaced by rank from the lowest to the highest")
    return (
        f"Chosen by score, not by eye: {of_each}{which} {rule.text} in the given files. Among equal scores, "
        "the first in the table is shown."
    )
