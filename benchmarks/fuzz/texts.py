"""Texts of metrics: valid ones are read correctly, others are refused in a sentence."""

import collections
import contextlib
import functools
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping

from lensmetrics.metrics import registry
from lensmetrics.metrics.registry import Metric, get_metric, parse_metric
from lensmetrics.pairs.mappair import MapPair
from lensmetrics.tables.texts import read_number, split_metric

from .harness import Finding, check_message

_FRAGMENTS = [
    *("(", ")", "=", ",", "((", "))", "==", ",,", "()", "(=)", "=,", "k=1", "w=1", "k=1,k=1", "pool=None"),
    *("", " ", "\t", "\n", "\r", "\0", "\x1c", "\x85", "\xa0", "\u2003", "\u200b", "\u202e", "\ufeff"),
    *("0", "1", "-1", "+3", "007", "1_0", "1__0", "0x10", "1e3", "1e400", "-1e-400", "2.5", ".5", "5.", "1j"),
    *("inf", "-inf", "nan", "Infinity", "NaN", "True", "None", "9" * 400, "-" + "9" * 4300, "9" * 4301),
    *("\u0663", "\uff11", "\u09e7\u09e8", "\u00b2", "\u2167", "\U0001d7d9", "\u4e00", "\u0130", "\u1e9e"),
    *("name", "params", "pair", "self", "function", "text", "__class__", "\uff4b", "\u212a", "\xb5"),
    *("'", '"', "\\", "%s", "{}", "{0}", "*", "**", "\ud800", "\udfff", "e\u0301", "\U0001f600", "k:1"),
    *("lens_recal", "kendalll", "Spearman", "lens_recall_div_published", "mse", "_", "a" * 300),
]
_SPACES = ["", "", "", " ", "  ", "\t", "\n", "\r\n", "\x0b"]
_WIDE_SPACES = [*_SPACES, "\xa0", "\u2003", "\u3000", "\x1f"]


def own_metric(pair: MapPair, *, level: float = 0.5, n: int = 3) -> float:
    """Stand in for a metric of a user, with parameters that need not be integers."""
    return math.nan


def valid_text(rng: random.Random) -> tuple[str, Metric]:
    """Return the text of a metric in a random spelling, and what it means."""
    name = rng.choice(registry.list_metrics())
    params: dict[str, int | float] = {}
    for key, parameter in registry.entries()[name].parameters.items():
        if parameter.default is parameter.empty or rng.random() < 0.5:
            whole = rng.choice((1, 2, 3, 10, 1000, rng.randrange(1, 10 ** rng.choice((3, 9, 30, 300)))))
            real = rng.choice((rng.uniform(-9, 9), 1e-300, 1e300, -0.0, math.inf, math.nan))
            params[key] = rng.choice((real, whole)) if key == "level" else whole
    parts = list(params.items())
    rng.shuffle(parts)
    inside = ",".join(
        rng.choice(_WIDE_SPACES).join(("", key, "=", _spelled(rng, value), "")) for key, value in parts
    )
    space = functools.partial(rng.choice, _SPACES)
    brackets = f"({inside}){space()}" if parts or rng.random() < 0.2 else ""
    return f"{space()}{name}{space()}{brackets}", get_metric(name, **params)


def _spelled(rng: random.Random, value: float) -> str:
    text = repr(value)
    if isinstance(value, int) and rng.random() < 0.3:
        text = f"00{text}"
    return text


