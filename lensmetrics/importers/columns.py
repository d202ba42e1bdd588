"""One value per sample from a foreign array: labels, sample numbers, names or an index."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..pairs.arrays import LARGEST_EXACT

_REMEDIES = {
    "b": "save array.astype(int)",
    "U": "save numbers, such as numpy.unique(array, return_inverse=True)[1]",
}
_REMEDIES["S"] = _REMEDIES["O"] = _REMEDIES["T"] = _REMEDIES["U"]
# Samples may be identified by texts; HDF5 has texts of fixed and of variable length.
_TEXTS = "USO"


def check_column(words: str, shape: tuple[int, ...], dtype: np.dtype[Any], n: int, what: str) -> None:
    """Refuse an array that cannot hold one integer, or one text for samples, before it is read."""
    if dtype.kind not in "iuf" and not (what == "samples" and dtype.kind in _TEXTS):
        remedy = _REMEDIES.get(dtype.kind, "save integers")
        raise FormatError(f"{words} is {dtype}; {what} must be integers: {remedy}")
    if shape not in ((n,), (n, 1)):
        values = "integers or texts" if what == "samples" else "integers"
        raise FormatError(
            f"{words} is {shape}; {what} must be {n} {values}, one per sample: ({n},) or ({n}, 1)"
        )


def column_values(words: str, values: NDArray[Any], what: str) -> NDArray[Any]:
    """Return integers as int64, and names of samples as an array of str.

    Floating-point numbers must be integral, and none may be missing.
    """
    if values.dtype.kind in _TEXTS:
        return _names(words, values)
    flat = values.reshape(-1)
    if flat.dtype.kind == "f":
        flat = flat.astype(np.float64)
        if np.isnan(flat).any():
            raise FormatError(
                f"{words} has no value in row {int(np.isnan(flat).argmax())}; {what} need one in every row"
            )
        # Beyond this, several integers are one floating-point number.
        bad = ~((flat == np.floor(flat)) & (np.abs(flat) <= LARGEST_EXACT))
    else:
        bad = flat > np.iinfo(np.int64).max if flat.dtype.kind == "u" else np.zeros(len(flat), dtype=bool)
    if bad.any():
        row = int(bad.argmax())
        largest = "2**53 if they are floats" if flat.dtype.kind == "f" else "2**63 - 1"
        raise FormatError(f"{words} holds {flat[row]} in row {row}; {what} must be integers up to {largest}")
    return flat.astype(np.int64)


def _names(words: str, values: NDArray[Any]) -> NDArray[np.object_]:
    names = np.empty(values.size, dtype=object)
    for row, value in enumerate(values.reshape(-1).tolist()):
        try:
            name = value.decode() if isinstance(value, bytes) else value
        except UnicodeDecodeError:
            name = None
        if not isinstance(name, str) or not name or "\0" in name:
            raise FormatError(
                f"{words} holds {value!r} in row {row}; names of samples must be texts in UTF-8"
            )
        names[row] = name
    return names


def check_samples(words: str, identities: NDArray[Any]) -> None:
    """Refuse numbers or names that do not identify samples: negative or repeated ones."""
    if identities.dtype != object and (identities < 0).any():
        row = int((identities < 0).argmax())
        raise FormatError(f"{words} holds {identities[row]} in row {row}; sample numbers must be 0 or more")
    values, counts = np.unique(identities, return_counts=True)
    if len(values) < len(identities):
        raise FormatError(
            f"{words} holds {values[counts > 1][0]} twice; a pair file holds each sample once: remove the "
            "duplicates"
        )
