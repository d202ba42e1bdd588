"""The columns of a table of scores: which are scores, which are conditions, which names are taken."""

import math
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import numpy as np
import numpy.typing as npt

from ..statuses import METRIC_STATUSES, SAMPLE_STATUSES
from .known import BUILT_IN
from .texts import split_metric

if TYPE_CHECKING:
    import pandas as pd

# Attributes that tell the conditions of a study apart, in the order in which tables and figures take them.
CONDITIONS = (
    "dataset",
    "model",
    "training",
    "explanation",
    "attack",
    "eps",
    "eps_norm",
    "attack_k",
    "attack_w",
)
# What a row says of its own sample, and where it is.
IDENTITY = ("file", "sample", "name", "label", "prediction", "prediction_perturbed", "status")
# Attributes that say how a file came about and not what it is about; every other one is a condition.
PROVENANCE = (
    "format",
    "format_version",
    "checksum_metadata",
    "reduction",
    "command",
    "history",
    "Conventions",
    "version",
    "versions",
    "created",
    "date",
    "time",
    "natural_accuracy",
    "pgd_accuracy",
    "accuracy",
    "accuracy_samples",
    "sha256",
    "checkpoint_sha256",
)
METRIC_NAMES = tuple(BUILT_IN)
# Columns of the long form, and of a summary.
_LONG = ("metric", "value", "k", "w", "pool")
SUMMARY = ("mean", "sd", "n", "n_undefined", "n_excluded", "ci_low", "ci_high", "mean_attacked")

# A metric can have none of these names, its parameters none of those but the last three.
NO_METRIC = (*IDENTITY, *CONDITIONS, *_LONG)
NO_PARAMETER = NO_METRIC[:-3]


# Under this name `scores.attrs` lists the columns of scores.
METRICS = "metrics"


def metric_columns(scores: "pd.DataFrame") -> list[str]:
    """Return the columns that hold scores, in their order.

    These have the name of a metric that is known here, or parameters in brackets, or stand in the
    list that ``scores.attrs`` holds, for metrics that are not registered here.
    """
    listed = scores.attrs.get(METRICS)
    known = set(listed) if isinstance(listed, list | tuple) else set()
    return [c for c in scores.columns if c not in NO_METRIC and (c in known or is_metric(c))]


def is_metric(column: object) -> bool:
    """Whether a column of this name holds scores: a known metric, or one with parameters in brackets."""
    if not isinstance(column, str):
        return False
    registry = sys.modules.get("lensmetrics.metrics.registry")  # who has registered a metric has imported it
    if column in METRIC_NAMES or (registry is not None and column in registry.entries()):
        return True
    try:
        return bool(split_metric(column)[1])
    except ValueError:
        return False


def condition_columns(scores: "pd.DataFrame") -> list[str]:
    """Return the columns of conditions: the fixed ones first, then all others in their order."""
    others = {*CONDITIONS, *IDENTITY, *PROVENANCE, *_LONG, *metric_columns(scores)}
    return [c for c in CONDITIONS if c in scores] + [c for c in scores.columns if c not in others]


def is_reserved(name: str) -> bool:
    """Whether no attribute may have this name, because the tables have columns of it."""
    token = name.removeprefix("n_")
    return (
        name in (*IDENTITY, *_LONG, *SUMMARY)
        or (name != token and token in (*SAMPLE_STATUSES, *METRIC_STATUSES))
        or is_metric(name)
    )


def skipped_attributes(attrs: Iterable[str]) -> list[str]:
    """Return the names of attributes that make no column, because a table uses them for something else."""
    return [name for name in attrs if name not in CONDITIONS and is_reserved(name)]


def one_kind(values: Iterable[Any]) -> list[Any]:
    """Return values of an attribute as a column can hold them: all numbers, or all texts; None stays.

    Lists become texts such as ``4,4,8,8``, and so do truth values, and integers that stand among
    floats and are too large to be told apart there.
    """
    plain = [",".join(map(str, value)) if isinstance(value, list) else value for value in values]
    known = [value for value in plain if value is not None]
    largest = _LARGEST_SHARED if any(isinstance(value, float) for value in known) else 2**63 - 1
    if all(isinstance(value, float) or (_is_integer(value) and abs(value) <= largest) for value in known):
        return plain
    return [None if value is None else str(value) for value in plain]


# Up to here float32 has every integer.
_LARGEST_SHARED = 2**24


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def equal_number(value: Any) -> Any:
    """Return what stands for a value where conditions are compared.

    Floats count as equal where their float32 values are finite, normal and equal: 8/255 is one eps,
    in whichever precision a file holds it. Integers and texts are equal to themselves alone.
    """
    if isinstance(value, float | np.floating):
        with np.errstate(over="ignore", under="ignore"):
            single = float(np.float32(value))
        if math.isfinite(single) and abs(single) >= float(np.finfo(np.float32).tiny):
            return single
        return float(value)
    return value


