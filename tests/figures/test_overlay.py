"""The sets of a pair over its maps."""

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from numpy.typing import NDArray

import lensmetrics as lm
from lensmetrics.figures.overlay import pair_overlay
from lensmetrics.figures.svg import inline_svg
from lensmetrics.pairs.mappair import MapPair
from tests.figures.overlaps import check_overlaps


def smooth_pair(height: int = 9, width: int = 14) -> MapPair:
    rng = np.random.default_rng(8)
    return MapPair(rng.random((height, width)), rng.random((height, width)))


def marks(axes: Axes, gid: str) -> set[tuple[float, float]]:
    (line,) = [line for line in axes.get_lines() if line.get_gid() == gid]
    return set(zip(np.asarray(line.get_xdata()), np.asarray(line.get_ydata()), strict=True))


def as_points(mask: NDArray[np.bool_]) -> set[tuple[float, float]]:
    y, x = np.nonzero(mask)
    return set(zip(x.astype(float), y.astype(float), strict=True))


def test_overlay_marks_the_sets_of_the_pair() -> None:
    pair, k, w = smooth_pair(), 12, 1
    unperturbed, perturbed, sets = pair_overlay(pair, k=k, w=w).axes
    diverse = pair.diverse_top_k("unperturbed", k, w), pair.diverse_top_k("perturbed", k, w)
    for axes, picked in zip((unperturbed, perturbed), diverse, strict=True):
        y, x = np.unravel_index(picked, pair.shape)
        assert marks(axes, "diverse") == set(zip(x, y, strict=True))
    top, near = pair.top_k("perturbed", k), pair.neighbourhood("unperturbed", k, w)
    assert marks(sets, "missed") == as_points(top & ~near)
    picture = np.asarray(sets.get_images()[0].get_array())
    kinds = {tuple(picture[top].mean(axis=0)): top, tuple(picture[near & ~top].mean(axis=0)): near & ~top}
    for colour, mask in kinds.items():
        np.testing.assert_array_equal(np.isclose(picture, colour).all(axis=-1), mask)


def test_outline_follows_the_edges_of_the_set() -> None:
    values = np.zeros((4, 5))
    values[0, 0] = values[0, 1] = values[3, 4] = 1  # a domino in one corner, a pixel in the other
    unperturbed = pair_overlay(MapPair(values, values), k=3, w=0).axes[0]
    (line,) = [line for line in unperturbed.get_lines() if line.get_gid() == "outline"]
    points = np.column_stack([np.asarray(line.get_xdata()), np.asarray(line.get_ydata())])
    edges = {frozenset(map(tuple, points[i : i + 2])) for i in range(0, len(points), 3)}
    domino = [((x - 0.5, y), (x + 0.5, y)) for x in (0, 1) for y in (-0.5, 0.5)]
    domino += [((x, -0.5), (x, 0.5)) for x in (-0.5, 1.5)]
    pixel = [
        ((3.5, 2.5), (4.5, 2.5)),
        ((3.5, 3.5), (4.5, 3.5)),
        ((3.5, 2.5), (3.5, 3.5)),
        ((4.5, 2.5), (4.5, 3.5)),
    ]
    assert edges == {frozenset(edge) for edge in domino + pixel}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_overlay_of_a_non_finite_map_has_no_sets(value: float) -> None:
    values = np.arange(30.0).reshape(5, 6)
    broken = values.copy()
    broken[2, 3] = value
    for first in (broken, np.full((5, 6), value)):
        figure = pair_overlay(MapPair(first, values), k=4, w=1)
        assert [line.get_gid() for axes in figure.axes for line in axes.get_lines()] == []
        assert "not finite" in inline_svg(figure, prefix="p", description="d")


@pytest.mark.parametrize(
    "image",
    [
        np.full((5, 6), 255, np.uint8),
        np.zeros((1, 5, 6), np.uint8),
        np.random.default_rng(0).normal(size=(3, 5, 6)),
        np.full((4, 5, 6), np.nan, np.float32),
        np.full((3, 10, 12), 0.5, np.float32),
    ],
)
def test_overlay_shows_any_image(image: NDArray[Any]) -> None:
    pair = MapPair(np.ones((5, 6)), np.arange(30.0).reshape(5, 6))
    figure = pair_overlay(pair, k=4, w=1, image=image)
    assert [axes.get_title() for axes in figure.axes] == [
        "image",
        "unperturbed map",
        "perturbed map",
        "the sets, k = 4, w = 1",
    ]
    shown = np.asarray(figure.axes[0].get_images()[0].get_array())
    assert shown.shape == (*image.shape[-2:], *((3,) if image.shape[0] == 3 and image.ndim == 3 else ()))
    assert shown.min() >= 0
    assert shown.max() <= 1


def test_overlay_of_extreme_values_has_a_grey_scale() -> None:
    values = np.zeros((4, 5))
    values[1, 1:3] = -1.7e308, 1.7e308
    for first in (values, np.zeros((4, 5), np.float32), values * 1e-308 * 5e-16):
        shown = pair_overlay(MapPair(first, values), k=2, w=1).axes[1].get_images()[0].get_array()
        assert np.ptp(np.asarray(shown)) == 1


def test_overlay_refuses_a_k_above_the_number_of_pixels() -> None:
    with pytest.raises(ValueError, match="k must be between 1 and 126"):
        pair_overlay(smooth_pair(), k=127, w=1)


@pytest.mark.parametrize("shape", [(9, 14), (3, 60), (60, 3)])
@pytest.mark.parametrize("width", [3.3, 6.9])
def test_a_pair_fits_into_a_paper(shape: tuple[int, int], width: float) -> None:
    pair = smooth_pair(*shape)
    figure = lm.plot_pair(pair, 10, image=np.zeros(shape, np.uint8), width=width)
    assert figure.get_figwidth() <= width + 1e-9
    assert len(figure.axes) == 4
    check_overlaps(figure)


def test_overlay_of_a_large_map_is_a_small_file() -> None:
    figure = pair_overlay(smooth_pair(120, 130), k=900, w=1)
    assert len(inline_svg(figure, prefix="p", description="d")) < 500_000
