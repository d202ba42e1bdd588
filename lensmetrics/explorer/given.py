"""The scores of a table that was given, laid on the samples of the files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..messages import printable
from ..pairfile.store import PairStore
from ..report.matching import match_files
from ..tables.columns import AGAINST, condition_columns, equal_number, metric_columns, one_kind
from ..tables.labels import condition_text


class GivenScores:
    """A table of scores, divided among pair files.

    Parameters
    ----------
    scores
        A table of scores with the columns ``file`` and ``sample``.
    paths
        The pair files; the table names them by their paths, or by their names where these are unique.

    Raises
    ------
    ValueError
        If the table does not name the files and samples of its rows, or none of its files is among the
        pair files.
    """

    def __init__(self, scores: pd.DataFrame, paths: Sequence[Path]) -> None:
        if "file" not in scores or "sample" not in scores:
            raise ValueError("the table of scores has no columns file and sample: score the files again")
        self._scores = scores
        self.columns = metric_columns(scores)
        named = scores["file"].astype(str)
        places = {path: number for number, path in enumerate(paths)}
        self._rows: dict[int, npt.NDArray[np.intp]] = {}
        for file, path in match_files(list(named.unique()), paths).items():
            self._rows[places[path]] = np.flatnonzero((named == file).to_numpy())
        if not self._rows:
            raise ValueError(
                f"no given pair file is one of the table of scores, which has {printable(named.iloc[0])}"
                if len(named)
                else "the table of scores is empty"
            )

    def of(
        self, number: int, store: PairStore
    ) -> tuple[npt.NDArray[np.intp], dict[str, npt.NDArray[np.float64]], list[str]] | str:
        """Return positions, scores and statuses of the samples of a file, or why there are none."""
        rows = self._rows.get(number)
        if rows is None:
            return "the table of scores does not have this file"
        of_file = self._scores.iloc[rows]
        if other := contradiction(of_file, store):
            return other
        samples = of_file["sample"].to_numpy(dtype=np.int64, na_value=-1)
        if np.array_equal(samples, store.sample):
            positions = np.arange(len(store))
        else:  # rows were left out, or stand in another order
            place = {sample: i for i, sample in enumerate(store.sample.tolist()) if store.complete[i]}
            positions = np.array([place.get(sample, -1) for sample in samples.tolist()], dtype=np.intp)
        known = positions >= 0
        columns = {c: of_file[c].to_numpy(dtype=np.float64)[known] for c in self.columns}
        status = of_file["status"].astype(str).to_numpy()[known].tolist() if "status" in of_file else []
        if not known.any():
            return "the table of scores has no sample of this file as it is now"
        return positions[known], columns, status or ["ok"] * int(known.sum())


def contradiction(of_file: pd.DataFrame, store: PairStore) -> str:
    """Return a sentence if scores are of another file than this one, by their conditions, else "".

    A table names a file by its path or name, and another study can have a file of the same name. What
    only one of the two states is no contradiction: columns can be added to tables and attributes to files.
    """
    for name in condition_columns(of_file):
        if name == AGAINST or name not in store.attrs:
            continue
        own = one_kind([store.attrs[name]])[0]
        for value in of_file[name].dropna().unique().tolist():
            if not _is_same(value, own):
                scored, stored = condition_text(name, value), condition_text(name, own)
                if scored == stored:  # as short texts are for numbers that differ in late digits
                    scored, stored = str(value), str(own)
                return (
                    f"{store.path}: its scores are not used, because the table of scores has "
                    f"{printable(name)} {scored} for it and the file has {stored}: give the table of this "
                    "file, or score the file again"
                )
    return ""


def _is_same(value: Any, own: Any) -> bool:
    """Return whether both state the same; a table may hold a number as a text, or a text as a number."""
    if isinstance(value, int) and isinstance(own, int):
        return value == own
    try:
        return bool(equal_number(float(value)) == equal_number(float(own)))
    except (TypeError, ValueError):
        return str(value) == str(own)
