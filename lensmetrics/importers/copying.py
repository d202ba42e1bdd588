"""Copy arrays on disk into a new pair file, block by block."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ..disk import check_space, part_path
from ..pairfile.format import DEFAULT_REDUCTION, MAPS, REDUCTIONS
from ..pairfile.precision import exact_dtype, rounded
from ..pairfile.writer import PairWriter
from .source import Source

# The size of a block of maps, in float64.
BLOCK_BYTES = 32 * 2**20


def copy_pairs(
    unperturbed: Source,
    perturbed: Source,
    columns: Mapping[str, NDArray[Any]],
    target: Path,
    attrs: Mapping[str, Any],
    rounded_to: str | None,
) -> list[str]:
    """Copy the maps block by block, and return what the user should know about them.

    Parameters
    ----------
    columns
        Further variables of the pair file.
    rounded_to
        The type to round to, None to keep every value.
    """
    n, *channels, height, width = unperturbed.shape
    length = max(1, BLOCK_BYTES // (8 * math.prod(unperturbed.shape[1:])))
    blocks = [slice(start, min(start + length, n)) for start in range(0, n, length)]
    both = dict(zip(MAPS, (unperturbed, perturbed), strict=True))
    if rounded_to is None:
        dtype = max(
            (_exact(source, role, blocks) for role, source in both.items()), key=lambda it: it.itemsize
        )
    else:
        dtype = np.dtype(rounded_to)
    check_space(target.parent, 2 * dtype.itemsize * math.prod(unperturbed.shape), f"{target}")
    writer = PairWriter(
        target,
        n_samples=n,
        shape=(height, width),
        channels=channels[0] if channels else None,
        attrs=attrs,
        dtype=dtype,
    )
    n_ties, negative, same = 0, False, True
    try:
        with writer, tqdm(total=n, desc=f"import {target.name}", unit="sample", disable=None) as progress:
            for rows in blocks:
                maps = []
                for role, source in both.items():
                    block = source.read(rows)
                    if rounded_to is None:
                        block = np.ascontiguousarray(block, dtype=dtype)
                    else:
                        block, n_new = rounded(block, dtype, role)
                        n_ties += n_new
                    negative = negative or _ranks_negative(block, attrs.get("reduction", DEFAULT_REDUCTION))
                    maps.append(block)
                # One sample tells it in most files, and comparing all of them takes a tenth of the time.
                same = same and all(
                    np.array_equal(maps[0][part], maps[1][part], equal_nan=True)
                    for part in (slice(1), slice(1, None))
                )
                writer.write(rows, *maps, **{name: values[rows] for name, values in columns.items()})
                progress.update(rows.stop - rows.start)
            for source in both.values():
                if source.refuse_changes is not None:
                    source.refuse_changes()
    except BaseException:
        # Both inputs still exist, so half a copy is worth nothing.
        if writer.current == part_path(target):
            writer.current.unlink(missing_ok=True)
        raise
    notes = []
    if same:
        notes.append(
            "all maps are the same before and after the attack, so that scores say that nothing changed: "
            "check which files were given"
        )
    if rounded_to is not None:
        notes.append(
            f"new ties in {dtype.name}: {n_ties} (values of one map that differed and are now equal)"
        )
    if negative:
        notes.append(
            "the maps hold negative values: top-k sets are of the largest signed values, so that negative "
            "attributions rank last; import absolute values where the sign does not matter"
        )
    return notes


def _exact(source: Source, role: str, blocks: list[slice]) -> np.dtype[Any]:
    """Return the narrowest type that holds an array exactly; only wide integers must be read to tell."""
    if source.dtype.kind == "f" or source.dtype.itemsize <= 2:
        return exact_dtype(np.empty(0, source.dtype), role)
    return max((exact_dtype(source.read(rows), role) for rows in blocks), key=lambda it: it.itemsize)


def _ranks_negative(block: NDArray[Any], reduction: str) -> bool:
    """Return whether a map has a negative pixel after the reduction of its channels."""
    if block.ndim == 4:
        if reduction.startswith("abs"):
            return False
        block = REDUCTIONS[reduction](block)
    return bool((block < 0).any())
