"""One integer per sample from a foreign array: labels, sample numbers or an index."""

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


def check_column(words: str, shape: tuple[int, ...], dtype: np.dtype[Any], n: int, what: str) -> None:
    """Refuse an array that cannot hold one integer per sample, before it is read."""
    if dtype.kind not in "iuf":
        remedy = _REMEDIES.get(dtype.kind, "save integers")
        raise FormatError(f"{words} is {dtype}; {what} must be integers: {remedy}")
    if shape not in ((n,), (n, 1)):
        raise FormatError(
            f"{words} is {shape}; {what} must be {n} integers, one per sample: ({n},) or ({n}, 1)"
        )


def integers(words: str, values: NDArray[Any], what: str) -> NDArray[np.int64]:
    """Return the values as int64; floating-point numbers must be integral, and none may be missing."""
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


def check_samples(words: str, numbers: NDArray[np.int64]) -> None:
    """Refuse numbers that do not identify samples: negative or repeated ones."""
    if (numbers < 0).any():
        row = int((numbers < 0).argmax())
        raise FormatError(f"{words} holds {numbers[row]} in row {row}; sample numbers must be 0 or more")
    values, counts = np.unique(numbers, return_counts=True)
    if len(values) < len(numbers):
        raise FormatError(
            f"{words} holds {values[counts > 1][0]} twice; a pair file holds each sample once: remove the "
            "duplicates"
        )
