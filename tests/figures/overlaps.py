"""Whether the texts of a figure cover one another, or leave it."""

import itertools
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def check_overlaps(figure: Figure) -> None:
    """Fail if texts of a figure overlap, lie outside it, or if the legend covers a panel."""
    figure.set_dpi(200)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    boxes: list[tuple[str, Bbox]] = []
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if text.get_text().strip() and text.get_visible():
            box = text.get_window_extent(renderer)
            inside = figure.bbox.padded(1)
            assert inside.x0 <= box.x0, text.get_text()
            assert box.x1 <= inside.x1, text.get_text()
            assert inside.y0 <= box.y0, text.get_text()
            assert box.y1 <= inside.y1, text.get_text()
            boxes.append((text.get_text(), box.padded(-1)))
    for (first, a), (second, b) in itertools.combinations(boxes, 2):
        assert not a.overlaps(b), (first, second)
    for legend in figure.legends:
        for axes in figure.axes:
            assert not legend.get_window_extent(renderer).overlaps(axes.get_window_extent(renderer))
