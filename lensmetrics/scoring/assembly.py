"""The table of scores, assembled from files and the scores of their slices."""

import itertools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..statuses import UNREADABLE_STATUSES
from ..tables.columns import AGAINST, CONDITIONS, METRICS, PROVENANCE, one_kind, skipped_attributes

if TYPE_CHECKING:
    from ..metrics.registry import Metric
    from ..pairfile.store import PairStore
    from .worker import SliceScores  # with the compiler, which tables of certificates do without


def scores_table(
    stores: "Sequence[PairStore]",
    results: "Sequence[SliceScores]",
    metrics: "Sequence[Metric]",
    against: str | None,
) -> pd.DataFrame:
    """Return the table of files that are scored in these slices; `against` is a column unless it is None."""
    statuses = [status for result in results for status in result.status]
    scores = pd.DataFrame(
        {
            **file_columns(stores, against),
            **sample_columns(stores),
            "status": _with_sample_statuses(statuses, stores),
            **columns_of_values(np.concatenate([result.values for result in results]), metrics),
        }
    )
    scores.attrs[METRICS] = list(map(str, metrics))
    return scores


def columns_of_values(
    values: npt.NDArray[np.float64], metrics: "Sequence[Metric]"
) -> dict[str, npt.NDArray[np.float64]]:
    """Return a column for each metric of values (sample, metric)."""
    return {str(metric): values[:, j] for j, metric in enumerate(metrics)}


def _with_sample_statuses(statuses: Sequence[str], stores: "Sequence[PairStore]") -> list[str]:
    """Add the statuses that the files record about their samples to those of the scores."""
    joined = list(statuses)
    for token in ("not_attacked", "label_changed"):
        flags = np.concatenate([getattr(store, token) for store in stores])
        for i in np.flatnonzero(flags).tolist():
            if joined[i] not in UNREADABLE_STATUSES:
                joined[i] = ";".join(sorted({*joined[i].split(";"), token} - {"ok"}))
    return joined


def file_columns(stores: "Sequence[PairStore]", against: str | None = None) -> dict[str, pd.Categorical]:
    """Return file and condition attributes, a value per sample."""
    rows = np.repeat(np.arange(len(stores)), [len(store) for store in stores])
    columns = {"file": _categorical([str(store.path) for store in stores], rows)}
    for name in _conditions(stores):
        values = [against if name == AGAINST else store.attrs.get(name) for store in stores]
        if any(value is not None for value in values):
            columns[name] = _categorical(values, rows)
    return columns


def _conditions(stores: "Sequence[PairStore]") -> list[str]:
    """Return the attributes that become columns: all except provenance and names that tables use."""
    skipped: dict[str, list[Path]] = {}
    for store in stores:
        for name in skipped_attributes(store.attrs):
            skipped.setdefault(name, []).append(store.path)
    for name, paths in skipped.items():
        more = f" and {len(paths) - 1} more files" if len(paths) > 1 else ""
        warnings.warn(
            f"{paths[0]}{more}: the attribute {name!r} is left out of the table, which has its own column of "
            "that name; rename the attribute",
            stacklevel=2,
        )
    found = dict.fromkeys([*CONDITIONS, *(name for store in stores for name in store.attrs)])
    return [name for name in found if name == AGAINST or not (name in PROVENANCE or name in skipped)]


def _categorical(values: Sequence[Any], rows: npt.NDArray[np.intp]) -> pd.Categorical:
    """Return the value of the file of each row; None is a missing value."""
    plain = one_kind(values)
    categories = sorted({value for value in plain if not pd.isna(value)})
    code = {value: i for i, value in enumerate(categories)}
    codes = np.array([code.get(value, -1) for value in plain])
    found: pd.Categorical = pd.Categorical.from_codes(codes[rows].tolist(), categories=pd.Index(categories))
    return found


def sample_columns(stores: "Sequence[PairStore]") -> dict[str, Any]:
    """Return sample numbers and, where a file stores them, names, labels and predictions (missing: NA)."""
    columns: dict[str, Any] = {"sample": np.concatenate([store.sample for store in stores])}
    names = [_names(store) for store in stores]
    if any(found is not None for found in names):
        texts = [
            [None] * len(store) if found is None else found
            for store, found in zip(stores, names, strict=True)
        ]
        columns["name"] = list(itertools.chain(*texts))
    for name in ("label", "prediction", "prediction_perturbed"):
        found = [getattr(store, name) for store in stores]
        if all(values is None for values in found):
            continue
        values, missing = [], []
        for store, stored in zip(stores, found, strict=True):
            values.append(np.zeros(len(store), np.int64) if stored is None else stored)
            missing.append(np.ones(len(store), np.bool_) if stored is None else ~store.complete)
        columns[name] = pd.arrays.IntegerArray(np.concatenate(values), np.concatenate(missing))
    return columns


def _names(store: "PairStore") -> list[str | None] | None:
    """Return the names of the samples (None: incomplete), or None for a file without names."""
    names: npt.NDArray[Any] | None = store.name
    if names is None:
        return None
    return [str(name) if known else None for name, known in zip(names, store.complete, strict=True)]
