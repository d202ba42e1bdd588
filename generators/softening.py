"""How far a network is softened inside an attack: beta of its softplus, fixed or growing with the steps."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass

from .options import IN_FLOAT32, is_in_float32


@dataclass(frozen=True)
class Growth:
    """A beta that grows geometrically from `start` at the first step towards `end`.

    References
    ----------
    Dombrowski et al., "Explanations can be manipulated and geometry is to blame", NeurIPS 2019, supplement.
    """

    start: float
    end: float

    def __str__(self) -> str:
        return f"{_shown(self.start)}:{_shown(self.end)}"


# Infinity: the network itself, with its ReLUs.
Softening = float | Growth


def softening(text: str) -> Softening:
    """Parse a number, inf, or two numbers such as 10:100, for argparse."""
    try:
        betas = [float(part) for part in text.split(":")]
    except ValueError:
        betas = []
    is_valid = betas == [math.inf] or all(map(is_in_float32, betas))
    if len(betas) not in (1, 2) or not is_valid:
        raise argparse.ArgumentTypeError(
            "must be a number above 0, inf, or two numbers such as 10:100 (beta of the first step, and "
            f"towards the last), in what float32 holds, {IN_FLOAT32}, got {text!r}"
        )
    return betas[0] if len(betas) == 1 else Growth(*betas)


def beta_at(item: Softening, step: int, steps: int) -> float:
    """Return beta at the step, counted from 0, of a run of `steps`."""
    if isinstance(item, Growth):
        ratio = item.end / item.start
        return float(item.start * ratio ** (step / steps))
    return item


def as_attribute(items: Sequence[Softening]) -> float | list[float] | str:
    """Return the values as a pair file stores them: a number, a list of numbers, or text if any grows."""
    if any(isinstance(item, Growth) for item in items):
        return " ".join(str(item) if isinstance(item, Growth) else _shown(item) for item in items)
    numbers = [float(item) for item in items if not isinstance(item, Growth)]
    return numbers[0] if len(numbers) == 1 else numbers


def _shown(number: float) -> str:
    return f"{number:.0f}" if float(number).is_integer() and number < 2**53 else str(float(number))