def mutated_text(rng: random.Random, text: str) -> str:
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        at, to = sorted((rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)))
        kind = rng.random()
        if kind < 0.4:
            text = text[:at] + rng.choice(_FRAGMENTS) + text[at:]
        elif kind < 0.55:
            text = text[:at] + rng.choice(_FRAGMENTS) + text[at + 1 :]
        elif kind < 0.7:
            text = text[:at] + text[to:]
        elif kind < 0.8:
            text = text[:to] + text[at:]
        elif kind < 0.9:
            text = text[:at] + chr(rng.choice((rng.randrange(128), rng.randrange(0x3000)))) + text[at + 1 :]
        elif kind < 0.98:
            text = text[:at] + valid_text(rng)[0] + text[to:]
        else:
            n = rng.choice((2, 10, 100, 3000 // (len(text) + 1)))
            text = text[:at] + text[at:to] * n + text[to:]
    return text


def try_text(text: str, expected: Metric | None = None) -> str:
    """Return the outcome of reading the text of a metric, and raise a finding if it is wrong."""
    metric = None
    started = time.thread_time()
    try:
        metric = parse_metric(text)
    except ValueError as error:
        check_message(error)
    allowed = 0.02 + 2e-6 * len(text)
    # A garbage collection may fall into one call, not into each.
    if time.thread_time() - started > allowed and (spent := _seconds(text)) > allowed:
        raise Finding("slow", f"{spent:.3f} s for {len(text)} characters: {text[:200]!r}")
    if expected is not None and (metric != expected or str(metric) != str(expected)):
        raise Finding("round trip", f"{text[:200]!r} was read as {metric!s:.200}")
    if metric is None:
        return _try_split(text)
    again = parse_metric(str(metric))
    if (again, str(again), hash(again)) != (metric, str(metric), hash(metric)):
        raise Finding("round trip", f"{text[:200]!r} is {metric!s:.200}, which is read as {again!s:.200}")
    return "a metric"


def _try_split(text: str) -> str:
    """Names of columns need not be metrics that are known here."""
    try:
        name, params = split_metric(text)
    except ValueError as error:
        check_message(error)
        return "refused"
    again = split_metric(f"{name}({','.join(f'{key}={value}' for key, value in params.items())})")
    if repr(again) != repr((name, params)):
        raise Finding("round trip", f"{text[:200]!r} is {(name, params)}, which is read as {again}")
    return "text alone"


def fuzz_texts(seed: int, first: int, executions: int) -> Iterator[tuple[int, str, str]]:
    """Yield number, outcome and detail of every execution."""
    registry.register(bounds=(-math.inf, math.inf), best=None)(own_metric)
    for i in range(first, first + executions):
        rng = random.Random(f"{seed} {i}")
        text, expected = valid_text(rng)
        changed = rng.random() < 0.8
        try:
            yield i, try_text(mutated_text(rng, text)) if changed else try_text(text, expected), ""
        except Finding as finding:
            yield i, finding.outcome, finding.detail
        except Exception as error:
            yield i, "unexpected exception", f"{error!r:.300} for {text[:200]!r}"


# Families of growing texts for which a backtracking reader takes n * n steps.
FAMILIES: Mapping[str, Callable[[int], str]] = {
    "spaces": lambda n: " " * n,
    "word": lambda n: "a" * n,
    "word, spaces, no end": lambda n: "kendall" + " " * n + "!",
    "spaces before": lambda n: " " * n + "kendall!",
    "opened": lambda n: "kendall" + "(" * n,
    "opened and closed": lambda n: "kendall" + "(" * (n // 2) + ")" * (n // 2) + "!",
    "closed after spaces": lambda n: "kendall(" + ")  " * (n // 3) + "!",
    "commas": lambda n: "kendall(" + "," * n + ")",
    "repeated key": lambda n: "kendall(" + "k=1," * (n // 4) + ")",
    "keys": lambda n: "kendall(" + ",".join(f"k{i}=1" for i in range(n // 8)) + ")",
    "digits": lambda n: "lens_recall(k=" + "9" * n + ")",
    "digits of a float": lambda n: "lens_recall(k=." + "9" * n + ")",
    "underscores": lambda n: "lens_recall(k=" + "1_" * (n // 2) + "1)",
    "no number": lambda n: "lens_recall(k=" + "x" * n + ")",
    "spaces inside": lambda n: "lens_recall(k=" + " " * n + "1)",
    "equals": lambda n: "lens_recall(" + "=" * n + ")",
}


def _seconds(text: str) -> float:
    """Return the best of three times that reading a text takes."""
    best = math.inf
    for _ in range(3):
        started = time.thread_time()
        with contextlib.suppress(ValueError):
            parse_metric(text)
        best = min(best, time.thread_time() - started)
    return best


def scaling() -> Iterator[tuple[str, float, float]]:
    """Yield for each family the seconds for 64 thousand and for a million characters."""
    for name, family in FAMILIES.items():
        seconds = []
        for n in (2**16, 2**20):
            seconds.append(_seconds(family(n)))
        yield name, seconds[0], seconds[1]


def fuzz_with_atheris(seed: int, executions: int) -> None:
    """Let libFuzzer look for texts that reach new branches; it ends the process."""
    import atheris

    registry.register(bounds=(-math.inf, math.inf), best=None)(own_metric)
    for function in (parse_metric, split_metric, get_metric, read_number, registry.check_parameter):
        atheris.instrument_func(function)
    counts: collections.Counter[str] = collections.Counter()

    def try_bytes(data: bytes) -> None:
        provider = atheris.FuzzedDataProvider(data)
        # Few bytes rarely spell a name.
        name = provider.PickValueInList([*registry.list_metrics(), ""])
        counts[try_text(name + provider.ConsumeUnicode(4096))] += 1
        if counts.total() in (executions // 2, executions):
            print(json.dumps({"fuzzer": "metrics, atheris", "seed": seed, **counts}), flush=True)

    options = [
        f"-runs={executions}",
        f"-seed={seed}",
        "-max_len=400",
        f"-artifact_prefix={tempfile.gettempdir()}/",
    ]
    atheris.Setup([sys.argv[0], *options], try_bytes)
    atheris.Fuzz()
