"""Tensors that torch.save wrote: mapped into memory, never unpickled into anything but tensors.

``torch.load(weights_only=True)`` refuses every other object, since loading one runs code. No message
advises to load such a file in another way.
"""

import contextlib
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .bfloat16 import bfloat16_source
from .choosing import chosen
from .datasets import read_values
from .foreign import first_bytes
from .names import EACH
from .source import Source, array_source
from .stacking import each_is_a_sample, stacked

if TYPE_CHECKING:
    import torch

_ZIP = b"PK\x03\x04"
_PICKLE = re.compile(r"([^/]+/)?data\.pkl")
# How torch says which object it refuses to load.
_REFUSED = re.compile(r"Unsupported (?:global|class):? (?:GLOBAL )?([\w.]+)", re.IGNORECASE)
# Names longer than this belong to lists in lists in lists, which only damaged files have.
_LONGEST = 1000
_STRIDED = "torch.strided"
_SAVE = "save the tensors alone, torch.save(maps.detach().cpu(), 'u.pt'), where they were made"


def is_torch(path: Path) -> bool:
    """Return whether a file is a zip archive of torch.save."""
    if first_bytes(path, len(_ZIP)) != _ZIP:
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(_PICKLE.fullmatch(name) for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, RuntimeError, ValueError):
        return False  # the last kind in the list says what is wrong with it


def open_maps(
    path: Path, role: str, wanted: str | None, *, beside: Path, stack: contextlib.ExitStack
) -> Source:
    """Find a tensor, or a list of tensors of one shape, one per sample."""
    content, sizes = _load(path)
    arrays = _arrays(content)
    _refuse_other_bytes(path, arrays, sizes)
    if wanted is None and role in arrays:
        wanted = role
    if wanted is not None and wanted.endswith(EACH) and wanted not in arrays:
        above = wanted.removesuffix(EACH).removesuffix("/")
        if isinstance(arrays.get(above), list):
            return _named(path, above, arrays[above])
        return each_is_a_sample(path, _of_tensors(arrays), wanted, lambda one: _named(path, one, arrays[one]))
    found = _element(path, arrays, wanted)
    if wanted is not None and found is not None:
        return _named(path, wanted, found)
    name = wanted if wanted is not None and wanted in arrays else None
    if name is None:
        name = chosen(path, _of_tensors(arrays), role, wanted)
    return _named(path, name, arrays[name])


def _named(path: Path, name: str, found: Any) -> Source:
    words = f"{path}, tensor '{name}'," if name else str(path)
    return _list(words, name, found) if isinstance(found, list) else _source(words, name, found)


def read_column(
    path: Path, wanted: str | None, what: str, maps: Source, *, beside: Path, stack: contextlib.ExitStack
) -> tuple[str, NDArray[Any]]:
    """Read one value for each of these maps; return also the name of the array in messages."""
    rows = open_maps(path, what, wanted, beside=beside, stack=stack)
    return rows.words, read_values(rows, maps.shape[0], what)


