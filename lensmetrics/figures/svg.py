"""Figures as SVG inside a page."""

import io
import re
import warnings
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from .style import HOLLOW, INK, PALETTE, RULE, STYLE

# Resolution of what a figure draws as pixels.
_RASTER_DPI = 200
# A reference to another element of the SVG: href="#id" or clip-path="url(#id)".
_REFERENCE = re.compile(r"^(#|url\(#)([^)]+)")
_COLOUR = re.compile("#[0-9a-fA-F]{6}")


def inline_svg(figure: Figure, *, prefix: str, description: str) -> str:
    """Return a figure as an ``<svg>`` element for an HTML page.

    Parameters
    ----------
    figure
        The figure, whose background becomes transparent.
    prefix
        Prefix of all ids, so that figures on one page do not share any.
    description
        The text alternative.

    Returns
    -------
    str
        HTML without style sheets, scripts or addresses. Line and text colours are CSS variables
        (``--ink``, ``--rule``, ``--line-0``, ...) with the colours of the figure as defaults.
    """
    buffer = io.StringIO()
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # The browser has characters that matplotlib's font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        _draw(figure, buffer)
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    values = (value for element in root.iter() for value in element.attrib.values())
    used = {found[2] for value in values if (found := _REFERENCE.match(value))}
    variables = {INK: "ink", RULE: "rule", HOLLOW: "page"} | {c: f"line-{i}" for i, c in enumerate(PALETTE)}
    colours = {colour.lower(): f"var(--{name}, {colour})" for colour, name in variables.items()}
    for element in root.iter():
        element.tag = _local(element.tag)
        attributes = {_local(name): value for name, value in element.attrib.items()}
        element.attrib.clear()
        for name, value in attributes.items():
            if name == "id" and value in used:
                element.set(name, f"{prefix}-{value}")
            elif name == "style":
                element.set(name, _COLOUR.sub(lambda found: colours.get(found[0].lower(), found[0]), value))
            elif name != "id":
                element.set(name, _REFERENCE.sub(rf"\g<1>{prefix}-\g<2>", value))
    _, _, width, height = root.get("viewBox", "0 0 0 0").split()
    root.attrib = {
        "viewBox": f"0 0 {width} {height}",
        "role": "img",
        "aria-label": description,
        "style": f"width: {float(width):.0f}pt; stroke-linejoin: round; stroke-linecap: butt",
    }
    return ElementTree.tostring(root, encoding="unicode")


def _draw(figure: Figure, buffer: io.StringIO) -> None:
    """Write a figure as SVG with a transparent background.

    `Figure.savefig` draws a figure with a layout engine twice, which takes half as long again.
    """
    figure.set(facecolor="none", edgecolor="none", dpi=_RASTER_DPI)
    for axes in figure.axes:
        axes.patch.set(facecolor="none", edgecolor="none")
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(buffer, metadata={"Date": None})


def _local(name: str) -> str:
    return name.rpartition("}")[2]
