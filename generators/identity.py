"""Decide by its settings, not by the command that made it, whether a file is the wanted one.

A file matches if every setting that changes its content is the same. Paths, batch sizes, chunk sizes and the
device are not compared. A setting that an older file does not mention counts as having its default.
"""

import math
from collections.abc import Mapping
from typing import Any

from .softening import Growth, as_attribute


def differences(
    stored: Mapping[str, Any], wanted: Mapping[str, Any], defaults: Mapping[str, Any]
) -> list[str]:
    """Return one clause for each setting whose stored value is not the wanted one."""
    clauses = []
    stored = _renamed(stored)
    for name, value in wanted.items():
        there = stored.get(name, defaults.get(name))
        if not _is_same(there, value):
            clauses.append(f"{name} is {_shown(there)} in the file, {_shown(value)} given")
    return clauses


def refuse_other(
    path: object,
    stored: Mapping[str, Any],
    wanted: Mapping[str, Any],
    defaults: Mapping[str, Any],
    *,
    remedy: str,
) -> None:
    """Refuse a file that was made with other settings.

    Raises
    ------
    ValueError
        If a setting differs; it names each of them with both values.
    """
    clauses = differences(stored, wanted, defaults)
    if clauses:
        raise ValueError(f"{path} was made with other settings: {'; '.join(clauses)}; {remedy}")


def _renamed(stored: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings with softening in place of the beta_start and beta_end of older files."""
    if "beta_start" not in stored or "softening" in stored:
        return stored
    betas = Growth(float(stored["beta_start"]), float(stored["beta_end"]))
    return {**stored, "softening": [betas.start if math.isinf(betas.start) else betas]}


def _is_same(one: Any, other: Any) -> bool:
    one, other = as_stored(one), as_stored(other)
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other):
        return True
    # States of unfinished trainings hold every setting as text.
    return bool(one == other) or (isinstance(one, str) != isinstance(other, str) and str(one) == str(other))


def as_stored(value: Any) -> Any:
    """Return the value as a pair file stores it: integers for booleans, one value for a list of one.

    Lists are stored as lists, or as text if a beta in them grows.
    """
    if isinstance(value, list | tuple):
        if any(isinstance(item, Growth) for item in value):
            return as_attribute(value)
        items = [as_stored(item) for item in value]
        return items[0] if len(items) == 1 else items
    return int(value) if isinstance(value, bool) else value


def _shown(value: Any) -> str:
    return "not set" if value is None else str(as_stored(value))
