"""`Variable`: a dataset of a pair file, described once; h5py asks HDF5 anew at each access."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5t
from numpy.typing import NDArray

from ..errors import FormatError

# The types that pair files are made of, by HDF5's description of each: h5py takes longer to translate a type
# than to open a dataset.
_USUAL = {
    kind.encode(): (kind, np.dtype(name))
    for kind, name in (
        (h5t.STD_U8LE, "u1"),
        (h5t.STD_U32LE, "<u4"),
        (h5t.STD_I32LE, "<i4"),
        (h5t.STD_I64LE, "<i8"),
        (h5t.IEEE_F32LE, "<f4"),
        (h5t.IEEE_F64LE, "<f8"),
    )
}


_NUMBERS = (h5t.TypeIntegerID, h5t.TypeFloatID)


def usual_type(kind: h5t.TypeID) -> tuple[h5t.TypeID, np.dtype[Any]] | None:
    """Return a type of numbers, of HDF5 and of NumPy, if it is one that pair files are made of."""
    return _USUAL.get(kind.encode()) if isinstance(kind, _NUMBERS) else None


class Variable:
    """A dataset: how it is stored, and its values.

    Attributes
    ----------
    offset
        Where in the file the values begin, None if they are not stored in one piece there.
    chunks
        The shape of its chunks, None if it has none.
    is_elsewhere
        Whether other files hold the values.
    """

    def __init__(self, name: str, identifier: h5d.DatasetID) -> None:
        self.name, self.id = name, identifier
        self.shape: tuple[int, ...] = identifier.shape
        self.offset: int | None = identifier.get_offset()
        self.chunks: tuple[int, ...] | None = None
        self.is_elsewhere = False
        if self.offset is None:  # otherwise it has no chunks, and its values are here
            properties = identifier.get_create_plist()
            layout = properties.get_layout()
            self.is_elsewhere = layout == h5d.VIRTUAL or properties.get_external_count() > 0
            self.chunks = properties.get_chunk() if layout == h5d.CHUNKED else None
        self._dtype: np.dtype[Any] | None = None
        self._kind: h5t.TypeID | None = None

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Number of axes; an empty dataset of HDF5 has no shape."""
        return len(self.shape or ())

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values; not every type of HDF5 has one."""
        if self._dtype is None:
            usual = usual_type(self.id.get_type())
            self._kind, self._dtype = (None, self.id.dtype) if usual is None else usual
        return self._dtype

    @property
    def dataset(self) -> h5py.Dataset:
        """The dataset for what only h5py can read."""
        return h5py.Dataset(self.id, readonly=True)

    def read(self) -> NDArray[Any]:
        """Return all values."""
        values = np.empty(self.shape, self.dtype)
        self.id.read(h5py.h5s.ALL, h5py.h5s.ALL, values, self._kind)
        return values

    def filter_codes(self) -> list[int]:
        """Return the codes of the HDF5 filters that it was compressed with."""
        if self.chunks is None:
            return []
        properties = self.id.get_create_plist()
        return [properties.get_filter(position)[0] for position in range(properties.get_nfilters())]


def find_variable(path: Path, file: h5py.File, name: str) -> Variable:
    """Return the dataset of that name; its values must be stored in this file."""
    found: Variable | None = None
    try:
        found = Variable(name, h5d.open(file.id, name.encode()))
    except (KeyError, OSError, RuntimeError, TypeError, ValueError):
        if name not in file:
            held = sorted(map(repr, file))  # a name that is not UTF-8 comes as bytes
            names = ", ".join(held[:20]) + (", ..." if len(held) > 20 else "")
            raise FormatError(f"{path} has no dataset '{name}'; it has: {names or 'nothing'}") from None
        node = file[name]
        if isinstance(node, h5py.Dataset):
            found = Variable(name, node.id)
    if found is None or found.is_elsewhere:
        raise FormatError(
            f"{path}: '{name}' must be a dataset stored in this file, not a group, a virtual dataset or "
            "external data; copy the values into the file"
        )
    return found
