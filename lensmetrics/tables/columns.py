"""The columns of a table of scores: which are scores, which are conditions, and which names are taken."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import numpy as np

from ..statuses import STATUSES
from .known import BUILT_IN, CERTIFICATES, CERTIFIED_ALPHA, registered
from .natural import in_natural_order
from .texts import split_metric

if TYPE_CHECKING:
    import pandas as pd


class Condition(NamedTuple):
    """How a condition attribute is shown."""

    speaks_for_itself: bool = False  # the value needs no name beside it: "gradient"
    of_some_methods: bool = False  # a parameter; where it is missing, the method has none
    missing: str = "not given"  # how a missing value is shown


# The condition that is not of a file but of its scoring: what the perturbed maps were scored against.
AGAINST = "against"
# What defines the conditions of a study, in the order in which tables and figures use it.
CONDITIONS = {
    "dataset": Condition(speaks_for_itself=True),
    "model": Condition(speaks_for_itself=True),
    "training": Condition(speaks_for_itself=True),
    "explanation": Condition(speaks_for_itself=True),
    "attacked_explanation": Condition(missing="its own"),  # that of the maps in the file
    "attack": Condition(speaks_for_itself=True),
    "eps": Condition(),
    "eps_norm": Condition(),
    "severity": Condition(of_some_methods=True),
    "attack_k": Condition(of_some_methods=True),
    "attack_w": Condition(of_some_methods=True),
    AGAINST: Condition(),
}
# What identifies and describes the sample of a row.
IDENTITY = ("file", "sample", "name", "label", "prediction", "prediction_perturbed", "status")
# Attributes that record how a file was made, not what it contains; every other attribute is a condition.
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
    "patterns_sha256",
)
# Columns of the long form, and of a summary.
_LONG = ("metric", "value", "k", "w", "pool")
SUMMARY = (
    *("mean", "sd", "n", "n_source_samples", "n_undefined", "n_excluded"),
    *("ci_low", "ci_high", "mean_attacked"),
)

# Names that no metric can have. No parameter of a metric can have them either, apart from k, w and pool.
NO_METRIC = (*IDENTITY, *CONDITIONS, *_LONG)
NO_PARAMETER = NO_METRIC[:-3]
# The key of `scores.attrs` under which the columns of scores are listed.
METRICS = "metrics"
# float32 represents every integer up to this one.
_LARGEST_SHARED = 2**24


class Column(NamedTuple):
    """A column of scores: its text, and the metric and parameters in it."""

    text: str
    name: str
    params: dict[str, int | float]

    @property
    def axes(self) -> dict[str, int | float]:
        """The parameters under the names that they have as columns and as dimensions.

        Those of certificates have ``metric_`` in front: `eps` is the radius of the attack, `cosine` a metric.
        """
        prefix = "metric_" if self.name in CERTIFICATES else ""
        return {prefix + key: value for key, value in self.params.items()}

    @property
    def family(self) -> tuple[str, tuple[tuple[str, int | float], ...]]:
        """The name and all parameters except w: the columns that a table shows side by side."""
        return self.name, tuple((key, value) for key, value in self.params.items() if key != "w")


def parse_column(text: str) -> Column:
    """Split the name of a column of scores; a name that is not a metric's text has no parameters."""
    try:
        return Column(text, *split_metric(text))
    except ValueError:
        return Column(text, text, {})


def metric_columns(scores: "pd.DataFrame") -> list[str]:
    """Return the columns that hold scores, in the order of the table.

    A column holds scores if its name is that of a known metric, if it has parameters in brackets, or
    if ``scores.attrs`` lists it, as it does for metrics that are not registered in this process.
    """
    listed = scores.attrs.get(METRICS)
    known = set(listed) if isinstance(listed, list | tuple) else set()
    return [c for c in scores.columns if c not in NO_METRIC and (c in known or is_metric(c))]


def is_metric(column: object) -> bool:
    """Return whether a column of this name holds scores: a known metric, or one with parameters."""
    if not isinstance(column, str):
        return False
    if column in BUILT_IN or column in CERTIFICATES or column in registered():
        return True
    try:
        return bool(split_metric(column)[1])
    except ValueError:
        return False


