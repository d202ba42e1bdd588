"""Attributes of a pair file: read as plain values, checked before they are written, compared."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5t
from numpy.typing import NDArray

from ..errors import FormatError
from ..tables.columns import is_reserved
from .format import DEFAULT_REDUCTION, FORMAT, REDUCTIONS, VERSION, crc32
from .variables import usual_type

# The attribute with the CRC-32 of what no other checksum covers, and its value in an unfinished file. It
# exists from the beginning: creating or deleting an attribute later could tear the file if its writer is
# killed at that moment.
CHECKSUM = "checksum_metadata"
UNFINISHED = -1
# What HDF5 stores of a text of variable length in its place.
_TEXT_BYTES = 16
# The columns that CHECKSUM covers, in its order, and their types; texts end with NUL.
COVERED: dict[str, str | None] = {
    "best_step": "<i4",
    "n_accepted": "<i4",
    "name": None,
    "perturbation_l2": "<f4",
    "perturbation_linf": "<f4",
    "prediction": "<i8",
    "prediction_perturbed": "<i8",
}


def metadata_checksum(attrs: Mapping[str, Any], columns: Mapping[str, NDArray[Any]]) -> int:
    """Return the CRC-32 of all other attributes, then of the columns that no other checksum covers."""
    others = {name: _exact(value) for name, value in attrs.items() if name != CHECKSUM and name[:1] != "_"}
    text = json.dumps(others, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    value = crc32(text.encode("utf-8", "surrogatepass"))
    for name, dtype in COVERED.items():
        if name not in columns:
            continue
        if dtype is None:
            data = b"".join(item.encode() + b"\0" for item in columns[name])
        else:
            with np.errstate(over="ignore"):
                data = columns[name].astype(dtype).tobytes()
        value = crc32(data, value)
    return value


def _exact(value: Any) -> Any:
    """Spell floats so that every bit counts; JSON writers differ in how they print them."""
    if isinstance(value, list):
        return [_exact(item) for item in value]
    return value.hex() if isinstance(value, float) else value


def read_attrs(path: Path, file: h5py.File) -> dict[str, Any]:
    """Return the root attributes as plain values; refuse a file of another format or version."""
    needs = f"a pair file has format = '{FORMAT}' and format_version = {VERSION}"
    root = h5py.h5g.open(file.id, b"/")
    # Names that begin with an underscore belong to the netCDF library.
    names = [name for name in _names(path, root) if name[:1] != "_"]
    if "format" not in names:
        raise FormatError(f"{path} has no attribute 'format'; {needs}")
    name = _value(path, root, "format")
    if name != FORMAT:
        raise FormatError(f"{path} has format {name!r}; {needs}")
    if "format_version" not in names:
        raise FormatError(f"{path} has no attribute 'format_version'; {needs}")
    version = _value(path, root, "format_version")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise FormatError(f"{path} has format_version {version!r}; it must be an integer >= 1")
    if version > VERSION:
        raise FormatError(
            f"{path} has format version {version}; this lensmetrics reads version {VERSION}: "
            "install a newer release"
        )
    known = {"format": FORMAT, "format_version": version}
    return {name: known[name] if name in known else _value(path, root, name) for name in names}


def _names(path: Path, root: h5py.h5g.GroupID) -> list[str]:
    """Return the names of the attributes in the order in which h5py lists them."""
    order = root.get_create_plist().get_attr_creation_order()
    index = h5py.h5.INDEX_CRT_ORDER if order & h5py.h5p.CRT_ORDER_TRACKED else h5py.h5.INDEX_NAME
    names: list[bytes] = []
    h5a.iterate(root, names.append, index_type=index)
    try:
        return [name.decode() for name in names]
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{path} is damaged: it has an attribute named {error.object!r}; regenerate or copy it again"
        ) from None


def _value(path: Path, root: h5py.h5g.GroupID, name: str) -> Any:
    """Return one attribute as `_plain` does; of a single number or text, in half the time."""
    attribute = h5a.open(root, name.encode())
    kind, n_bytes = attribute.get_type(), 0
    with suppress(RuntimeError):  # which is how h5py reports 0
        n_bytes = attribute.get_storage_size()
    usual = usual_type(kind)
    if usual is not None and n_bytes == usual[1].itemsize:
        number = np.empty((), usual[1])
        attribute.read(number, usual[0])
        return number.item()
    if isinstance(kind, h5t.TypeStringID) and kind.is_variable_str() and n_bytes == _TEXT_BYTES:
        text = np.empty((), object)
        attribute.read(text, h5t.PYTHON_OBJECT)
        with suppress(UnicodeDecodeError):
            return text.item().decode()
    return _plain(path, name, h5py.Group(root).attrs[name])


def _plain(path: Path, name: str, value: Any) -> Any:
    """Return one attribute as str, int, float, bool, or a list of them."""
    if isinstance(value, h5py.Empty):  # the netCDF library stores an empty text this way
        return ""
    values = np.asarray(value).reshape(-1).tolist()
    plain = [item.decode(errors="surrogateescape") if isinstance(item, bytes) else item for item in values]
    if not all(isinstance(item, int | float) or (isinstance(item, str) and is_text(item)) for item in plain):
        raise FormatError(f"{path}: attribute '{name}' is {value!r}; attributes must be text or numbers")
    return plain[0] if len(plain) == 1 else plain


def is_text(item: str) -> bool:
    """Return whether a text can be encoded: bytes that are not UTF-8 become lone surrogates, which cannot."""
    try:
        item.encode()
    except UnicodeEncodeError:
        return False
    return True


def checked_attrs(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes as the plain values that a reader will get back."""
    # A checksum that was copied from another file does not apply to this one.
    checked = {name: _attr(name, value) for name, value in attrs.items() if name != CHECKSUM}
    for name, value in (("format", FORMAT), ("format_version", VERSION)):
        if checked.pop(name, value) != value:
            raise ValueError(f"attribute '{name}' is set by PairWriter itself, to {value!r}: leave it out")
    if checked.get("reduction", DEFAULT_REDUCTION) not in REDUCTIONS:
        raise ValueError(f"unknown reduction {checked['reduction']!r}; allowed: {', '.join(REDUCTIONS)}")
    return checked


