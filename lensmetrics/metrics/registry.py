"""Metrics by name: register, find, parse and print them."""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np

from ..pairs.checks import is_integer
from ..pairs.mappair import MapPair
from ..tables.columns import NO_METRIC, NO_PARAMETER
from ..tables.known import BUILT_IN, CERTIFICATES
from ..tables.texts import brief, split_metric

MetricFunction = Callable[..., float]
F = TypeVar("F", bound=MetricFunction)

# The smallest allowed value, for any map, of the parameters that mean the same in all metrics.
_SMALLEST = {"k": 1, "w": 0, "pool": 1}


@dataclass(frozen=True)
class Entry:
    """What the registry knows about a metric."""

    function: MetricFunction
    bounds: tuple[float, float]  # the smallest and the largest value besides NaN
    best: float | None  # the value of two identical maps, None if that is not fixed

    @property
    def summary(self) -> str:
        """The first sentence of the docstring."""
        return (inspect.getdoc(self.function) or "").split("\n\n")[0].replace("\n", " ")

    @property
    def signature(self) -> str:
        """The name and the parameters, with their defaults."""
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

    ``str(metric)`` is the name of its column in a table of scores, and :func:`parse_metric` reads it
    back. Metrics are equal where this text and the function are. :func:`get_metric` and
    :func:`parse_metric` make metrics.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> metric = lm.get_metric("topk_intersection", k=2)
    >>> str(metric), metric.name, metric.params
    ('topk_intersection(k=2)', 'topk_intersection', {'k': 2})
    >>> metric(lm.MapPair([[9, 8], [7, 0]], [[9, 0], [7, 8]]))
    0.5
    """

    name: str
    function: MetricFunction = field(repr=False)
    params: dict[str, int | float]

    def __call__(self, pair: MapPair) -> float:
        """Return the score of the pair."""
        return self.function(pair, **self.params)

    def __str__(self) -> str:
        """Return ``name`` or ``name(k=1000,w=1)``, with the parameters in the order of the function."""
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
    """Register a function as a metric, under its own name; the function itself stays unchanged.

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
        float, which is NaN where ``pair.finite`` is false.

    Raises
    ------
    ValueError
        If another metric or a column of the table of scores has the name, if such a column has the name
        of a parameter, or if a parameter other than the pair is not keyword-only.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> @lm.register(bounds=(0, 1), best=None)
    ... def share_above(pair: lm.MapPair, *, level: float) -> float:
    ...     return float((pair.unperturbed > level).mean()) if pair.finite else float("nan")
    >>> metric = lm.parse_metric("share_above(level=2.5)")
    >>> metric(lm.MapPair([[1, 2, 3, 4]], [[1, 2, 3, 4]]))
    0.5
    """

    def add(function: F) -> F:
        name = function.__name__
        taken = _entries.get(name)
        reserved = name in NO_METRIC or name in CERTIFICATES
        if reserved or (taken is not None and _origin(taken.function) != _origin(function)):
            raise ValueError(
                f"a metric cannot be named {name!r}: a column of scores or another metric has that name"
            )
        entry = Entry(function, bounds, best)
        for parameter in entry.parameters:
            if parameter in NO_PARAMETER:
                raise ValueError(
                    f"the metric {name} cannot have a parameter {parameter!r}: tables have a column of that "
                    "name; choose another name"
                )
        if len(inspect.signature(function).parameters) != 1 + len(entry.parameters):
            raise ValueError(
                f"the parameters of the metric {name} must be keyword-only: write {name}(pair, *, ...)"
            )
        _entries[name] = entry
        return function

    return add


def built_in(metric: F) -> F:
    """Register a metric of the package, with the bounds and the best value that tables know it by.

    The metric gets a check that it is called with a MapPair. Callers that have made the pair skip the
    check, which is noticeable for small maps: they call ``metric.unchecked``.
    """

    @functools.wraps(metric)
    def checked(*given: Any, **params: Any) -> float:
        first = given[0] if given else params.get("pair", next(iter(params.values()), None))
        if not isinstance(first, MapPair):
            name = metric.__name__
            numbers = {key: value for key, value in params.items() if isinstance(value, int | float)}
            keywords = "".join(f", {key}={value!r}" for key, value in numbers.items())
            raise TypeError(
                f"{name} takes a MapPair, got {type(first).__name__}: write "
                f"{name}(MapPair(unperturbed, perturbed){keywords}), or score(unperturbed, perturbed, ...) "
                "for many pairs"
            )
        return metric(*given, **params)

    vars(checked)["unchecked"] = metric
    facts = BUILT_IN.get(metric.__name__)
    if facts is None:
        raise LookupError(
            f"tables do not know the metric {metric.__name__}: add its bounds, best value and meaning to "
            "BUILT_IN in lensmetrics/tables/known.py"
        )
    return register(bounds=facts.bounds, best=facts.best)(cast(F, checked))


def _origin(function: MetricFunction) -> tuple[str, str]:
    """Return where a function is defined; a second definition there replaces the first."""
    return function.__module__, function.__qualname__


def entries() -> dict[str, Entry]:
    """Return all registered metrics by name, the package's own first."""
    return _entries


