"""Sentences that say what a comparison shows."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from ..messages import printable
from .columns import AGAINST, parse_column
from .comparison import ON
from .known import OF_IMAGES, MetricFacts, is_chance, known_metrics
from .labels import labelled, number_text, p_text

# The adjusted p below which a difference is stated.
LEVEL = 0.05
# More metrics than this are counted, not listed: the table shows which they are.
_N_LISTED = 6
# Of these it makes sense to say that one is more robust than another.
ROBUST = ("model", "training", "explanation")


class Conclusion(NamedTuple):
    """What the scores of two conditions show in one group."""

    where: str  # the group and the number of samples
    sentences: list[str]


def conclusions(table: pd.DataFrame) -> list[Conclusion]:
    """Return what a table of `compare` shows, for each group and pair.

    A metric has a sentence of its own where its adjusted p is below `LEVEL`, but levels of chance share one
    for each direction. The other metrics share a sentence.
    """
    known = known_metrics(table.attrs)
    on = str(table.attrs[ON])
    n_tests = table["metric"][table["p"].notna()].value_counts()
    by = list(table.columns[: table.columns.get_loc("metric")])
    found = []
    # Different values can have the same label, so rows are told apart by all digits.
    for _, members in itertools.groupby(
        records(table),
        key=lambda row: [repr(row[name]) for name in (*by, "first", "second")],
    ):
        rows = list(members)
        where = [labelled(name, rows[0][name]) for name in by]
        first, second = labelled(on, rows[0]["first"]), labelled(on, rows[0]["second"])
        differing = [row for row in rows if row["p_holm"] < LEVEL]
        of_chance = [row for row in differing if is_chance(parse_column(row["metric"]).name)]
        sentences = [
            _difference(row, on, (first, second), known.get(parse_column(row["metric"]).name), n_tests)
            + ("; adjusted for chance, no difference is shown." if _vanishes(row, rows) else ".")
            for row in differing
            if row not in of_chance
        ]
        sentences += _of_chance(of_chance, first, second)
        alike = [printable(row["metric"]) for row in rows if row["p_holm"] >= LEVEL]
        if alike:
            by_what = _listed(alike)
            if len(alike) > _N_LISTED:
                by_what = f"the other {len(alike)} metrics" if sentences else f"any of {len(alike)} metrics"
            sentences.append(f"No difference between {first} and {second} is shown by {by_what}.")
        undefined = [printable(row["metric"]) for row in rows if math.isnan(row["p_holm"])]
        if undefined:
            sentences.append(f"No sample has both scores of {_listed(undefined)}.")
        pair = ", ".join((*where, f"{first} and {second}"))
        found.append(Conclusion(f"{pair}: {_samples(rows, first, second)}", sentences))
    return found


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table of `compare`, each with what its `attrs` say of all."""
    shared = {str(name): value for name, value in table.attrs.items()}
    rows = table.to_dict("records")
    return [shared | {str(name): value for name, value in row.items()} for row in rows]


def _difference(
    row: Mapping[str, Any],
    on: str,
    sides: tuple[str, str],
    facts: MetricFacts | None,
    n_tests: "pd.Series[int]",
) -> str:
    higher = row["difference"] > 0
    ends = (row["ci_low"], row["ci_high"]) if higher else (0 - row["ci_high"], 0 - row["ci_low"])  # no -0
    size = f"{number_text(abs(row['difference']))} [{', '.join(map(number_text, ends))}]"
    direction = None if facts is None else facts.higher_is_better
    worse, better = sides if higher == (direction is not False) else sides[::-1]
    metric, p = printable(row["metric"]), p_text(row["p_holm"])
    sign = " =" * (not p.startswith("<"))
    tested = f"{'adjusted ' * (int(n_tests[row['metric']]) > 1)}p{sign} {p}"
    if direction is None:
        return f"{metric} is higher for {better} than for {worse}: by {size}, {tested}"
    word = "higher" if direction else "lower"
    claim = claimed(row, on, better, worse)
    claim = claim if claim.startswith(better) else claim[:1].upper() + claim[1:]
    return f"{claim} by {metric}: {word} by {size}, {tested}"


def claimed(row: Mapping[str, Any], on: str, better: str, worse: str = "") -> str:
    """Say what the better scores of a row of a comparison mean; without `worse`, of one side alone.

    Only scores against the unperturbed maps are of robustness: an attack that reaches its target has good
    scores against it.
    """
    than = f" than {worse}" if worse else ""
    than_with = f" than with {worse}" if worse else ""
    if on == AGAINST:
        return f"perturbed maps score better {better}{than}"
    if parse_column(str(row["metric"])).name in OF_IMAGES:
        return f"images change less with {better}{than_with}"
    if row.get(AGAINST) == "target":
        return f"perturbed maps come closer to the target with {better}{than_with}"
    return f"{better} is more robust{than}" if on in ROBUST else f"maps change less with {better}{than_with}"


def _of_chance(rows: Sequence[Mapping[str, Any]], first: str, second: str) -> Iterator[str]:
    """Say for which side the levels of chance are higher; that makes neither side better."""
    for higher, lower, sign in ((first, second, -1), (second, first, 1)):
        levels = [printable(row["metric"]) for row in rows if sign * row["difference"] > 0]
        if levels:
            yield f"Chance alone reaches more for {higher} than for {lower}: {_listed(levels)}."


def adjusted_for_chance(metric: str) -> str:
    """Return the text of the same metric, adjusted for chance."""
    name = parse_column(metric).name
    return metric.replace(name, f"{name}_adjusted", 1)


def _vanishes(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the same metric, adjusted for chance, shows no difference."""
    adjusted = adjusted_for_chance(row["metric"])
    return any(other["metric"] == adjusted and other["p_holm"] >= LEVEL for other in rows)


def _samples(rows: Sequence[Mapping[str, Any]], first: str, second: str) -> str:
    """Say how many samples both sides have, and how many only one of them."""
    rows = [row for row in rows if row["n"]] or rows
    text = f"{_range(rows, 'n')} common sample{'s' * any(row['n'] != 1 for row in rows)}"
    only = [
        f"{_range(rows, name)} only in {side}"
        for name, side in (("n_only_first", first), ("n_only_second", second))
        if any(row[name] for row in rows)
    ]
    return text + f" ({', '.join(only)})" * bool(only)


def _range(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    numbers = [row[name] for row in rows]
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
