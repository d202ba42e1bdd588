"""Arrays in .npy, .npz and HDF5 files, as other projects keep them, turned into a pair file."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from .import_hdf5 import Source, choose, open_file, open_rows, read_whole_numbers
from .import_npy import mapped, open_array
from .import_virelay import AttributionPair, has_attributions, match_attributions
from .layout import check_space, check_target, part_path
from .pairfile import MAPS, FormatError
from .writer import PairWriter

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
) -> None:
    """Copy two arrays of maps into a new pair file.

    The arrays are copied in blocks; those in an .npz are first unpacked into a temporary directory
    beside `out`, which needs that much free space for the time of the copy. An import that fails
    leaves nothing behind. In HDF5 files no link is followed, so that nothing but the files given is
    read.

    Parameters
    ----------
    unperturbed_path, perturbed_path
        .npy, .npz or HDF5 files with arrays (N, height*width), (N, height, width) or
        (N, channel, height, width) of any integer or floating-point type. The values are stored as
        float32, whatever type they had: float64 is rounded. ``FILE:NAME`` is one array of an .npz or
        one dataset of an HDF5 file, such as ``a.h5:maps/clean``; a group with one dataset per sample
        is good too.

        Two HDF5 files without names that both have a dataset or group ``attribution`` are read as
        attribution databases of ViRelAy and CoRelAy, with their ``index``, ``label`` and
        ``prediction``: samples are matched by ``index`` and keep the order of the first file; sets of
        samples that differ are refused. `import_virelay.match_attributions` says the layout and its source.
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
        .npy files, or ``FILE:NAME``, with N whole numbers: the index of each sample in its source
        dataset (by default 0 to N - 1), and its true class. They are in the order of the first file;
        labels replace those of an attribution database.
    method
        Position of the explanation in arrays (N, explanation, channel, height, width) of an .npy or
        .npz, counted from 0.

    Raises
    ------
    FormatError
        If an input file is not what it should be.
    ValueError
        If flat arrays come without `shape`, or a name, `samples` or `method` does not fit the files.
    OSError
        If a file cannot be read, or `out` cannot be written.

    Notes
    -----
    LATEC's ``explain`` saves the maps of its three models as ``arr_0``, ``arr_1`` and ``arr_2`` of one
    .npz (ResNet50, EfficientNet-B0 and DeiT for images), each (observation, explanation, channel,
    height, width) with the explanations in the order of its configuration. Two such files, of the
    unperturbed and of the perturbed inputs, make one pair file per model and explanation:
    ``names=("arr_0", "arr_0"), method=9``. Its volumes are refused for their six dimensions; its point
    clouds have four, as images with channels do: nothing here can tell them apart. Source:
    github.com/IML-DKFZ/latec, src/main/main_explain.py, src/main/main_eval.py, src/modules/xai_methods.py.
    """
    target = Path(out)
    check_target(target)
    given = [
        _address(path, name) for path, name in zip((unperturbed_path, perturbed_path), names, strict=True)
    ]
    with contextlib.ExitStack() as stack:
        found = _attributions(given, samples, labels, method, stack)
        if found is None:
            columns: dict[str, NDArray[Any]] = {}
            order = None
            opened = [
                _open(path, role, name, method, target.parent, stack)
                for role, (path, name) in zip(MAPS, given, strict=True)
            ]
        else:
            columns, order, opened = dict(found.columns), found.order, [*found.maps]
        first, second = (_as_maps(source, shape) for source in opened)
        if first.shape != second.shape:
            raise FormatError(
                f"{unperturbed_path} has maps {first.shape} but {perturbed_path} has {second.shape}; "
                "both must have the same samples and size"
            )
        n = first.shape[0]
        if samples is not None:
            columns["sample"] = _whole_numbers(samples, n, stack)
        if labels is not None:
            columns["label"] = _whole_numbers(labels, n, stack)
        _copy(first, second, order, columns, target, attrs or {})


def _address(path: str | os.PathLike[str], name: str | None) -> tuple[Path, str | None]:
    """Take FILE:NAME apart; a file whose own name has a colon comes first."""
    text = os.fspath(path)
    for position, letter in enumerate(text):
        if letter == ":" and not Path(text).exists() and Path(text[:position]).is_file():
            if name is not None:
                raise ValueError(f"{text} names an array already; leave the other name, {name!r}, out")
            if not text[position + 1 :].strip("/"):
                raise ValueError(f"{text} names no array; say which, as in {text[:position]}:maps/clean")
            return Path(text[:position]), text[position + 1 :]
    return Path(text), name


def _attributions(
    given: list[tuple[Path, str | None]],
    samples: str | os.PathLike[str] | None,
    labels: str | os.PathLike[str] | None,
    method: int | None,
    stack: contextlib.ExitStack,
) -> AttributionPair | None:
    """Match two attribution databases; None where the files given are something else."""
    if any(name is not None or not path.is_file() or not h5py.is_hdf5(path) for path, name in given):
        return None
    first, second = ((path, open_file(path, stack)) for path, _ in given)
    if not has_attributions(*first) or not has_attributions(*second):
        return None
    if samples is not None or method is not None:
        raise ValueError(
            f"{first[0]} and {second[0]} are attribution databases, which say themselves what their samples "
            "are and hold one explanation: leave samples and method out, or name the maps (FILE:attribution)"
        )
    return match_attributions(first, second, with_labels=labels is None)


def _copy(
    unperturbed: Source,
    perturbed: Source,
    order: NDArray[np.intp] | None,
    columns: Mapping[str, NDArray[Any]],
    target: Path,
    attrs: Mapping[str, Any],
) -> None:
    n, *channels, height, width = unperturbed.shape
    check_space(target.parent, 8 * math.prod(unperturbed.shape), f"{target}")
    writer = PairWriter(
        target, n_samples=n, shape=(height, width), channels=channels[0] if channels else None, attrs=attrs
    )
    length = max(1, _BLOCK_BYTES // (8 * math.prod(unperturbed.shape[1:])))
    if order is not None and (order == np.arange(n)).all():
        order = None
    try:
        with writer, tqdm(total=n, desc=f"import {target.name}", unit="sample", disable=None) as progress:
            for start in range(0, n, length):
                rows = slice(start, min(start + length, n))
                writer.write(
                    rows,
                    unperturbed.read(rows),
                    perturbed.read(rows if order is None else order[rows]),
                    **{name: values[rows] for name, values in columns.items()},
                )
                progress.update(rows.stop - rows.start)
    except BaseException:
        # Both inputs are still there, so half a copy is worth nothing to anyone.
        part_path(target).unlink(missing_ok=True)
        raise


def _open(
    path: Path,
    role: str,
    wanted: str | None,
    method: int | None,
    beside: Path,
    stack: contextlib.ExitStack,
) -> Source:
    if path.is_file() and h5py.is_hdf5(path):
        if method is not None:
            raise ValueError(
                f"{path} is an HDF5 file; choose a method (--method) in .npy and .npz files only"
            )
        file = open_file(path, stack)
        return open_rows(path, file, choose(path, file, role) if wanted is None else wanted)
    array = open_array(path, role, wanted, beside, stack)
    if array.ndim != 5 or 0 in array.shape:
        if method is not None:
            raise ValueError(
                f"{path} is {array.shape}; --method is for (N, explanation, channel, height, width): "
                "leave it out"
            )
    elif method is None or not 0 <= method < array.shape[1]:
        raise ValueError(
            f"{path} is {array.shape}, (N, explanation, channel, height, width): say which explanation, "
            f"--method 0 to {array.shape[1] - 1}, got {method}"
        )
    else:
        array = array[:, method]
    return Source(f"{path}", array.shape, array.__getitem__)


def _as_maps(source: Source, shape: tuple[int, int] | None) -> Source:
    """View rows as ([channel,] height, width)."""
    words, stored = source.words, source.shape
    if len(stored) not in (2, 3, 4) or 0 in stored:
        raise FormatError(
            f"{words} is {stored}; it must be (N, height*width), (N, height, width) or "
            "(N, channel, height, width), none of them 0"
        )
    if len(stored) == 2:
        n_pixels = stored[1]
        if shape is None:
            raise ValueError(
                f"{words} is {stored}, flat maps of {n_pixels} pixels: give their shape (--shape)"
            )
        if math.prod(shape) != n_pixels:
            raise FormatError(
                f"{words} is {stored}, but {shape[0]} x {shape[1]} maps have {math.prod(shape)} pixels, "
                f"not {n_pixels}"
            )
        height, width = shape
        return Source(
            words, (stored[0], height, width), lambda rows: source.read(rows).reshape(-1, height, width)
        )
    if len(stored) == 4 and stored[-1] in (1, 3, 4) and stored[1] > 4:
        raise FormatError(
            f"{words} is {stored}, which looks like (N, height, width, channel); it must be "
            "(N, channel, height, width): move the axis with numpy.moveaxis(array, -1, 1)"
        )
    if shape is not None and stored[-2:] != tuple(shape):
        raise FormatError(f"{words} is {stored}, but the shape given is {shape[0]} x {shape[1]}")
    return source


def _whole_numbers(given: str | os.PathLike[str], n: int, stack: contextlib.ExitStack) -> NDArray[Any]:
    path, name = _address(given, None)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; give a .npy file, or FILE:NAME of an HDF5 file")
    if h5py.is_hdf5(path):
        if name is None:
            raise ValueError(f"{path} is an HDF5 file; name the dataset to take, as in {path}:label")
        return read_whole_numbers(path, open_file(path, stack), name, n)
    if name is not None:
        raise ValueError(f"{path} is no HDF5 file: leave the name out, and give a .npy file")
    array = mapped(path, str(path))
    if array.shape != (n,) or array.dtype.kind not in "iu":
        raise FormatError(f"{path} is {array.shape} {array.dtype}; it must hold {n} whole numbers")
    return np.array(array)
