"""Figures as SVG inside a page."""

from lensmetrics.figures.curves import find_curve, lens_curves
from lensmetrics.figures.style import PALETTE
from lensmetrics.figures.svg import inline_svg
from lensmetrics.tables.view import View
from tests.pages import Page
from tests.scores import curve_table


def test_svg_uses_the_colours_of_the_page() -> None:
    view = View.of(curve_table())
    svg = inline_svg(
        lens_curves(view, find_curve(view.columns, "lens_recall", 9)), prefix="a", description='say "<this>"'
    )
    assert f"var(--line-0, {PALETTE[0]})" in svg
    assert "var(--ink, " in svg
    assert Page(svg).attributes("svg")[0]["aria-label"] == 'say "<this>"'
    assert all(a["id"].startswith("a-") for _, a in Page(svg).tags if "id" in a)
