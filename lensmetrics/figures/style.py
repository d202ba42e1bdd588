"""Colours, fonts and labels that all figures share; matplotlib without pyplot."""

from typing import Any

# Height of a row of a legend, in inches.
LEGEND_ROW = 0.2
# The colours of Okabe and Ito, which colour-blind readers can distinguish; lines also differ by marker.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INK = "#1F2328"
RULE = "#C9CED6"
# Characters of a label in a figure.
MAX_LABEL = 30

STYLE: Any = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9,
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
    # Text remains text: small, selectable and searchable.
    "svg.fonttype": "none",
    "svg.hashsalt": "lensmetrics",
}


def cut_label(text: str) -> str:
    """Return text from a file as one short line that matplotlib and XML accept."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    line = " ".join(printable.split()) or "(empty)"
    short = line if len(line) <= MAX_LABEL else line[: MAX_LABEL - 1] + "…"
    # Before matplotlib 3.10 a legend drops labels that begin with an underscore.
    return "\u200b" + short if short.startswith("_") else short
