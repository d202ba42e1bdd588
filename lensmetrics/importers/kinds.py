"""The kinds of files that import reads, and who reads each of them.

A new kind of file is a module with a function that recognizes it and two that read it, and a row in
`KINDS`.
"""

import contextlib
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

from numpy.typing import NDArray

from . import hdf5, images, matlab, npy, npz, safetensors, torch
from .source import Fill, Source
from .virelay import AttributionPair, find_attributions

# A file and the name of an array in it.
Address: TypeAlias = tuple[Path, str | None]
MatchPairs: TypeAlias = Callable[
    [Sequence[Address], Collection[str], int | None, contextlib.ExitStack], AttributionPair | None
]


class OpenMaps(Protocol):
    """Find the array of maps in a file; `wanted` names it, `role` is unperturbed or perturbed.

    The stack keeps files open; temporary files are created in the directory `beside`.
    """

    def __call__(
        self, path: Path, role: str, wanted: str | None, *, beside: Path, stack: contextlib.ExitStack
    ) -> Source: ...


class ReadColumn(Protocol):
    """Read one integer, or one text, for each of these maps.

    Return also the name of the array in messages. `what` is labels or samples; only samples may be texts.
    """

    def __call__(
        self,
        path: Path,
        wanted: str | None,
        what: str,
        maps: Source,
        *,
        beside: Path,
        stack: contextlib.ExitStack,
    ) -> tuple[str, NDArray[Any]]: ...


class Kind(NamedTuple):
    """One kind of file: how it is recognized, how arrays in it are found, and what people read about it.

    `files` is what the help of the command calls such files. `examples` are rows of the table "what you
    have, one line" of README.md: what people have, and the arguments of ``lensmetrics import`` that read it.
    `match_pairs` finds the maps of two files that together are more than two arrays, and returns None if
    they are not. `filler` returns, for a file and the maps in it, a `Fill` that quickly reads other files
    like it.
    """

    files: str
    examples: Sequence[tuple[str, str]]
    recognize: Callable[[Path], bool]
    open_maps: OpenMaps
    read_column: ReadColumn
    match_pairs: MatchPairs | None = None
    filler: Callable[[Path, Source], Fill] | None = None


# The first kind that recognizes a file reads it; the last one takes every file, or says what it is.
KINDS = (
    Kind(
        ".mat",
        (
            ("`.mat` files of MATLAB, version 4 to 7.3", "clean.mat:maps adv.mat:maps"),
            ("`.mat` files with arrays H x W x N", "clean.mat:maps adv.mat:maps --axes HWN"),
            ("fields of a MATLAB struct", "both.mat:maps/clean both.mat:maps/adv"),
        ),
        matlab.is_matlab,
        matlab.open_maps,
        matlab.read_column,
    ),
    Kind(
        "HDF5, netCDF-4",
        (
            ("datasets of HDF5 files, also in groups", "clean.h5:maps/attr adv.h5:maps/attr"),
            ("groups of an HDF5 file with one dataset per sample", "both.h5:clean both.h5:adv"),
            ("variables of netCDF-4 files", "clean.nc adv.nc"),
            ("databases of ViRelAy or CoRelAy", "clean.attribution.h5 adv.attribution.h5"),
        ),
        hdf5.is_hdf5,
        hdf5.open_maps,
        hdf5.read_column,
        find_attributions,
        filler=hdf5.filler,
    ),
    Kind(
        ".pt, .pth",
        (
            ("`.pt` or `.pth` files, a tensor in each", "clean.pt adv.pt"),
            ("one `.pt` file with a dict of tensors, also nested", "both.pt:maps/clean both.pt:maps/adv"),
            ("two `.pt` files with a dict of a tensor per sample", "'clean.pt:*' 'adv.pt:*'"),
        ),
        torch.is_torch,
        torch.open_maps,
        torch.read_column,
    ),
    Kind(
        ".safetensors",
        (("one `.safetensors` file with both tensors", "both.safetensors:clean both.safetensors:adv"),),
        safetensors.is_safetensors,
        safetensors.open_maps,
        safetensors.read_column,
        filler=safetensors.filler,
    ),
    Kind(
        "PNG, TIFF",
        (("grey TIFF files with a page per sample", "clean.tif adv.tif"),),
        images.is_picture,
        images.open_maps,
        images.read_column,
        filler=images.filler,
    ),
    Kind(
        ".npz",
        (
            ("one `.npz` file with both arrays", "both.npz:clean both.npz:adv"),
            ("`.npz` files of LATEC: model 0, explanation 9", "clean.npz:arr_0 adv.npz:arr_0 --method 9"),
            ("two `.npz` files with an array per sample", "'clean.npz:*' 'adv.npz:*'"),
        ),
        npz.is_npz,
        npz.open_maps,
        npz.read_column,
    ),
    Kind(
        ".npy",
        (("two `.npy` files", "clean.npy adv.npy"),),
        lambda _: True,
        npy.open_maps,
        npy.read_column,
        filler=npy.filler,
    ),
)


def kind_of(path: Path) -> Kind:
    """Return who reads a file."""
    try:
        return next(kind for kind in KINDS if kind.recognize(path))
    except PermissionError as error:
        raise PermissionError(f"{path} may not be read: allow it with chmod, or read a copy") from error