def unified(scores: "pd.DataFrame") -> "pd.DataFrame":
    """Return the table with one value for all floats of a condition that count as equal.

    What stands for them is a value of the table: the smallest of those that float32 does not hold.
    """
    changed: dict[str, pd.Series[Any]] = {}
    for column in condition_columns(scores):
        values = scores[column]
        different = _different(values)
        chosen: dict[Any, Any] = {}
        floats = [value for value in different if isinstance(value, float | np.floating)]
        for value in sorted(floats, key=_most_precise):
            chosen.setdefault(equal_number(value), value)
        replaced = {value: chosen.get(equal_number(value), value) for value in different}
        if any(value != other for value, other in replaced.items()):
            changed[column] = values.astype(object).map(replaced).astype("category")
    return scores.assign(**changed) if changed else scores


def _different(values: "pd.Series[Any]") -> list[Any]:
    """Return the values of a condition, each once, the missing ones left out."""
    import pandas as pd

    if isinstance(values.dtype, pd.CategoricalDtype):
        return list(values.cat.categories.tolist())
    if values.dtype.kind not in "fO":  # neither floats nor, after concat, values of several kinds
        return []
    return [value for value in values.unique().tolist() if not pd.isna(value)]


def _most_precise(value: Any) -> tuple[bool, float]:
    with np.errstate(over="ignore", under="ignore"):
        return float(np.float32(value)) == value, value


def identity_columns(scores: "pd.DataFrame") -> list[str]:
    scored = set(metric_columns(scores))
    return [column for column in scores.columns if column not in scored]


def distinguishing(scores: "pd.DataFrame") -> list[str]:
    """Return the condition columns that tell the conditions in the table apart.

    The fixed ones that differ, then any other attribute of files without which two of them would
    fall into one group; from the last to the first, a column is left out that the ones before it
    decide. A column that differs within a file is none of its attributes.
    """
    scores = unified(scores)
    conditions = condition_columns(scores)
    codes = {column: numbered(scores[column]) for column in conditions}
    found = [c for c in CONDITIONS if c in codes and codes[c].max(initial=0) > 0]
    if "file" in scores:
        file = numbered(scores["file"])
        _, first, of_row = np.unique(file, return_index=True, return_inverse=True)
        others = [c for c in conditions if c not in CONDITIONS]
        found += [c for c in others if np.array_equal(codes[c], codes[c][first][of_row])]
    kept: list[str] = []
    n_groups, group = 1, np.zeros(len(scores), dtype=np.int64)
    # A column that those before it decide splits no group of theirs: kept or not, the rest goes on as before.
    for column in found:
        joined = np.unique(group * (codes[column].max(initial=0) + 1) + codes[column], return_inverse=True)
        if len(joined[0]) > n_groups:
            kept.append(column)
            n_groups, group = len(joined[0]), joined[1]
    return kept


def check_table(scores: "pd.DataFrame", what: str) -> None:
    check_names(scores, what)
    if not metric_columns(scores):
        msg = f"{what} has no column of scores; is it one that score or evaluate made?"
        raise ValueError(msg)


def check_names(scores: "pd.DataFrame", what: str) -> None:
    """Refuse a table whose labels would be lost, or say two things."""
    names = [name for name in scores.index.names if name is not None]
    if names:
        msg = f"{what} has {', '.join(map(str, names))} in its index: write scores.reset_index()"
        raise ValueError(msg)
    wrong = [column for column in scores.columns if not isinstance(column, str)]
    if wrong:
        msg = f"{what} has the column {wrong[0]!r}; names of columns must be texts"
        raise ValueError(msg)
    if not scores.columns.is_unique:
        msg = f"the column {scores.columns[scores.columns.duplicated()][0]!r} occurs twice in {what}"
        raise ValueError(msg)


class Column(NamedTuple):
    """A column of scores, taken apart."""

    text: str
    name: str
    params: dict[str, int | float]

    @property
    def family(self) -> tuple[str, tuple[tuple[str, int | float], ...]]:
        """The name and all parameters but w: what a table shows side by side."""
        return self.name, tuple((key, value) for key, value in self.params.items() if key != "w")


def parse_column(text: str) -> Column:
    """Take the name of a column of scores apart; one that is no text of a metric has no parameters."""
    try:
        return Column(text, *split_metric(text))
    except ValueError:
        return Column(text, text, {})


def numbered(values: "pd.Series[Any]") -> npt.NDArray[np.int64]:
    """Number the different values of a column, a missing one too."""
    import pandas as pd

    codes = pd.factorize(values, use_na_sentinel=False)[0]
    return np.asarray(codes, dtype=np.int64)
