"""Arrays in .npy and .npz files, as the published scripts keep them, turned into a pair file."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from .layout import check_target, part_path
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
) -> None:
    """Copy two arrays of maps into a new pair file.

    The arrays are memory-mapped and copied in blocks; those in an .npz are first unpacked into a
    temporary directory beside `out`, which needs that much free space for the time of the copy. An
    import that fails leaves nothing behind.

    Parameters
    ----------
    unperturbed_path, perturbed_path
        .npy or .npz files with arrays (N, height*width), (N, height, width) or
        (N, channel, height, width) of any integer or floating-point type. The values are stored as
        float32, whatever type they had: float64 is rounded.
    out
        The pair file to write; it may not exist.
    shape
        (height, width) of the maps; needed for flat arrays, checked for the others.
    attrs
        Attributes of the pair file, see `PairWriter`.
    names
        Which array of the first and of the second .npz to take. By default the only one, or
        "unperturbed" and "perturbed".
    samples, labels
        .npy files with N whole numbers: the index of each sample in its source dataset (by default
        0 to N - 1), and its true class.

    Raises
    ------
    FormatError
        If an input file is not what it should be.
    ValueError
        If flat arrays come without `shape`, or a name is given for an .npy.
    OSError
        If a file cannot be read, or `out` cannot be written.
    """
    target = Path(out)
    check_target(target)
    with contextlib.ExitStack() as stack:
        inputs = []
        for name, path, wanted in zip(MAPS, (unperturbed_path, perturbed_path), names, strict=True):
            array = _open_array(Path(path), name, wanted, target.parent, stack)
            inputs.append(_as_maps(Path(path), array, shape))
        first, second = inputs
        if first.shape != second.shape:
            raise FormatError(
                f"{unperturbed_path} has maps {first.shape} but {perturbed_path} has {second.shape}; "
                "both must have the same samples and size"
            )
        sample = np.arange(len(first)) if samples is None else _whole_numbers(Path(samples), len(first))
        label = None if labels is None else _whole_numbers(Path(labels), len(first))
        _copy(first, second, sample, label, target, attrs or {})


def _copy(
    unperturbed: NDArray[Any],
    perturbed: NDArray[Any],
    sample: NDArray[Any],
    label: NDArray[Any] | None,
    target: Path,
    attrs: Mapping[str, Any],
) -> None:
    n, *channels, height, width = unperturbed.shape
    writer = PairWriter(
        target, n_samples=n, shape=(height, width), channels=channels[0] if channels else None, attrs=attrs
    )
    length = max(1, _BLOCK_BYTES // (8 * math.prod(unperturbed.shape[1:])))
    try:
        with writer, tqdm(total=n, desc=f"import {target.name}", unit="sample", disable=None) as progress:
            for start in range(0, n, length):
                rows = slice(start, min(start + length, n))
                writer.write(
                    rows,
                    unperturbed[rows],
                    perturbed[rows],
                    sample=sample[rows],
                    label=None if label is None else label[rows],
                )
                progress.update(rows.stop - rows.start)
    except BaseException:
        # Both inputs are still there, so half a copy is worth nothing to anyone.
        part_path(target).unlink(missing_ok=True)
        raise


def _open_array(
    path: Path, role: str, wanted: str | None, beside: Path, stack: contextlib.ExitStack
) -> NDArray[Any]:
    """Memory-map the array of a .npy, or a named one of an .npz."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; give a .npy or .npz file")
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give a .npy or .npz file")
    if not zipfile.is_zipfile(path):
        if path.suffix == ".npz":
            raise FormatError(f"{path} is truncated or no .npz file: save it again with numpy.savez")
        if wanted is not None:
            raise ValueError(f"{path} is no .npz: it has no array named {wanted!r}; leave the name out")
        return _mapped(path, str(path))
    # numpy maps files, not members of an archive, so the member becomes a file.
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".lensmetrics-import-", dir=beside)))
    unpacked = folder / f"{role}.npy"
    try:
        with zipfile.ZipFile(path) as archive:
            member = _choose(path, archive, role, wanted)
            with archive.open(member) as source, unpacked.open("wb") as sink:
                shutil.copyfileobj(source, sink, length=2**20)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise FormatError(f"{path} is truncated or damaged ({error}): save or copy it again") from error
    return _mapped(unpacked, f"{path}, array '{member.removesuffix('.npy')}',")


def _choose(path: Path, archive: zipfile.ZipFile, role: str, wanted: str | None) -> str:
    members = {name.removesuffix(".npy"): name for name in archive.namelist() if name.endswith(".npy")}
    if wanted is None:
        wanted = next(iter(members)) if len(members) == 1 else role
    if wanted not in members:
        raise FormatError(f"{path} has no array {wanted!r}; it has: {', '.join(members) or 'none'}; name one")
    return members[wanted]


def _mapped(path: Path, words: str) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except PermissionError as error:
        raise PermissionError(f"{words} may not be read: allow it with chmod, or read a copy") from error
    except (ValueError, EOFError, SyntaxError) as error:
        raise FormatError(
            f"{words} is not an array that can be mapped ({error}); save a numeric array with numpy.save"
        ) from error
    if array.dtype.kind not in "iuf":
        raise FormatError(f"{words} is {array.dtype}; maps must be integers or floating-point numbers")
    return array


def _as_maps(path: Path, array: NDArray[Any], shape: tuple[int, int] | None) -> NDArray[Any]:
    """View an array as (N, [channel,] height, width)."""
    if array.ndim not in (2, 3, 4) or 0 in array.shape:
        raise FormatError(
            f"{path} is {array.shape}; it must be (N, height*width), (N, height, width) or "
            "(N, channel, height, width), none of them 0"
        )
    if array.ndim == 2:
        n_pixels = array.shape[1]
        if shape is None:
            raise ValueError(
                f"{path} is {array.shape}, flat maps of {n_pixels} pixels: give their shape (--shape)"
            )
        if math.prod(shape) != n_pixels:
            raise FormatError(
                f"{path} is {array.shape}, but {shape[0]} x {shape[1]} maps have {math.prod(shape)} pixels, "
                f"not {n_pixels}"
            )
        return array.reshape(len(array), *shape)
    if array.ndim == 4 and array.shape[-1] in (1, 3, 4) and array.shape[1] > 4:
        raise FormatError(
            f"{path} is {array.shape}, which looks like (N, height, width, channel); it must be "
            "(N, channel, height, width): move the axis with numpy.moveaxis(array, -1, 1)"
        )
    if shape is not None and array.shape[-2:] != tuple(shape):
        raise FormatError(f"{path} is {array.shape}, but the shape given is {shape[0]} x {shape[1]}")
    return array


def _whole_numbers(path: Path, n: int) -> NDArray[Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; give a .npy file")
    array = _mapped(path, str(path))
    if array.shape != (n,) or array.dtype.kind not in "iu":
        raise FormatError(f"{path} is {array.shape} {array.dtype}; it must hold {n} whole numbers")
    return np.array(array)