def _load(path: Path) -> tuple[Any, set[int]]:
    """Load a file without its values, which stay on disk until they are read.

    Return also the sizes of its members.
    """
    try:
        import torch
    except ImportError as error:
        raise FormatError(
            f"{path} is a file of torch.save, and torch is not installed: install it, or run, where it is, "
            f"numpy.save('u.npy', torch.load({path.name!r}, map_location='cpu', weights_only=True).numpy())"
        ) from error
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if any(member.filename.endswith("/constants.pkl") for member in members):
        raise FormatError(f"{path} is a TorchScript program, which import does not open: {_SAVE}")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        # torch would map the packed bytes and take them for values.
        raise FormatError(
            f"{path} was compressed after torch.save, so that it cannot be mapped: "
            f"torch.save(torch.load({path.name!r}, map_location='cpu', weights_only=True), 'u.pt')"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about its own future
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (MemoryError, PermissionError):
        raise
    except Exception as error:  # damaged bytes can make torch raise anything
        raise FormatError(_refusal(path, error)) from None  # whose text advises to load it unsafely
    return content, {member.file_size for member in members}


def _refuse_other_bytes(path: Path, arrays: Mapping[str, Any], sizes: set[int]) -> None:
    """Refuse a tensor whose values are not exactly a member of the file: torch maps whatever lies there."""
    for name, found in arrays.items():
        for tensor in found if isinstance(found, list) else [found]:
            is_stored = _is_tensor(tensor) and tensor.device.type == "cpu" and str(tensor.layout) == _STRIDED
            if is_stored and tensor.untyped_storage().nbytes() not in sizes:
                raise FormatError(
                    f"{path} is truncated or damaged (the values of '{name}' are not where it says): save it "
                    "again with torch.save, or copy it again"
                )


def _refusal(path: Path, error: Exception) -> str:
    text = " ".join(str(error).split())
    refused = _REFUSED.search(text)
    if refused is not None and refused[1].startswith("numpy."):
        return (
            f"{path} holds NumPy arrays in place of tensors, which import does not open, because opening "
            "them can run code: save them with numpy.savez where they were made"
        )
    if refused is not None:
        return (
            f"{path} holds Python objects ({refused[1]}), not only tensors, which import does not open, "
            f"because opening them can run code: {_SAVE}"
        )
    text = text.rpartition("WeightsUnpickler error: ")[2]
    reason = re.split(r"(?<=[^.])\. |Exception raised", text, maxsplit=1)[0][:200].strip()
    return (
        f"{path} is truncated or damaged ({reason or type(error).__name__}): save it again with torch.save, "
        "or copy it again"
    )


def _arrays(content: Any) -> dict[str, Any]:
    """Return everything that can be read as an array, named by the keys that lead to it, joined with '/'.

    Those are tensors, and lists of tensors or of numbers. A damaged file may hold itself: each dict or
    list is visited once.
    """
    found: dict[str, Any] = {}
    seen = set()
    waiting = [("", content)]
    while waiting:
        name, node = waiting.pop()
        if _is_tensor(node):
            found[name] = node
        elif isinstance(node, Mapping | list | tuple) and id(node) not in seen and len(name) < _LONGEST:
            seen.add(id(node))
            if isinstance(node, Mapping):
                items = [(str(key), value) for key, value in node.items()]
            elif node and (
                all(map(_is_tensor, node)) or all(isinstance(it, int | float | str) for it in node)
            ):
                found[name] = list(node)
                continue
            else:
                items = [(str(position), value) for position, value in enumerate(node)]
            waiting += [(f"{name}/{key}" if name else key, value) for key, value in reversed(items)]
    return found


def _of_tensors(arrays: Mapping[str, Any]) -> list[str]:
    """Return the names of what may be maps, which numbers and lists of numbers are not."""
    parts = {name: found if isinstance(found, list) else [found] for name, found in arrays.items()}
    return [name for name, items in parts.items() if _is_tensor(items[0]) and items[0].ndim]


def _element(path: Path, arrays: Mapping[str, Any], name: str | None) -> Any:
    """Return one tensor of a list, NAME/0 or 0; None if the name is of something else."""
    if name is None or name in arrays:
        return None
    of, _, position = name.rpartition("/")
    items = arrays.get(of)
    if not isinstance(items, list) or not _is_tensor(items[0]):
        return None
    if re.fullmatch("[0-9]{1,9}", position) and int(position) < len(items):
        return items[int(position)]
    where = f"'{of}' is" if of else "it is"
    raise ValueError(f"{path} has no tensor '{name}'; {where} a list of {len(items)}, from 0 on")


def _is_tensor(node: object) -> bool:
    import torch

    return isinstance(node, torch.Tensor)


def _source(words: str, name: str, tensor: "torch.Tensor") -> Source:
    import torch

    if tensor.is_quantized:
        raise FormatError(f"{words} is quantized: save tensor.dequantize()")
    if tensor.layout != torch.strided:
        raise FormatError(f"{words} is stored as {tensor.layout}: save tensor.to_dense()")
    if tensor.device.type != "cpu":
        raise FormatError(f"{words} holds no values, only a shape (device {tensor.device}): save its values")
    # Expanded over an axis, a few bytes can claim any shape.
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise FormatError(
            f"{words} is {tuple(tensor.shape)} but repeats its values: save tensor.contiguous()"
        )
    tensor = tensor.detach().resolve_conj().resolve_neg()
    if tensor.dtype == torch.bfloat16:
        return bfloat16_source(words, name, tensor.view(torch.int16).numpy().view(np.uint16))
    try:
        array = tensor.numpy()
    except TypeError as error:
        raise FormatError(
            f"{words} is {tensor.dtype}; maps must be integers or floats of at least 16 bits: save "
            "tensor.float()"
        ) from error
    return array_source(words, name, array)


def _list(words: str, name: str, items: Sequence[Any]) -> Source:
    """Return a list as one array: its tensors are the samples, or its numbers the values of a column."""
    if not _is_tensor(items[0]) or not any(item.ndim for item in items):
        values = np.asarray([item.item() if _is_tensor(item) else item for item in items])
        return array_source(words, name, values)
    parts = {number: _source(f"{words} element {number},", name, item) for number, item in enumerate(items)}
    if len(parts[0].shape) > 3:
        raise FormatError(
            f"{words} is a list of {len(parts)} tensors of {parts[0].shape}, which seem to be batches: save "
            f"torch.cat(maps), or name one of them, FILE:{name}{'/' * bool(name)}0"
        )
    return stacked(f"{words} a list," if name else f"{words}, a list,", name, parts)
