"""Percentile bootstrap of means over source samples."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from .moments import Order

N_RESAMPLES = 2000
# Source samples whose draws and totals are processed together, so that they stay in the cache.
BLOCK_SAMPLES = 2**15
# Numbers in the weights that are drawn at a time.
_CHUNK = 2**20
# Means of groups of one size that share a matrix product, unless their totals exceed _TOTALS numbers.
_BATCH = 512
_TOTALS = 2**24


def intervals(
    columns: Sequence[npt.NDArray[np.float64]],
    mean: npt.NDArray[np.float64],
    wanted: Sequence[tuple[int, int]],
    order: Order,
    seed: int,
) -> Iterator[tuple[tuple[int, int], npt.NDArray[np.float64]]]:
    """Yield (group, metric) and the ends of its 95 % interval minus its mean, for each one wanted.

    Groups with equally many source samples share their draws, which take most of the time.
    """
    sizes = np.diff(order.first_source)
    by_size: dict[int, list[tuple[int, int]]] = {}
    for i, j in wanted:
        by_size.setdefault(int(sizes[i]), []).append((i, j))
    for n, members in by_size.items():
        length = max(1, min(_BATCH, _TOTALS // n))
        for start in range(0, len(members), length):
            batch = members[start : start + length]
            totals = np.empty((n, 2, len(batch)))
            for position, (i, j) in enumerate(batch):
                rows = slice(order.first_row[i], order.first_row[i + 1])
                values, source = columns[j][rows], order.source[rows] - order.first_source[i]
                defined = np.isfinite(values)
                deviation = np.where(defined, values - mean[i, j], 0.0)
                totals[:, 0, position] = np.bincount(source, deviation)
                totals[:, 1, position] = np.bincount(source, defined)
            sums = _resampled_sums(totals.reshape(n, -1), seed)
            deviation, defined = np.split(sums, 2, axis=1)
            with np.errstate(invalid="ignore", divide="ignore"):
                yield from zip(batch, _ends(deviation / defined), strict=True)


def mean_intervals(values: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float64]:
    """Return the ends (column, 2) of the 95 % intervals of the means of the columns of `values`.

    A row is a source sample, and all of them are defined. The draws depend on the number of rows and the
    seed alone, so differences of pairs are resampled as pairs.
    """
    n, n_columns = values.shape
    if n < 2:
        return np.full((n_columns, 2), np.nan)
    mean = values.mean(axis=0)
    return mean[:, np.newaxis] + _ends(_resampled_sums(values - mean, seed) / n)


def _ends(means: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the ends (mean, 2) of the intervals of means (resample, mean)."""
    ends = np.quantile(means, [0.025, 0.975], axis=0).T
    # A resample that contains no sample with a defined score has no mean.
    for i in np.flatnonzero(np.isnan(ends).any(axis=1)):
        ends[i] = np.nanquantile(means[:, i], [0.025, 0.975])
    return ends


def _resampled_sums(values: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float64]:
    """Return the sums (resample, column) of resampled rows of `values`, a row per source sample."""
    n, n_columns = values.shape
    resampled = np.empty((N_RESAMPLES, n_columns))
    rng = np.random.default_rng(seed)
    blocks = [slice(start, min(start + BLOCK_SAMPLES, n)) for start in range(0, n, BLOCK_SAMPLES)]
    sizes = np.array([block.stop - block.start for block in blocks])
    length = max(1, _CHUNK // min(n, BLOCK_SAMPLES))
    for start in range(0, N_RESAMPLES, length):
        rows = min(length, N_RESAMPLES - start)
        shares = rng.multinomial(n, sizes / n, size=rows)
        sums = np.zeros((rows, n_columns))
        for block, size, share in zip(blocks, sizes.tolist(), shares.T, strict=True):
            drawn = rng.integers(size, size=int(share.sum()))
            drawn += np.repeat(size * np.arange(rows), share)
            times = np.bincount(drawn, minlength=rows * size).reshape(rows, size).astype(np.float64)
            sums += times @ values[block]
        resampled[start : start + rows] = sums
    return resampled
