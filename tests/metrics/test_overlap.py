"""Overlap of top-k sets: against the twins, and worked examples."""

import itertools
import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings

import lensmetrics as lm
from tests import reference
from tests.strategies import WHICH, Case, Which, cases, indicator

Map = npt.NDArray[Any]


@given(case=cases())
def test_metrics_equal_their_twins(case: Case) -> None:
    for name, twin in reference.OVERLAP.items():
        expected = twin(case.unperturbed, case.perturbed, **case.arguments(name))
        value = getattr(lm, name)(lm.MapPair(case.unperturbed, case.perturbed), **case.arguments(name))
        assert isinstance(value, float), name
        if name.endswith("_adjusted"):
            assert value == pytest.approx(expected, rel=1e-12, abs=1e-12, nan_ok=True), name
        else:
            assert value == expected or (math.isnan(value) and math.isnan(expected)), name


@given(case=cases(), which=st.sampled_from(WHICH))
def test_sets_equal_their_twins(which: Which, case: Case) -> None:
    a = getattr(case, which)
    pair = lm.MapPair(case.unperturbed, case.perturbed)
    top = reference.top_k(a, case.k)
    mask = pair.top_k(which, case.k)
    assert mask.dtype == np.bool_
    assert mask.shape == a.shape
    assert {pixel for pixel in reference.pixels(a) if mask[pixel]} == top
    near = pair.neighbourhood(which, case.k, case.w)
    assert near.dtype == np.bool_
    assert near.shape == a.shape
    assert {pixel for pixel in reference.pixels(a) if near[pixel]} == reference.neighbourhood(a, top, case.w)
    diverse = pair.diverse_top_k(which, case.k, case.w)
    assert diverse.tolist() == reference.flat(a, reference.diverse_top_k(a, case.k, case.w))


@settings(max_examples=settings().max_examples // 5)  # each asks for hundreds of scores
@given(case=cases())
def test_sets_are_independent_of_earlier_calls(case: Case) -> None:
    used = lm.MapPair(case.unperturbed, case.perturbed)
    for w, k in itertools.product((4, 0, 2, 1, 3), (case.k, 1, case.unperturbed.size)):
        asked = {"k": k, "w": w, "pool": case.pool}
        for name in (*reference.OVERLAP, *reference.PUBLISHED):
            arguments = {parameter: asked[parameter] for parameter in reference.parameters(name)}
            fresh = getattr(lm, name)(lm.MapPair(case.unperturbed, case.perturbed), **arguments)
            value = getattr(lm, name)(used, **arguments)
            assert value == fresh or (math.isnan(value) and math.isnan(fresh)), (name, arguments)


def test_lens_distance_is_not_a_pseudometric() -> None:
    s, t, u = (indicator((9, 5), (4, column)) for column in (0, 1, 2))
    assert lm.lens_distance(lm.MapPair(s, t), k=1, w=1) == 0
    assert lm.lens_distance(lm.MapPair(t, u), k=1, w=1) == 0
    assert lm.lens_distance(lm.MapPair(s, u), k=1, w=1) == 2


def test_recall_dilates_the_unperturbed_set() -> None:
    unperturbed = np.array([[9.0, 8.0, 0.0, 0.0, 0.0, 0.0]])
    perturbed = np.array([[0.0, 0.0, 9.0, 0.0, 0.0, 8.0]])
    pair = lm.MapPair(unperturbed, perturbed)
    assert lm.lens_recall(pair, k=2, w=1) == 0.5  # column 2 is near column 1, column 5 is near none
    assert lm.lens_precision(pair, k=2, w=1) == 0.5
    assert lm.lens_recall(pair, k=2, w=2) == 0.5
    assert lm.lens_precision(pair, k=2, w=2) == 1


def test_neighbourhoods_do_not_wrap_around() -> None:
    end_of_row, start_of_next = indicator((28, 28), (1, 27)), indicator((28, 28), (2, 0))
    assert lm.lens_recall(lm.MapPair(end_of_row, start_of_next), k=1, w=1) == 0


def test_disjoint_supports_overlap_only_by_the_tie_rule() -> None:
    """Each map has 60 pixels above 0; at k = 100, the other 40 are its first zeros."""
    unperturbed, perturbed = np.zeros(784), np.zeros(784)
    unperturbed[[0, 1, 2, *range(500, 557)]] = np.arange(60) + 1
    perturbed[[40, 41, 42, *range(600, 657)]] = np.arange(60) + 1
    pair = lm.MapPair(unperturbed.reshape(28, 28), perturbed.reshape(28, 28))
    assert lm.topk_intersection(pair, k=60) == 0
    assert pair.status == "ok"
    assert lm.topk_intersection(pair, k=100) == 0.43
    assert pair.status == "tied_cut"


def test_a_window_beyond_the_map_covers_it() -> None:
    pair = lm.MapPair(*np.random.default_rng(5).random((2, 9, 70)))
    for w in (69, 70, 1000):
        assert lm.lens_recall(pair, k=1, w=w) == 1
        assert lm.lens_recall_chance(pair, k=1, w=w) == 1
        assert lm.n_diverse(pair, k=5, w=w) == 1
    assert lm.n_diverse(pair, k=630, w=0) == 630
