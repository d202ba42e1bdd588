"""Sizes of top-k sets: pixels, or a share of the pixels of a map."""

import argparse
import math
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import FormatError
from ..messages import say
from .arguments import integer

if TYPE_CHECKING:
    from ..pairfile.store import PairStore

# Percent; as a fraction, so that halves are rounded as they are written.
_SHARE = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?%|\.[0-9]+%")


def size(text: str) -> int | Fraction:
    """Read a number of pixels, or a share of them such as 2%, as a fraction."""
    if not text.endswith("%"):
        return integer(text)
    share = Fraction(text[:-1]) / 100 if _SHARE.fullmatch(text) else Fraction(0)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"expected pixels or a share above 0% and up to 100%, got {text!r}")
    return share


def in_pixels(
    sizes: Sequence[int | Fraction], files: Sequence[Path], open_store: "Callable[[Path], PairStore]"
) -> list[int]:
    """Return sizes in pixels; say what shares are, of maps that all have one size.

    A share is rounded to the nearest number of pixels, halves up, and is at least one pixel.
    """
    if not any(isinstance(k, Fraction) for k in sizes):
        return [int(k) for k in dict.fromkeys(sizes)]
    height, width = _shape(files, open_store)
    found = []
    for k in sizes:
        if isinstance(k, Fraction):
            pixels = max(1, math.floor(k * height * width + Fraction(1, 2)))
            say(f"lensmetrics: k = {float(100 * k):g} % of {height}x{width} = {pixels}")
            found.append(pixels)
        else:
            found.append(k)
    return list(dict.fromkeys(found))


def _shape(files: Sequence[Path], open_store: "Callable[[Path], PairStore]") -> tuple[int, int]:
    """Return the size of the maps in all files that can be read."""
    first: Path | None = None
    shape = (0, 0)
    problem: Exception | None = None
    for file in files:
        try:
            store = open_store(file)
        except (FormatError, OSError) as error:  # reported again when the file is scored
            problem = problem or error
            continue
        if first is None:
            first, shape = file, store.shape
        elif store.shape != shape:
            sizes = [f"{path} has {h}x{w}" for path, (h, w) in ((first, shape), (file, store.shape))]
            raise ValueError(
                f"--k as a share needs maps of one size, but {' and '.join(sizes)} maps: score them "
                "separately, or give --k in pixels"
            )
    if first is None and problem is not None:
        raise problem
    return shape
