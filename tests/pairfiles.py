"""Pair files for tests: one factory of sound files, and one tool that damages them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest

import lensmetrics as lm

Floats = npt.NDArray[np.float32]


def maps_of(n: int, *shape: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Return n normal maps of that shape, and the same maps with half as much noise added."""
    unperturbed, noise = np.random.default_rng(seed).normal(size=(2, n, *shape)).astype(np.float32)
    return unperturbed, unperturbed + np.float32(0.5) * noise


def write_file(
    path: Path,
    n: int = 6,
    shape: tuple[int, int] = (6, 7),
    *,
    seed: int = 0,
    channels: int | None = None,
    attrs: Mapping[str, Any] | None = None,
    labels: bool = False,
    missing: Sequence[int] = (),
    first: int = 10,
    step: int = 2,
    compression: str | None = None,
    **columns: Any,
) -> tuple[Floats, Floats]:
    """Write a pair file of normal maps and return its maps.

    Parameters
    ----------
    labels
        Write the label i and the prediction -i for position i.
    missing
        Positions that are not written.
    first, step
        Numbers of the samples; by default 10, 12, ...
    columns
        Further variables, as for `PairWriter.write`, with a value for every position.
    """
    stored = shape if channels is None else (channels, *shape)
    unperturbed, perturbed = maps_of(n, *stored, seed=seed)
    if labels:
        columns = {"label": range(n), "prediction": [-i for i in range(n)], **columns}
    options: dict[str, Any] = {"channels": channels, "compression": compression}
    with lm.PairWriter(path, n_samples=n, shape=shape, attrs=attrs or {}, **options) as writer:
        for i in sorted(set(range(n)) - set(missing)):
            values = {name: column[i] for name, column in columns.items()}
            writer.write(i, unperturbed[i], perturbed[i], sample=first + step * i, **values)
    return unperturbed, perturbed


def edit(path: Path, change: Callable[[h5py.File], object]) -> None:
    """Change a file with HDF5, past every checksum of the format."""
    with h5py.File(path, "r+") as file:
        change(file)


def replace(path: Path, name: str, values: Any) -> None:
    """Put other values, of any type and shape, in the place of a variable."""
    with h5py.File(path, "r+") as file:
        file.pop(name, None)
        file[name] = values


def byte_offset(path: Path, name: str) -> int:
    """Return where the values of a variable begin in the file."""
    with h5py.File(path) as file:
        return int(file[name].id.get_offset())


def flip(path: Path, at: int, mask: int = 0x10) -> None:
    """Change bits of one byte of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= mask
    path.write_bytes(data)


def flip_byte(path: Path, name: str, at: int = 0) -> None:
    """Change a bit of one byte of a stored variable."""
    flip(path, byte_offset(path, name) + at)


def break_chunk(path: Path, name: str, number: int) -> None:
    """Overwrite a compressed chunk with bytes that cannot be decompressed."""
    with h5py.File(path) as file:
        chunk = file[name].id.get_chunk_info(number)
    with path.open("r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(b"\xff" * chunk.size)


def close_all(folder: Path) -> None:
    """Close every HDF5 file in a folder that this process has open, as the end of the process would."""
    for handle in h5py.h5f.get_obj_ids(types=h5py.h5f.OBJ_FILE):
        if Path(h5py.h5f.get_name(handle).decode()).parent == folder:
            h5py.File(handle).close()


def names_in(folder: Path) -> list[str]:
    """Return the names of all files in a folder, hidden ones too."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def study(tmp_path: Path) -> list[Path]:
    """Files that differ in everything in which files of one study may differ."""
    paths = [tmp_path / f"{name}.h5" for name in "dbca"]
    attrs = {"dataset": "toy", "training": "natural", "attack": "topk", "eps": 0.1, "attack_k": 9, "steps": 5}
    write_file(paths[0], 7, seed=1, attrs=attrs, labels=True)
    write_file(paths[1], 3, (9, 4), seed=2, channels=3, attrs={**attrs, "eps": 8 / 255})
    write_file(paths[2], 5, seed=3, attrs={"dataset": "toy", "attack": "random_sign"}, missing=[0, 3])
    write_file(paths[3], 4, (1, 8), seed=4, attrs={**attrs, "training": "pgd"}, labels=True, missing=[1])
    flip_byte(paths[0], "perturbed", 2 * 6 * 7 * 4 + 3)
    return paths


def fails_on_negative(pair: lm.MapPair, *, level: int) -> float:
    """Stand in for a user's metric that fails on some samples, in a module that workers can import."""
    if pair.unperturbed.min() < -level:
        raise RuntimeError("the user's own metric failed")
    return float(pair.unperturbed.max())


@pytest.fixture
def user_metric(own_metrics: None) -> str:
    """Register the user's metric for one test."""
    lm.register(bounds=(-100, 100), best=None)(fails_on_negative)
    return "fails_on_negative"
