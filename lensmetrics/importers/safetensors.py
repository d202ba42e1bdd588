"""Tensors in .safetensors files, memory-mapped.

The library checks the header, which tells where each tensor lies; NumPy maps it, since the library does
not read rows in any order, nor bfloat16 without torch. Source of the layout: the README of
github.com/huggingface/safetensors, "Format".
"""

import contextlib
import json
import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from .bfloat16 import bfloat16_source
from .choosing import chosen
from .datasets import read_values
from .filling import cannot_fill, filler_at
from .foreign import first_bytes
from .names import EACH
from .source import Fill, Source, array_source
from .stacking import each_is_a_sample

# The library allows no longer header.
_LONGEST_HEADER = 100_000_000
_TYPES = {
    **{f"F{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    **{f"I{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    "BOOL": "?",
    "C64": "<c8",
    "BF16": "<u2",  # widened where it is read
}


def is_safetensors(path: Path) -> bool:
    """Return whether a file begins like a .safetensors file: the length of a JSON object, and that object."""
    head = first_bytes(path, 9)
    return head[8:] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= _LONGEST_HEADER


def open_maps(
    path: Path, role: str, wanted: str | None, *, beside: Path, stack: contextlib.ExitStack
) -> Source:
    """Find a tensor by its name."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise FormatError(
            f"{path} is a safetensors file, which needs a package: pip install 'lensmetrics[files]'"
        ) from error
    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
    except (SafetensorError, OSError) as error:
        reason = " ".join(str(error).split())
        raise FormatError(
            f"{path} is truncated or damaged ({reason}): save it again with safetensors, or copy it again"
        ) from error
    with path.open("rb") as raw:
        data = mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ)
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    values = np.frombuffer(data, np.uint8, offset=start)

    def find(name: str) -> Source:
        return _tensor(path, name, header[name], values)

    if wanted is not None and wanted.endswith(EACH) and wanted not in names:
        return each_is_a_sample(path, names, wanted, find)
    return find(chosen(path, names, role, wanted))


def filler(path: Path, source: Source) -> Fill:
    """Return a function that reads files with the header of this one."""
    if source.names is not None:
        return cannot_fill
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    entry = json.loads(data[8:start])[source.array]
    return (
        cannot_fill if entry["dtype"] == "BF16" else filler_at(path, source, start + entry["data_offsets"][0])
    )


def _tensor(path: Path, name: str, entry: dict[str, Any], values: NDArray[np.uint8]) -> Source:
    words = f"{path}, tensor '{name}',"
    shape, code = tuple(entry["shape"]), entry["dtype"]
    if code not in _TYPES:
        raise FormatError(
            f"{words} is {code}; maps must be integers or floats of at least 16 bits: save tensor.float()"
        )
    begin, end = entry["data_offsets"]
    array: NDArray[Any] = values[begin:end].view(_TYPES[code]).reshape(shape)
    return bfloat16_source(words, name, array) if code == "BF16" else array_source(words, name, array)


def read_column(
    path: Path, wanted: str | None, what: str, maps: Source, *, beside: Path, stack: contextlib.ExitStack
) -> tuple[str, NDArray[Any]]:
    """Read one value for each of these maps; return also the name of the array in messages."""
    rows = open_maps(path, what, wanted, beside=beside, stack=stack)
    return rows.words, read_values(rows, maps.shape[0], what)
