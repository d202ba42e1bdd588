"""Learning rates that change at given steps of a training, such as 0.001,0.01@500,0.001@60000."""

import argparse

# A constant rate, or the text of one that changes, whose numbers are written as Python does.
Rates = float | str


def learning_rate(text: str) -> Rates:
    """Parse a rate, and what it becomes after a number of steps, for argparse."""
    try:
        found = _parts(text)
    except ValueError:
        found = []
    steps = [step for step, _ in found]
    if not found or steps[0] or sorted(set(steps)) != steps:
        raise argparse.ArgumentTypeError(
            "must be a rate, or a rate and what it becomes after how many steps, such as "
            f"0.001,0.01@500,0.001@60000, got {text!r}"
        )
    (_, first), *later = found
    return ",".join([str(first), *(f"{rate}@{step}" for step, rate in later)]) if later else first


def values(rates: Rates) -> list[float]:
    """Return all rates, the first one first."""
    return [rate for _, rate in _parts(str(rates))]


def rate_at(rates: Rates, step: int) -> float:
    """Return the rate of a step, counted from 0."""
    return [rate for start, rate in _parts(str(rates)) if start <= step][-1]


def _parts(text: str) -> list[tuple[int, float]]:
    """Return each rate with the number of steps after which it begins."""
    pairs = [part.partition("@") for part in text.split(",")]
    return [(int(step) if at else 0, float(rate)) for rate, at, step in pairs]
