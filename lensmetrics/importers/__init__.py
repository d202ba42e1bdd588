"""Import maps of other projects: two arrays of maps become a pair file."""

import contextlib
import operator
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from ..disk import check_inputs, file_kind
from ..errors import FormatError
from ..pairfile.format import MAPS
from ..pairfile.layout import check_pair_file_target
from .axes import as_maps
from .columns import check_samples
from .copying import copy_pairs
from .foreign import what_folder_it_is
from .kinds import kind_of
from .latec import one_method
from .matching import refuse_other_axes, refuse_other_samples, sample_numbers


def import_maps(
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
        kinds = [kind_of(path) for path, _ in given]
        found = None
        if kinds[0] is kinds[1] and kinds[0].match_pairs is not None:
            found = kinds[0].match_pairs(given, columns_given, method, stack)
        if found is None:
            first, second = (
                as_maps(
                    one_method(kind.open_maps(path, role, name, beside=target.parent, stack=stack), method),
                    shape,
                    known=False,
                )
                for kind, role, (path, name) in zip(kinds, MAPS, given, strict=True)
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
                words, values = kind_of(path).read_column(
                    path, name, what, first, beside=target.parent, stack=stack
                )
                if what == "samples":
                    check_samples(words, values)
                columns["name" if values.dtype == object else column] = values
        if given[0][0].samefile(given[1][0]) and first.array == second.array:
            raise ValueError(
                f"{unperturbed_path} and {perturbed_path} are one array, so there is nothing to compare: "
                "give the maps before the attack, then those after it"
            )
        return copy_pairs(first, second, order, columns, target, attrs or {}, dtype)


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
