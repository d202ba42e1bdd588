"""Pairs of a block, whose numbers are found together where maps are small: the same as of each alone."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import lensmetrics as lm
from lensmetrics.pairs import block, known
from lensmetrics.pairs.block import pairs_of
from tests.strategies import DTYPES, DType

Maps = npt.NDArray[Any]


def maps_of_many_kinds(shape: tuple[int, int], dtype: DType) -> tuple[Maps, Maps]:
    rng = np.random.default_rng(shape)
    normal = rng.normal(size=(12, *shape))
    kinds = [
        normal,
        np.round(normal * 2),
        np.maximum(normal, 0.3),
        np.where(normal > 0, 1.0, -0.0),
        1 + rng.integers(0, 4000, normal.shape) * 2.0**-50,
        np.round(np.clip(normal, -3, 3) * 5) / 31,
    ]
    unperturbed = np.concatenate(kinds).astype(dtype)
    perturbed = np.roll(unperturbed, 1, 2)
    perturbed[::3] = np.roll(unperturbed, 1, 1)[::3] / 2 + unperturbed[::3] / 2
    perturbed[4::12] = unperturbed[4::12]
    perturbed[5::12] = 3
    perturbed[6::12, 0, 0] = np.nan
    unperturbed[7::12, -1, -1] = -np.inf
    return unperturbed, perturbed


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "shape",
    # There are 72 pairs, so uncompiled loops take minutes over these sizes too.
    [
        (1, 90),
        (5, 9),
        (1, 1),
        *(pytest.param(shape, marks=pytest.mark.large) for shape in ((28, 28), (65, 33))),
    ],
    ids=str,
)
def test_pairs_of_a_block_score_as_each_alone(shape: tuple[int, int], dtype: DType) -> None:
    unperturbed, perturbed = maps_of_many_kinds(shape, dtype)
    n = shape[0] * shape[1]
    metrics = lm.lens_suite(k=sorted({1, n // 7 + 1, min(n, 100)}), windows=(0, 1, 2, 200), adjusted=True)
    metrics += [lm.get_metric("lens_kendall", w=1), lm.get_metric("n_diverse", k=1, w=1)]
    some = [i for i in range(len(unperturbed)) if i % 11 != 3]
    for i, pair in zip(some, pairs_of(unperturbed, perturbed, some), strict=True):
        alone = lm.MapPair(unperturbed[i], perturbed[i])
        assert [str(pair), pair.shape, pair.finite, pair.constant, pair.signed, pair.status] == [
            str(alone), alone.shape, alone.finite, alone.constant, alone.signed, alone.status
        ]  # fmt: skip
        np.testing.assert_array_equal([m(pair) for m in metrics], [m(alone) for m in metrics], str(i))
        assert pair.status == alone.status


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the numbers of pairs of the calls for many pairs that follow."""
    found: list[int] = []
    survey = known.survey

    def counted(unperturbed: Any, perturbed: Any, asked: Any) -> Any:
        found.append(len(unperturbed))
        return survey(unperturbed, perturbed, asked)

    monkeypatch.setattr(block, "survey", counted)
    return found


def test_numbers_are_found_together(sizes: list[int]) -> None:
    """The first pair that tells what is asked is followed by one call for all others."""
    u, p = np.random.default_rng(0).random((2, 80, 6, 6), np.float32)
    u[0] = 0
    lm.score(u, p, ["kendall", "lens_recall(k=3)"])
    assert sizes == [78]
    lm.score(u, p, ["mse"])
    lm.score(u[:60], p[:60], "kendall")
    assert sizes == [78]


def test_numbers_of_very_many_pairs_are_found_in_parts(
    sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block, "MOST", 30)
    u, p = np.random.default_rng(0).random((2, 100, 6, 6), np.float32)
    some = [i for i in range(100) if i not in (31, 32, 60, 99)]
    for i, pair in zip(some, pairs_of(u, p, some), strict=True):
        assert lm.kendall(pair) == lm.kendall(lm.MapPair(u[i], p[i]))
    assert sizes == [30, 30, 30, 7]


def test_a_pair_of_a_block_answers_what_no_earlier_pair_was_asked() -> None:
    u, p = np.random.default_rng(0).random((2, 80, 6, 6))
    for i, pair in enumerate(pairs_of(u, p, range(80))):
        alone = lm.MapPair(u[i], p[i])
        assert lm.kendall(pair) == lm.kendall(alone)
        assert lm.lens_recall(pair, k=1 + i % 5, w=i % 3) == lm.lens_recall(alone, k=1 + i % 5, w=i % 3)
        if i > 0:  # a pair that is asked for its order says nothing about others
            assert pair.order("perturbed").tolist() == alone.order("perturbed").tolist()
        assert pair.diverse_overlap(2, i % 2) == alone.diverse_overlap(2, i % 2)
        with pytest.raises(ValueError, match="got True"):
            pair.overlap(True, 1)