def _attr(name: str, value: Any) -> Any:
    if not isinstance(name, str) or not name or name[:1] == "_" or {*"/\0"} & {*name} or not is_text(name):
        raise ValueError(
            f"attribute name {name!r} must be a word without '/' or NUL that does not begin with '_'"
        )
    if is_reserved(name):
        raise ValueError(
            f"attribute name '{name}' is reserved: tables of scores use it for something else; "
            "choose another one"
        )
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    values = list(value) if isinstance(value, list | tuple | np.ndarray) else [value]
    plain = [_netcdf_value(item) for item in values]
    if {type(item) for item in plain} == {int, float}:
        plain = [float(item) for item in plain if item is not None]
    if not plain or plain[0] is None or len({type(item) for item in plain}) > 1:
        raise TypeError(
            f"attribute '{name}' is {value!r}; it must be text without NUL, an int64, a float or a "
            "sequence of one of these (netCDF-4 has no bool, None or float16 attributes)"
        )
    return plain[0] if len(plain) == 1 else plain


def _netcdf_value(item: object) -> str | int | float | None:
    """Return the item as a plain value that netCDF-4 can hold, None if it cannot."""
    if isinstance(item, str):
        return str(item) if "\0" not in item and is_text(item) else None
    if isinstance(item, int | np.integer) and not isinstance(item, bool):
        return int(item) if -(2**63) <= item < 2**63 else None
    if isinstance(item, float | np.float32):
        return float(item)
    return None


def refuse_other_attrs(path: Path, stored: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse to mix two conditions in one file. NaN equals NaN: it means that there is no eps."""
    of_the_file = ("format", "format_version", CHECKSUM)
    old = {name: value for name, value in stored.items() if name not in of_the_file}
    differences = []
    for name in sorted({*old, *given}):
        here, there = (repr(side[name]) if name in side else "absent" for side in (old, given))
        if here != there and not (name in old and name in given and old[name] == given[name]):
            differences.append(f"{name} is {here} in the file, {there} given")
    if differences:
        raise ValueError(f"attributes differ from those of {path}: {'; '.join(differences)}")
