"""Pair files as the generators write, continue and recognize them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lensmetrics as lm

from .disk import make_folder, part_path
from .identity import refuse_other


def stored_settings(path: Path) -> dict[str, Any]:
    """Return the attributes of a pair file with the settings that show in its size."""
    store = lm.PairStore(path)
    return {**store.attrs, "samples": len(store), "shape": list(store.shape)}


def stored_images(path: Path) -> str | None:
    """Return the value of --store-images with which a pair file was made."""
    with lm.PairStore(path).to_xarray() as variables:
        if "image_perturbed" in variables:
            return "all"
        return "unperturbed" if "image" in variables else None


def open_writer(
    path: Path,
    chosen: NDArray[np.int64],
    shape: tuple[int, int],
    attrs: Mapping[str, Any],
    compared: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> lm.PairWriter:
    """Return a writer of a new file, or of the unfinished one that the same settings left behind.

    Parameters
    ----------
    path
        The name of the finished file.
    chosen, shape
        The sample of each position, and the height and width of the maps.
    attrs
        The attributes of a new file.
    compared
        Those of them that must be the same in an unfinished file.
    defaults
        The values of settings that an unfinished file does not mention.

    Raises
    ------
    ValueError
        If the unfinished file has other settings or other samples.
    """
    part = part_path(path)
    if not part.exists():
        make_folder(path)
        return lm.PairWriter(path, n_samples=len(chosen), shape=shape, attrs=attrs, dtype="float32")
    wanted = {**compared, "samples": len(chosen), "shape": list(shape)}
    remedy = f"use the same settings to continue, or delete {part} to start over"
    refuse_other(part, stored_settings(part), wanted, defaults, remedy=remedy)
    store = lm.PairStore(part)
    if (store.sample[store.complete] != chosen[store.complete]).any():
        raise ValueError(f"{part} has other samples than --data now gives; {remedy}")
    # Attributes of its origin, such as the command, stay as they are.
    return lm.PairWriter.resume(path, store.attrs)


def write(writer: lm.PairWriter, positions: NDArray[np.int64], columns: Mapping[str, NDArray[Any]]) -> None:
    """Write a batch at `positions`, in as few calls as their gaps allow."""
    for rows in _runs(positions):
        place = slice(int(positions[rows.start]), int(positions[rows.stop - 1]) + 1)
        writer.write(place, **{name: values[rows] for name, values in columns.items()})


def _runs(positions: NDArray[np.int64]) -> Iterator[slice]:
    """Yield slices of `positions` that rise by one: each is a slice of the file."""
    ends = [*np.flatnonzero(np.diff(positions) != 1).tolist(), len(positions) - 1]
    start = 0
    for end in ends:
        yield slice(start, end + 1)
        start = end + 1
