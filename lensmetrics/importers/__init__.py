"""Import maps of other projects: .npy, .npz and HDF5 files become a pair file.

A new kind of file is a module with a function that recognizes it and two that read it, and a row in
`KINDS`.
"""

import contextlib
import operator
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..disk import check_inputs, file_kind
from ..errors import FormatError
from ..pairfile.format import MAPS
from ..pairfile.layout import check_pair_file_target
from . import hdf5, npy
from .axes import as_maps
from .columns import check_samples
from .copying import copy_pairs
from .foreign import what_folder_it_is
from .matching import refuse_other_axes, refuse_other_samples, sample_numbers
from .source import Source
from .virelay import find_attributions


class OpenMaps(Protocol):
    """Find the array of maps in a file; `wanted` names it, `role` is unperturbed or perturbed.

    The stack keeps files open; temporary files are created in the directory `beside`.
    """

    def __call__(
        self,
        path: Path,
        role: str,
        wanted: str | None,
        *,
        method: int | None,
        beside: Path,
        stack: contextlib.ExitStack,
    ) -> Source: ...


class ReadColumn(Protocol):
    """Read one integer for each of these maps, and return the name of the array in messages with them."""

    def __call__(
        self,
        path: Path,
        wanted: str | None,
        what: str,
        maps: Source,
        *,
        beside: Path,
        stack: contextlib.ExitStack,
    ) -> tuple[str, NDArray[np.int64]]: ...


class Kind(NamedTuple):
    """One kind of file: how it is recognized, and how arrays in it are found."""

    recognize: Callable[[Path], bool]
    open_maps: OpenMaps
    read_column: ReadColumn


# The first kind that recognizes a file reads it; the last one takes every file, or says what it is.
KINDS = (
    Kind(hdf5.is_hdf5, hdf5.open_maps, hdf5.read_column),
    Kind(lambda _: True, npy.open_maps, npy.read_column),
)


