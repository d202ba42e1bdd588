"""Metrics by name: registering, finding, parsing and printing them."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from ..pairs.checks import is_whole
from ..pairs.mappair import MapPair
from ..tables.columns import NO_METRIC, NO_PARAMETER
from ..tables.texts import brief, split_metric

MetricFunction = Callable[..., float]
F = TypeVar("F", bound=MetricFunction)

# What the parameters with a meaning common to all metrics must at least be, whatever the map.
_SMALLEST = {"k": 1, "w": 0, "pool": 1}


@dataclass(frozen=True)
class Entry:
    """What the registry knows of a metric besides its function.

    `bounds` are the smallest and the largest value it can have, `best` is the value of identical
    maps (None where they have no fixed one).
    """

    function: MetricFunction
    bounds: tuple[float, float]
    best: float | None

    @property
    def summary(self) -> str:
        """The first sentence of the docstring."""
        return (inspect.getdoc(self.function) or "").split("\n\n")[0].replace("\n", " ")

    @property
    def signature(self) -> str:
        """Name and parameters, with the defaults where there are any."""
        shown = [
            name if p.default is p.empty else f"{name}={p.default}" for name, p in self.parameters.items()
        ]
        return f"{self.function.__name__}({','.join(shown)})" if shown else self.function.__name__

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The keyword-only parameters of the function."""
        found = inspect.signature(self.function).parameters
        return {name: p for name, p in found.items() if p.kind is p.KEYWORD_ONLY}


_entries: dict[str, Entry] = {}


@dataclass(frozen=True, eq=False)
class Metric:
    """A named function of one MapPair, with its parameters: call it with a pair.

    ``str(metric)`` is the column name in a table of scores, and what :func:`parse_metric` reads;
    metrics are equal where it is, and their functions are.
    """

    name: str
    function: MetricFunction = field(repr=False)
    params: dict[str, int | float]

    def __call__(self, pair: MapPair) -> float:
        """Return the score of the pair."""
        return self.function(pair, **self.params)

    def __str__(self) -> str:
        """Return ``name`` or ``name(k=1000,w=1)``, parameters in the function's own order."""
        if not self.params:
            return self.name
        return f"{self.name}({','.join(f'{key}={value}' for key, value in self.params.items())})"

    def __eq__(self, other: object) -> bool:
        """Compare by the text: NaN as a parameter equals itself, and 1 is not 1.0."""
        if not isinstance(other, Metric):
            return NotImplemented
        return self.function == other.function and str(self) == str(other)

    def __hash__(self) -> int:
        """Hash by the text."""
        return hash(str(self))


def register(*, bounds: tuple[float, float], best: float | None) -> Callable[[F], F]:
    """Make a function known as a metric, under its own name; the function stays as it is.

    Parameters
    ----------
    bounds
        Smallest and largest value that the function can return besides NaN.
    best
        The value of two identical maps, None if that is not fixed.

    Returns
    -------
    decorator
        For a function that takes a MapPair and, as keywords only, its parameters, and returns a
        float: NaN where ``pair.finite`` is false.

    Raises
    ------
    ValueError
        If the name is taken, by another metric or by a column of the table of scores, if a
        parameter has the name of such a column, or if one other than the pair is not keyword-only.
    """

    def add(function: F) -> F:
        name = function.__name__
        taken = entries().get(name)
        if name in NO_METRIC or (taken is not None and _origin(taken.function) != _origin(function)):
            msg = f"a metric cannot be named {name!r}: a column of scores or another metric has that name"
            raise ValueError(msg)
        entry = Entry(function, bounds, best)
        for parameter in entry.parameters:
            if parameter in NO_PARAMETER:
                msg = (
                    f"the metric {name} cannot have a parameter {parameter!r}: tables have a column of that "
                    "name; give it another"
                )
                raise ValueError(msg)
        if len(inspect.signature(function).parameters) != 1 + len(entry.parameters):
            msg = f"the parameters of the metric {name} must be keyword-only: write {name}(pair, *, ...)"
            raise ValueError(msg)
        _entries[name] = entry
        return function

    return add


def _origin(function: MetricFunction) -> tuple[str, str]:
    """Where a function is defined; defining it there again replaces it."""
    return function.__module__, function.__qualname__


def entries() -> dict[str, Entry]:
    """Return all registered metrics by name, the package's own first."""
    return _entries


@contextmanager
def temporary() -> Iterator[None]:
    """Forget, at the end of a ``with`` block, the metrics that were registered inside it."""
    before = dict(_entries)
    try:
        yield
    finally:
        _entries.clear()
        _entries.update(before)


def list_metrics() -> list[str]:
    """Return the names of all metrics."""
    return list(entries())


def get_metric(name: str, /, **params: int | float) -> Metric:
    """Return the metric of that name with these parameters, the defaults filled in.

    Raises
    ------
    ValueError
        If there is no such metric, a parameter is unknown or missing, or a value cannot be right
        for any map. Whether k fits a map is checked when a pair is scored.
    """
    known = entries()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ";"
        msg = f"unknown metric {brief.repr(name)}{hint} known: {', '.join(known)}"
        raise ValueError(msg)
    entry = known[name]
    allowed = entry.parameters
    for key in params:
        if key not in allowed:
            takes = ", ".join(allowed) or "no parameters"
            msg = f"{name} has no parameter {brief.repr(key)}; it takes {takes}"
            raise ValueError(msg)
    filled: dict[str, int | float] = {}
    for key, parameter in allowed.items():
        optional = parameter.default is None
        if key in params and not (optional and params[key] is None):
            filled[key] = check_parameter(name, key, params[key])
        elif parameter.default is parameter.empty:
            msg = f"{name} needs {key}: write {entry.signature} with a value for {key}"
            raise ValueError(msg)
        elif not optional:
            filled[key] = parameter.default
    return Metric(name, entry.function, filled)


def parse_metric(text: str) -> Metric:
    """Return the metric that a text such as ``lens_recall(k=1000, w=1)`` names.

    Raises
    ------
    ValueError
        If the text has another form, or as :func:`get_metric` does.
    """
    name, params = split_metric(text)
    return get_metric(name, **params)


def as_metrics(metrics: object) -> list[Metric]:
    """Return a list of different metrics from one or several, given as such or as texts."""
    several = metrics if isinstance(metrics, Iterable) and not isinstance(metrics, str) else [metrics]
    read = [_as_metric(metric) for metric in several]
    if not read:
        msg = "no metrics given: name at least one, or take lens_suite(k=...)"
        raise ValueError(msg)
    return list(dict.fromkeys(read))


def _as_metric(metric: object) -> Metric:
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, str):
        return parse_metric(metric)
    msg = f"a metric is a text or what get_metric returns, got {metric!r}"
    raise TypeError(msg)


def check_parameter(name: str, key: str, value: object) -> int | float:
    """Return the value as a plain number; k, w and pool must be whole and not too small."""
    if key in _SMALLEST:
        if not is_whole(value) or value < _SMALLEST[key]:
            least = _SMALLEST[key]
            msg = f"{key} of {name} must be a whole number of at least {least}, got {brief.repr(value)}"
            raise ValueError(msg)
        return int(value)
    if is_whole(value):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value)
    msg = f"{key} of {name} must be a number, got {brief.repr(value)}"
    raise ValueError(msg)


Metrics = str | Metric | Sequence[str | Metric]
