"""How a pair file lies on disk, so that a kill cannot tear it and netCDF-4 readers open it."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..disk import file_kind, part_path

# Checksummed metadata, and files that open after their writer was killed; "latest" files do not.
LIBVER = ("v108", "v108")
# What the netCDF library calls a dimension without coordinates; it looks for exactly these words.
_BARE_DIMENSION = "This is a netCDF dimension but not a netCDF variable.%10d"


def check_target(path: Path) -> None:
    """Refuse an output path at which something is already, or nothing can be."""
    part = part_path(path)
    if path.name.endswith(".part"):
        raise ValueError(f"{path}: give the name of the finished file, without .part")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; give the name of a file in it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no directory {path.parent}; create it")
    refuse_odd(part)
    refuse_odd(path)
    if path.exists():
        raise FileExistsError(f"{path} exists already: delete it, or choose another name")
    if part.exists():
        raise FileExistsError(
            f"{part} is an unfinished {path.name}: go on with PairWriter.resume({str(path)!r}, attrs=...), "
            "or delete it"
        )


def refuse_odd(path: Path) -> None:
    """Refuse what is not a plain file where a pair file is to be: a link would lead the writer elsewhere."""
    with suppress(FileNotFoundError, NotADirectoryError):
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):
            raise FileExistsError(
                f"{path} is {file_kind(mode)}, but a pair file is a plain file: remove it, or choose "
                "another name"
            )


def column_bytes(n_samples: int) -> int:
    """Room that columns take on the disk, texts aside, and the description of all variables."""
    return 2**17 + 13 * 8 * n_samples

    # Not every file system can; the next flush says then what went wrong.


def create_variable(
    file: h5py.File,
    name: str,
    dims: Mapping[str, int],
    dtype: np.dtype[Any],
    compression: Mapping[str, Any],
) -> h5py.Dataset:
    """Create a variable with these dimensions, of which the first is `sample`."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    options: dict[str, Any] = {}
    column = len(dims) == 1
    if compression and not column:
        options = {"chunks": (1, *list(dims.values())[1:]), "shuffle": True, **compression}
    else:
        # No metadata changes while values are written: a killed writer leaves a file that opens.
        properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    dataset = file.create_dataset(name, shape=tuple(dims.values()), dtype=dtype, dcpl=properties, **options)
    if column:  # maps and images stay holes in the file until they are written
        dataset[...] = {"i": -1, "u": 0, "f": np.nan, "S": b""}[dtype.kind]
    if dtype.kind == "S":
        dataset.attrs["_Encoding"] = "utf-8"  # else xarray gives bytes
    if name in dims:
        dataset.make_scale(name)
        return dataset
    for axis, (dim, size) in enumerate(dims.items()):
        if dim not in file:
            bare = file.create_dataset(dim, shape=(size,), dtype=">f4")
            bare.make_scale(_BARE_DIMENSION % size)
        dataset.dims[axis].attach_scale(file[dim])
    return dataset


def map_dims(shape: tuple[int, ...]) -> dict[str, int]:
    """Name the axes of maps of that shape, ([channel,] y, x)."""
    return dict(zip(("channel", "y", "x")[-len(shape) :], shape, strict=True))


def image_dims(file: h5py.File, shape: tuple[int, ...]) -> dict[str, int]:
    """Name the axes of images as those of the maps where the lengths agree."""
    return {
        dim if dim not in file or len(file[dim]) == size else f"image_{dim}": size
        for dim, size in map_dims(shape).items()
    }


def compression_options(name: str | None) -> Mapping[str, Any]:
    if name is None:
        return {}
    if name == "gzip":
        return {"compression": "gzip"}
    if name != "zstd":
        raise ValueError(f"compression must be None, 'gzip' or 'zstd', got {name!r}")
    try:
        import hdf5plugin
    except ImportError as error:
        raise ModuleNotFoundError(
            "compression 'zstd' needs hdf5plugin: pip install 'lensmetrics[zstd]', or use 'gzip'"
        ) from error
    return dict(hdf5plugin.Zstd())
