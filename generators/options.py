"""Options that explanations and attacks take: how each is read from the command line, and its range."""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

# The numbers that float32 holds in full precision, in words; smaller ones count as 0 in all commands.
IN_FLOAT32 = "from 1.2e-38 to 3.4e38"


def is_in_float32(value: float) -> bool:
    """Return whether float32 holds a positive number, which may otherwise turn into 0, infinity or NaN."""
    return 2.0**-126 <= value < 2.0**128


def non_negative_integer(text: str) -> int:
    """Parse an integer from 0 to the largest that a pair file can hold, for argparse."""
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"must be an integer from 0 to 2**63 - 1, got {text}")
    return int(text)


def positive_integer(text: str) -> int:
    """Parse an integer from 1 to the largest that a pair file can hold, for argparse."""
    if text.isdecimal() and int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"must be below 2**63, got {text}")
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer >= 1, got {text}")
    return int(text)


def fraction(text: str) -> float:
    """Parse a number, which may be written as a fraction such as 8/255, for argparse."""
    try:
        return float(Fraction(text)) if "/" in text else float(text)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(
            f"must be a number or a fraction such as 8/255, got {text!r}"
        ) from None


def flag(name: str) -> str:
    """Return the command-line option that sets the parameter `name`."""
    return "--" + name.replace("_", "-")


@dataclass(frozen=True)
class Option:
    """A parameter of an explanation or an attack that the command line sets.

    Attributes
    ----------
    name
        The keyword of the function; also the attribute in the pair file.
    help
        What it means, for ``--help``.
    parse
        Turns the text of the command line into a value.
    above, least, most
        The allowed range: larger than `above`, at least `least`, at most `most`, a distance between images.
    check
        Refuses a value for any other reason, with a ValueError.
    fits
        Refuses a value that does not fit maps of a shape (height, width), with a ValueError.
    inside
        Name and help of a second option with which the explanation inside the attack takes another value.
    arguments
        Further keywords of ``add_argument``.
    """

    name: str
    help: str
    parse: Callable[[str], Any] | None = fraction
    above: float | None = None
    least: float | None = None
    most: float | None = None
    check: Callable[[Any], object] | None = None
    fits: Callable[[Any, tuple[int, int]], object] | None = None
    inside: tuple[str, str] | None = None
    arguments: tuple[tuple[str, Any], ...] = ()

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Add the option to a parser."""
        more: dict[str, Any] = dict(self.arguments)
        if self.parse is not None:
            more["type"] = self.parse
        parser.add_argument(flag(self.name), help=self.help, **more)

    def check_range(self, value: Any) -> None:
        """Refuse a number that would run for hours and give nothing, or NaN.

        Raises
        ------
        ValueError
            If the value is outside the range of the option.
        """
        if self.check is not None:
            self.check(value)
        if self.above is None and self.least is None:
            return
        least = f"above {self.above:g}" if self.above is not None else f"at least {self.least:g}"
        is_in_range = value > self.above if self.above is not None else value >= self.least
        if not is_in_range or math.isinf(value):
            raise ValueError(f"{flag(self.name)} must be {least} and finite, got {value}")
        if value and not is_in_float32(abs(value)):
            raise ValueError(
                f"{flag(self.name)} must be a number that float32 holds, {IN_FLOAT32}, got {value}"
            )
        if self.most is not None and value > self.most:
            raise ValueError(
                f"{flag(self.name)} must be at most {self.most:g} (images are in [0, 1]), got {value}"
            )
