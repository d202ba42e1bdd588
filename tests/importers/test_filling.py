"""Files of a folder that are read quickly, because only their values differ from those of the first one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

import lensmetrics as lm
from lensmetrics.errors import FormatError
from lensmetrics.importers.filling import filler_at
from lensmetrics.importers.source import array_source

SHAPE = (5, 6)
safetensors_numpy = pytest.importorskip("safetensors.numpy")


def maps(seed: int, dtype: str = "<f4") -> NDArray[Any]:
    return (np.random.default_rng(seed).normal(size=SHAPE) * 50).astype(dtype)


def save_npy(path: Path, array: NDArray[Any]) -> None:
    np.save(path, array)


def save_h5(path: Path, array: NDArray[Any], name: str = "maps", **attrs: object) -> None:
    with h5py.File(path, "w") as file:
        file[name] = array
        file[name].attrs.update(attrs)


def save_safetensors(path: Path, array: NDArray[Any], name: str = "maps") -> None:
    safetensors_numpy.save_file({name: array}, path)


def imported(tmp_path: Path) -> NDArray[Any]:
    """Import both folders, and return the unperturbed maps."""
    out = tmp_path / "out.h5"
    lm.import_maps(tmp_path / "clean", tmp_path / "adv", out)
    with lm.PairStore(out).to_xarray() as dataset:
        return np.asarray(dataset["unperturbed"].values)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    both = tmp_path / "clean", tmp_path / "adv"
    for folder in both:
        folder.mkdir()
    return both


SAVERS = {".npy": save_npy, ".h5": save_h5, ".safetensors": save_safetensors}


@pytest.mark.parametrize("suffix", SAVERS)
@pytest.mark.parametrize("first", ["<f4", ">f4", "<f8", "<f2"])
def test_values_arrive_and_other_types_are_noticed(
    suffix: str, first: str, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """Files with integers of the same size have the same length, and differ in their first bytes."""
    if suffix == ".safetensors" and first[0] == ">":
        first = "<f4"
    arrays = [maps(i, first) for i in range(4)]
    for folder, more in zip(folders, (0, 1), strict=True):
        for i, array in enumerate(arrays):
            SAVERS[suffix](folder / f"{i}{suffix}", array + np.array(more, array.dtype))
    np.testing.assert_array_equal(imported(tmp_path), np.stack(arrays))
    (tmp_path / "out.h5").unlink()
    SAVERS[suffix](folders[0] / f"2{suffix}", arrays[2].view(f"<i{arrays[2].itemsize}"))
    with pytest.raises(FormatError, match="save all with one type"):
        imported(tmp_path)
    assert not (tmp_path / "out.h5").exists()


def test_datasets_that_are_decoded_or_compressed(folders: tuple[Path, Path], tmp_path: Path) -> None:
    arrays = [maps(i) for i in range(3)]
    for folder in folders:
        save_h5(folder / "0.h5", arrays[0])
        save_h5(folder / "1.h5", arrays[1], scale_factor=np.float32(2))
        with h5py.File(folder / "2.h5", "w") as file:
            file.create_dataset("maps", data=arrays[2], compression="gzip")
    save_h5(folders[1] / "0.h5", arrays[0] + np.float32(1))
    expected = np.stack([arrays[0], arrays[1] * np.float32(2), arrays[2]])
    np.testing.assert_array_equal(imported(tmp_path), expected)


def test_a_fill_value_that_the_first_file_does_not_hold(folders: tuple[Path, Path], tmp_path: Path) -> None:
    arrays = [maps(i) for i in range(3)]
    arrays[1][2, 3] = -999
    for folder, more in zip(folders, (0, 1), strict=True):
        for i, array in enumerate(arrays):
            moved = np.where(array == -999, array, array + np.float32(more))
            save_h5(folder / f"{i}.h5", moved, _FillValue=np.float32(-999))
    found = imported(tmp_path)
    assert np.argwhere(np.isnan(found)).tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("save", [save_h5, save_safetensors])
def test_an_array_of_another_name(
    save: Callable[..., None], folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """The file has the same length, and the only array is taken, whatever its name."""
    arrays = [maps(i) for i in range(3)]
    for folder, more in zip(folders, (0, 1), strict=True):
        for i, array in enumerate(arrays):
            save(folder / f"{i}.x", array + np.float32(more), name=("maps", "pams")[i == 1])
    np.testing.assert_array_equal(imported(tmp_path), np.stack(arrays))


def test_only_files_with_the_same_bytes_around_the_values_are_filled(tmp_path: Path) -> None:
    array = maps(0)
    path = tmp_path / "first"
    path.write_bytes(b"head" + array.tobytes() + b"tail")
    fill = filler_at(path, array_source("first", "", array), 4)
    target = np.empty(SHAPE, "<f4")
    other = maps(1)
    path.write_bytes(b"head" + other.tobytes() + b"tail")
    assert fill(str(path), target)
    np.testing.assert_array_equal(target, other)
    values = other.tobytes()
    for content in (
        b"Head" + values + b"tail",
        b"head" + values + b"taiL",
        b"head" + values + b"tail.",
        b"head" + values + b"tai",
        b"head" + values[:-1] + b"tail",
        b"he",
        b"",
    ):
        path.write_bytes(content)
        assert not fill(str(path), target)
    path.write_bytes(b"head" + values + b"tail")
    assert not filler_at(path, array_source("first", "", array), 4)(str(path), target)  # not its values
