"""The scores of a table that was given, laid on the samples of the files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..messages import printable
from ..pairfile.store import PairStore
from ..report.matching import match_files
from ..tables.columns import metric_columns


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
