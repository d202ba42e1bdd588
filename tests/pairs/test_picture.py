"""How a pair shows itself: one plain line, and two small pictures in a notebook."""

import base64
import io
import re

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lensmetrics.pairs.mappair import MapPair
from lensmetrics.pairs.picture import data_address
from tests.pages import Page


def pixels(address: str) -> NDArray[np.uint8]:
    """Return the colours of a picture, as Pillow reads them."""
    with Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,")))) as picture:
        picture.load()
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize(
    ("pair", "text"),
    [
        (MapPair(np.zeros((2, 3), "f4"), np.ones((2, 3), "f4")), "MapPair(2x3, float32, constant_map)"),
        (MapPair([[1, 2]], [[2, 1]]), "MapPair(1x2, float64)"),
        (MapPair(np.eye(2, dtype="f4"), [[1, 2], [3, 4]]), "MapPair(2x2, float32 and float64)"),
        (MapPair([[1, 2]], [[1, np.nan]]), "MapPair(1x2, float64, nan_map)"),
    ],
)
def test_repr_says_what_the_pair_is(pair: MapPair, text: str) -> None:
    assert repr(pair) == text
    assert text in pair._repr_html_()


def test_repr_names_doubts_that_a_metric_has_met() -> None:
    pair = MapPair([[9, 8, 0]], [[9, 0, 0]])
    assert repr(pair) == "MapPair(1x3, float64)"
    assert pair.overlap(2, 0).common == 2
    assert repr(pair) == "MapPair(1x3, float64, tied_cut)"


def test_picture_is_white_at_the_smallest_and_dark_at_the_largest_value() -> None:
    found = pixels(data_address(np.array([[0.0, 1.0], [0.5, np.nan]])))
    assert found.shape == (2, 2, 3)
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[0, 1].tolist() == [25, 25, 25]
    assert found[1, 0].tolist() == pytest.approx([140, 140, 140], abs=2)  # dark from the 99.5 % quantile on
    assert found[1, 1].tolist() == [240, 228, 66]  # not finite: yellow, no grey


@pytest.mark.parametrize("value", [0.0, 5.0, np.nan, np.inf])
def test_map_of_one_value_has_a_picture(value: float) -> None:
    found = pixels(data_address(np.full((3, 4), value, np.float32)))
    assert found.shape == (3, 4, 3)
    assert len(np.unique(found.reshape(-1, 3), axis=0)) == 1


def test_values_near_the_limits_of_their_type_keep_their_order() -> None:
    largest = np.finfo(np.float64).max
    found = pixels(data_address(np.array([[-largest, 0.0, largest]])))[0, :, 0].tolist()
    assert found == pytest.approx([255, 140, 25], abs=2)


def test_large_map_is_averaged_over_blocks() -> None:
    rng = np.random.default_rng(0)
    values = rng.random((520, 301))
    values[100, 100] = np.nan
    found = pixels(data_address(values))
    assert found.shape == (174, 101, 3)
    slow = np.array(
        [[np.nanmean(values[i : i + 3, j : j + 3]) for j in range(0, 301, 3)] for i in range(0, 520, 3)]
    )
    order = np.corrcoef(slow.ravel(), found[..., 0].ravel())[0, 1]
    assert order < -0.99


def test_notebook_shows_both_maps_without_scores_or_addresses() -> None:
    rng = np.random.default_rng(0)
    pair = MapPair(rng.random((20, 10)), rng.random((20, 10)))
    html = pair._repr_html_()
    page = Page(html)
    assert [image["alt"] for image in page.attributes("img")] == ["unperturbed map", "perturbed map"]
    shown = [pixels(image["src"]) for image in page.attributes("img")]
    for picture, values in zip(shown, (pair.unperturbed, pair.perturbed), strict=True):
        assert np.argmin(picture[..., 0]) in np.argsort(values.ravel())[-2:]
    assert "width:100px;height:200px" in html
    assert not re.search(r"https?:", html)
    assert pair.status == "ok"