def import_arrays(
    unperturbed_path: str | os.PathLike[str],
    perturbed_path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    shape: tuple[int, int] | None = None,
    attrs: Mapping[str, Any] | None = None,
    names: tuple[str | None, str | None] = (None, None),
    samples: str | os.PathLike[str] | None = None,
    labels: str | os.PathLike[str] | None = None,
    method: int | None = None,
    dtype: Literal["float32", "float64"] | None = None,
) -> list[str]:
    """Copy two arrays of maps into a new pair file.

    The arrays are copied in blocks; those in an .npz are first unpacked into a temporary directory
    beside `out`, which needs that much free space during the copy. An import that fails leaves
    nothing behind. Links in HDF5 files are not followed, so only the files given are read.

    Parameters
    ----------
    unperturbed_path, perturbed_path
        .npy, .npz or HDF5 files with arrays (N, height*width), (N, height, width) or
        (N, channel, height, width) of any integer or floating-point type of at most 64 bits. An array
        that can be read in two ways is refused, and both are named: one with four axes whose last is 1
        to 4 or whose second is not 1, 3 or 4, and one with three axes whose last is 1 to 4 unless `shape`
        confirms it. One channel is dropped. ``FILE:NAME`` is one array of an .npz or one dataset of an
        HDF5 file, such as ``a.h5:maps/clean``, or a group with one dataset per sample. netCDF variables
        are decoded like in xarray: fill values become NaN, packed numbers are unpacked. Axes that the
        file names sample, y and x, or sample, channel, y and x, may be stored in any order; axes or
        coordinates that differ between the two files are refused. Maps of a pair file are refused.

        Two HDF5 files that both have a dataset or group ``attribution``, named or not, are read as
        attribution databases of ViRelAy and CoRelAy: samples are matched by ``index`` and keep the order
        of the first file; different sets of samples are refused. Their ``label`` and ``prediction`` are
        imported too unless the maps are named. The module `virelay` describes the layout and its
        source. Other datasets are refused if an ``index`` beside them differs between the two files.
    out
        The pair file to write; it must not exist.
    shape
        (height, width) of the maps; needed for flat arrays, checked for others.
    attrs
        Attributes of the pair file, see `PairWriter`.
    names
        Names of the arrays in the first and in the second file, an alternative to ``FILE:NAME``. By
        default the only array, or "unperturbed" and "perturbed".
    samples, labels
        .npy files, or ``FILE:NAME``, with N integers, (N,) or (N, 1), of any numeric type: the index of
        each sample in its source dataset (by default the coordinate of the first axis if both files
        have the same integers there, else 0 to N - 1), and its true class. They are in the order of
        the first file; labels replace those of an attribution database.
    method
        Position of the explanation in LATEC's arrays (N, explanation, channel, height, width) of an .npy
        or .npz, counted from 0; channel must be 1, 3 or 4. The module `latec` says more.
    dtype
        "float32" or "float64": round to this type. By default every value is kept: float16 and
        integers up to 2**24 are stored as float32, integers up to 2**53 as float64.

    Returns
    -------
    list
        What the user should know about the maps, one sentence each: that they hold negative values which
        metrics rank, and how many ties `dtype` has created.

    Raises
    ------
    FormatError
        If an input file has the wrong content, or can be read in two ways.
    ValueError
        If a name or an option is missing or does not fit the files, or `dtype` cannot hold the maps: a
        value overflows, one that is not 0 becomes 0, or a map becomes constant.
    OSError
        If a file is missing or cannot be read, or `out` cannot be written.
    """
    target = Path(out)
    check_pair_file_target(target)
    given = [
        _address(path, name) for path, name in zip((unperturbed_path, perturbed_path), names, strict=True)
    ]
    columns_given = {
        what: _address(path, None)
        for what, path in (("samples", samples), ("labels", labels))
        if path is not None
    }
    paths = [path for path, _ in (*given, *columns_given.values())]
    check_inputs(paths)
    for path in paths:
        _check_file(path)
    if shape is not None:
        shape = _checked_shape(shape)
    with contextlib.ExitStack() as stack:
        columns: dict[str, NDArray[Any]] = {}
        order, is_matched = None, False
        found = None
        if all(_kind_of(path).recognize is hdf5.is_hdf5 for path, _ in given):
            found = find_attributions(given, columns_given, method, stack)
        if found is None:
            first, second = (
                as_maps(
                    _kind_of(path).open_maps(
                        path, role, name, method=method, beside=target.parent, stack=stack
                    ),
                    shape,
                    known=False,
                )
                for role, (path, name) in zip(MAPS, given, strict=True)
            )
            refuse_other_samples(first, second)
        else:
            columns, order, is_matched = dict(found.columns), found.order, found.by_index
            first, second = (as_maps(source, shape, known=True) for source in found.maps)
        refuse_other_axes(first, second, matched=is_matched)
        numbers = None if is_matched else sample_numbers(first, second)
        if numbers is not None:
            columns["sample"] = numbers
        if first.shape != second.shape:
            raise FormatError(
                f"{unperturbed_path} has maps {first.shape} but {perturbed_path} has {second.shape}; "
                "both must have the same samples and size"
            )
        for column, what in (("sample", "samples"), ("label", "labels")):
            if what in columns_given:
                path, name = columns_given[what]
                words, columns[column] = _kind_of(path).read_column(
                    path, name, what, first, beside=target.parent, stack=stack
                )
                if what == "samples":
                    check_samples(words, columns[column])
        if given[0][0].samefile(given[1][0]) and first.array == second.array:
            raise ValueError(
                f"{unperturbed_path} and {perturbed_path} are one array, so there is nothing to compare: "
                "give the maps before the attack, then those after it"
            )
        return copy_pairs(first, second, order, columns, target, attrs or {}, dtype)


def _kind_of(path: Path) -> Kind:
    return next(kind for kind in KINDS if kind.recognize(path))


def _check_file(path: Path) -> None:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(what_folder_it_is(path))
    if not stat.S_ISREG(mode):  # reading a pipe can block forever, reading a device can fill the memory
        raise ValueError(f"{path} is {file_kind(mode)}; give a regular file")


def _checked_shape(shape: tuple[int, int]) -> tuple[int, int]:
    height, width = map(operator.index, shape)
    if height < 1 or width < 1:
        raise ValueError(
            f"shape must be the height and the width of the maps in pixels, got {height} {width}"
        )
    return height, width


def _address(path: str | os.PathLike[str], name: str | None) -> tuple[Path, str | None]:
    """Split FILE:NAME; a file whose own name contains the colon has priority."""
    text = os.fspath(path)
    for position, letter in enumerate(text):
        if letter == ":" and position and not Path(text).exists() and Path(text[:position]).exists():
            if name is not None:
                raise ValueError(f"{text} names an array already; leave out the other name, {name!r}")
            if not text[position + 1 :].strip("/"):
                raise ValueError(f"{text} names no array; say which, as in {text[:position]}:maps/clean")
            return Path(text[:position]), text[position + 1 :]
    return Path(text), name
