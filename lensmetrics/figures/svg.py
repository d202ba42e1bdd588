"""Figures as SVG inside a page."""

import io
import re
import warnings
from typing import NamedTuple
from xml.etree import ElementTree

import matplotlib as mpl
from matplotlib.figure import Figure

from .style import INK, PALETTE, RULE, STYLE

# How an SVG names another of its elements: href="#id" or clip-path="url(#id)".
_REFERENCE = re.compile(r"^(#|url\(#)([^)]+)")
_COLOUR = re.compile("#[0-9a-fA-F]{6}")


class Shown(NamedTuple):
    """A figure on a page: its ``<svg>`` element, and the words above and below it."""

    svg: str
    title: str
    caption: str


def inline_svg(figure: Figure, *, prefix: str, description: str) -> str:
    """Return a figure as an ``<svg>`` element to be put into an HTML page.

    Parameters
    ----------
    figure
        The figure.
    prefix
        Put before all ids, so that figures on one page do not share any.
    description
        The text alternative.

    Returns
    -------
    str
        HTML without style sheets, scripts or addresses. Line and text colours are CSS variables
        (``--ink``, ``--rule``, ``--line-0``, ...) that fall back to the figure's own.
    """
    buffer = io.StringIO()
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # The browser has letters that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="svg", dpi=200, transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    values = (value for element in root.iter() for value in element.attrib.values())
    used = {found[2] for value in values if (found := _REFERENCE.match(value))}
    variables = {INK: "ink", RULE: "rule"} | {c: f"line-{i}" for i, c in enumerate(PALETTE)}
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


def _local(name: str) -> str:
    return name.rpartition("}")[2]
