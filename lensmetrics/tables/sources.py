"""Source samples: rows of one sample of one dataset share an image, whichever file they come from."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from .columns import metric_columns


def source_samples(
    scores: pd.DataFrame, group: npt.NDArray[np.intp], *, comparing: bool = False
) -> npt.NDArray[np.intp]:
    """Return a number for each row; rows of the same source sample have the same number.

    A source sample is a dataset and a name if files have names, otherwise a dataset and a sample number. A
    row without either is a source sample of its own. `group` is the group of every row; its rows are
    pooled, or with `comparing` compared with one another.

    Raises
    ------
    ValueError
        If a group has rows of one dataset with and without names.
    """
    dataset = np.zeros(len(scores), dtype=np.intp)
    if "dataset" in scores:
        dataset = _sorted_codes(scores["dataset"])
    sample = np.arange(len(scores), dtype=np.intp)
    if "sample" in scores:
        sample = _sorted_codes(scores["sample"])
        unknown = scores["sample"].isna().to_numpy()
        if unknown.any():  # such rows are independent, as they are without the column
            sample[unknown] += np.arange(np.count_nonzero(unknown))
    if "name" in scores and scores["name"].notna().any():
        named = scores["name"].notna().to_numpy()
        _refuse_mixed(scores, group, dataset, named, comparing=comparing)
        names = _sorted_codes(scores["name"])
        sample = np.where(named, names, names.max() + 1 + sample)
    return dataset * (int(sample.max(initial=0)) + 1) + sample


def shared_samples(
    source: npt.NDArray[np.intp], group: npt.NDArray[np.intp], n_groups: int
) -> tuple[int, npt.NDArray[np.int64]]:
    """Return how many source samples all groups have, and how many each group has.

    `source` is the source sample of every row, as `source_samples` numbers them, and `group` its group.
    """
    n = int(source.max(initial=-1)) + 1
    key = np.sort(group * max(n, 1) + source)  # np.unique takes twenty times as long
    of_group, of_source = np.divmod(key[np.diff(key, prepend=-1) > 0], max(n, 1))
    n_of_group = np.bincount(of_group, minlength=n_groups).astype(np.int64)
    n_groups_of_source = np.bincount(of_source, minlength=n)
    return int(np.count_nonzero(n_groups_of_source == n_groups)), n_of_group


def _sorted_codes(values: "pd.Series[Any]") -> npt.NDArray[np.intp]:
    codes, different = pd.factorize(values, sort=True)
    return np.where(codes < 0, len(different), codes).astype(np.intp)


def _refuse_mixed(
    scores: pd.DataFrame,
    group: npt.NDArray[np.intp],
    dataset: npt.NDArray[np.intp],
    named: npt.NDArray[np.bool_],
    *,
    comparing: bool,
) -> None:
    """Refuse named and unnamed rows of one dataset: they may or may not be the same samples."""
    scored = scores[metric_columns(scores)].notna().any(axis=1).to_numpy()
    place = group * (int(dataset.max(initial=0)) + 1) + dataset
    both = np.intersect1d(place[scored & named], place[scored & ~named])
    if len(both):
        row = int(np.flatnonzero(place == both[0])[0])
        of = f" of {scores['dataset'].iloc[row]}" if "dataset" in scores else ""
        if comparing:
            raise ValueError(
                f"some samples{of} have names and others have only numbers, so it is unknown which are the "
                "same: import all of them with names, or all without"
            )
        raise ValueError(
            f"one group pools samples{of} with names and samples without, and their identity is unknown: "
            "separate them with by, for example by='file'"
        )
