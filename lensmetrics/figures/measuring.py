"""The width of texts in figures, in inches, and texts that fit a width."""

import functools
import warnings
from collections.abc import Sequence

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from .shortening import shortened
from .style import STYLE, Look


def text_width(text: str, look: Look) -> float:
    """Return the width of a text, that of its longest line."""
    return max(_width(line) for line in text.split("\n")) * look.font / 72


@functools.lru_cache(4096)
def _width(line: str) -> float:
    """Return the width of a line in units of the size of its font."""
    if not line:
        return 0.0
    with warnings.catch_warnings():
        # Missing characters are reported when the figure is saved.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        font = FontProperties(family=STYLE["font.family"], size=1)
        return float(text_to_path.get_text_width_height_descent(line, font, False)[0])


def fitted(text: str, width: float, look: Look) -> str:
    """Shorten a text wider than `width`: names of conditions, then the middle of its longest parts."""

    def fits(short: str) -> bool:
        return text_width(short, look) <= width

    def cut(text: str) -> str:
        parts = text.split(" · ")
        kept, short = [len(part) for part in parts], text
        while not fits(short) and max(kept) > 4:
            kept[kept.index(max(kept))] -= 1
            short = " · ".join(map(_without_middle, parts, kept))
        return short

    return shortened(text, fits, cut)


def _without_middle(text: str, kept: int) -> str:
    return text if kept == len(text) else f"{text[: kept - kept // 3]}…{text[len(text) - kept // 3 :]}"


def height_of(text: str) -> float:
    """Return the height of a text in units of the size of its font."""
    return 1.2 * (text.count("\n") + 1) if text else 0.0


def wrapped(parts: Sequence[str], width: float, look: Look, between: str = " · ") -> str:
    """Join the parts of a text; start a new line where it would be wider than `width`."""
    lines: list[str] = []
    for part in parts:
        text = fitted(part, width, look)
        joined = f"{lines[-1]}{between}{text}" if lines else text
        if lines and text_width(joined, look) <= width:
            lines[-1] = joined
        else:
            lines.append(text)
    return "\n".join(lines)
