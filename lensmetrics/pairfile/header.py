"""The header of a pair file: everything that is read once, when the file is opened."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .attributes import CHECKSUM, COVERED, UNFINISHED, metadata_checksum, read_attrs
from .checks import (
    check_beside,
    check_samples,
    check_stored,
    find_maps,
    read_column,
    read_names,
)
from .format import BESIDE_MAPS, DEFAULT_REDUCTION, REDUCTIONS
from .opening import load_filters, member_names, opened
from .variables import find_variable


@dataclass(frozen=True)
class Layout:
    """How the maps of a file are stored, and where."""

    shape: tuple[int, ...]  # of one map, ([channel,] height, width)
    dtype: np.dtype[Any]
    reduction: str
    filters: list[int]
    # Where the unperturbed and the perturbed maps begin in the file; None if HDF5 has to decode them.
    offsets: tuple[int, int] | None
    beside_bytes: int  # of the images, target and outputs of one sample

    @property
    def n_channels(self) -> int | None:
        """Length of the channel axis, None if there is none."""
        return self.shape[0] if len(self.shape) == 3 else None


@dataclass(frozen=True, eq=False)
class Columns:
    """The variables with one value per sample; those that a file does not have are None."""

    sample: NDArray[np.int64]
    complete: NDArray[np.bool_]
    checksum: NDArray[np.uint32]
    image_checksum: NDArray[np.uint32] | None
    name: NDArray[np.object_] | None
    label: NDArray[np.int64] | None
    prediction: NDArray[np.int64] | None
    prediction_perturbed: NDArray[np.int64] | None
    n_accepted: NDArray[np.int32] | None
    best_step: NDArray[np.int32] | None
    # float64, because a stored value that is not 0 must not become 0.
    perturbation_linf: NDArray[np.float64] | None
    perturbation_l2: NDArray[np.float64] | None

    def covered(self) -> dict[str, NDArray[Any]]:
        """Return the columns that `checksum_metadata` covers, as far as the file has them."""
        columns = {name: getattr(self, name) for name in COVERED}
        return {name: values for name, values in columns.items() if values is not None}


@dataclass(frozen=True, eq=False)
class Header:
    """The contents of a pair file except the values of maps, images, targets and outputs."""

    attrs: dict[str, Any]
    layout: Layout
    columns: Columns
    beside: tuple[str, ...]  # those of BESIDE_MAPS that the file has
    metadata_damaged: bool  # attributes or covered columns do not match `checksum_metadata`
    fingerprint: str


def read_header(path: Path) -> Header:
    """Open a pair file, check everything but the values of its maps, and return its header."""
    with opened(path) as file:
        names = member_names(path, file)
        attrs = read_attrs(path, file)
        reduction = str(attrs.get("reduction", DEFAULT_REDUCTION))
        if reduction not in REDUCTIONS:
            raise FormatError(f"{path}: unknown reduction {reduction!r}; allowed: {', '.join(REDUCTIONS)}")
        maps = find_maps(path, file)
        columns = _read_columns(path, file, names, len(maps[0]))
        beside = {name: find_variable(path, file, name) for name in BESIDE_MAPS if name in names}
        check_beside(path, beside, maps[0])
        n_complete = int(columns.complete.sum())
        for dataset in (*maps, *beside.values()):
            check_stored(path, dataset, n_complete)
        dtype = maps[0].dtype.newbyteorder("<")
        first, second = (maps_.offset if maps_.dtype == dtype else None for maps_ in maps)
        filters = sorted({code for dataset in (*maps, *beside.values()) for code in dataset.filter_codes()})
        load_filters(path, filters)
        layout = Layout(
            maps[0].shape[1:],
            dtype,
            reduction,
            filters,
            None if first is None or second is None else (first, second),
            sum(math.prod(dataset.shape[1:]) * dataset.dtype.itemsize for dataset in beside.values()),
        )
    check_samples(path, columns.sample, columns.complete)
    stored = attrs.get(CHECKSUM)
    if stored == UNFINISHED:
        del attrs[CHECKSUM]
    damaged = stored not in (None, UNFINISHED, metadata_checksum(attrs, columns.covered()))
    return Header(attrs, layout, columns, tuple(beside), damaged, fingerprint(attrs, layout, columns))


def _read_columns(path: Path, file: h5py.File, names: set[str], n: int) -> Columns:
    # First the largest of the columns that must be there.
    sample = read_column(path, file, "sample", n, np.int64)
    complete = read_column(path, file, "complete", n, np.uint8) != 0
    checksum = read_column(path, file, "checksum", n, np.uint32, complete)

    def column(name: str, dtype: type[np.generic]) -> NDArray[Any] | None:
        return read_column(path, file, name, n, dtype, complete) if name in names else None

    return Columns(
        sample=sample,
        complete=complete,
        checksum=checksum,
        image_checksum=column("image_checksum", np.uint32),
        name=read_names(path, file, n) if "name" in names else None,
        label=column("label", np.int64),
        prediction=column("prediction", np.int64),
        prediction_perturbed=column("prediction_perturbed", np.int64),
        n_accepted=column("n_accepted", np.int32),
        best_step=column("best_step", np.int32),
        perturbation_linf=column("perturbation_linf", np.float64),
        perturbation_l2=column("perturbation_l2", np.float64),
    )


def fingerprint(attrs: dict[str, Any], layout: Layout, columns: Columns) -> str:
    """Return a hash of the header; the checksums in it stand for the maps and images."""
    identity = ("sample", "complete", "checksum", "image_checksum", "label")
    every = {name: getattr(columns, name) for name in identity} | columns.covered()
    held = {name: values for name, values in every.items() if values is not None}
    described = (sorted(attrs.items()), layout.shape, layout.dtype.str, list(held))
    found = hashlib.blake2b(repr(described).encode(), digest_size=16)
    for values in held.values():
        found.update(repr(values.tolist()).encode() if values.dtype == object else values.tobytes())
    return found.hexdigest()