@contextmanager
def temporary() -> Iterator[None]:
    """Forget, at the end of a ``with`` block, the metrics that were registered inside it.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> with temporary():
    ...     @lm.register(bounds=(0, 0), best=0)
    ...     def nothing(pair: lm.MapPair) -> float:
    ...         return 0.0
    >>> "nothing" in lm.list_metrics()
    False
    """
    before = dict(_entries)
    try:
        yield
    finally:
        _entries.clear()
        _entries.update(before)


def list_metrics() -> list[str]:
    """Return the names of all metrics, those of the package first.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> lm.list_metrics()[:2]
    ['spearman', 'kendall']
    """
    return list(entries())


def get_metric(name: str, /, **params: int | float) -> Metric:
    """Return the metric of that name with these parameters, and defaults for the others.

    Raises
    ------
    ValueError
        If there is no such metric, a parameter is unknown or missing, or a value is out of range
        for every map. Whether k fits a map is checked when a pair is scored.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> str(lm.get_metric("lens_recall", k=1000))
    'lens_recall(k=1000,w=1)'
    """
    known = entries()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ";"
        raise ValueError(f"unknown metric {brief.repr(name)}{hint} known: {', '.join(known)}")
    entry = known[name]
    allowed = entry.parameters
    for key in params:
        if key not in allowed:
            takes = ", ".join(allowed) or "no parameters"
            raise ValueError(f"{name} has no parameter {brief.repr(key)}; it takes {takes}")
    filled: dict[str, int | float] = {}
    for key, parameter in allowed.items():
        optional = parameter.default is None
        if key in params and not (optional and params[key] is None):
            filled[key] = check_parameter(name, key, params[key])
        elif parameter.default is parameter.empty:
            raise ValueError(f"{name} needs {key}: give it a number, as in {name}({key}=100)")
        elif not optional:
            filled[key] = parameter.default
    return Metric(name, entry.function, filled)


def parse_metric(text: str) -> Metric:
    """Return the metric that a text such as ``lens_recall(k=1000, w=1)`` names.

    Raises
    ------
    ValueError
        If the text has another form, or for the reasons of :func:`get_metric`.

    Examples
    --------
    >>> import lensmetrics as lm
    >>> lm.parse_metric("lens_recall(k=1000, w=2)") == lm.get_metric("lens_recall", k=1000, w=2)
    True
    """
    name, params = split_metric(text)
    return get_metric(name, **params)


def as_metrics(metrics: object) -> list[Metric]:
    """Return a list of metrics, each once, from one or several metrics or texts."""
    several = metrics if isinstance(metrics, Iterable) and not isinstance(metrics, str) else [metrics]
    read = [_as_metric(metric) for metric in several]
    if not read:
        raise ValueError("no metrics given: name at least one, or use lens_suite(k=...)")
    return list(dict.fromkeys(read))


def _as_metric(metric: object) -> Metric:
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, str):
        return parse_metric(metric)
    raise TypeError(f"a metric is a text or what get_metric returns, got {metric!r}")


def check_parameter(name: str, key: str, value: object) -> int | float:
    """Return the value as a plain number; k, w and pool must be integers and not too small."""
    if key in _SMALLEST:
        if not is_integer(value) or value < _SMALLEST[key]:
            raise ValueError(f"{name}: {key} must be an integer >= {_SMALLEST[key]}, got {brief.repr(value)}")
        return int(value)
    if is_integer(value):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value)
    raise ValueError(f"{name}: {key} must be a number, got {brief.repr(value)}")


Metrics = str | Metric | Sequence[str | Metric]
