"""The bounds of uniform smoothing: closed forms, twins in exact arithmetic, laws, and refused inputs."""

import math
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lensmetrics as lm
from lensmetrics.certificates.bounds import smallest_radius
from tests.reference.certificates import cosine_bound, unshared

CLOSED_FORMS = {
    1: lambda t: 1 - t,
    2: lambda t: 2 / math.pi * (math.acos(t) - t * math.sqrt(1 - t * t)),
    3: lambda t: 1 - 1.5 * t + 0.5 * t**3,
}
DIMENSIONS = (1, 2, 3, 28 * 28, 3 * 32 * 32, 3 * 224 * 224)
dims = st.sampled_from(DIMENSIONS)
shares = st.floats(1e-9, 2)  # eps over radius
signs = st.booleans()


@pytest.mark.parametrize("dim", CLOSED_FORMS)
@pytest.mark.parametrize("t", [0, 0.001, 0.3, 0.75, 1, 40, math.inf])
def test_overlap_has_its_closed_form_in_few_dimensions(dim: int, t: float) -> None:
    expected = CLOSED_FORMS[dim](min(t, 1))
    assert lm.ball_overlap(2 * t * 0.3, radius=0.3, dim=dim) == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("dim", [2, 3, 5])
def test_overlap_is_the_share_of_random_points(dim: int) -> None:
    rng = np.random.default_rng(dim)
    n, radius, eps = 200_000, 2.0, 1.3
    normal = rng.normal(size=(n, dim))
    points = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    points *= radius * rng.random((n, 1)) ** (1 / dim)
    points[:, 0] -= eps
    found = (np.linalg.norm(points, axis=1) <= radius).mean()
    assert lm.ball_overlap(eps, radius, dim) == pytest.approx(found, abs=4 * 0.5 / math.sqrt(n))


@pytest.mark.parametrize("dim", DIMENSIONS)
@pytest.mark.parametrize("eps", [1e-8, 1e-4, 0.002, 0.04, 0.5, 1.9])
def test_overlap_keeps_its_digits_in_any_dimension(dim: int, eps: float) -> None:
    if dim * eps**2 > 4000:  # too many terms for the twin, and an overlap below 1e-300
        assert lm.ball_overlap(eps, radius=1, dim=dim) < 1e-100
        return
    rho = unshared(eps, 1, dim)
    assert lm.ball_overlap(eps, radius=1, dim=dim) == pytest.approx(1 - rho, rel=1e-12, abs=1e-16)
    if rho < 1e-3:  # where 1 - overlap would lose them
        tight = lm.certified_cosine_published(1e-6, eps=eps, radius=1, dim=dim)
        assert 1e-6 * math.sqrt((1 - tight) * (1 + tight)) / tight / 2 == pytest.approx(rho, rel=1e-6)


@given(norm=st.floats(0, 1), eps=st.floats(1e-9, 1.9), dim=st.sampled_from((1, 2, 3, 784)), nonnegative=signs)
def test_certified_cosine_equals_its_twin(norm: float, eps: float, dim: int, nonnegative: bool) -> None:
    found = lm.certified_cosine(
        3 * norm, eps=0.5 * eps, radius=0.5, dim=dim, bound=3, nonnegative=nonnegative
    )
    rho = 1.0 if eps > 1 and dim > 500 else unshared(eps, 1, dim)
    expected = cosine_bound(norm, rho, 1, nonnegative=nonnegative)
    assert found == pytest.approx(expected, abs=1e-7, nan_ok=True)


@given(eps=st.lists(shares, min_size=2, max_size=5), dim=dims, norm=st.floats(1e-6, 1), nonnegative=signs)
def test_a_larger_perturbation_has_a_lower_bound(
    eps: list[float], dim: int, norm: float, nonnegative: bool
) -> None:
    eps = sorted(eps)
    assert (np.diff(lm.ball_overlap(eps, radius=1, dim=dim)) <= 0).all()
    assert (np.diff(lm.ball_overlap(0.1, radius=[1 / e for e in eps], dim=dim)) <= 0).all()
    cosines = lm.certified_cosine(norm, eps=eps, radius=1, dim=dim, nonnegative=nonnegative)
    assert ((cosines >= 0) & (cosines <= 1) | np.isnan(cosines)).all()
    assert (np.diff(np.where(np.isnan(cosines), -1, cosines)) <= 0).all()
    assert nonnegative <= (not np.isnan(cosines).any())


