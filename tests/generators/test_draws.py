"""Random points: their law, and that they depend on the seed of the sample alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import beta, chisquare, kstest

from generators.explanations import points, uniform_smooth
from generators.explanations.points import random_draws

CUDA = pytest.param(
    "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
)
SEEDS = [(0, 3, 1), (0, 4, 1), (5, 3, 2)]


def drawn(
    shape: Sequence[int],
    n_draws: int,
    per_pass: int,
    rows: slice = slice(0, 3),
    device: str = "cpu",
    dtype: Any = torch.float32,
) -> tuple[Any, Any]:
    """Uniform numbers (draw, sample, 1, 1, 1) and normal noise (draw, sample, channel, height, width)."""
    images = torch.zeros((3, *shape), device=device, dtype=dtype)
    chunks = list(random_draws(images, SEEDS, n_draws, lambda *both: both)(rows, per_pass))
    assert [len(normal) for _, normal in chunks[:-1]] == [per_pass] * (len(chunks) - 1)
    uniform, normal = (torch.cat(parts) for parts in zip(*chunks, strict=True))
    assert normal.shape == (n_draws, rows.stop - rows.start, *shape)
    return uniform, normal


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 30, 31), (1, 130, 130)], ids=["small", "block", "large"])
def test_draws_depend_neither_on_batch_nor_on_chunk(shape: tuple[int, ...], device: str) -> None:
    """Blocks hold 819 draws of the small shape, 5 of the next, and 1 of the large one."""
    n_draws = {20: 2000, 2790: 23, 16900: 4}[int(np.prod(shape))]
    uniform, normal = drawn(shape, n_draws, n_draws, device=device)
    for per_pass in (1, 2, 7, 15, 10_000):
        for rows in (slice(0, 3), slice(1, 2), slice(0, 2)):
            again = drawn(shape, n_draws, per_pass, rows, device)
            assert torch.equal(again[0], uniform[:, rows])
            assert torch.equal(again[1], normal[:, rows])


def test_draws_in_float64_are_those_in_float32() -> None:
    for one, other in zip(drawn((1, 4, 5), 30, 8), drawn((1, 4, 5), 30, 8, dtype=torch.float64), strict=True):
        assert torch.equal(one.double(), other)


def test_draws_do_not_touch_the_global_generator() -> None:
    state = torch.random.get_rng_state()
    drawn((1, 4, 5), 30, 8)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_streams_differ_between_seeds_and_within_one() -> None:
    _, normal = drawn((1, 4, 5), 900, 100)  # two blocks
    rows = normal.reshape(2700, 20)
    assert len(torch.unique(rows, dim=0)) == 2700
    correlation = torch.corrcoef(normal.transpose(0, 1).reshape(3, -1))
    assert (correlation - torch.eye(3)).abs().max() < 5 / 18_000**0.5


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize("shape", [(1, 2, 3), (3, 4, 4)])
def test_points_are_uniform_in_the_ball(shape: tuple[int, ...], device: str) -> None:
    """(r / radius)^d is uniform, directions have no axis, and each halfspace has half of the points."""
    radius, n_draws = 0.7, 4000
    dim = int(np.prod(shape))
    seen: list[Any] = []

    def model(at: torch.Tensor) -> torch.Tensor:
        seen.append(at.detach())
        return at.flatten(1).sum(1, keepdim=True)

    network: Any = model
    images = torch.full((1, *shape), 0.25, device=device)
    labels = torch.zeros(1, dtype=torch.long, device=device)
    uniform_smooth(network, images, labels, seeds=[(8,)], n_draws=n_draws, radius=radius, chunk_size=999)
    offsets = (torch.cat(seen) - images).flatten(1).double().cpu()
    lengths = offsets.norm(dim=1) / radius
    assert lengths.max() < 1 + 1e-6
    assert kstest(lengths.numpy() ** dim, "uniform").pvalue > 0.001
    # Of directions uniform on the sphere, any coordinate squared has the law Beta(1/2, (d - 1) / 2).
    directions = offsets / offsets.norm(dim=1, keepdim=True)
    turned = torch.linalg.qr(torch.randn((dim, dim), generator=torch.Generator().manual_seed(1)))[0].double()
    for coordinates in ((directions @ turned)[:, 0], directions[:, -1]):
        law = beta(0.5, (dim - 1) / 2)
        assert kstest(coordinates.square().numpy(), law.cdf).pvalue > 0.001
    signs = (offsets[:, :3] > 0).int() @ torch.tensor([1, 2, 4], dtype=torch.int32)
    assert chisquare(torch.bincount(signs, minlength=8).numpy()).pvalue > 0.001


def test_regrouped_rows_are_the_same_rows() -> None:
    rows = torch.arange(23)
    for sizes in ([23], [5, 5, 5, 5, 3], [1] * 23, [20, 3]):
        for n_rows in (1, 2, 5, 22, 23, 24):
            parts = list(points._regrouped(iter(torch.split(rows, sizes)), n_rows))
            assert torch.equal(torch.cat(parts), rows)
            assert {len(part) for part in parts[:-1]} <= {n_rows}
            assert 1 <= len(parts[-1]) <= n_rows


def test_many_equal_unit_maps_have_norm_one() -> None:
    """A linear network has one map, so that the mean of any number of draws has norm 1 and not more."""
    weights = torch.rand((1, 3, 12, 12), generator=torch.Generator().manual_seed(3))

    def model(at: torch.Tensor) -> torch.Tensor:
        return (at * weights).flatten(1).sum(1, keepdim=True)

    network: Any = model
    images, labels = torch.zeros((1, 3, 12, 12)), torch.zeros(1, dtype=torch.long)
    found = uniform_smooth(network, images, labels, seeds=[(1,)], n_draws=1500, chunk_size=1)
    assert float(found.double().norm()) == pytest.approx(1, abs=1e-7)


def test_memory_does_not_depend_on_the_number_of_draws() -> None:
    images = torch.zeros((3, 1, 4, 5))
    first = next(random_draws(images, SEEDS, 2**62, lambda *both: both)(slice(0, 3), 7))
    assert [tuple(part.shape) for part in first] == [(7, 3, 1, 1, 1), (7, 3, 1, 4, 5)]
