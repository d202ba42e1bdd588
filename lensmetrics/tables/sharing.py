"""What the conditions of a table have in common: source samples, and files that are averaged together."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from .columns import IDENTITY, condition_columns
from .differing import numbered
from .labels import labelled
from .sources import shared_samples


def sample_counts(
    groups: pd.DataFrame, source: npt.NDArray[np.intp], group: npt.NDArray[np.intp]
) -> list[dict[str, Any]]:
    """Return how many source samples the groups have, and how many all of them share.

    `source` and `group` are those of every row that was scored. There is a dictionary for each dataset
    with several groups, or one if the groups are not split by dataset: `dataset` (None in that case),
    `groups` (their number), `least` and `most` (source samples of a group), `shared` (by all groups).
    Groups that are defined by the sample itself have none in common, so nothing is returned for them.
    """
    if {*IDENTITY} & {*groups.columns} - {"file"}:
        return []
    split = "dataset" in groups
    dataset = numbered(groups["dataset"]) if split else np.zeros(len(groups), dtype=np.int64)
    counts = []
    for code in dict.fromkeys(dataset.tolist()):
        members = np.flatnonzero(dataset == code)
        if len(members) < 2:
            continue
        number = np.full(len(groups), -1)
        number[members] = np.arange(len(members))
        here = number[group] >= 0
        shared, n_of_group = shared_samples(source[here], number[group[here]], len(members))
        counts.append(
            {
                "dataset": groups["dataset"].iloc[members[0]] if split else None,
                "groups": len(members),
                "least": int(n_of_group.min()),
                "most": int(n_of_group.max()),
                "shared": shared,
            }
        )
    return counts


def samples_text(counts: Mapping[str, Any]) -> str:
    """Return the sentence that says what `sample_counts` found for one dataset."""
    least, most, shared = counts["least"], counts["most"], counts["shared"]
    of = "" if counts["dataset"] is None else f" of {labelled('dataset', counts['dataset'])}"
    number = f"{most:,}" if least == most else f"{least:,} to {most:,}"
    text = f"{number} sample{'' if most == 1 else 's'}{of} in each of {counts['groups']:,} conditions"
    if shared == least == most:
        return f"{text}, the same in all of them."
    if shared:
        return f"{text}, {shared:,} in all of them."
    return f"{text}, none in all of them."


def pooled_files(scores: pd.DataFrame) -> tuple[int, int]:
    """Return the numbers of files and of different sets of attributes in a table.

    Files with the same attributes cannot be told apart by conditions, so summaries average them together.
    """
    if "file" not in scores:
        return 0, 0
    columns = condition_columns(scores)
    files = scores[["file", *columns]].drop_duplicates()
    return scores["file"].nunique(), len(files[columns].drop_duplicates()) if columns else 1


def pooling_text(scores: pd.DataFrame) -> str:
    """Return a sentence if files with the same attributes are averaged together, otherwise ""."""
    n_files, n_sets = pooled_files(scores)
    if n_files <= n_sets:
        return ""
    sets = "the same attributes" if n_sets == 1 else f"{n_sets:,} different sets of attributes"
    return f"{n_files:,} files have {sets}; files with the same attributes are averaged together"
