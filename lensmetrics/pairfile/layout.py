"""On-disk layout: survives a killed writer, and any netCDF-4 reader can open it."""

import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..disk import check_writable, file_kind, part_path

# Metadata with checksums, in files that open after their writer was killed; with "latest" they do not.
LIBVER = ("v108", "v108")
# The netCDF library recognizes a dimension without coordinates by exactly these words.
_BARE_DIMENSION = "This is a netCDF dimension but not a netCDF variable.%10d"


def check_pair_file_target(path: Path) -> None:
    """Refuse an output path where there is a file already, or where none can be written."""
    part = part_path(path)
    if path.name.endswith(".part"):
        raise ValueError(f"{path}: give the name of the finished file, without .part")
    check_writable(path)
    check_regular(part)
    check_regular(path)
    if path.exists():
        raise FileExistsError(f"{path} exists already: delete it, or choose another name")
    if part.exists():
        raise FileExistsError(
            f"{part} is an unfinished {path.name}: continue it with PairWriter.resume({str(path)!r}, "
            "attrs=...), or delete it"
        )


def check_regular(path: Path) -> None:
    """Refuse anything but a regular file where a pair file belongs: a link would lead elsewhere."""
    with suppress(FileNotFoundError, NotADirectoryError):
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):
            raise FileExistsError(
                f"{path} is {file_kind(mode)}, but a pair file is a regular file: remove it, or choose "
                "another name"
            )


def column_bytes(n_samples: int) -> int:
    """Return the disk space that columns other than names, and the description of all variables, take."""
    return 2**17 + 13 * 8 * n_samples


def create_variable(
    file: h5py.File,
    name: str,
    dims: Mapping[str, int],
    dtype: np.dtype[Any],
    compression: Mapping[str, Any],
) -> h5py.Dataset:
    """Create a variable with these dimensions, the first of which is `sample`."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    options: dict[str, Any] = {}
    column = len(dims) == 1
    if compression and not column:
        options = {"chunks": (1, *list(dims.values())[1:]), "shuffle": True, **compression}
    else:
        # Writing values then changes no metadata, so that a killed writer leaves a file that opens.
        properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    dataset = file.create_dataset(name, shape=tuple(dims.values()), dtype=dtype, dcpl=properties, **options)
    if column:  # maps and images remain holes in the file until they are written
        dataset[...] = {"i": -1, "u": 0, "f": np.nan, "S": b""}[dtype.kind]
    if dtype.kind == "S":
        dataset.attrs["_Encoding"] = "utf-8"  # otherwise xarray returns bytes
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
    """Name the axes of images like those of the maps if their lengths agree."""
    return {
        dim if dim not in file or len(file[dim]) == size else f"image_{dim}": size
        for dim, size in map_dims(shape).items()
    }


def compression_options(name: str | None) -> Mapping[str, Any]:
    """Return the options with which h5py creates a compressed dataset."""
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
