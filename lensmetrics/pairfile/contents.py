"""What an unfinished pair file can hold, and what it holds already."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .checks import LARGEST_DECODED_BYTES
from .format import OPTIONAL, OUTPUTS


@dataclass
class Contents:
    """What a file can hold, and what it holds already; it grows with every batch."""

    path: Path
    map_shape: tuple[int, ...]  # ([channel,] height, width)
    complete: NDArray[np.bool_]
    dtype: np.dtype[Any] | None = None  # None until the first batch decides
    rounds: bool = False  # whether maps may be rounded to `dtype`
    image_shape: tuple[int, ...] | None = None
    compression: Mapping[str, Any] = field(default_factory=dict)
    samples: set[int] = field(default_factory=set)
    names: set[bytes] = field(default_factory=set)
    # All variables of the file, none before the first batch. They are kept open: when HDF5 closes one, it
    # loses a failure to write what is still buffered of it.
    variables: dict[str, h5py.Dataset] = field(default_factory=dict)

    @property
    def n_samples(self) -> int:
        """Number of samples that the file has room for."""
        return len(self.complete)

    @property
    def is_begun(self) -> bool:
        """Whether the variables exist, so that further batches must fit them."""
        return bool(self.variables)

    @property
    def optional(self) -> set[str]:
        """The optional variables that the file has."""
        return {name for name in OPTIONAL if name in self.variables}

    @property
    def n_classes(self) -> int | None:
        """Number of outputs of the network, None if the file has no outputs (yet)."""
        return next((self.variables[name].shape[1] for name in OUTPUTS if name in self.variables), None)

    def check_compressible(self, dtype: np.dtype[Any]) -> None:
        """Refuse to compress maps that no reader would decode."""
        n_bytes = dtype.itemsize * math.prod(self.map_shape)
        if self.compression and n_bytes > LARGEST_DECODED_BYTES:
            raise ValueError(
                f"maps of {self.map_shape} are too large to compress, at most {LARGEST_DECODED_BYTES} bytes "
                "are allowed: leave compression out"
            )

    def add(self, positions: slice, samples: Iterable[int], names: Iterable[bytes]) -> None:
        """Note that these samples were written."""
        self.complete[positions] = True
        self.samples.update(samples)
        self.names.update(names)