@given(norms=st.lists(st.floats(0, 1), min_size=2, max_size=5), eps=shares, dim=dims, nonnegative=signs)
def test_a_longer_map_has_a_higher_bound(norms: list[float], eps: float, dim: int, nonnegative: bool) -> None:
    cosines = lm.certified_cosine(sorted(norms), eps=eps, radius=1, dim=dim, nonnegative=nonnegative)
    assert (np.diff(np.where(np.isnan(cosines), -1, cosines)) >= 0).all()
    signed = lm.certified_cosine(sorted(norms), eps=eps, radius=1, dim=dim)
    assert (np.isnan(signed) | (signed <= cosines)).all()


@given(norm=st.floats(1e-3, 1), cosine=st.floats(0, 1), dim=dims, nonnegative=signs)
def test_cosine_and_perturbation_lead_back_to_each_other(
    norm: float, cosine: float, dim: int, nonnegative: bool
) -> None:
    how: dict[str, Any] = {"dim": dim, "bound": 1.5, "nonnegative": nonnegative}
    eps = lm.certified_eps(norm, cosine=cosine, radius=0.7, **how)
    if cosine == 0:
        # At the largest perturbation, signed maps are at a right angle, where nothing is proved.
        below = 0.0 if nonnegative else math.nan
        assert math.isinf(eps) == nonnegative
        assert lm.certified_cosine(norm, eps=2 * eps, radius=0.7, **how) == pytest.approx(below, nan_ok=True)
        return
    back = lm.certified_cosine(norm, eps=eps, radius=0.7, **how)
    assert np.nan_to_num(back) ** 2 == pytest.approx(cosine**2, abs=1e-10)
    if eps > 0:
        assert smallest_radius(norm, cosine=cosine, eps=eps, **how) == pytest.approx(0.7, rel=1e-10)
    if 0.01 < cosine < 0.999:
        assert back == pytest.approx(cosine, rel=1e-10)
        assert lm.certified_eps(norm, cosine=back, radius=0.7, **how) == pytest.approx(eps, rel=1e-10)


def test_bounds_are_those_of_maps_that_exist() -> None:
    """On a line, with eps 0.4 and radius 1, rho is 0.2; these maps are as long as the bound allows."""
    rho, bound = 0.2, 1.25
    only_first = np.array([0.625, -math.sqrt(bound**2 - 0.625**2)])
    shared = (np.array([1, 0]) - rho * only_first) / (1 - rho)
    assert np.linalg.norm(shared) <= bound
    first, second = ((1 - rho) * shared + rho * sign * only_first for sign in (1, -1))
    assert first == pytest.approx([1, 0])
    assert second == pytest.approx([0.75, 0.433], abs=1e-3)
    cosine = float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))
    how: dict[str, Any] = {"eps": 0.4, "radius": 1, "dim": 1, "bound": bound}
    assert cosine == pytest.approx(0.866, abs=1e-3)
    assert lm.certified_cosine(1, **how) == pytest.approx(cosine)  # no better bound exists
    assert lm.certified_cosine_published(1, **how) == pytest.approx(0.894, abs=1e-3)
    # Nonnegative: with rho 0.6, no map at the shared points and maps of norm 1 at the others.
    how = {"eps": 1.2, "radius": 1, "dim": 1}
    assert lm.certified_cosine(0.6, nonnegative=True, **how) == 0
    assert lm.certified_cosine_published(0.6, **how) == pytest.approx(0.6 / math.sqrt(0.36 + 1.44))


def test_values_at_the_ends() -> None:
    how: dict[str, Any] = {"radius": 1, "dim": 784}
    for nonnegative in (False, True):
        signed = {**how, "nonnegative": nonnegative}
        nothing = lm.certified_cosine([0, math.nan, 0.5], eps=[0, 0, math.nan], **signed)
        assert np.isnan(nothing).all()
        assert lm.certified_cosine([0.1, 1], eps=0, **signed).tolist() == [1, 1]
        assert np.isnan(lm.certified_eps([0, math.nan], cosine=0.5, **signed)).all()
        assert lm.certified_eps(0.5, cosine=1, **signed) == 0
        assert np.isnan(lm.certified_eps(0, cosine=0, **signed))
        for eps in (0.3, math.inf):
            at = lm.certified_cosine(0.1, eps=eps, **signed)
            assert at == 0 if nonnegative else math.isnan(at)
    assert math.isnan(lm.ball_overlap(math.nan, 1, 2))
    assert math.isnan(lm.certified_cosine_published(0, eps=0.1, **how))
    assert smallest_radius([0.5, 0.5, 0.0], cosine=[0.9, 1, 0.9], eps=[0, 1, 0], dim=9) == pytest.approx(
        [0, math.inf, math.nan], nan_ok=True
    )


