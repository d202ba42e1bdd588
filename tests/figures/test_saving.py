"""Files of figures: text stays text, and the same figure has the same bytes."""

import io
import re
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lensmetrics as lm
from lensmetrics.figures.saving import check_figure, save_figure
from lensmetrics.figures.style import Picture
from tests.scores import curve_table


def drawn(name: str = "natural") -> Picture:
    table = curve_table()
    table["training"] = table["training"].cat.rename_categories({"natural": name})
    return lm.plot_curves(table, 9)


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_a_figure_always_has_the_same_bytes(kind: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_figure(drawn(), tmp_path / name, kind)
    first, second = (tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()
    assert first == second
    assert not re.search(rb"CreationDate|<dc:date>|20\d\d-\d\d", first)


def test_text_of_an_svg_is_text(tmp_path: Path) -> None:
    figure = drawn("natürlich & 中文 $x$")
    figure.savefig(tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    for words in ("natürlich &amp; 中文 $x$", "LENS recall, k = 9", "half-width w of the window in pixels"):
        assert f">{words}</text>" in text


def test_a_pdf_embeds_its_fonts(tmp_path: Path) -> None:
    drawn().savefig(tmp_path / "a.pdf")
    content = (tmp_path / "a.pdf").read_bytes()
    assert b"/FontFile2" in content  # TrueType
    assert b"/Subtype /Type3" not in content
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)
    drawn_texts = [zlib.decompress(stream) for stream in streams if stream[:1] == b"x"]
    # Kerning stands between the parts of a word, whose characters have one or two bytes.
    words = [b"".join(re.findall(rb"\((.*?)\)", page)).replace(b"\0", b"") for page in drawn_texts]
    assert any(b"natural" in page for page in words)


def test_a_png_has_300_dots_per_inch_and_is_as_wide_as_asked(tmp_path: Path) -> None:
    figure = lm.plot_curves(curve_table(), 9, width=5)
    figure.savefig(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert image.width == 1500
        assert np.asarray(image.convert("L")).min() < 60


def test_a_notebook_displays_a_figure() -> None:
    with Image.open(io.BytesIO(drawn()._repr_png_())) as image:
        assert image.format == "PNG"
        assert image.width == int(3.3 * 144)


def test_characters_that_the_font_lacks_are_named_once(tmp_path: Path) -> None:
    figure = drawn("中文")
    with pytest.warns(UserWarning, match="the font of figures lacks 2 characters of the labels") as caught:
        save_figure(figure, tmp_path / "a.png", "png")
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_figure(figure, tmp_path / "a.svg", "svg")


def test_only_figures_are_replaced(tmp_path: Path) -> None:
    for kind in ("pdf", "svg", "png"):
        path = tmp_path / f"a.{kind}"
        check_figure(path, [])
        path.touch()
        check_figure(path, [])
        save_figure(drawn(), path, kind)
        check_figure(path, [])
        with pytest.raises(ValueError, match="is the file being read"):
            check_figure(path, [path])
        path.write_text("mine")
        with pytest.raises(FileExistsError, match=f"a.{kind} exists and is not a figure of lensmetrics"):
            check_figure(path, [])


@pytest.mark.parametrize("width", [1, 30, float("nan")])
def test_the_width_is_in_inches(width: float) -> None:
    with pytest.raises(ValueError, match="width is in inches, from 2 to 20"):
        lm.plot_curves(curve_table(), 9, width=width)