def condition_columns(scores: "pd.DataFrame") -> list[str]:
    """Return the columns that hold conditions: those of `CONDITIONS` first, then the others in order."""
    others = {*CONDITIONS, *IDENTITY, *PROVENANCE, *_LONG, *metric_columns(scores)}
    return [c for c in CONDITIONS if c in scores] + [c for c in scores.columns if c not in others]


def identity_columns(scores: "pd.DataFrame") -> list[str]:
    """Return the columns that do not hold scores."""
    scored = set(metric_columns(scores))
    return [column for column in scores.columns if column not in scored]


def is_reserved(name: str) -> bool:
    """Return whether tables use this name for a column, so that no attribute can have it."""
    token = name.removeprefix("n_")
    return (
        name in (*IDENTITY, AGAINST, *_LONG, *SUMMARY, CERTIFIED_ALPHA)
        or (name != token and token in STATUSES)
        or is_metric(name)
    )


def skipped_attributes(attrs: Iterable[str]) -> list[str]:
    """Return the attributes that cannot become columns because tables use their names."""
    return [name for name in attrs if is_reserved(name)]


def one_kind(values: Iterable[Any]) -> list[Any]:
    """Return the values of an attribute in a form that one column can hold: all numbers or all texts.

    None stays None. Lists become texts such as ``4,4,8,8``; in texts, 3.0 is ``3``. Booleans become
    texts, as do integers that occur among floats and exceed what float32 represents exactly.
    """
    plain = [",".join(map(_text, value)) if isinstance(value, list) else value for value in values]
    known = [value for value in plain if value is not None]
    largest = _LARGEST_SHARED if any(isinstance(value, float) for value in known) else 2**63 - 1
    if all(isinstance(value, float) or (_is_integer(value) and abs(value) <= largest) for value in known):
        return plain
    return [None if value is None else _text(value) for value in plain]


def _text(value: object) -> str:
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def equal_number(value: Any) -> Any:
    """Return the number that represents a value when conditions are compared.

    Floats are equal if their float32 values are finite, normal and equal: 8/255 is one eps, whether
    a file stores it in single or double precision. Integers and texts are only equal to themselves.
    """
    if isinstance(value, float | np.floating):
        with np.errstate(over="ignore", under="ignore"):
            single = float(np.float32(value))
        if math.isfinite(single) and abs(single) >= float(np.finfo(np.float32).tiny):
            return single
        return float(value)
    return value


def unified(scores: "pd.DataFrame") -> "pd.DataFrame":
    """Return the table with equal floats of a condition replaced by one of them.

    The replacement is the smallest of the values that float32 cannot represent, if there is one. Categories
    that are texts get their natural order.
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
        elif hasattr(values, "cat") and (sorted_values := in_natural_order(values)) is not values:
            changed[column] = sorted_values
    return scores.assign(**changed) if changed else scores


def _different(values: "pd.Series[Any]") -> list[Any]:
    """Return the distinct values of a condition, without missing ones."""
    import pandas as pd

    if isinstance(values.dtype, pd.CategoricalDtype):
        return list(values.cat.categories.tolist())
    if values.dtype.kind not in "fO":  # neither floats nor, after concat, values of several kinds
        return []
    return [value for value in values.unique().tolist() if not pd.isna(value)]


def _most_precise(value: Any) -> tuple[bool, float]:
    with np.errstate(over="ignore", under="ignore"):
        return float(np.float32(value)) == value, value


def check_table(scores: "pd.DataFrame", what: str) -> None:
    """Refuse a table that holds no scores, or whose labels would be lost."""
    check_names(scores, what)
    if not metric_columns(scores):
        raise ValueError(f"{what} has no column of scores; pass a table that score or evaluate returned")


def check_names(scores: "pd.DataFrame", what: str) -> None:
    """Refuse a table whose labels would be lost or are ambiguous."""
    names = [name for name in scores.index.names if name is not None]
    if names:
        raise ValueError(f"{what} has {', '.join(map(str, names))} in its index: use scores.reset_index()")
    wrong = [column for column in scores.columns if not isinstance(column, str)]
    if wrong:
        raise ValueError(f"{what} has the column {wrong[0]!r}; column names must be texts")
    if not scores.columns.is_unique:
        repeated = scores.columns[scores.columns.duplicated()][0]
        raise ValueError(f"column {repeated!r} occurs more than once in {what}")
