"""MATLAB files: version 7.3, which is HDF5 with all axes reversed, and versions 4 and 5.

Arrays have the shape that MATLAB shows. Those of version 7.3 are mapped where they are stored as they
are, and unpacked beside the output where they are compressed; one of version 4 or 5, which holds at most
2 GB, is loaded as a whole. Sources: "MAT-File Versions" and "MAT-File Level 5 File Format" of MATLAB's
documentation.
"""

import contextlib
import math
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..disk import check_space
from ..errors import FormatError
from ..pairfile.opening import reading
from .choosing import chosen
from .datasets import check_dataset, find, open_file, read_values
from .foreign import first_bytes
from .source import Source, array_source

_HEADS = (b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file")
_NUMBERS = ("double", "single", "logical", *(f"{u}int{bits}" for u in ("", "u") for bits in (8, 16, 32, 64)))
# Where MATLAB keeps what cells, structs and objects refer to.
_HIDDEN = "#"
# The name of an array is at most 63 letters, so that a longer one is no file of version 4.
_LONGEST_NAME = 64
# zlib packs at most 1032 bytes into one.
_MOST_PACKED = 1100


def is_matlab(path: Path) -> bool:
    """Return whether a file is one of MATLAB or of Octave's ``save -v4``, ``-v6``, ``-v7``."""
    head = first_bytes(path, 20)
    return head.startswith(_HEADS) or (path.suffix.lower() == ".mat" and _is_version_4(head))


def open_maps(
    path: Path, role: str, wanted: str | None, *, beside: Path, stack: contextlib.ExitStack
) -> Source:
    """Find an array, or one in a struct: NAME/FIELD."""
    name, array = _array(path, role, wanted, beside, stack)
    return array_source(f"{path}, array '{name}',", name, array)


def read_column(
    path: Path, wanted: str | None, what: str, maps: Source, *, beside: Path, stack: contextlib.ExitStack
) -> tuple[str, NDArray[Any]]:
    """Read one value for each of these maps; return also the name of the array in messages."""
    name, array = _array(path, what, wanted, beside, stack)
    if array.ndim == 2 and len(array) == 1:  # MATLAB has no arrays of one axis, and 1:N is a row
        array = array[0]
    rows = array_source(f"{path}, array '{name}',", name, array)
    return rows.words, read_values(rows, maps.shape[0], what)


def _array(
    path: Path, role: str, wanted: str | None, beside: Path, stack: contextlib.ExitStack
) -> tuple[str, NDArray[Any]]:
    if h5py.is_hdf5(path):
        return _mapped(path, role, wanted, beside, stack)
    return _loaded(path, role, wanted)


def _is_version_4(head: bytes) -> bool:
    """Return whether a file begins like an array of version 4: type, rows, columns, complex, name length."""
    for order in ("<i4", ">i4"):
        numbers = np.frombuffer(head, order).tolist() if len(head) == 20 else [-1] * 5
        kind, n_rows, n_columns, is_complex, n_letters = numbers
        fits = 0 <= kind < 5000 and is_complex in (0, 1) and 1 < n_letters <= _LONGEST_NAME
        if fits and n_rows >= 0 and n_columns >= 0:
            return True
    return False


# Versions 4 and 5


def _loaded(path: Path, role: str, wanted: str | None) -> tuple[str, NDArray[Any]]:
    import scipy.io  # takes 0.4 seconds

    listed = {name: (kind, shape) for name, shape, kind in _scipy(path, scipy.io.whosmat)}
    first, *fields = (wanted or "").split("/")
    if not fields or listed.get(first, ("", ()))[0] != "struct":
        first, fields = _chosen(path, {name: kind for name, (kind, _) in listed.items()}, role, wanted), []
    if math.prod(listed[first][1]) > _MOST_PACKED * path.stat().st_size:
        raise FormatError(
            f"{path} is damaged: it claims that '{first}' is {listed[first][1]}: save or copy it again"
        )
    value: Any = _scipy(path, scipy.io.loadmat, variable_names=[first])[first]
    name = first
    for field in fields:
        held = getattr(value.dtype, "names", None) or ()
        if field not in held or value.size != 1:
            raise ValueError(
                f"{path}: '{name}' has no field '{field}' with one value; it has: {', '.join(held) or 'none'}"
            )
        value, name = value[field].reshape(-1)[0], f"{name}/{field}"
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biufc":
        held = getattr(getattr(value, "dtype", None), "names", None) or ()
        kind = "struct" if held else "value that is no array of numbers"
        raise FormatError(_refusal(path, name, kind, held))
    return name, value


def _chosen(path: Path, kinds: Mapping[str, str], role: str, wanted: str | None) -> str:
    """Return the name of an array; refuse the name of something else, and a file that holds nothing else."""
    names = [name for name, kind in kinds.items() if kind in _NUMBERS]
    other = wanted if wanted is not None else next(iter(kinds), None) if not names else None
    if other is not None and other in kinds and other not in names:
        raise FormatError(_refusal(path, other, kinds[other]))
    return chosen(path, names, role, wanted, has_each=False)


def _scipy(path: Path, function: Any, **options: Any) -> Any:
    """Call a function of SciPy that reads a MATLAB file, and turn what it says into one sentence."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of arrays saved twice, of which the last one counts
            return function(str(path), **options)
    except MemoryError as error:
        raise FormatError(
            f"{path} needs more memory than there is, since a MATLAB file of version 5 is loaded as a whole: "
            "save it in MATLAB with '-v7.3'"
        ) from error
    except PermissionError as error:
        raise PermissionError(f"{path} may not be read: allow it with chmod, or read a copy") from error
    except Exception as error:  # damaged bytes can make SciPy raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FormatError(
            f"{path} is truncated or damaged ({reason}): save it again in MATLAB, or copy it again"
        ) from error


def _refusal(path: Path, name: str, kind: str, fields: Sequence[str] = ()) -> str:
    if kind == "struct":
        several = f"; it has: {', '.join(fields)}" if fields else ""
        return f"{path}: '{name}' is a struct; name one of its fields, {path}:{name}/FIELD{several}"
    remedy = {
        "sparse": f"save full({name})",
        "cell": f"if its cells are maps of one size, save permute(cat(3, {name}{{:}}), [3 1 2])",
    }
    kinds = {"sparse": "sparse matrix", "char": "text"}
    return (
        f"{path}: '{name}' is a {kinds.get(kind, kind)}; maps must be an array of numbers: "
        f"{remedy.get(kind, 'save one in MATLAB')}"
    )


# Version 7.3


def _mapped(
    path: Path, role: str, wanted: str | None, beside: Path, stack: contextlib.ExitStack
) -> tuple[str, NDArray[Any]]:
    file = open_file(path, stack)
    with reading(path):
        name = wanted.strip("/") if wanted is not None else ""
        if not name or name not in file:
            name = chosen(path, _names(file), role, wanted, has_each=False)
        node = find(path, file, name)
        kind = node.attrs.get("MATLAB_class", b"")
        kind = kind.decode(errors="replace") if isinstance(kind, bytes) else str(kind)
        if "MATLAB_sparse" in node.attrs:
            raise FormatError(_refusal(path, name, "sparse"))
        if isinstance(node, h5py.Group):
            raise FormatError(_refusal(path, name, "struct", [str(key) for key in node]))
        if h5py.check_ref_dtype(node.dtype) is not None:
            raise FormatError(_refusal(path, name, kind or "field of several structs"))
        if kind and kind not in _NUMBERS:
            raise FormatError(_refusal(path, name, kind))
        if node.dtype.names:
            raise FormatError(_refusal(path, name, "complex array"))
        if node.attrs.get("MATLAB_empty"):  # the values are then the shape
            raise FormatError(f"{path}: '{name}' is empty; it must have one row per sample")
        check_dataset(path, node, "maps", "iuf", reversed_too=True)
        offset = node.id.get_offset()
        if node.size and offset is not None and node.chunks is None:
            return name, _map(path, node, offset).T
        return name, _unpacked(path, node, beside, stack).T


def _names(file: h5py.File) -> list[str]:
    """Return the names of the arrays of numbers, also in structs."""
    names: list[str] = []

    def note(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset) and not name.startswith(_HIDDEN) and node.dtype.kind in "iuf":
            kind = node.attrs.get("MATLAB_class", b"double")
            is_other = "MATLAB_sparse" in node.parent.attrs or "MATLAB_empty" in node.attrs
            if not is_other and (kind.decode() if isinstance(kind, bytes) else str(kind)) in _NUMBERS:
                names.append(name)

    file.visititems(note)  # follows hard links only, and visits each object once
    return names


def _map(path: Path, dataset: h5py.Dataset, offset: int) -> NDArray[Any]:
    try:
        return np.memmap(path, dataset.dtype, "r", offset, dataset.shape)
    except (ValueError, OverflowError) as error:
        raise FormatError(f"{path} is truncated or damaged ({error}): save or copy it again") from error


def _unpacked(path: Path, dataset: h5py.Dataset, beside: Path, stack: contextlib.ExitStack) -> NDArray[Any]:
    """Copy a dataset into a file beside the output, chunk by chunk, and map it.

    A chunk holds parts of many maps: reading them map by map would unpack it as many times.
    """
    if dataset.chunks is None or not dataset.size:
        values: NDArray[Any] = dataset[()]  # a few bytes in the header, or none
        return values
    words = f"'{dataset.name.lstrip('/')}' of {path}, unpacked,"
    check_space(beside, dataset.size * dataset.dtype.itemsize, words)
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".lensmetrics-import-", dir=beside)))
    array = np.memmap(folder / "unpacked", dataset.dtype, "w+", shape=dataset.shape)
    for part in dataset.iter_chunks():
        array[part] = dataset[part]
    return array
