"""Hypothesis strategies for tiny pairs of maps, which are hard for orders, ties and borders."""

from dataclasses import dataclass
from typing import Any, Literal

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import numpy.typing as npt
import pytest

from tests.reference import parameters

Map = npt.NDArray[Any]
Shape = tuple[int, int]
Which = Literal["unperturbed", "perturbed"]

WHICH: tuple[Which, Which] = ("unperturbed", "perturbed")

DType = np.dtype[Any]

LARGE = 6000  # pixels; above it an uncompiled loop takes seconds

DTYPES: tuple[DType, ...] = (np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True)
class Case:
    """A pair of maps, and parameters that every metric accepts for it."""

    unperturbed: Map
    perturbed: Map
    k: int
    w: int
    pool: int

    @property
    def shape(self) -> Shape:
        height, width = self.unperturbed.shape
        return height, width

    def arguments(self, name: str) -> dict[str, int]:
        """Return the parameters that one metric takes."""
        return {parameter: getattr(self, parameter) for parameter in parameters(name)}


def each_shape(*some: Shape) -> pytest.MarkDecorator:
    """Run a test once per shape; large shapes get the mark `large`."""
    return pytest.mark.parametrize(
        "shape",
        [
            pytest.param(
                shape, id=f"{shape[0]}x{shape[1]}", marks=[pytest.mark.large] * (shape[0] * shape[1] > LARGE)
            )
            for shape in some
        ],
    )


def indicator(shape: Shape, *ones: tuple[int, int]) -> Map:
    """Return a map that is 1 on some pixels and 0 elsewhere."""
    result = np.zeros(shape)
    for pixel in ones:
        result[pixel] = 1
    return result


def shapes() -> st.SearchStrategy[Shape]:
    """Draw one pixel, one row, one column, or up to 7 x 7."""
    side = st.integers(2, 7)
    line = st.integers(2, 12)
    return st.one_of(
        st.just((1, 1)),
        st.tuples(st.just(1), line),
        st.tuples(line, st.just(1)),
        st.tuples(side, side),
    )


def eighths() -> st.SearchStrategy[float]:
    """Draw small multiples of 1/8, including both zeros: their sums are exact in any order."""
    return st.one_of(st.sampled_from([0.0, -0.0]), st.integers(-32, 32).map(lambda i: i / 8))


def levels() -> st.SearchStrategy[float]:
    """Draw from few values, so that most pixels are tied."""
    return st.sampled_from([0.0, -0.0, 0.5, 1.0, -1.0])


def extremes(dtype: DType) -> st.SearchStrategy[float]:
    """Draw both ends of the number line, denormals, and values one unit in the last place apart."""
    info = np.finfo(dtype)
    tiny, largest, eps = float(info.smallest_subnormal), float(info.max), float(info.eps)
    positive = [0.0, tiny, 2 * tiny, float(info.tiny), 1.0, 1.0 + eps, 1.0 - eps / 2, largest / 2, largest]
    return st.sampled_from(positive + [-value for value in positive])


def any_finite(dtype: DType) -> st.SearchStrategy[float]:
    return hnp.from_dtype(dtype, allow_nan=False, allow_infinity=False)


def exact_maps(shape: Shape, dtype: DType) -> st.SearchStrategy[Map]:
    """Draw maps of multiples of 1/8: constant, heavily tied, or spread."""
    return st.one_of(
        *(hnp.arrays(dtype, shape, elements=elements) for elements in (levels(), eighths())),
        eighths().map(lambda value: np.full(shape, value, dtype)),
    )


def maps(shape: Shape, dtype: DType) -> st.SearchStrategy[Map]:
    """Draw maps of any finite values; sums over them may overflow."""
    wild = (extremes(dtype), any_finite(dtype))
    return st.one_of(
        exact_maps(shape, dtype), *(hnp.arrays(dtype, shape, elements=elements) for elements in wild)
    )


def changed(draw: st.DrawFn, a: Map) -> Map:
    """Add noise of multiples of 1/8 to some pixels: many pixels keep their place."""
    noise = draw(hnp.arrays(a.dtype, a.shape, elements=st.sampled_from([0.0, 0.0, 0.0, 0.125, -0.125, 1.0])))
    with np.errstate(over="ignore"):
        noisy: Map = a + noise
    return np.where(np.isfinite(noisy), noisy, a)


def with_parameters(draw: st.DrawFn, unperturbed: Map, perturbed: Map) -> Case:
    """Add k, w and pool, often a small k and a pool of all pixels: otherwise few diverse sets exist."""
    n_pixels = unperturbed.size
    return Case(
        unperturbed,
        perturbed,
        k=draw(st.integers(1, min(4, n_pixels)) | st.integers(1, n_pixels)),
        w=draw(st.integers(0, 4)),
        pool=draw(st.just(n_pixels) | st.integers(1, n_pixels)),
    )


@st.composite
def cases(draw: st.DrawFn, *, exact: bool = False, shape: st.SearchStrategy[Shape] | None = None) -> Case:
    """Draw pairs with k, w and pool.

    The perturbed map is drawn separately, possibly in another precision, or is the unperturbed one plus
    noise. ``exact`` asks for maps whose sums are exact in any order.
    """
    some = exact_maps if exact else maps
    size = draw(shapes() if shape is None else shape)
    unperturbed = draw(some(size, draw(st.sampled_from(DTYPES))))
    if draw(st.booleans()):
        perturbed = changed(draw, unperturbed)
    else:
        perturbed = draw(some(size, draw(st.sampled_from(DTYPES))))
    return with_parameters(draw, unperturbed, perturbed)


@st.composite
def tie_free_cases(draw: st.DrawFn) -> Case:
    """Draw pairs of float64 maps without ties, of multiples of 1/8."""
    size = draw(shapes())
    n_pixels = size[0] * size[1]

    def shuffled() -> Map:
        order = draw(st.permutations(range(n_pixels)))
        return (np.array(order, dtype=np.float64).reshape(size) - n_pixels // 3) / 8

    return with_parameters(draw, shuffled(), shuffled())
