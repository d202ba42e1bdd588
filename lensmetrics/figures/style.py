"""Colours, marks, fonts and sizes that all figures share; matplotlib without pyplot."""

import io
import math
import os
import warnings
from pathlib import Path
from typing import IO, Any, NamedTuple

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .shortening import shortened

# Colours of Okabe and Ito, which colour-blind readers can distinguish, and a grey instead of their black,
# which remains visible on a dark page. Their yellow is too light for a line on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A7A7A")
INK = "#1F2328"
RULE = "#C9CED6"
# The inside of hollow marks: the colour of the page, which is dark in a dark theme, unlike white.
HOLLOW = "#FEFEFE"
# Lines also differ by marker and, from the second round of colours on, by dashes and hollow markers: no two
# of 56 are alike in grey. Dots belong to the level of chance.
_MARKERS = "os^Dv<>Ph*"
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (9, 2, 2, 2)))
CHANCE: Any = (0, (1, 1.3))
# Characters of a label in a figure.
MAX_LABEL = 30

STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": "medium",
    "axes.linewidth": 0.8,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "image.composite_image": False,
    # Labels come from files, where a dollar sign does not begin a formula.
    "text.parse_math": False,
    # Text remains text: small, selectable and searchable. Type 42 embeds TrueType fonts, as publishers ask.
    "svg.fonttype": "none",
    "svg.hashsalt": "lensmetrics",
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "savefig.dpi": 300,
}


class Look(NamedTuple):
    """The size of a figure, in inches, and of its text, in points."""

    width: float
    font: float
    panel: float  # smallest width of a panel
    widest: float  # largest width of a panel
    height: float  # largest height of the figure

    @property
    def style(self) -> Any:
        """The settings of matplotlib while such a figure is drawn."""
        return STYLE | {"font.size": self.font, "lines.linewidth": self.font / 6}


SCREEN = Look(10.2, 9, 2.3, 4.2, math.inf)


def paper(width: float) -> Look:
    """Return the look of a figure of a paper.

    Raises
    ------
    ValueError
        If no figure of that width is legible.
    """
    if not 2 <= width <= 20:
        raise ValueError(f"width is in inches, from 2 to 20 (3.3 is one column of a paper), got {width:g}")
    return Look(width, 7.5, 1.35, 20, 9.5)


class Picture(Figure):
    """A figure that is saved with its own settings, and that a notebook displays without pyplot."""

    def savefig(self, fname: str | os.PathLike[str] | IO[Any], **kwargs: Any) -> None:
        """Save the figure: text remains text, fonts are embedded, pixels are 300 per inch."""
        with mpl.rc_context(STYLE), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            super().savefig(fname, **kwargs)
        texts = dict.fromkeys(str(warning.message) for warning in caught)
        missing = [text for text in texts if "missing from font" in text]
        for text in texts.keys() - missing:
            warnings.warn(text, stacklevel=2)
        kind = kwargs.get("format") or Path(str(fname)).suffix
        if missing and "svg" not in str(kind):  # the reader of an SVG has other fonts
            lacks = "a character" if len(missing) == 1 else f"{len(missing)} characters"
            warnings.warn(
                f"the font of figures lacks {lacks} of the labels and draws boxes: an SVG keeps them as text",
                stacklevel=2,
            )

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=144)
        return buffer.getvalue()


def line_look(i: int) -> dict[str, Any]:
    """Return colour, marker and dashes of the i-th line of a figure."""
    round_, place = divmod(i, len(PALETTE))
    hollow = (round_ + round_ // len(_DASHES)) % 2
    return {
        "color": PALETTE[place],
        "marker": _MARKERS[(place + 3 * round_) % len(_MARKERS)],
        "linestyle": _DASHES[round_ % len(_DASHES)],
        "markerfacecolor": HOLLOW if hollow else PALETTE[place],
    }


def renderer_of(figure: Figure) -> Any:
    """Return what measures text of a figure."""
    canvas: Any = FigureCanvasAgg(figure)
    return canvas.get_renderer()


def cut_label(text: str) -> str:
    """Return text from a file as one short line that matplotlib and XML accept.

    It is cut in the middle: names of a series often differ at their ends. The name of a condition, before its
    value, is cut first.
    """
    printable = "".join(c if c.isprintable() else " " for c in text)
    line = " ".join(printable.split()) or "(empty)"
    short = shortened(
        line,
        lambda text: len(text) <= MAX_LABEL,
        lambda text: f"{text[: MAX_LABEL - 11].rstrip()}…{text[-10:].lstrip()}",
    )
    # Before matplotlib 3.10 a legend drops labels that begin with an underscore.
    return "\u200b" + short if short.startswith("_") else short
