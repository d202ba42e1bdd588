"""What a study asks for in its TOML file, and whether its stored tables have it."""

import itertools
import tomllib
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from . import comparisons
from .table import CONDITION, FACTS, Study, shown


def read_study(path: Path) -> dict[str, Any]:
    """Return what a TOML file says of the study itself: title, k, windows, notes and what is compared.

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If it is not TOML, or an entry of [study] is missing or of another kind.
    """
    study = _read(path).get("study", {})
    study = study if isinstance(study, dict) else {}
    if missing := sorted({"title", "k", "windows"} - study.keys()):
        raise ValueError(f"{path} must set title, k and windows in [study]; missing: {', '.join(missing)}")
    windows = study["windows"] if isinstance(study["windows"], list) else [None]
    if not windows or not all(type(number) is int and number > 0 for number in (study["k"], *windows)):
        raise ValueError(
            f"{path}: k in [study] must be an integer above 0 and windows a list of such, "
            f"got {study['k']!r} and {study['windows']!r}"
        )
    _check_comparisons(path, study)
    return study


def _check_comparisons(path: Path, study: Study) -> None:
    """Refuse entries of [study] that do not say what is compared."""
    against, least = study.get("against", ["natural"]), study.get("least_pgd_accuracy", 0)
    if not isinstance(against, list) or not against or not all(isinstance(name, str) for name in against):
        raise ValueError(
            f'{path}: against in [study] must be a list of trainings, such as ["natural"], got {against!r}'
        )
    if type(least) not in (int, float) or not 0 <= least <= 1:
        raise ValueError(f"{path}: least_pgd_accuracy in [study] must be from 0 to 1, got {least!r}")
    if "least_pgd_accuracy" in study and "against" not in study:
        raise ValueError(f"{path}: least_pgd_accuracy in [study] has no effect without against; remove it")


def read_table(path: Path, toml: Path, study: Study) -> pd.DataFrame:
    """Return the stored table of a study.

    Raises
    ------
    OSError
        If there is none.
    ValueError
        If it lacks a column or a condition that the TOML file asks for.
    """
    remedy = f"run the study again: python -m benchmarks.studies.run {toml}"
    if not path.is_file():
        raise FileNotFoundError(f"{path}, the table of the study, does not exist; {remedy}")
    table = pd.read_csv(path)
    metrics = [name for metric in shown(study) for name in (metric, f"{metric} half")]
    missing = [name for name in (*CONDITION, *FACTS, *metrics) if name not in table]
    if missing:
        names = ", ".join(missing)
        raise ValueError(f"{path} has no column {names}, which the page of {toml} needs; {remedy}")
    absent = [condition for condition in _conditions(_read(toml)) if not _has(table, condition)]
    if absent:
        first = ", ".join(f"{name} {value}" for name, value in absent[0].items())
        more = f", and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise ValueError(f"{path} has no row of {first}{more}, which {toml} asks for; {remedy}")
    return table


def read_comparisons(path: Path, toml: Path, study: Study, table: pd.DataFrame) -> pd.DataFrame | None:
    """Return the stored comparisons of a study, or None if it asks for none.

    Raises
    ------
    OSError
        If there are none.
    ValueError
        If they are not those that the TOML file and the table ask for.
    """
    if "against" not in study:
        return None
    remedy = f"run the study again: python -m benchmarks.studies.run {toml}"
    if not path.is_file():
        raise FileNotFoundError(f"{path}, the comparisons of the study, does not exist; {remedy}")
    found = pd.read_csv(path)
    places = comparisons.place_columns(table)
    needed = [
        "training",
        "against",
        *places,
        "metric",
        "result",
        *comparisons.NUMBERS,
        *comparisons.ATTACKED.values(),
    ]
    if missing := [name for name in needed if name not in found]:
        raise ValueError(f"{path} has no column {', '.join(missing)}, which the page needs; {remedy}")
    stored = {comparisons.key(row, places) for row in found.to_dict("records")}
    if stored != {comparisons.key(row, places) for row in comparisons.asked(study, table)}:
        raise ValueError(f"{path} has not the comparisons that {toml} and its table ask for; {remedy}")
    return found


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; give the TOML file of a study")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from error


def _conditions(experiment: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what [[generate]] says of training, explanation, attack and eps, each combination of them."""
    for block in experiment.get("generate", []):
        entries = {**experiment.get("common", {}), **block}
        named = {name: entries[name] for name in CONDITION if name in entries}
        values = [value if isinstance(value, list) else [value] for value in named.values()]
        for chosen in itertools.product(*values):
            yield dict(zip(named, chosen, strict=True))


def _has(table: pd.DataFrame, condition: Mapping[str, Any]) -> bool:
    fits = pd.Series(True, table.index)
    for name, value in condition.items():
        if name == "eps":  # an attack without a ball has none
            near = np.isclose(table["eps"].astype(float), float(Fraction(str(value))), rtol=1e-6, atol=0)
            fits &= near | table["eps"].isna()
        else:
            fits &= table[name] == value
    return bool(fits.any())