def test_arguments_broadcast() -> None:
    norms, eps = np.array([[0.5], [0.8]], np.float32), [0.001, 0.002, 0.004]
    found = lm.certified_cosine(norms, eps=eps, radius=1, dim=784)
    assert found.shape == (2, 3)
    assert found[1, 2] == lm.certified_cosine(norms[1, 0], eps=0.004, radius=1, dim=784)
    assert isinstance(lm.certified_cosine(np.float32(0.5), eps=0.1, radius=1, dim=9), float)
    assert lm.certified_eps([], cosine=0.5, radius=1, dim=9).shape == (0,)
    assert lm.ball_overlap(0.1, [1, 2], [[3], [4], [5]]).shape == (3, 2)


def test_rounding_of_a_norm_is_no_contradiction() -> None:
    one = lm.certified_cosine(1, eps=0.01, radius=1, dim=784)
    assert lm.certified_cosine(1 + 5e-6, eps=0.01, radius=1, dim=784) == one


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"eps": -0.1}, "eps must be an l2 norm, 0 or more, got -0.1"),
        ({"eps": [0.1, -3]}, "eps must be an l2 norm, 0 or more, got -3"),
        ({"eps": "0.1"}, "eps must be a number or an array of numbers, got '0.1'"),
        ({"eps": True}, "eps must be a number or an array of numbers, got True"),
        ({"radius": 0}, "radius must be a finite number above 0, got 0"),
        ({"radius": math.nan}, "radius must be a finite number above 0, got nan"),
        ({"radius": math.inf}, "radius must be a finite number above 0, got inf"),
        ({"dim": 0}, "dim must be a whole number from 1 on, C H W for images, got 0"),
        ({"dim": 2.5}, "dim must be a whole number from 1 on, C H W for images, got 2.5"),
        ({"dim": math.inf}, "dim must be a whole number from 1 on, C H W for images, got inf"),
        ({"bound": 0}, "bound must be a finite number above 0, got 0"),
        ({"norm": -1}, "norm must be 0 or more, got -1"),
        ({"norm": 1j}, "norm must be a number or an array of numbers, got 1j"),
        ({"norm": [0.5, 1.001]}, "norm 1.001 is above bound 1: a mean cannot be longer than"),
        ({"norm": [0.5, 2], "bound": [[3], [1.5]]}, "norm 2 is above bound 1.5"),
        ({"nonnegative": 2}, "nonnegative must be True or False, got 2"),
        ({"nonnegative": "no"}, "nonnegative must be True or False, got 'no'"),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(change: dict[str, Any], problem: str) -> None:
    words: dict[str, Any] = {"norm": 0.5, "eps": 0.1, "radius": 1, "dim": 9, **change}
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}"):
        lm.certified_cosine(words.pop("norm"), **words)


@pytest.mark.parametrize("cosine", [-0.1, 1.1, math.nan])
def test_a_wanted_cosine_is_between_0_and_1(cosine: float) -> None:
    with pytest.raises(ValueError, match=r"^cosine must be in \[0, 1\], got"):
        lm.certified_eps(0.5, cosine=cosine, radius=1, dim=9)


@given(
    st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=2, max_size=6),
    st.floats(0.01, 2.5),
    signs,
)
def test_no_map_on_a_line_breaks_a_bound(
    vectors: list[tuple[float, float]], eps: float, nonnegative: bool
) -> None:
    """The map is constant on intervals of length 0.7; balls of radius 1 are intervals around 0 and eps."""
    values = np.abs(vectors) if nonnegative else np.array(vectors)
    edges = -1 + 0.7 * np.arange(len(values) + 1)

    def smoothed(center: float) -> Any:
        inside = np.clip(edges, center - 1, center + 1)
        return np.diff(inside) @ values / 2

    first, second = smoothed(0), smoothed(eps)
    norms = np.linalg.norm([first, second], axis=1)
    if norms.min() < 1e-6:
        return
    bound = float(np.linalg.norm(values, axis=1).max())
    cosine = float(first @ second / norms.prod())
    how: dict[str, Any] = {"eps": eps, "radius": 1, "dim": 1, "bound": bound, "nonnegative": nonnegative}
    certified = lm.certified_cosine(norms, **how)
    assert (np.isnan(certified) | (cosine >= certified - 1e-9)).all()


@given(norm=st.floats(0.01, 1), eps=shares, dim=dims)
def test_the_published_formula_is_sound_for_nonnegative_maps_and_small_rho_alone(
    norm: float, eps: float, dim: int
) -> None:
    how: dict[str, Any] = {"eps": eps, "radius": 1, "dim": dim}
    published = lm.certified_cosine_published(norm, **how)
    rho = 1 - lm.ball_overlap(**how)
    is_below = published <= lm.certified_cosine(norm, nonnegative=True, **how) + 1e-12
    assert is_below or rho > norm / 2
    assert not is_below or rho <= norm / 2 + 1e-6
    signed = lm.certified_cosine(norm, **how)
    assert math.isnan(signed) or signed <= published + 1e-12
