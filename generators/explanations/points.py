"""Means over many points of the input, computed in chunks, for path and smoothing methods.

A point is ``scale * (image + offset)``. One pass of the network takes at most `chunk_size` points, and each
point is used once, so memory depends neither on the number of samples nor on that of points. Sums are in
float64: in float32 the mean of 1,500 equal unit maps had a norm of 1.0000015, and the bound of a certificate
is 1.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

# (images + offset, points, labels, differentiable) -> one value per point, of any shape (point, ...)
Term = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, bool], torch.Tensor]
# (samples, points per pass) -> scale and offset, which broadcast to (point, sample, channel, height, width)
Draws = Callable[[slice, int], Iterator[tuple[torch.Tensor, torch.Tensor]]]


# Random numbers that one call draws for a sample. It decides which draws a seed gives, not only the speed.
_BLOCK = 2**14


def random_draws(
    images: torch.Tensor,
    seeds: Sequence[Sequence[int]],
    n_draws: int,
    place: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
) -> Draws:
    """Return draws that depend on the seed of each sample alone, not on batches and chunks.

    They are made on the device of the images, in float32 also for images in float64. One kind of device
    gives other draws than another.

    `place` turns numbers uniform in [0, 1) (point, sample, 1, 1, 1) and normal noise (point, sample, channel,
    height, width) into scale and offset.
    """
    if len(seeds) != len(images):
        raise ValueError(f"{len(images)} samples need as many seeds, got {len(seeds)}")

    def draws(rows: slice, per_pass: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        randoms = [_generators(seed, images.device) for seed in seeds[rows]]
        uniform = _blocks(torch.rand, [one for one, _ in randoms], n_draws, (1, 1, 1))
        normal = _blocks(torch.randn, [one for _, one in randoms], n_draws, images.shape[1:])
        for both in zip(_regrouped(uniform, per_pass), _regrouped(normal, per_pass), strict=True):
            yield place(*(part.to(images) for part in both))

    return draws


def _generators(seed: Sequence[int], device: torch.device) -> tuple[torch.Generator, torch.Generator]:
    """Return two generators of a sample; torch takes one number of 64 bits as the seed of each."""
    one, other = np.random.SeedSequence(seed).generate_state(2, np.uint64).tolist()
    return torch.Generator(device).manual_seed(one), torch.Generator(device).manual_seed(other)


def _blocks(
    kind: Callable[..., torch.Tensor],
    randoms: Sequence[torch.Generator],
    n_draws: int,
    shape: Sequence[int],
) -> Iterator[torch.Tensor]:
    """Yield random numbers (draw, sample, *shape), in blocks whose size only `shape` decides."""
    per_block = max(1, _BLOCK // max(1, math.prod(shape)))
    for start in range(0, n_draws, per_block):
        size = (min(per_block, n_draws - start), *shape)
        yield torch.stack([kind(size, generator=one, device=one.device) for one in randoms], dim=1)


def _regrouped(blocks: Iterator[torch.Tensor], n_rows: int) -> Iterator[torch.Tensor]:
    """Yield the rows of all blocks again, `n_rows` at a time."""
    waiting: list[torch.Tensor] = []
    for block in blocks:
        waiting.append(block)
        if sum(map(len, waiting)) >= n_rows:
            rows = torch.cat(waiting)
            n_full = len(rows) // n_rows * n_rows
            yield from torch.split(rows[:n_full], n_rows)
            waiting = [rows[n_full:]]
    if sum(map(len, waiting)):
        yield torch.cat(waiting)


def mean_over_points(
    term: Term,
    draws: Draws,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    n_points: int,
    chunk_size: int | None,
    differentiable: bool,
) -> torch.Tensor:
    """Return the mean of `term` over the points of each sample.

    With a `chunk_size`, a differentiable mean of several chunks keeps no graph: its value is computed chunk
    by chunk, and each chunk is computed again for the gradient. That gradient has no graph, and parameters
    get no gradient. Without `chunk_size`, a pass takes one point of every sample and the graph of all points
    is kept, which is more than a third faster if memory suffices.
    """
    if n_points < 1:
        raise ValueError(f"the number of points must be at least 1, got {n_points}")
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1, or None, got {chunk_size}")
    size = max(1, len(images)) if chunk_size is None else chunk_size
    is_one_graph = chunk_size is None or n_points * len(images) <= chunk_size
    total: torch.Tensor
    if is_one_graph or not differentiable:
        total = _sum(term, draws, images, labels, size, differentiable)
    else:
        chunked_sum: Any = _ChunkedSum.apply
        total = chunked_sum(images, labels, term, draws, size)
    return (total / n_points).to(images)


def _sum(
    term: Term, draws: Draws, images: torch.Tensor, labels: torch.Tensor, size: int, differentiable: bool
) -> torch.Tensor:
    parts = []
    for rows, per_pass in _rows(len(images), size):
        chunks = draws(rows, per_pass)
        total = _chunk(term, next(chunks), images[rows], labels[rows], differentiable)
        for chunk in chunks:
            total = total + _chunk(term, chunk, images[rows], labels[rows], differentiable)
        parts.append(total)
    return torch.cat(parts)


def _rows(n_samples: int, size: int) -> Iterator[tuple[slice, int]]:
    """Yield the samples that share a pass, and the number of points that it takes of each."""
    for start in range(0, max(1, n_samples), size):
        rows = slice(start, min(start + size, n_samples))
        yield rows, size // max(1, rows.stop - start)


def _chunk(
    term: Term,
    chunk: tuple[torch.Tensor, torch.Tensor],
    images: torch.Tensor,
    labels: torch.Tensor,
    differentiable: bool,
) -> torch.Tensor:
    """Return the sum of `term` over the points of one chunk, per sample, in float64."""
    scale, offset = chunk
    shifted = images + offset
    points = scale * shifted
    shape = points.shape[:2]
    values = term(
        shifted.expand_as(points).flatten(0, 1), points.flatten(0, 1), labels.repeat(shape[0]), differentiable
    )
    return values.reshape(*shape, *values.shape[1:]).sum(0, dtype=torch.float64)


class _ChunkedSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, images: torch.Tensor, labels: torch.Tensor, term: Term, draws: Draws, size: int
    ) -> torch.Tensor:
        ctx.save_for_backward(images, labels)
        ctx.term, ctx.draws, ctx.size = term, draws, size
        return _sum(term, draws, images, labels, size, False)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, None, None, None, None]:
        images, labels = ctx.saved_tensors
        result = torch.zeros_like(images)
        for rows, per_pass in _rows(len(images), ctx.size):
            for chunk in ctx.draws(rows, per_pass):
                with torch.enable_grad():
                    inputs = images[rows].detach().requires_grad_(True)
                    value = _chunk(ctx.term, chunk, inputs, labels[rows], True)
                (part,) = torch.autograd.grad(value, inputs, upstream[rows])
                result[rows] += part
        return result, None, None, None, None
