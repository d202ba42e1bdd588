"""Neighbourhoods and diverse sets: against scipy's dilation and a plain greedy loop, on any shape."""

import itertools
import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
from hypothesis import given

import lensmetrics as lm
from tests.strategies import DTYPES, DType, each_shape

Map = npt.NDArray[Any]


on_every_shape = each_shape((28, 28), (1, 200), (65, 7), (128, 64), (227, 227), (300, 300), (384, 384))


def tied_map(rng: np.random.Generator, shape: tuple[int, int]) -> Map:
    """Return a map of 31 levels, with 40 % zeros."""
    a = rng.integers(0, 31, shape) / 8
    a[rng.random(shape) < 0.4] = 0
    return a


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@on_every_shape
def test_neighbourhoods_equal_scipys_dilation(shape: tuple[int, int], dtype: DType) -> None:
    rng = np.random.default_rng(shape)
    for a in (rng.normal(size=shape).astype(dtype), tied_map(rng, shape).astype(dtype)):
        other = rng.permutation(a.ravel()).reshape(shape)
        pair = lm.MapPair(a, other)
        for k, w in itertools.product((1, 100, a.size // 50 + 1), (0, 1, 2, 3, 5)):
            order = np.argsort(-a.ravel(), kind="stable")
            mask = np.zeros(a.size, dtype=bool)
            mask[order[:k]] = True
            mask = mask.reshape(shape)
            dilated = scipy.ndimage.binary_dilation(mask, np.ones((2 * w + 1, 2 * w + 1), dtype=bool))
            np.testing.assert_array_equal(pair.top_k("unperturbed", k), mask)
            np.testing.assert_array_equal(pair.neighbourhood("unperturbed", k, w), dilated)
            others = pair.top_k("perturbed", k)
            assert lm.lens_recall(pair, k=k, w=w) == (dilated & others).sum() / k
            assert lm.lens_recall_chance(pair, k=k, w=w) == dilated.mean()


def greedy_diverse(a: Map, k: int, w: int) -> list[int]:
    """Pick the diverse top k with an array of excluded pixels."""
    excluded = np.zeros(a.shape, dtype=bool)
    found: list[int] = []
    for index in np.argsort(-a.ravel(), kind="stable"):
        row, column = divmod(int(index), a.shape[1])
        if not excluded[row, column]:
            found.append(int(index))
            excluded[max(row - w, 0) : row + w + 1, max(column - w, 0) : column + w + 1] = True
        if len(found) == k:
            break
    return found


@st.composite
def wide_cases(draw: st.DrawFn) -> tuple[Map, int, int]:
    """Draw a map of up to 150 pixels a side, k and w: rows end at and around multiples of 64 pixels."""
    side = st.sampled_from([1, 2, 20, 31, 32, 33, 63, 64, 65, 127, 128, 129, 150])
    shape = draw(side), draw(side)
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    a = tied_map(rng, shape) if draw(st.booleans()) else rng.random(shape)
    k = draw(st.integers(1, min(a.size, 30)))
    w = draw(st.integers(0, 3) | st.sampled_from([30, 31, 32, 33, 62, 63, 64, 65, 127, 128, 129, 149, 150]))
    return a, k, w


@pytest.mark.large
@given(case=wide_cases())
def test_sets_on_rows_of_any_length(case: tuple[Map, int, int]) -> None:
    a, k, w = case
    pair = lm.MapPair(a, a[::-1, ::-1])
    near = np.zeros(a.shape, dtype=bool)
    for index in pair.order("unperturbed")[:k]:
        row, column = divmod(int(index), a.shape[1])
        near[max(row - w, 0) : row + w + 1, max(column - w, 0) : column + w + 1] = True
    np.testing.assert_array_equal(pair.neighbourhood("unperturbed", k, w), near)
    if pair.constant:
        assert math.isnan(lm.lens_recall(pair, k=k, w=w))
        return
    others = pair.top_k("perturbed", k)
    assert lm.lens_recall(pair, k=k, w=w) == (near & others).sum() / k
    assert lm.lens_recall_chance(pair, k=k, w=w) == near.sum() / near.size
    s, t = greedy_diverse(a, k, w), greedy_diverse(a[::-1, ::-1], k, w)
    assert pair.diverse_top_k("unperturbed", k, w).tolist() == s
    assert lm.topk_div_intersection(pair, k=k, w=w) == len(set(s) & set(t)) / max(len(s), len(t))


@on_every_shape
def test_diverse_sets_of_large_maps(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape)
    a, b = rng.normal(size=shape).astype(np.float32), tied_map(rng, shape)
    pair = lm.MapPair(a, b)
    k = min(1000, a.size)
    for w in (0, 1, 3):
        s, t = greedy_diverse(a, k, w), greedy_diverse(b, k, w)
        assert pair.diverse_top_k("unperturbed", k, w).tolist() == s
        assert pair.diverse_top_k("perturbed", k, w).tolist() == t
        expected = len(set(s) & set(t)) / max(len(s), len(t))
        assert lm.topk_div_intersection(pair, k=k, w=w) == expected


@pytest.mark.large
@pytest.mark.parametrize("shape", [(4, 1000003), (12, 700001), (2, 3000001), (1, 2**22), (2**22, 1)])
def test_diverse_sets_of_very_wide_maps(shape: tuple[int, int]) -> None:
    """The best pixels are at the ends of rows, so an error of one row would be visible."""
    a = np.zeros(shape, np.float32)
    edges = [(y, x) for y in range(min(shape[0], 12)) for x in (shape[1] - 1, 0, shape[1] // 2)]
    for rank, pixel in enumerate(edges):
        a[pixel] = 100 - rank
        a[pixel[0], max(0, pixel[1] - 1)] = max(50 - rank, a[pixel[0], max(0, pixel[1] - 1)])
    pair = lm.MapPair(a, a)
    assert pair.diverse_top_k("unperturbed", 20, 1).tolist() == greedy_diverse(a, 20, 1)


@pytest.mark.large
def test_a_random_map_has_a_bounded_number_of_diverse_pixels() -> None:
    rng = np.random.default_rng(3)
    pair = lm.MapPair(rng.random((128, 128)), rng.random((128, 128)))
    assert lm.n_diverse(pair, k=1000, w=3) == pytest.approx(690, abs=30)
    assert pair.status == "few_diverse"
