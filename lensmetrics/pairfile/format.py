"""The names and checksums of the pair file, format 1.

A pair file is a netCDF-4 file with the maps of one condition before and after an attack. The page
README.md beside this module specifies it.
"""

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    from isal.isal_zlib import crc32 as _crc32  # the same number, in a twentieth of the time
except ImportError:
    _crc32 = zlib.crc32

crc32: Callable[..., int] = _crc32

FORMAT = "lensmetrics-pairs"
VERSION = 1
MAPS = ("unperturbed", "perturbed")
# What the perturbed map can be scored against.
REFERENCES = ("unperturbed", "target")
INTEGERS = ("label", "prediction", "prediction_perturbed")
NORMS = ("perturbation_linf", "perturbation_l2")
IMAGES = ("image", "image_perturbed")
COUNTS = ("n_accepted", "best_step")
OUTPUTS = ("output", "output_perturbed")
# What `image_checksum` covers, in the order in which it is computed.
BESIDE_MAPS = (*IMAGES, "target", *OUTPUTS)
# The optional variables; `image_checksum` exists where one of BESIDE_MAPS does.
OPTIONAL = ("name", *INTEGERS, *COUNTS, *NORMS, *BESIDE_MAPS)

# How channels become one value per pixel, for maps (sample, channel, y, x).
REDUCTIONS: dict[str, Callable[[NDArray[np.floating]], NDArray[np.floating]]] = {
    "abs_sum": lambda maps: np.abs(maps).sum(axis=1),
    "sum": lambda maps: maps.sum(axis=1),
    "abs_max": lambda maps: np.abs(maps).max(axis=1),
}
DEFAULT_REDUCTION = "abs_sum"


def checksums(
    unperturbed: NDArray[np.floating],
    perturbed: NDArray[np.floating],
    sample: NDArray[np.int64],
    label: NDArray[np.int64] | None,
) -> list[int]:
    """Return the CRC-32 of every sample: its two maps, then its number and, if there is one, its label.

    The maps are C-contiguous and little-endian, with samples along the first axis.
    """
    columns = [sample] if label is None else [sample, label]
    return row_checksums([unperturbed, perturbed, np.stack(columns, axis=1).astype("<i8")])


def row_checksums(arrays: Sequence[NDArray[Any]]) -> list[int]:
    """Return the CRC-32 of every row of C-contiguous, little-endian arrays, one array after the other."""
    views = []
    for array in arrays:
        # Slices of one flat view pass rows on without copies and without an array object each.
        views.append((array.reshape(-1).view(np.uint8).data, array.nbytes // max(len(array), 1)))
    result = []
    for row in range(len(arrays[0])):
        value = 0
        for view, length in views:
            value = crc32(view[row * length : (row + 1) * length], value)
        result.append(value)
    return result
