"""Further comparisons of the top-k sets: against the twins, scipy, and chance worked out exactly."""

import itertools
import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
import scipy.spatial
import scipy.stats
from hypothesis import given

import lensmetrics as lm
from tests import reference
from tests.strategies import Case, cases, each_shape

Map = npt.NDArray[Any]


@given(case=cases())
def test_metrics_equal_their_twins(case: Case) -> None:
    for name, twin in reference.TOPK.items():
        expected = twin(case.unperturbed, case.perturbed, **case.arguments(name))
        value = getattr(lm, name)(lm.MapPair(case.unperturbed, case.perturbed), **case.arguments(name))
        assert isinstance(value, float), name
        assert value == pytest.approx(expected, rel=1e-12, abs=1e-12, nan_ok=True), name


def random_pair(shape: tuple[int, int]) -> tuple[Map, Map]:
    rng = np.random.default_rng(shape)
    u = rng.normal(size=shape)
    return u, u + 0.5 * rng.normal(size=shape)


on_every_shape = each_shape((28, 28), (1, 200), (65, 7), (128, 64), (227, 227))


@on_every_shape
def test_topk_distance_agrees_with_scipys_distance_transform(shape: tuple[int, int]) -> None:
    pair = lm.MapPair(*random_pair(shape))
    for k in (1, 10, pair.unperturbed.size // 9, pair.unperturbed.size):
        s, t = pair.top_k("unperturbed", k), pair.top_k("perturbed", k)
        to_s, to_t = (scipy.ndimage.distance_transform_edt(~mask) for mask in (s, t))
        expected = (to_s[t].mean() + to_t[s].mean()) / 2
        assert lm.topk_distance(pair, k=k) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@on_every_shape
def test_fss_agrees_with_uniform_filters(shape: tuple[int, int]) -> None:
    """The same computation as in pysteps: a uniform filter with zeros outside."""
    pair = lm.MapPair(*random_pair(shape))
    for k, w in itertools.product((1, 10, pair.unperturbed.size // 9), (0, 1, 2, 3, 40, 300)):
        p, q = (
            scipy.ndimage.uniform_filter(pair.top_k(which, k).astype(float), 2 * w + 1, mode="constant")
            for which in ("unperturbed", "perturbed")
        )
        expected = 1 - ((p - q) ** 2).sum() / (p**2 + q**2).sum()
        assert lm.fss(pair, k=k, w=w) == pytest.approx(expected, abs=1e-9)


@pytest.mark.large
def test_chance_of_fss_is_below_that_of_lens_recall() -> None:
    pairs = [lm.MapPair(*np.random.default_rng(seed).random((2, 227, 227))) for seed in range(12)]
    assert np.mean([lm.fss(pair, k=1000, w=3) for pair in pairs]) == pytest.approx(0.49, abs=0.01)
    assert np.mean([lm.lens_recall(pair, k=1000, w=3) for pair in pairs]) == pytest.approx(0.61, abs=0.01)


@pytest.mark.large
def test_chance_of_iou_is_the_mean_over_hypergeometric_overlaps() -> None:
    n, k = 784, 100
    c = np.arange(k + 1)
    expected = (scipy.stats.hypergeom(n, k, k).pmf(c) * c / (2 * k - c)).sum()
    assert expected == pytest.approx(0.068, abs=5e-4)
    rng = np.random.default_rng(1)
    found = np.array([lm.topk_iou(lm.MapPair(*rng.random((2, 28, 28))), k=k) for _ in range(300)])
    assert abs(found.mean() - expected) <= 4.5 * found.std(ddof=1) / math.sqrt(found.size)


@on_every_shape
def test_iou_is_one_minus_scipys_jaccard_distance(shape: tuple[int, int]) -> None:
    pair = lm.MapPair(*random_pair(shape))
    for k in (1, 10, pair.unperturbed.size // 9):
        s, t = (pair.top_k(which, k).ravel() for which in ("unperturbed", "perturbed"))
        assert lm.topk_iou(pair, k=k) == pytest.approx(1 - scipy.spatial.distance.jaccard(s, t), abs=1e-12)


@on_every_shape
def test_sign_agreement_agrees_with_texts_of_feature_and_sign(shape: tuple[int, int]) -> None:
    """The same computation as in OpenXAI: texts of feature and sign are compared."""
    u, p = random_pair(shape)
    for k in (1, 10, u.size // 9):
        texts = [
            {f"{i}{'+' if a.flat[i] > 0 else '-'}" for i in np.argsort(-np.abs(a).ravel(), kind="stable")[:k]}
            for a in (u, p)
        ]
        assert lm.sign_agreement(lm.MapPair(u, p), k=k) == len(texts[0] & texts[1]) / k


def test_a_shift_by_one_pixel_is_a_distance_of_one() -> None:
    u = np.zeros((12, 12))
    u[3:6, 3] = [1, 2, 3]
    pair = lm.MapPair(u, np.roll(u, 2, axis=1))
    assert lm.topk_distance(pair, k=3) == 2
    assert lm.topk_iou(pair, k=3) == 0
    assert lm.fss(pair, k=3, w=1) > 0
    assert pair.status == "ok"


def test_flipped_signs_do_not_agree() -> None:
    u = np.array([[5.0, -4.0, 3.0, 0.0]])
    pair = lm.MapPair(u, np.array([[5.0, 4.0, 3.0, 0.0]]))
    assert lm.sign_agreement(pair, k=2) == 0.5
    assert lm.sign_agreement(pair, k=4) == 0.75
    assert pair.status == "saturated"  # k = 4 is every pixel


@given(case=cases(), absolute=st.booleans())
def test_status_of_maps_without_signs(case: Case, absolute: bool) -> None:
    u, p = (abs(a) if absolute else a for a in (case.unperturbed, case.perturbed))
    pair = lm.MapPair(u, p)
    value = lm.sign_agreement(pair, k=case.k)
    assert pair.signed == bool((u < 0).any() or (p < 0).any())
    assert ("unsigned" in pair.status.split(";")) == (not pair.signed and not math.isnan(value))


def test_maps_whose_absolute_values_are_equal_are_constant() -> None:
    pair = lm.MapPair(np.array([[1.0, -1.0, 1.0]]), np.array([[1.0, 2.0, 3.0]]))
    assert math.isnan(lm.sign_agreement(pair, k=1))
    assert pair.status == "constant_map"
