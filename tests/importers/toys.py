"""What the tests of each kind of file share; they run in an empty folder."""

import tracemalloc
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from lensmetrics.errors import FormatError
from lensmetrics.importers import import_maps


def imported(first: str, second: str, **options: Any) -> NDArray[Any]:
    """Import two files, and return the stored maps of both."""
    Path("out.h5").unlink(missing_ok=True)
    import_maps(first, second, "out.h5", **options)
    with h5py.File("out.h5") as file:
        return np.stack([file["unperturbed"][()], file["perturbed"][()]])


def refused(given: str, message: str, error: type[Exception] = FormatError, **options: Any) -> str:
    """The import of a file ends with exactly this kind of error, in one line, and leaves nothing."""
    Path("out.h5").unlink(missing_ok=True)
    np.save("p.npy", np.zeros((6, 8, 9)))
    before = sorted(Path().iterdir())
    with pytest.raises(error, match=message) as caught:
        import_maps(given, "p.npy", "out.h5", **options)
    said = str(caught.value)
    assert type(caught.value) is error
    assert "\n" not in said
    assert "unsafe" not in said
    assert "weights_only=False" not in said
    assert "allow_pickle" not in said
    assert sorted(Path().iterdir()) == before
    return said


def peak_bytes(monkeypatch: pytest.MonkeyPatch, first: str, second: str, **options: Any) -> int:
    """Import two files in small blocks, and return how much memory that took at most."""
    monkeypatch.setattr("lensmetrics.importers.copying.BLOCK_BYTES", 2**18)
    imported(first, second, **options)  # the first call imports libraries
    Path("out.h5").unlink()
    tracemalloc.start()
    try:
        import_maps(first, second, "out.h5", **options)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
