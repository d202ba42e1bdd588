"""Arrays in .npy, .npz and HDF5 files, as other projects keep them, turned into a pair file."""

from __future__ import annotations

import contextlib
import math
import operator
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ..disk import check_inputs, check_space, file_kind, part_path
from ..errors import FormatError
from ..pairfile.format import MAPS, REDUCTIONS
from ..pairfile.layout import check_target
from ..pairfile.precision import exact_dtype, rounded
from ..pairfile.writer import PairWriter
from .axes import as_maps, one_method, refuse_other_axes, refuse_other_coordinates, sample_numbers
from .columns import check_column, check_samples, integers
from .foreign import is_matlab_73, what_folder_it_is, what_it_is
from .hdf5 import (
    Source,
    choose,
    is_pair_file,
    open_file,
    open_rows,
    read_integers,
    refuse_other_samples,
)
from .npy import open_array
from .virelay import ATTRIBUTION, AttributionPair, has_attributions, has_index, match_attributions

_BLOCK_BYTES = 32 * 2**20


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
    beside `out`, which needs that much free space for the time of the copy. An import that fails
    leaves nothing behind. In HDF5 files no link is followed, so that nothing but the files given is
    read.

    Parameters
    ----------
    unperturbed_path, perturbed_path
        .npy, .npz or HDF5 files with arrays (N, height*width), (N, height, width) or
        (N, channel, height, width) of any integer or floating-point type of at most 64 bits. Axes that
        can be read in two ways are refused with both: four whose last is 1 to 4 or whose second is not
        1, 3 or 4, three whose last is 1 to 4 unless `shape` confirms it. One channel is dropped.
        ``FILE:NAME`` is one array of an .npz or one dataset of an HDF5 file, such as
        ``a.h5:maps/clean``; a group with one dataset per sample is good too. netCDF variables are decoded
        as xarray decodes them: fill values become NaN, packed numbers are unpacked. Axes that the file
        names sample, y and x, or sample, channel, y and x, are read in that order; axes or coordinates
        that differ between the two files are refused. Maps of a pair file are refused.

        Two HDF5 files that both have a dataset or group ``attribution``, named or not, are read as
        attribution databases of ViRelAy and CoRelAy: samples are matched by ``index`` and keep the order
        of the first file; sets of samples that differ are refused. Their ``label`` and ``prediction`` come
        along unless the maps are named. `import_virelay.match_attributions` says the layout and its
        source. Other datasets are refused where an ``index`` beside them differs between the two files.
    out
        The pair file to write; it may not exist.
    shape
        (height, width) of the maps; needed for flat arrays, checked for the others.
    attrs
        Attributes of the pair file, see `PairWriter`.
    names
        Which array of the first and of the second file to take, another way to say ``FILE:NAME``. By
        default the only one, or "unperturbed" and "perturbed".
    samples, labels
        .npy files, or ``FILE:NAME``, with N integers, (N,) or (N, 1), in any type of numbers: the index of
        each sample in its source dataset (by default the coordinate of the first axis, where both files
        have the same integers there, or 0 to N - 1), and its true class. They are in the
        order of the first file; labels replace those of an attribution database.
    method
        Position of the explanation in LATEC's arrays (N, explanation, channel, height, width) of an .npy or
        .npz, counted from 0; channel must be 1, 3 or 4.
    dtype
        "float32" or "float64": round to this type. By default the file keeps every value: float16 and
        integers up to 2**24 are stored as float32, integers up to 2**53 as float64.

    Returns
    -------
    list
        What the user should know of the maps, a sentence each: whether they hold negative values that
        metrics rank, and how many ties `dtype` has made.

    Raises
    ------
    FormatError
        If an input file is not what it should be, or can be read in two ways.
    ValueError
        If a name or an option is missing or does not fit the files, or `dtype` cannot hold the maps: a
        value overflows, one that is not 0 becomes 0, or a map becomes constant.
    OSError
        If a file is missing or cannot be read, or `out` cannot be written.

    Notes
    -----
    LATEC's ``explain`` saves the maps of its three models as ``arr_0``, ``arr_1`` and ``arr_2`` of one
    .npz (ResNet50, EfficientNet-B0 and DeiT for images), each (observation, explanation, channel,
    height, width) with the explanations in the order of its configuration. Two such files, of the
    unperturbed and of the perturbed inputs, make one pair file per model and explanation:
    ``names=("arr_0", "arr_0"), method=9``. Its volumes are refused for their six axes, its point clouds for
    their four. Source:
    github.com/IML-DKFZ/latec, src/main/main_explain.py, src/main/main_eval.py, src/modules/xai_methods.py.
    """
    target = Path(out)
    check_target(target)
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
        found = _attributions(given, columns_given, method, stack)
        if found is None:
            columns: dict[str, NDArray[Any]] = {}
            order, by_index = None, False
            first, second = (
                _open(path, role, name, method, shape, target.parent, stack)
                for role, (path, name) in zip(MAPS, given, strict=True)
            )
            refuse_other_samples(first, second)
        else:
            columns, order, by_index = dict(found.columns), found.order, found.by_index
            first, second = (as_maps(source, shape, known=True) for source in found.maps)
        refuse_other_axes(first, second, matched=by_index)
        numbers = None if by_index else sample_numbers(first, second)
        if numbers is not None:
            columns["sample"] = numbers
        if first.shape != second.shape:
            raise FormatError(
                f"{unperturbed_path} has maps {first.shape} but {perturbed_path} has {second.shape}; "
                "both must have the same samples and size"
            )
        for column, what in (("sample", "samples"), ("label", "labels")):
            if what in columns_given:
                words, columns[column] = _column(*columns_given[what], what, first, target.parent, stack)
                if what == "samples":
                    check_samples(words, columns[column])
        if given[0][0].samefile(given[1][0]) and first.array == second.array:
            raise ValueError(
                f"{unperturbed_path} and {perturbed_path} are one array, whose scores say nothing: "
                "give the maps before the attack, then those after it"
            )
        return _copy(first, second, order, columns, target, attrs or {}, dtype)


def _check_file(path: Path) -> None:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(what_folder_it_is(path))
    if not stat.S_ISREG(mode):  # reading a pipe can wait for ever, reading a device can fill the memory
        raise ValueError(f"{path} is {file_kind(mode)}; give a regular file")


def _checked_shape(shape: tuple[int, int]) -> tuple[int, int]:
    height, width = map(operator.index, shape)
    if height < 1 or width < 1:
        raise ValueError(
            f"shape must be the height and the width of the maps in pixels, got {height} {width}"
        )
    return height, width


def _address(path: str | os.PathLike[str], name: str | None) -> tuple[Path, str | None]:
    """Take FILE:NAME apart; a file whose own name has a colon comes first."""
    text = os.fspath(path)
    for position, letter in enumerate(text):
        if letter == ":" and position and not Path(text).exists() and Path(text[:position]).exists():
            if name is not None:
                raise ValueError(f"{text} names an array already; leave the other name, {name!r}, out")
            if not text[position + 1 :].strip("/"):
                raise ValueError(f"{text} names no array; say which, as in {text[:position]}:maps/clean")
            return Path(text[:position]), text[position + 1 :]
    return Path(text), name


def _is_hdf5(path: Path) -> bool:
    if not h5py.is_hdf5(path):
        return False
    if is_matlab_73(path):
        raise FormatError(what_it_is(path))
    return True


def _attributions(
    given: list[tuple[Path, str | None]],
    columns_given: Mapping[str, Any],
    method: int | None,
    stack: contextlib.ExitStack,
) -> AttributionPair | None:
    """Match two attribution databases; None where the files given are something else.

    The file decides, not whether its maps were named: a name says to take the maps alone.
    """
    names = [name for _, name in given]
    if any(name is not None and name.strip("/") != ATTRIBUTION for name in names):
        return None
    if not all(_is_hdf5(path) for path, _ in given):
        return None
    first, second = ((path, open_file(path, stack)) for path, _ in given)
    if not has_attributions(*first) or not has_attributions(*second):
        return None
    if method is not None or ("samples" in columns_given and (has_index(*first) or has_index(*second))):
        raise ValueError(
            f"{first[0]} and {second[0]} are attribution databases, which say by their 'index' what their "
            "samples are and hold one explanation: leave samples and method out"
        )
    columns: tuple[str, ...] = () if any(names) else ("label", "prediction")
    if "labels" in columns_given:
        columns = tuple(name for name in columns if name != "label")
    return match_attributions(first, second, columns=columns)


def _open(
    path: Path,
    role: str,
    wanted: str | None,
    method: int | None,
    shape: tuple[int, int] | None,
    beside: Path,
    stack: contextlib.ExitStack,
) -> Source:
    if _is_hdf5(path):
        if method is not None:
            raise ValueError(
                f"{path} is an HDF5 file; choose a method (--method) in .npy and .npz files only"
            )
        file = open_file(path, stack)
        if is_pair_file(path, file):
            # Its maps alone would lose which samples they are, their statuses and their reduction.
            raise FormatError(
                f"{path} is a pair file already: score it as it is; to pair maps of two pair files, read "
                "them with lensmetrics.PairStore and write what belongs together with lensmetrics.PairWriter"
            )
        source = open_rows(path, file, choose(path, file, role) if wanted is None else wanted)
    else:
        words, member, array = open_array(path, role, wanted, beside, stack)
        source = one_method(Source(words, member, array.shape, array.dtype, array.__getitem__), method)
    return as_maps(source, shape, known=False)


def _column(
    path: Path, name: str | None, what: str, maps: Source, beside: Path, stack: contextlib.ExitStack
) -> tuple[str, NDArray[np.int64]]:
    """One integer for each of these maps, and what messages call the array."""
    n = maps.shape[0]
    if _is_hdf5(path):
        file = open_file(path, stack)
        name = choose(path, file, what) if name is None else name
        rows = open_rows(path, file, name, what, "iufbSUO")
        refuse_other_coordinates(maps, rows)
        return rows.words, read_integers(path, file, name, n, what)
    words, _, array = open_array(path, what, name, beside, stack)
    check_column(words, array.shape, array.dtype, n, what)
    return words, integers(words, np.array(array), what)


def _copy(
    unperturbed: Source,
    perturbed: Source,
    order: NDArray[np.intp] | None,
    columns: Mapping[str, NDArray[Any]],
    target: Path,
    attrs: Mapping[str, Any],
    rounded_to: str | None,
) -> list[str]:
    """Copy in blocks; return what is worth saying of the maps."""
    n, *channels, height, width = unperturbed.shape
    length = max(1, _BLOCK_BYTES // (8 * math.prod(unperturbed.shape[1:])))
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
    if order is not None and (order == np.arange(n)).all():
        order = None
    n_ties, negative = 0, False
    try:
        with writer, tqdm(total=n, desc=f"import {target.name}", unit="sample", disable=None) as progress:
            for rows in blocks:
                maps = []
                for role, source in both.items():
                    moved = None if role == MAPS[0] else order
                    block = source.read(rows if moved is None else moved[rows])
                    if rounded_to is None:
                        block = np.ascontiguousarray(block, dtype=dtype)
                    else:
                        block, n_new = rounded(block, dtype, role)
                        n_ties += n_new
                    negative = negative or _ranks_negative(block, attrs.get("reduction", "abs_sum"))
                    maps.append(block)
                writer.write(rows, *maps, **{name: values[rows] for name, values in columns.items()})
                progress.update(rows.stop - rows.start)
    except BaseException:
        # Both inputs are still there, so half a copy is worth nothing to anyone.
        part_path(target).unlink(missing_ok=True)
        raise
    said = []
    if rounded_to is not None:
        said.append(f"new ties in {dtype.name}: {n_ties} (values of one map that differed and are equal now)")
    if negative:
        said.append(
            "the maps hold negative values: top-k sets are of the largest signed values, so that negative "
            "attributions rank last; import absolute values where the sign does not matter"
        )
    return said


def _exact(source: Source, role: str, blocks: list[slice]) -> np.dtype[Any]:
    """The narrowest type that keeps all values of an array; only wide integers must be read for it."""
    if source.dtype.kind == "f" or source.dtype.itemsize <= 2:
        return exact_dtype(np.empty(0, source.dtype), role)
    return max((exact_dtype(source.read(rows), role) for rows in blocks), key=lambda it: it.itemsize)


def _ranks_negative(block: NDArray[Any], reduction: str) -> bool:
    """Whether a map, its channels reduced, has a negative pixel."""
    if block.ndim == 4:
        if reduction.startswith("abs"):
            return False
        block = REDUCTIONS[reduction](block)
    return bool((block < 0).any())
