"""Pair files: what is written is what is read, and everything wrong with a file is said."""

from __future__ import annotations

import os
import pickle
import re
import socket
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import lensmetrics
import lensmetrics as lm
from lensmetrics.errors import FormatError
from lensmetrics.pairfile.format import BESIDE_MAPS
from lensmetrics.pairfile.store import PairStore
from lensmetrics.pairfile.verification import problem_lines, verify
from lensmetrics.pairfile.writer import PairWriter
from lensmetrics.tables.columns import CONDITIONS, METRIC_NAMES

ATTRS = {"dataset": "toy", "attack": "topk", "eps": 0.1, "steps": 20}


REDUCED: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "abs_sum": lambda maps: np.abs(maps).sum(axis=1),
    "sum": lambda maps: maps.sum(axis=1),
    "abs_max": lambda maps: np.abs(maps).max(axis=1),
}


OF_THE_FILE = ("format", "format_version", "checksum_metadata")


def own(attrs: dict[str, Any]) -> dict[str, Any]:
    """The attributes that the writer was given."""
    return {name: value for name, value in attrs.items() if name not in OF_THE_FILE}


def random_maps(n: int, *shape: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(2, n, *shape)).astype(np.float32)
    return first, second


def write_pairs(path: Path, n: int = 6, height: int = 5, width: int = 7, **options: Any) -> Path:
    """Write n complete samples numbered 10, 11, ... with labels."""
    unperturbed, perturbed = random_maps(n, height, width)
    with PairWriter(path, n_samples=n, shape=(height, width), attrs=ATTRS, **options) as writer:
        numbers = np.arange(10, 10 + n)
        writer.write(slice(0, n), unperturbed, perturbed, sample=numbers, label=numbers % 3)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "run.h5")


def byte_offset(path: Path, name: str) -> int:
    with h5py.File(path) as file:
        return int(file[name].id.get_offset())


def edit(path: Path, change: Callable[[h5py.File], object]) -> None:
    with h5py.File(path, "r+") as file:
        change(file)


def replace(path: Path, name: str, values: Any) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = values


# Round trips


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_what_is_written_is_read(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    n, height, width = (data.draw(st.integers(1, 6)) for _ in range(3))
    channels = data.draw(st.none() | st.integers(1, 3))
    compression = data.draw(st.sampled_from([None, "gzip"]))
    reduction = data.draw(st.sampled_from([None, "abs_sum", "sum", "abs_max"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    columns: dict[str, NDArray[Any]] = {
        "label": rng.integers(-5, 5, n),
        "prediction": rng.integers(0, 9, n),
        "prediction_perturbed": rng.integers(0, 9, n),
        "perturbation_linf": rng.integers(0, 2, n).astype(np.float32),
        "perturbation_l2": rng.random(n, dtype=np.float32),
        "image": rng.integers(0, 255, (n, 3, 4, 5)).astype(np.uint8),
        "image_perturbed": rng.random((n, 3, 4, 5), dtype=np.float32),
        "name": np.array([f"ü/{i}.png" for i in rng.permutation(n)], object),
        "n_accepted": rng.integers(0, 2, n),
        "best_step": rng.integers(-1, 50, n),
        "output": rng.random((n, 3), dtype=np.float32),
        "output_perturbed": rng.random((n, 3), dtype=np.float32),
    }
    chosen = data.draw(st.sets(st.sampled_from([*sorted(columns), "target"])))
    shape = (height, width) if channels is None else (channels, height, width)
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    unperturbed, perturbed = rng.normal(size=(2, n, *shape)).astype(dtype)
    columns["target"] = rng.normal(size=(n, height, width)).astype(dtype)
    sample = rng.permutation(100)[:n]
    written = np.flatnonzero(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    batch = data.draw(st.booleans()) and len(written) == n

    path = tmp_path_factory.mktemp("pairs") / "a.h5"
    attrs = {**ATTRS, **({"reduction": reduction} if reduction else {})}
    with PairWriter(
        path, n_samples=n, shape=(height, width), attrs=attrs, channels=channels, compression=compression
    ) as writer:
        for index in [slice(0, n)] if batch else written.tolist():
            values = {name: columns[name][index] for name in chosen}
            writer.write(index, unperturbed[index], perturbed[index], sample=sample[index], **values)

    store = pickle.loads(pickle.dumps(PairStore(path)))
    assert len(store) == n
    assert store.shape == (height, width)
    assert store.n_channels == channels
    assert own(store.attrs) == attrs
    assert np.flatnonzero(store.complete).tolist() == written.tolist()
    assert store.sample[written].tolist() == sample[written].tolist()
    for name in ("name", "label", "prediction", "prediction_perturbed", "n_accepted", "best_step"):
        stored = getattr(store, name)
        assert (stored is not None) == (name in chosen and len(written) > 0)
        if stored is not None:
            assert stored[written].tolist() == columns[name][written].tolist()

    for maps, block in zip((unperturbed, perturbed), store.read_block(0, n)[:2], strict=True):
        expected = maps.reshape(n, height, width).copy() if channels in (None, 1) else None
        if expected is None:
            expected = REDUCED[reduction or "abs_sum"](maps)
        expected[~store.complete] = np.nan
        assert block.dtype == (dtype if len(written) else np.float32)
        np.testing.assert_array_equal(block, expected)
    for i, pair in enumerate(store):
        np.testing.assert_array_equal(pair.perturbed, store.read_block(0, n)[1][i])
        np.testing.assert_array_equal(store[i].unperturbed, pair.unperturbed)
        for name, image in zip(("image", "image_perturbed"), store.read_image(i), strict=True):
            assert (image is not None) == (name in chosen and i in written)
            if image is not None:
                assert image.dtype == columns[name].dtype
                np.testing.assert_array_equal(image, columns[name][i])
    with h5py.File(path) as file:
        stored_beside = chosen & set(BESIDE_MAPS) if len(written) else set()
        assert ("image_checksum" in file) == bool(stored_beside)
        for name in stored_beside:
            np.testing.assert_array_equal(file[name][()][written], columns[name][written])
        for i in written.tolist() if stored_beside else ():
            held = b"".join(columns[name][i].tobytes() for name in BESIDE_MAPS if name in stored_beside)
            assert file["image_checksum"][i] == zlib.crc32(held)
    accepted, norms = columns["n_accepted"] == 0, np.zeros(n, bool)
    for name in chosen & {"perturbation_linf", "perturbation_l2"}:
        norms |= columns[name] == 0
    not_attacked = (accepted if "n_accepted" in chosen else norms) & store.complete
    assert store.not_attacked.tolist() == not_attacked.tolist()
    changed = (columns["prediction"] != columns["prediction_perturbed"]) & store.complete
    if not {"prediction", "prediction_perturbed"} <= chosen:
        changed[:] = False
    assert store.label_changed.tolist() == changed.tolist()
    assert store.metadata_damaged == ""
    assert verify(path) == [
        (i, int(store.sample[i]), "incomplete") for i in range(n) if not store.complete[i]
    ]


@pytest.mark.parametrize("channels", [None, 3])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_xarray_opens_it_without_our_code(tmp_path: Path, channels: int | None, compression: str) -> None:
    path = tmp_path / "a.h5"
    shape = (5, 7) if channels is None else (channels, 5, 7)
    unperturbed, perturbed = random_maps(4, *shape)
    with PairWriter(
        path, n_samples=4, shape=(5, 7), channels=channels, attrs=ATTRS, compression=compression
    ) as writer:
        writer.write(slice(0, 4), unperturbed, perturbed, image=np.zeros((4, 1, 10, 7), np.uint8))
    dims = ("sample", "y", "x") if channels is None else ("sample", "channel", "y", "x")
    with xr.open_dataset(path, engine="h5netcdf") as dataset:
        assert dataset["unperturbed"].dims == dataset["perturbed"].dims == dims
        assert dataset["complete"].dims == dataset["checksum"].dims == ("sample",)
        # Only the axes that are as long as those of the maps share their names.
        channel = "channel" if channels is None else "image_channel"
        assert dataset["image"].dims == ("sample", channel, "image_y", "x")
        assert set(dataset.coords) == {"sample"}
        others = {"complete", "checksum", "image", "image_checksum"}
        assert set(dataset.data_vars) == {"unperturbed", "perturbed", *others}
        assert dataset["sample"].values.tolist() == [0, 1, 2, 3]
        assert dataset["unperturbed"].dtype == np.float32
        np.testing.assert_array_equal(dataset["perturbed"].values, perturbed)
        assert dataset.attrs["eps"] == 0.1
    with PairStore(path).to_xarray() as dataset:
        np.testing.assert_array_equal(dataset["unperturbed"].values, unperturbed)


def test_layout_is_the_documented_one(run: Path) -> None:
    with h5py.File(run) as file:
        for name in ("unperturbed", "perturbed"):
            assert file[name].dtype == np.dtype("<f4")
            assert file[name].chunks is None
            properties = file[name].id.get_create_plist()
            assert properties.get_alloc_time() == h5py.h5d.ALLOC_TIME_EARLY
        types = {name: file[name].dtype.str for name in ("sample", "label", "complete", "checksum")}
        assert types == {"sample": "<i8", "label": "<i8", "complete": "|u1", "checksum": "<u4"}
        data = file["unperturbed"][2].tobytes() + file["perturbed"][2].tobytes()
        numbers = np.array([file["sample"][2], file["label"][2]], "<i8").tobytes()
        assert file["checksum"][2] == zlib.crc32(data + numbers)


def test_checksum_without_label_covers_the_sample_number_alone(tmp_path: Path) -> None:
    with PairWriter(tmp_path / "a.h5", n_samples=1, shape=(2, 2), attrs={}) as writer:
        writer.write(0, np.ones((2, 2)), np.zeros((2, 2)), sample=7)
    data = np.ones(4, "<f8").tobytes() + np.zeros(4, "<f8").tobytes() + np.int64(7).tobytes()
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["checksum"][0] == zlib.crc32(data)


@pytest.mark.parametrize("dtype", ["<f8", ">f4", ">f8"])
def test_other_float_types_are_read_as_they_are(run: Path, dtype: str) -> None:
    expected = PairStore(run).read_block(0, 6)
    little = np.dtype(dtype).newbyteorder("<")

    def convert(file: h5py.File) -> None:
        maps = {name: file[name][()] for name in ("unperturbed", "perturbed")}
        for name, values in maps.items():
            del file[name]
            file[name] = values.astype(dtype)
        for i in range(6):
            data = b"".join(values[i].astype(little).tobytes() for values in maps.values())
            numbers = np.array([file["sample"][i], file["label"][i]], "<i8").tobytes()
            file["checksum"][i] = zlib.crc32(data + numbers)

    edit(run, convert)
    unperturbed, perturbed, status = PairStore(run).read_block(0, 6)
    assert status == [""] * 6
    assert unperturbed.dtype == little
    np.testing.assert_array_equal(unperturbed, expected[0])
    np.testing.assert_array_equal(perturbed, expected[1])


def test_maps_of_any_layout_can_be_written(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(size=(3, 4, 5))
    np.save(tmp_path / "maps.npy", values)
    frozen = values.copy()
    frozen.flags.writeable = False
    forms = [
        np.asfortranarray(values),
        frozen,
        np.load(tmp_path / "maps.npy", mmap_mode="r"),
        values[:, ::-1][:, ::-1],
        values.tolist(),
    ]
    for i, form in enumerate(forms):
        path = tmp_path / f"{i}.h5"
        with PairWriter(path, n_samples=3, shape=(4, 5), attrs={}) as writer:
            writer.write(slice(0, 3), form, form)
        block, _, status = PairStore(path).read_block(0, 3)
        assert status == ["", "", ""]
        np.testing.assert_array_equal(block, values, strict=True)


def test_non_finite_maps_are_kept(tmp_path: Path) -> None:
    maps = np.array([[[np.nan, np.inf], [-np.inf, 0.0]], [[np.inf, 1.0], [1.0, -0.0]]])
    with PairWriter(
        tmp_path / "a.h5", n_samples=1, shape=(2, 2), channels=2, attrs={"reduction": "sum"}
    ) as writer:
        writer.write(0, maps, maps)
    block, _, status = PairStore(tmp_path / "a.h5").read_block(0, 1)
    assert status == [""]
    np.testing.assert_array_equal(block[0], [[np.nan, np.inf], [-np.inf, 0.0]])


def test_a_buffer_is_used_again_and_changes_nothing(run: Path) -> None:
    store = PairStore(run)
    whole = store.read_block(0, 6)
    buffer = store.buffer(4)
    for start, stop in ((0, 4), (4, 6)):
        unperturbed, perturbed, _ = store.read_block(start, stop, buffer=buffer)
        assert np.shares_memory(unperturbed, buffer)
        np.testing.assert_array_equal(unperturbed, whole[0][start:stop])
        np.testing.assert_array_equal(perturbed, whole[1][start:stop])


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_slice_holds_the_same_samples(tmp_path: Path, compression: str | None) -> None:
    store = PairStore(write_pairs(tmp_path / "a.h5", compression=compression))
    whole = store.read_block(0, 6)
    found = pickle.loads(pickle.dumps(store.slice(2, 5)))
    assert (found.path, found.start, len(found), found.shape) == (store.path, 2, 3, (5, 7))
    assert found.sample.tolist() == [12, 13, 14]
    assert found.label.tolist() == [0, 1, 2]
    unperturbed, perturbed, status = found.read_block(0, 3)
    assert status == ["", "", ""]
    np.testing.assert_array_equal(unperturbed, whole[0][2:5])
    np.testing.assert_array_equal(perturbed, whole[1][2:5])
    with pytest.raises(IndexError, match="has 3 samples; there is no block from 1 to 4"):
        found.read_block(1, 4)
    assert (len(store), store.sample[0]) == (6, 10)


def test_slice_is_small_to_send(tmp_path: Path) -> None:
    store = PairStore(write_pairs(tmp_path / "a.h5", 2000, 1, 1))
    assert len(pickle.dumps(store.slice(0, 10))) < 2000 < len(pickle.dumps(store))


def test_iteration_over_several_blocks(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lensmetrics.pairfile.slices.BLOCK_BYTES", 2 * 2 * 5 * 7 * 4)
    pairs = list(PairStore(run))
    whole = PairStore(run).read_block(0, 6)[0]
    np.testing.assert_array_equal([pair.unperturbed for pair in pairs], whole)


def test_indices(run: Path) -> None:
    store = PairStore(run)
    np.testing.assert_array_equal(store[-1].perturbed, store[5].perturbed)
    with pytest.raises(IndexError, match="has 6 samples; there is none at position 6"):
        store[6]
    with pytest.raises(IndexError, match="has 6 samples; there is no block from 3 to 7"):
        store.read_block(3, 7)
    assert store.read_block(2, 2)[2] == []


def test_zstd(tmp_path: Path) -> None:
    pytest.importorskip("hdf5plugin")
    store = PairStore(write_pairs(tmp_path / "a.h5", compression="zstd"))
    assert store.read_block(0, 6)[2] == [""] * 6
    with store.to_xarray() as dataset:
        np.testing.assert_array_equal(dataset["unperturbed"].values, store.read_block(0, 6)[0])


def test_zstd_without_hdf5plugin_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    with pytest.raises(ModuleNotFoundError, match=r"hdf5plugin: pip install 'lensmetrics\[zstd\]'"):
        PairWriter(tmp_path / "a.h5", n_samples=1, shape=(2, 2), attrs={}, compression="zstd")
    path = write_pairs(tmp_path / "b.h5", compression="gzip")
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    with pytest.raises(FormatError, match=r"b.h5 is compressed.*pip install 'lensmetrics\[zstd\]'"):
        PairStore(path)


# Writing, stopping, going on


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_names_while_writing(tmp_path: Path) -> None:
    with PairWriter(tmp_path / "a.h5", n_samples=2, shape=(1, 1), attrs={}) as writer:
        (temporary,) = names_in(tmp_path)
        assert temporary.startswith(".a.h5.")
        writer.write(1, [[1.0]], [[2.0]])
        assert names_in(tmp_path) == ["a.h5.part"]
        assert writer.missing.tolist() == [0]
    assert names_in(tmp_path) == ["a.h5"]
    assert verify(tmp_path / "a.h5") == [(0, -1, "incomplete")]


def test_an_error_before_the_first_write_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyError),
        PairWriter(tmp_path / "a.h5", n_samples=2, shape=(1, 1), attrs={}),
    ):
        raise KeyError
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_an_interrupted_file_is_resumed(tmp_path: Path, compression: str | None) -> None:
    path = tmp_path / "a.h5"
    unperturbed, perturbed = random_maps(5, 3, 4)
    attrs = {**ATTRS, "eps": float("nan"), "layers": ["a", "b"], "seeds": (1, 2), "one": [3]}

    def write(writer: PairWriter, i: int) -> None:
        image = np.full((2, 3), i, np.uint8)
        writer.write(i, unperturbed[i], perturbed[i], sample=i + 50, label=i, image=image)

    writer = PairWriter(path, n_samples=5, shape=(3, 4), attrs=attrs, compression=compression)

    def begin() -> None:
        with writer:
            write(writer, 3)
            write(writer, 0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin()
    assert names_in(tmp_path) == ["a.h5.part"]
    with pytest.raises(ValueError, match=r"a\.h5 is closed; continue it with PairWriter\.resume"):
        write(writer, 1)
    part = PairStore(f"{path}.part")
    assert part.read_block(0, 5)[2] == ["", "incomplete", "incomplete", "", "incomplete"]
    with pytest.raises(FileNotFoundError, match=r"a\.h5 does not exist, but .*a\.h5\.part does"):
        PairStore(path)

    with PairWriter.resume(path, attrs=attrs) as writer:
        assert writer.missing.tolist() == [1, 2, 4]
        with pytest.raises(ValueError, match=r"position 3 of .*a\.h5 is complete"):
            write(writer, 3)
        with pytest.raises(ValueError, match=r"sample 53, given for position 1, is already in"):
            writer.write(
                1, unperturbed[1], perturbed[1], sample=53, label=0, image=np.zeros((2, 3), np.uint8)
            )
        for i in writer.missing.tolist():
            write(writer, i)
    assert names_in(tmp_path) == ["a.h5"]
    assert verify(path) == []
    store = PairStore(path)
    assert store.sample.tolist() == [50, 51, 52, 53, 54]
    np.testing.assert_array_equal(store.read_block(0, 5)[0], unperturbed)
    assert [int(image.max()) for i in range(5) if (image := store.read_image(i)[0]) is not None] == [
        *range(5)
    ]


def test_a_killed_writer_costs_nothing_that_was_complete(tmp_path: Path) -> None:
    script = """
import os, sys
import numpy as np
from lensmetrics.pairfile.writer import PairWriter
with PairWriter(sys.argv[1], n_samples=8, shape=(6, 6), attrs={"eps": 0.5}) as writer:
    for i in range(5):
        writer.write(i, np.full((6, 6), i), np.full((6, 6), -i), label=i)
    os._exit(9)
"""
    path = tmp_path / "a.h5"
    code = subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode
    assert code == 9
    with PairWriter.resume(path, {"eps": 0.5}) as writer:
        assert writer.missing.tolist() == [5, 6, 7]
        maps = np.zeros((3, 6, 6), int)
        writer.write(slice(5, 8), maps, maps, label=[5, 6, 7])
    assert verify(path) == []
    assert PairStore(path)[4].unperturbed[0, 0] == 4


def test_a_finished_file_with_gaps_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with PairWriter(path, n_samples=2, shape=(1, 1), attrs=ATTRS) as writer:
        writer.write(0, [[1.0]], [[2.0]])
    with PairWriter.resume(path, ATTRS) as writer:
        assert names_in(tmp_path) == ["a.h5.part"]
        writer.write(1, [[1.0]], [[2.0]])
    assert names_in(tmp_path) == ["a.h5"]
    with pytest.raises(FileExistsError, match=r"a\.h5 is complete: there is nothing to resume"):
        PairWriter.resume(path, ATTRS)


def test_resume_writes_damaged_samples_again(run: Path) -> None:
    edit(run, lambda file: file["perturbed"].__setitem__((2, 0, 0), 99.0))
    with PairWriter.resume(run, ATTRS) as writer:
        assert writer.missing.tolist() == [2]
        writer.write(2, np.ones((5, 7), int), np.ones((5, 7), int), sample=12, label=0)
    assert verify(run) == []


def test_resume_refuses_other_attributes(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with PairWriter(path, n_samples=2, shape=(1, 1), attrs=ATTRS) as writer:
        writer.write(0, [[1.0]], [[2.0]])
    other = {"dataset": "toy", "attack": "topk", "eps": 0.2, "seed": 3}
    with pytest.raises(ValueError, match=r"attributes differ from those of .*a\.h5: ") as caught:
        PairWriter.resume(path, other)
    assert "eps is 0.1 in the file, 0.2 given" in str(caught.value)
    assert "seed is absent in the file, 3 given" in str(caught.value)
    assert "steps is 20 in the file, absent given" in str(caught.value)
    assert "dataset" not in str(caught.value)
    PairWriter.resume(path, PairStore(path).attrs).__exit__(None, None, None)


def test_resume_without_a_file_or_with_two(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no .*a\.h5\.part to resume: begin with PairWriter"):
        PairWriter.resume(tmp_path / "a.h5", {})
    write_pairs(tmp_path / "a.h5")
    (tmp_path / "a.h5.part").touch()
    with pytest.raises(FileExistsError, match=r"both .*a\.h5 and .*a\.h5\.part exist: delete"):
        PairWriter.resume(tmp_path / "a.h5", ATTRS)


def test_targets_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(path: Path) -> None:
        PairWriter(path, n_samples=1, shape=(1, 1), attrs={})

    write_pairs(tmp_path / "a.h5")
    with pytest.raises(FileExistsError, match=r"a\.h5 exists already: delete it, or choose another"):
        begin(tmp_path / "a.h5")
    (tmp_path / "b.h5.part").touch()
    with pytest.raises(
        FileExistsError, match=r"b\.h5\.part is an unfinished b\.h5: .*PairWriter\.resume.*delete"
    ):
        begin(tmp_path / "b.h5")
    with pytest.raises(FileNotFoundError, match=r"c\.h5 cannot be written: there is no directory .*nowhere"):
        begin(tmp_path / "nowhere" / "c.h5")
    with pytest.raises(IsADirectoryError, match=r"is a directory; give the name of a file in it"):
        begin(tmp_path)
    with pytest.raises(ValueError, match=r"without \.part"):
        begin(tmp_path / "d.h5.part")

    def refuse(self: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(PermissionError, match=r"e\.h5 cannot be written \(Permission denied\)"):
        begin(tmp_path / "e.h5")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_samples": 0}, "n_samples must be an integer >= 1, got 0"),
        ({"n_samples": 2.0}, "n_samples must be an integer, got 2.0"),
        ({"n_samples": True}, "n_samples must be an integer, got True"),
        ({"shape": (4,)}, "shape must be 2 integers >= 1"),
        ({"channels": 0}, "channels must be an integer >= 1"),
        ({"image_shape": (4,)}, "image_shape must be 2 or 3 integers"),
        ({"compression": "lzf"}, "compression must be None, 'gzip' or 'zstd', got 'lzf'"),
        ({"attrs": {"a": True}}, "attribute 'a' is True; it must be text without NUL"),
        ({"attrs": {"a": None}}, "attribute 'a' is None"),
        ({"attrs": {"a": np.float16(1)}}, "attribute 'a' is .*float16"),
        ({"attrs": {"a": []}}, r"attribute 'a' is \[\]"),
        ({"attrs": {"a": [1, "b"]}}, "attribute 'a' is"),
        ({"attrs": {"a": [True, False]}}, "attribute 'a' is"),
        ({"attrs": {"a": 2**63}}, "attribute 'a' is"),
        ({"attrs": {"a": "x\0"}}, "attribute 'a' is"),
        ({"attrs": {"a": {"b": 1}}}, "attribute 'a' is"),
        ({"attrs": {"_a": 1}}, "attribute name '_a' must be a word without '/'"),
        (
            {"attrs": {"format_version": 2}},
            "attribute 'format_version' is set by PairWriter itself, to 1: leave it out",
        ),
        ({"attrs": {"reduction": "mean"}}, "unknown reduction 'mean'; allowed: abs_sum, sum, abs_max"),
    ],
)
def test_parameters_that_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    valid = {"n_samples": 2, "shape": (3, 4), "attrs": {}}
    with pytest.raises((ValueError, TypeError), match=message):
        PairWriter(tmp_path / "a.h5", **{**valid, **options})
    assert names_in(tmp_path) == []


def test_attributes_come_back_as_plain_values(tmp_path: Path) -> None:
    given = {
        "text": "ε",
        "empty": "",
        "long": "x" * 100_000,
        "integer": np.int32(3),
        "number": np.float32(0.5),
        "many": [1, 2.5],
        "array": np.array([1, 2]),
        "words": ("a", "b"),
        "single": ["a"],
    }
    with PairWriter(tmp_path / "a.h5", n_samples=1, shape=(1, 1), attrs=given):
        pass
    attrs = PairStore(tmp_path / "a.h5").attrs
    expected = {
        **given,
        "integer": 3,
        "number": 0.5,
        "many": [1.0, 2.5],
        "array": [1, 2],
        "words": ["a", "b"],
    }
    assert own(attrs) == {**expected, "single": "a"}
    assert all(type(value) in (str, int, float, list) for value in attrs.values())


MAP = np.zeros((3, 4))


@pytest.mark.parametrize(
    ("index", "maps", "options", "error", "message"),
    [
        (2, MAP, {}, IndexError, r"index 2 is not inside .*a\.h5, which has the positions 0 to 1"),
        (-1, MAP, {}, IndexError, "index -1 is not inside"),
        (slice(0, 3), np.zeros((3, 3, 4)), {}, IndexError, "is not inside"),
        (slice(2, 2), np.zeros((0, 3, 4)), {}, IndexError, "is not inside"),
        (slice(-2, 2), np.zeros((2, 3, 4)), {}, IndexError, "is not inside"),
        (0.0, MAP, {}, TypeError, "index must be an integer, got 0.0"),
        (True, MAP, {}, TypeError, "index must be an integer, got True"),
        (0, MAP.T, {}, ValueError, r"'unperturbed' is \(4, 3\); here it must be \(3, 4\)"),
        (slice(0, 2), np.zeros((1, 3, 4)), {}, ValueError, r"is \(1, 3, 4\); here it must be \(2, 3, 4\)"),
        (0, MAP.astype(complex), {}, TypeError, "'unperturbed' is complex128; allowed are float16, bfloat16"),
        (0, MAP.astype(np.longdouble), {}, TypeError, "'unperturbed' is float128; allowed are float16"),
        (0, MAP.astype(int) + 2**53 + 1, {}, ValueError, r"'unperturbed' holds integers beyond 2\^53"),
        (0, MAP, {"sample": -3}, ValueError, "sample must be 0 or more, got -3 for position 0"),
        (0, MAP, {"sample": 1.0}, TypeError, "'sample' is float64; it must hold integers"),
        (slice(0, 2), np.zeros((2, 3, 4)), {"sample": [5, 5]}, ValueError, "sample 5, given for position 1"),
        (0, MAP, {"label": [1]}, ValueError, r"'label' is \(1,\); here it must be \(\)"),
        (0, MAP, {"image": np.zeros((9, 9), np.int32)}, TypeError, "'image' is int32; images must be"),
        (0, MAP, {"image": np.zeros((8, 9))}, ValueError, r"'image' is \(8, 9\); here it must be"),
    ],
)  # fmt: skip
def test_writes_that_are_refused(
    tmp_path: Path, index: Any, maps: Any, options: Any, error: type[Exception], message: str
) -> None:
    with PairWriter(tmp_path / "a.h5", n_samples=2, shape=(3, 4), attrs={}, image_shape=(9, 9)) as writer:
        with pytest.raises(error, match=message):
            writer.write(index, maps, np.zeros_like(maps), **options)
        # Nothing was begun: the same writer takes a good sample, with other optional variables.
        writer.write(1, MAP, MAP, prediction=1)
    assert PairStore(tmp_path / "a.h5").complete.tolist() == [False, True]


def test_a_sample_is_written_once(tmp_path: Path) -> None:
    with PairWriter(tmp_path / "a.h5", n_samples=2, shape=(3, 4), attrs={}) as writer:
        writer.write(0, MAP, MAP, sample=1)
        with pytest.raises(ValueError, match="sample 1, given for position 1, is already in"):
            writer.write(1, MAP, MAP)
        with pytest.raises(ValueError, match=r"position 0 of .* is complete: it cannot be written again"):
            writer.write(0, MAP, MAP, sample=2)


def test_every_write_gives_the_same_optional_variables(tmp_path: Path) -> None:
    with PairWriter(tmp_path / "a.h5", n_samples=3, shape=(3, 4), attrs={}) as writer:
        writer.write(0, MAP, MAP, label=1, prediction=2, image=np.zeros((2, 2), np.uint8))
        with pytest.raises(ValueError, match=r"this write gives label, but .* holds label, predic"):
            writer.write(1, MAP, MAP, label=1)
        with pytest.raises(TypeError, match=r"'image' is float64, but .* holds uint8"):
            writer.write(1, MAP, MAP, label=1, prediction=2, image=np.zeros((2, 2)))
        with pytest.raises(ValueError, match=r"'image' is \(3, 3\); here it must be \(2, 2\)"):
            writer.write(1, MAP, MAP, label=1, prediction=2, image=np.zeros((3, 3), np.uint8))
    with (
        PairWriter(tmp_path / "b.h5", n_samples=3, shape=(3, 4), attrs={}) as writer,
        pytest.raises(ValueError, match=r"'image' is \(2, 2\) but 'image_perturbed' is \(2, 3\)"),
    ):
        writer.write(0, MAP, MAP, image=np.zeros((2, 2)), image_perturbed=np.zeros((2, 3)))


# Files that are wrong


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.h5 does not exist"):
        PairStore(tmp_path / "nothing.h5")
    with pytest.raises(IsADirectoryError, match="is a directory; give a pair file"):
        PairStore(tmp_path)
    (tmp_path / "empty.h5").touch()
    with pytest.raises(FormatError, match=r"empty\.h5 is empty \(0 bytes\)"):
        PairStore(tmp_path / "empty.h5")
    (tmp_path / "text.h5").write_text("hello " * 500)
    with pytest.raises(FormatError, match=r"text\.h5 is not an HDF5 file; .*lensmetrics import"):
        PairStore(tmp_path / "text.h5")


@pytest.mark.parametrize("error", [PermissionError, BlockingIOError])
def test_files_that_hdf5_may_not_open(
    run: Path, monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error(1, "no")

    monkeypatch.setattr(h5py, "File", refuse)
    words = {PermissionError: "may not be read", BlockingIOError: "being written by another process"}
    with pytest.raises(error, match=rf"run\.h5 .*{words[error]}"):
        PairStore(run)


@pytest.mark.parametrize("part", [0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.9999])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_truncated_files(tmp_path: Path, part: float, compression: str | None) -> None:
    path = write_pairs(tmp_path / "run.h5", compression=compression)
    os.truncate(path, int(path.stat().st_size * part))
    with pytest.raises(FormatError, match=r"run\.h5 is (truncated or damaged|not an HDF5 file)"):
        PairStore(path)


def test_a_file_truncated_after_it_was_opened(run: Path) -> None:
    store = PairStore(run)
    os.truncate(run, byte_offset(run, "perturbed") + 100)
    assert len(store.read_block(0, 0)[0]) == 0
    with pytest.raises(FormatError, match=r"run\.h5 was truncated after it was opened"):
        store.read_block(0, 6)


@pytest.mark.parametrize("name", ["unperturbed", "perturbed", "sample", "complete", "checksum"])
def test_missing_datasets(run: Path, name: str) -> None:
    edit(run, lambda file: file.__delitem__(name))
    with pytest.raises(FormatError, match=rf"run\.h5 has no dataset '{name}'; it has: .*label"):
        PairStore(run)


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_odd_names_are_said_in_a_line(run: Path, kind: str) -> None:
    def rename(file: h5py.File) -> None:
        file["per\x1b\nturbed"] = file["perturbed"] if kind == "hard" else h5py.SoftLink("/perturbed")
        del file["perturbed"]
        for i in range(500):
            file[f"extra{i}"] = 0

    edit(run, rename)
    with pytest.raises(FormatError, match=r"run\.h5") as caught:
        PairStore(run)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("perturbed", np.zeros((4, 5, 7)), r"'unperturbed' is \(6, 5, 7\) but 'perturbed' is \(4, 5, 7\)"),
        ("perturbed", np.zeros((6, 5, 7)), "'unperturbed' is float32 but 'perturbed' is float64; store both"),
        ("perturbed", np.zeros((6, 5, 7), np.int32), "'perturbed' is int32; maps must be float32 or float64"),
        ("perturbed", np.zeros((6, 5, 7), np.float16), "'perturbed' is float16; maps must be float32 or"),
        ("sample", np.arange(5), r"'sample' is \(5,\) but 'unperturbed' has 6 samples"),
        ("sample", np.arange(6.0), "'sample' is float64; it must hold integers"),
        ("sample", [b"a"] * 6, "'sample' is .*; it must hold integers"),
        ("label", np.zeros((6, 1), int), r"'label' is \(6, 1\) but"),
        ("complete", np.ones(6), "'complete' is float64"),
        (
            "perturbation_l2",
            np.ones(6, int),
            "'perturbation_l2' is int64; it must hold floating-point numbers",
        ),
        ("image", np.zeros((5, 2, 2), np.uint8), r"'image' is \(5, 2, 2\); it must be \(6, y, x\)"),
        ("image", np.zeros((6, 2, 2), np.int16), "'image' is int16; images must be uint8 or float32"),
    ],
)
def test_datasets_of_another_kind(run: Path, name: str, values: Any, message: str) -> None:
    edit(run, lambda file: file.pop(name, None))
    edit(run, lambda file: file.__setitem__(name, values))
    with pytest.raises(FormatError, match=rf"run\.h5: {message}"):
        PairStore(run)


@pytest.mark.parametrize("shape", [(6,), (6, 35), (6, 1, 1, 5, 7), (0, 5, 7), (6, 0, 7)])
def test_maps_with_other_axes(run: Path, shape: tuple[int, ...]) -> None:
    for name in ("unperturbed", "perturbed"):
        replace(run, name, np.zeros(shape, np.float32))
    with pytest.raises(FormatError, match=r"must be \(sample, y, x\) or \(sample, channel, y, x\)"):
        PairStore(run)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("format", None, "has no attribute 'format'; a pair file has format = 'lensmetrics-pairs'"),
        ("format", "other", "has format 'other'; a pair file has"),
        ("format_version", None, "has no attribute 'format_version'"),
        (
            "format_version",
            3,
            "has format version 3; this lensmetrics reads version 1: install a newer release",
        ),
        ("format_version", 1.5, "has format_version 1.5; it must be an integer"),
        ("format_version", "1", "has format_version '1'; it must be an integer"),
        ("format_version", 0, "has format_version 0; it must be an integer >= 1"),
        ("format_version", True, "has format_version True; it must be an integer"),
        ("reduction", "mean", "unknown reduction 'mean'; allowed: abs_sum, sum, abs_max"),
        ("odd", np.zeros(1, [("a", int)]), r"attribute 'odd' is .*; attributes must be text or numbers"),
    ],
)
def test_attributes_that_are_wrong(run: Path, name: str, value: Any, message: str) -> None:
    edit(run, lambda file: file.attrs.pop(name, None))
    if value is not None:
        edit(run, lambda file: file.attrs.__setitem__(name, value))
    with pytest.raises(FormatError, match=rf"run\.h5:? {message}"):
        PairStore(run)


def test_attributes_as_other_programs_write_them(run: Path) -> None:
    def rewrite(file: h5py.File) -> None:
        file.attrs["format"] = np.bytes_("lensmetrics-pairs")  # fixed-length, as netCDF-C does
        file.attrs["format_version"] = np.array([1], np.int32)
        file.attrs["note"] = h5py.Empty("S1")
        file.attrs["_NCProperties"] = "version=2"

    edit(run, rewrite)
    attrs = PairStore(run).attrs
    assert own(attrs) == {**ATTRS, "note": ""}
    assert type(attrs["format_version"]) is int


def test_samples_stored_twice(run: Path) -> None:
    edit(run, lambda file: file["sample"].__setitem__(4, 11))
    with pytest.raises(FormatError, match=r"run\.h5: sample 11 is stored twice, at positions 1 and 4"):
        PairStore(run)
    edit(run, lambda file: file["complete"].__setitem__(4, 0))
    assert len(PairStore(run)) == 6


@pytest.mark.parametrize("kind", ["external link", "soft link", "virtual", "external data", "group"])
def test_data_from_elsewhere_is_refused(run: Path, tmp_path: Path, kind: str) -> None:
    other = write_pairs(tmp_path / "other.h5")

    def lead_away(file: h5py.File) -> None:
        del file["perturbed"]
        if kind == "external link":
            file["perturbed"] = h5py.ExternalLink(other, "/perturbed")
        elif kind == "soft link":
            file["perturbed"] = h5py.SoftLink("/unperturbed")
        elif kind == "virtual":
            layout = h5py.VirtualLayout((6, 5, 7), "f4")
            layout[:] = h5py.VirtualSource(other, "perturbed", (6, 5, 7))
            file.create_virtual_dataset("perturbed", layout)
        elif kind == "external data":
            file.create_dataset("perturbed", (6, 5, 7), "f4", external=[(str(other), 0, 840)])
        else:
            file.create_group("perturbed")

    edit(run, lead_away)
    with pytest.raises(
        FormatError, match=r"run\.h5: 'perturbed' (is a link|must be a dataset stored in this)"
    ):
        PairStore(run)


def test_shapes_that_the_bytes_do_not_bear_out(run: Path) -> None:
    def remake(names: list[str], dtype: str, shape: tuple[int, ...], chunks: tuple[int, ...] | None) -> None:
        with h5py.File(run, "r+") as file:
            for name in names:
                del file[name]
                file.create_dataset(name, shape, dtype, chunks=chunks)

    maps = ["unperturbed", "perturbed"]
    remake(maps, "f4", (6, 10**6, 10**4), None)
    with pytest.raises(
        FormatError, match=r"truncated or damaged: 'unperturbed' is .* needs 240000000000 bytes"
    ):
        PairStore(run)
    remake(maps, "f4", (6, 10**6, 10**4), (1, 10, 10))
    with pytest.raises(FormatError, match="needs 240000000000 bytes, 0 are there"):
        PairStore(run)
    edit(run, lambda file: file["complete"].__setitem__(slice(None), 0))
    with pytest.raises(FormatError, match="one sample may take at most 4 GiB"):
        PairStore(run)
    remake(maps, "f4", (10**12, 2, 2), (9, 2, 2))
    remake(["sample", "complete", "checksum"], "u4", (10**12,), (9,))
    with pytest.raises(FormatError, match=r"'sample' is .* needs 4000000000000 bytes, 0 are there"):
        PairStore(run)


# Damaged samples


@pytest.mark.parametrize("name", ["unperturbed", "perturbed"])
def test_one_flipped_byte_costs_one_sample(run: Path, name: str) -> None:
    store = PairStore(run)
    whole = store.read_block(0, 6)
    offset = byte_offset(run, name)
    with run.open("r+b") as file:
        file.seek(offset + (3 * 35 + 17) * 4 + 1)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 4]))
    unperturbed, perturbed, status = PairStore(run).read_block(2, 5)
    assert status == ["", "checksum", ""]
    assert np.isnan(unperturbed[1]).all()
    assert np.isnan(perturbed[1]).all()
    np.testing.assert_array_equal(unperturbed[[0, 2]], whole[0][[2, 4]])
    assert verify(run) == [(3, 13, "checksum")]


@pytest.mark.parametrize("name", ["sample", "label", "checksum"])
def test_the_columns_are_covered_too(run: Path, name: str) -> None:
    edit(run, lambda file: file[name].__setitem__(1, 77))
    assert [(position, problem) for position, _, problem in verify(run)] == [(1, "checksum")]


def test_a_chunk_that_cannot_be_decompressed_costs_one_sample(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "a.h5", compression="gzip")
    with h5py.File(path) as file:
        chunk = file["unperturbed"].id.get_chunk_info(3)
    with path.open("r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(b"\xff" * chunk.size)
    unperturbed, _, status = PairStore(path).read_block(0, 6)
    assert status == ["", "", "", "checksum", "", ""]
    assert np.isnan(unperturbed[3]).all()
    assert np.isfinite(unperturbed[[0, 1, 2, 4, 5]]).all()


# The type of the maps


def stored_dtype(path: Path) -> str:
    with h5py.File(path) as file:
        assert file["unperturbed"].dtype == file["perturbed"].dtype
        return str(file["unperturbed"].dtype)


@pytest.mark.parametrize(
    ("unperturbed", "perturbed", "expected"),
    [
        (np.float16, np.float16, "float32"),
        (np.float32, np.float32, "float32"),
        (bool, np.uint8, "float32"),
        (np.float32, np.float64, "float64"),
        (np.float64, np.int8, "float64"),
        (np.float16, np.int64, "float64"),  # the integers are beyond 2^24, see below
    ],
)
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_the_first_batch_decides_the_type(
    tmp_path: Path, unperturbed: Any, perturbed: Any, expected: str, compression: str | None
) -> None:
    maps = [np.arange(12).reshape(1, 3, 4).astype(dtype) for dtype in (unperturbed, perturbed)]
    maps = [array + 2**24 if array.dtype == np.int64 else array for array in maps]
    path = tmp_path / "a.h5"
    with PairWriter(path, n_samples=2, shape=(3, 4), attrs={}, compression=compression) as writer:
        writer.write(slice(0, 1), *maps)
        assert stored_dtype(Path(f"{path}.part")) == expected
        writer.write(1, np.zeros((3, 4), np.float32), np.ones((3, 4), np.int16))
    for found, array in zip(PairStore(path).read_block(0, 1), maps, strict=False):
        np.testing.assert_array_equal(found, array.astype(expected), strict=True)
    assert verify(path) == []


@pytest.mark.parametrize("scale", [1e60, 1e-60, 1.0])
def test_float64_maps_keep_every_bit(tmp_path: Path, scale: float) -> None:
    maps = 1 + np.random.default_rng(0).normal(size=(2, 3, 4, 5)) * 1e-9
    maps *= scale
    with PairWriter(tmp_path / "a.h5", n_samples=3, shape=(4, 5), attrs={}) as writer:
        writer.write(slice(0, 3), *maps)
    np.testing.assert_array_equal(PairStore(tmp_path / "a.h5").read_block(0, 3)[0], maps[0], strict=True)


@pytest.mark.parametrize("later", [MAP, MAP.astype(int) + 2**24 + 1, -(MAP.astype(int)) - 2**24 - 1])
def test_a_wider_later_batch_is_refused(tmp_path: Path, later: NDArray[Any]) -> None:
    path = tmp_path / "a.h5"
    words = (
        r"'perturbed' is .* and needs float64, but .* holds float32, .* dtype='float64', or .*'float32' to"
    )
    narrow = MAP.astype(np.float32)
    with PairWriter(path, n_samples=3, shape=(3, 4), attrs={}) as writer:
        writer.write(0, narrow, narrow)
        with pytest.raises(ValueError, match=words):
            writer.write(1, narrow, later)
        writer.write(1, narrow, narrow)
    with PairWriter.resume(path, {}) as writer, pytest.raises(ValueError, match=words):
        writer.write(2, narrow, later)
    with pytest.raises(ValueError, match=r"dtype is float64, but .* holds float32"):
        PairWriter.resume(path, {}, dtype="float64")
    with PairWriter.resume(path, {}, dtype="float32") as writer:
        writer.write(2, narrow, later)
    assert verify(path) == []


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (MAP + 1e300, r"'unperturbed' holds 1e\+300, beyond \+-3\.4e\+38, the largest float32"),
        (np.arange(12).reshape(3, 4) * 1e-60, "'unperturbed' holds 1e-60, which float32 makes 0"),
        (1e8 + np.arange(12).reshape(3, 4) * 1e-3, "'unperturbed' holds a map that float32 makes constant"),
    ],
)
def test_float32_on_purpose(tmp_path: Path, maps: NDArray[Any], message: str) -> None:
    path = tmp_path / "a.h5"
    with PairWriter(path, n_samples=2, shape=(3, 4), attrs={}, dtype="float32") as writer:
        with pytest.raises(ValueError, match=message):
            writer.write(0, maps, maps)
        writer.write(0, MAP + 0.1, MAP)
        writer.write(1, MAP.astype(int) + 2**60, MAP)
    assert stored_dtype(path) == "float32"
    assert PairStore(path)[0].unperturbed[0, 0] == np.float32(0.1)


def test_float64_on_purpose_and_without_a_sample(tmp_path: Path) -> None:
    for dtype, expected in (("float64", "float64"), (np.float64, "float64"), (None, "float32")):
        path = tmp_path / "a.h5"
        with PairWriter(path, n_samples=2, shape=(3, 4), attrs={}, dtype=dtype):
            pass
        assert stored_dtype(path) == expected
        assert verify(path) == [(0, -1, "incomplete"), (1, -1, "incomplete")]
        path.unlink()


@pytest.mark.parametrize("dtype", ["float16", "int32", "longdouble", "nonsense", complex])
def test_other_types_of_files_are_refused(tmp_path: Path, dtype: Any) -> None:
    with pytest.raises(ValueError, match="dtype must be None, 'float32' or 'float64', got"):
        PairWriter(tmp_path / "a.h5", n_samples=2, shape=(3, 4), attrs={}, dtype=dtype)
    assert names_in(tmp_path) == []


# Channels, masks and arrays of other libraries


@pytest.mark.parametrize("reduction", ["abs_sum", "sum", "abs_max"])
def test_one_channel_keeps_its_sign(tmp_path: Path, reduction: str) -> None:
    unperturbed, perturbed = random_maps(3, 4, 5)
    options: dict[str, Any] = {"n_samples": 3, "shape": (4, 5), "attrs": {"reduction": reduction}}
    with PairWriter(tmp_path / "stored.h5", channels=1, **options) as writer:
        writer.write(slice(0, 3), unperturbed[:, None], perturbed[:, None])
    with PairWriter(tmp_path / "dropped.h5", **options) as writer:
        writer.write(slice(0, 2), unperturbed[:2, None], perturbed[:2])
        writer.write(2, unperturbed[2], perturbed[2][None])
    for name, n_channels in (("stored", 1), ("dropped", None)):
        store = PairStore(tmp_path / f"{name}.h5")
        assert store.n_channels == n_channels
        block = store.read_block(0, 3)
        np.testing.assert_array_equal(block[0], unperturbed, strict=True)
        np.testing.assert_array_equal(block[1], perturbed, strict=True)
        np.testing.assert_array_equal(store[1].perturbed, perturbed[1])


def test_masked_pixels_become_nan(tmp_path: Path) -> None:
    unperturbed, perturbed = random_maps(3, 4, 5)
    outside = np.zeros((3, 4, 5), bool)
    outside[:, :2] = True
    unperturbed[outside] = -9999
    path = tmp_path / "a.h5"
    linf = np.ma.masked_array([0.5, 0.0, 0.5], [False, True, False])
    with PairWriter(path, n_samples=3, shape=(4, 5), attrs={}) as writer:
        masked = np.ma.masked_array(unperturbed, outside)
        writer.write(slice(0, 3), masked, perturbed, perturbation_linf=linf, target=list(masked))
    expected = np.where(outside, np.nan, unperturbed)
    np.testing.assert_array_equal(PairStore(path).read_block(0, 3)[0], expected, strict=True)
    assert not PairStore(path).not_attacked.any()  # a 0 lay under the mask
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["target"][()], expected)
        np.testing.assert_array_equal(file["perturbation_linf"][()], np.array([0.5, np.nan, 0.5], "f4"))


@pytest.mark.parametrize("name", ["sample", "label", "prediction", "prediction_perturbed", "n_accepted"])
@pytest.mark.parametrize("kind", ["array", "list"])
def test_masked_integers_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    values: Any = np.ma.masked_array([3, 4], [False, True])
    if kind == "list":
        values = [3, np.ma.masked]
    maps = np.zeros((2, 3, 4))
    with (
        PairWriter(tmp_path / "a.h5", n_samples=2, shape=(3, 4), attrs={}) as writer,
        pytest.raises(
            ValueError, match=f"'{name}' has masked elements, but no integer can stand for a missing value"
        ),
    ):
        writer.write(slice(0, 2), maps, maps, **{name: values})


def test_tensors(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "a.h5"
    maps = torch.arange(24.0).reshape(2, 3, 4).requires_grad_()
    numbers = torch.tensor([4, 5])
    with PairWriter(path, n_samples=2, shape=(3, 4), attrs={}) as writer:
        image, linf = maps.unsqueeze(1) / 24, torch.tensor([0.5, 0.25], dtype=torch.bfloat16)
        beside = {"output": maps[:, 0], "image": image, "perturbation_linf": linf, "name": ["a", "b"]}
        writer.write(slice(0, 2), maps * 2, maps.bfloat16(), sample=numbers, label=numbers, **beside)
    store = PairStore(path)
    expected = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.testing.assert_array_equal(store.read_block(0, 2)[0], expected * 2, strict=True)
    np.testing.assert_array_equal(store.read_block(0, 2)[1], expected, strict=True)
    assert store.sample.tolist() == [4, 5]
    assert verify(path) == []


def test_data_arrays_by_the_names_of_their_dimensions(tmp_path: Path) -> None:
    unperturbed, perturbed = random_maps(4, 2, 3, 4)
    image = np.random.default_rng(0).random((4, 3, 6, 4), dtype=np.float32)
    path = tmp_path / "a.h5"
    dims = ("sample", "channel", "y", "x")
    with PairWriter(path, n_samples=4, shape=(3, 4), channels=2, attrs={"reduction": "sum"}) as writer:
        writer.write(
            slice(0, 4),
            xr.DataArray(unperturbed, dims=dims).transpose("x", "sample", "y", "channel"),
            xr.DataArray(perturbed, dims=dims),
            label=xr.DataArray([3, 2, 1, 0], dims="sample"),
            image=xr.DataArray(image, dims=("sample", "image_channel", "image_y", "x")).transpose(
                ..., "image_y"
            ),
            output=xr.DataArray(image[:, 0, :, 0].T, dims=("class", "sample")),
            target=xr.DataArray(unperturbed[:, 0].T, dims=("x", "y", "sample")),
        )
    with PairStore(path).to_xarray() as found:
        np.testing.assert_array_equal(found["unperturbed"].values, unperturbed)
        np.testing.assert_array_equal(found["perturbed"].values, perturbed)
        np.testing.assert_array_equal(found["image"].values, image)
        np.testing.assert_array_equal(found["output"].values, image[:, 0, :, 0])
        np.testing.assert_array_equal(found["target"].values, unperturbed[:, 0])
        assert found["label"].values.tolist() == [3, 2, 1, 0]
        assert found["output"].dims == ("sample", "class")
        with PairWriter(tmp_path / "b.h5", n_samples=1, shape=(3, 4), channels=2, attrs={}) as writer:
            one = found.isel(sample=2)
            writer.write(0, one.unperturbed.transpose("x", "y", "channel"), one.perturbed, image=one.image)
    np.testing.assert_array_equal(PairStore(tmp_path / "b.h5").to_xarray()["image"].values[0], image[2])


@pytest.mark.parametrize(
    ("dims", "shape"),
    [
        (("dim_0", "dim_1", "dim_2"), (2, 3, 4)),
        (("time", "y", "x"), (2, 3, 4)),
        (("channel", "y", "x"), (2, 3, 4)),
        (("sample", "y"), (2, 3)),
        (("y", "x"), (3, 4)),
    ],
)
def test_data_arrays_with_other_dimensions(tmp_path: Path, dims: Any, shape: tuple[int, ...]) -> None:
    words = (
        r"'unperturbed' is a DataArray with the dimensions \(.*\); here they must be sample, channel, y, x"
    )
    with (
        PairWriter(tmp_path / "a.h5", n_samples=2, shape=(3, 4), attrs={}) as writer,
        pytest.raises(ValueError, match=words),
    ):
        writer.write(slice(0, 2), xr.DataArray(np.zeros(shape), dims=dims), np.zeros((2, 3, 4)))


# Columns


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("sample", np.uint64(2**63 + 5), "'sample' holds 9223372036854775813; it must be from -92"),
        ("label", np.uint64(2**63 + 5), "'label' holds 9223372036854775813; it must be from -92"),
        ("prediction", np.uint64(2**64 - 1), "'prediction' holds 18446744073709551615; it must be from"),
        ("n_accepted", 2**31, "'n_accepted' holds 2147483648; it must be from -2147483648 to 2147483647"),
        ("best_step", -(2**31) - 1, "'best_step' holds -2147483649; it must be from"),
        ("best_step", 1.0, "'best_step' is float64; it must hold integers"),
        ("label", True, "'label' is bool; it must hold integers"),
        (
            "perturbation_l2",
            1e-60,
            "'perturbation_l2' holds values that float32 makes 0, which would mean that",
        ),
        ("perturbation_linf", 1e60, r"'perturbation_linf' holds values beyond \+-3.4e\+38"),
        ("output", [1e60, 1.0], r"'output' holds values beyond \+-3.4e\+38"),
        ("output", [], r"'output' is \(0,\): it has no classes"),
        ("output", [[1.0]], r"'output' is \(1, 1\); here it must be \(1,\)"),
        ("target", np.zeros((4, 3)), r"'target' is \(4, 3\); here it must be \(3, 4\)"),
        ("target", np.zeros((3, 4), complex), "'target' is complex128; allowed are"),
        ("name", 3, "a name must be a text, got 3"),
        ("name", b"a", "a name must be a text, got b'a'"),
        ("name", "", "a name must be a non-empty text of valid characters without NUL, got ''"),
        ("name", "a\0b", "a name must be a non-empty text of valid characters"),
        ("name", "a\udc80", "a name must be a non-empty text of valid characters"),
        ("name", ["a"], r"'name' is \(1,\); here it must be \(\)"),
        ("n_accepted", -1, "'n_accepted' must be 0 or more, got -1"),
        ("perturbation_linf", -0.5, r"'perturbation_linf' must be 0 or more, got -0\.5"),
    ],
)
def test_columns_that_are_refused(tmp_path: Path, name: str, value: Any, message: str) -> None:
    with PairWriter(tmp_path / "a.h5", n_samples=2, shape=(3, 4), attrs={}) as writer:
        with pytest.raises((ValueError, TypeError), match=message) as caught:
            writer.write(0, MAP, MAP, **{name: value})
        assert str(caught.value).isprintable()
        writer.write(1, MAP, MAP)


def test_integers_that_do_not_fit_are_refused_by_the_reader(run: Path) -> None:
    replace(run, "label", np.array([0, 1, 2, 2**63 + 5, 1, 2], np.uint64))
    with pytest.raises(FormatError, match=r"'label' holds 9223372036854775813; it must hold integers from -"):
        PairStore(run)
    edit(run, lambda file: file["complete"].__setitem__(3, 0))
    store = PairStore(run)  # what was never finished may hold anything
    assert store.label is not None
    assert store.label[[0, 1, 2, 4, 5]].tolist() == [0, 1, 2, 1, 2]


def test_a_name_is_in_a_file_once(tmp_path: Path) -> None:
    """Dataset and name are what a source sample is known by."""
    path, two = tmp_path / "a.h5", np.zeros((2, 3, 4))
    with PairWriter(path, n_samples=4, shape=(3, 4), attrs={}) as writer:
        with pytest.raises(ValueError, match="name 'a' is already in"):
            writer.write(slice(0, 2), two, two, name=["a", "a"])
        with pytest.raises(ValueError, match="'name' has masked elements, but every sample needs a name"):
            writer.write(slice(0, 2), two, two, name=np.ma.array(["a", "b"], mask=[False, True]))
        writer.write(slice(0, 2), two, two, name=["a", "b"])
        with pytest.raises(ValueError, match="name 'b' is already in"):
            writer.write(2, MAP, MAP, name="b")
    with PairWriter.resume(path, attrs={}) as writer:
        with pytest.raises(ValueError, match="name 'a' is already in"):
            writer.write(2, MAP, MAP, name="a")
        writer.write(slice(2, 4), two, two, name=["c", "d"])
    names = PairStore(path).name
    assert names is not None
    assert names.tolist() == ["a", "b", "c", "d"]


def test_coordinates_of_data_arrays_count(tmp_path: Path) -> None:
    maps = xr.DataArray(
        np.random.default_rng(0).normal(size=(2, 3, 4)),
        dims=("sample", "y", "x"),
        coords={"sample": [7, 9], "y": [0, 1, 2]},
    )
    with PairWriter(tmp_path / "a.h5", n_samples=2, shape=(3, 4), attrs={}) as writer:
        for other, name in ((maps[::-1], "sample"), (maps[:, ::-1], "y")):
            with pytest.raises(ValueError, match=f"the {name} coordinates of .* differ; align them first"):
                writer.write(slice(0, 2), maps, other)
        writer.write(slice(0, 2), maps, maps)
    assert PairStore(tmp_path / "a.h5").sample.tolist() == [7, 9]


@pytest.mark.parametrize("n_bytes", [3, 256, 300])
def test_names_are_texts_everywhere(tmp_path: Path, n_bytes: int) -> None:
    names = ["ü" + "x" * (n_bytes - 2), "b/c.png"]
    path = tmp_path / "a.h5"
    with PairWriter(path, n_samples=3, shape=(3, 4), attrs={}) as writer:
        writer.write(slice(0, 2), np.zeros((2, 3, 4)), np.zeros((2, 3, 4)), name=names)
        room = max(256, n_bytes)
        with pytest.raises(
            ValueError, match=rf"a name has {room + 1} bytes, but .* has room for {room}: give"
        ):
            writer.write(2, MAP, MAP, name="y" * (room + 1))
    store = pickle.loads(pickle.dumps(PairStore(path)))
    assert store.name.tolist() == [*names, ""]
    with store.to_xarray() as dataset:
        assert dataset["name"].dims == ("sample",)
        assert dataset["name"].values.tolist() == [*names, ""]
    with h5py.File(path) as file:
        assert file["name"].asstr()[()].tolist() == [*names, ""]
        assert file["name"].id.get_create_plist().get_alloc_time() == h5py.h5d.ALLOC_TIME_EARLY


def test_netcdf4_reads_all_of_it(tmp_path: Path) -> None:
    netcdf4 = pytest.importorskip("netCDF4")
    path = write_all(tmp_path / "a.h5")
    with netcdf4.Dataset(path) as dataset:
        assert dataset["name"][:].tolist() == [f"{i}/ü.png" for i in range(3)]
        assert dataset["output"].dimensions == ("sample", "class")
        assert dataset.checksum_metadata == PairStore(path).attrs["checksum_metadata"]


@pytest.mark.parametrize("kind", ["variable", "fixed", "characters"])
def test_names_as_other_programs_write_them(run: Path, kind: str) -> None:
    names = ["a", "ü", "c" * 9, "", "e", "f"]
    fixed = np.array([name.encode() for name in names], "S9")
    values = {
        "variable": np.array(names, h5py.string_dtype()),
        "fixed": fixed,
        "characters": fixed.view("S1").reshape(6, 9),
    }[kind]
    edit(run, lambda file: file.attrs.pop("checksum_metadata"))
    edit(run, lambda file: file.create_dataset("name", data=values))
    edit(run, lambda file: file["complete"].__setitem__(5, 0))
    store = PairStore(run)
    assert store.name is not None
    assert store.name.tolist() == names
    with PairWriter.resume(run, ATTRS) as writer:
        maps = np.zeros((5, 7), np.float32)
        if kind == "characters":
            with pytest.raises(ValueError, match="has room for 9"):
                writer.write(5, maps, maps, sample=15, label=0, name="x" * 10)
        writer.write(5, maps, maps, sample=15, label=0, name="ende ü")
    store = PairStore(run)
    assert store.name is not None
    assert store.name.tolist() == [*names[:5], "ende ü"]
    assert verify(run) == []


# Checksums of what the maps' own do not cover


def write_all(path: Path) -> Path:
    """Write three samples with every variable that a file can have."""
    n = 3
    maps, rng = random_maps(n, 3, 4), np.random.default_rng(1)
    attrs = {**ATTRS, "note": "größer", "scale": np.float32(0.1), "list": [1.5, float("inf")], "one": [7]}
    with PairWriter(path, n_samples=n, shape=(3, 4), attrs={**attrs, "eps": float("nan")}) as writer:
        writer.write(
            slice(0, n),
            *maps,
            label=range(n),
            prediction=range(n),
            prediction_perturbed=[0, 5, 2],
            perturbation_linf=[0.5, 0.5, 0.0],
            perturbation_l2=[1.5, 2.5, 0.0],
            image=rng.integers(0, 256, (n, 3, 3, 4)).astype(np.uint8),
            image_perturbed=rng.random((n, 3, 3, 4), dtype=np.float32),
            name=[f"{i}/ü.png" for i in range(n)],
            n_accepted=[1, 0, 3],
            best_step=[4, -1, 9],
            output=rng.random((n, 2)),
            output_perturbed=rng.random((n, 2)),
            target=maps[0],
        )
    return path


def test_checksums_are_those_of_the_format(tmp_path: Path) -> None:
    """Computed here from the file alone, as the format says in words."""
    with h5py.File(write_all(tmp_path / "a.h5")) as file:
        text = (
            '{"attack":"topk","dataset":"toy","eps":"nan","format":"lensmetrics-pairs","format_version":1,'
            f'"list":["{(1.5).hex()}","inf"],"note":"größer","one":7,"scale":"{float(np.float32(0.1)).hex()}",'
            '"steps":20}'
        )
        covered = text.encode() + np.array([4, -1, 9], "<i4").tobytes() + np.array([1, 0, 3], "<i4").tobytes()
        covered += "0/ü.png\0001/ü.png\0002/ü.png\000".encode()
        covered += np.array([1.5, 2.5, 0.0, 0.5, 0.5, 0.0], "<f4").tobytes()
        covered += np.array([0, 1, 2, 0, 5, 2], "<i8").tobytes()
        assert file.attrs["checksum_metadata"] == zlib.crc32(covered)
        beside = ("image", "image_perturbed", "target", "output", "output_perturbed")
        for i in range(3):
            data = b"".join(np.ascontiguousarray(file[name][i]).tobytes() for name in beside)
            assert file["image_checksum"][i] == zlib.crc32(data)
    store = PairStore(tmp_path / "a.h5")
    assert store.not_attacked.tolist() == [False, True, False]  # the counts tell, not the norms
    assert store.label_changed.tolist() == [False, True, False]
    assert store.best_step is not None
    assert store.best_step.tolist() == [4, -1, 9]


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


METADATA = [(-1, -1, "checksum_metadata")]


@pytest.mark.parametrize("name", ["topk", "größer", "toy"])
def test_a_flip_in_the_text_of_an_attribute_is_found(tmp_path: Path, name: str) -> None:
    path = write_all(tmp_path / "a.h5")
    flip(path, path.read_bytes().index(name.encode()))
    assert verify(path) == METADATA
    store = PairStore(path)
    assert store.metadata_damaged.startswith(f"{path}: checksum_metadata does not match: attributes, names")
    assert store.read_block(0, 3)[2] == ["", "", ""]
    assert list(problem_lines(verify(path))) == [
        "checksum_metadata: attributes, names, predictions or norms have changed since the file was finished"
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("name", "n_accepted", "best_step", "prediction", "prediction_perturbed"),
        *("perturbation_l2", "perturbation_linf"),
    ],
)
def test_a_flip_in_a_column_is_found(tmp_path: Path, name: str) -> None:
    path = write_all(tmp_path / "a.h5")
    whole = PairStore(path).fingerprint
    flip(path, byte_offset(path, name))
    assert verify(path) == METADATA
    assert PairStore(path).fingerprint != whole


@pytest.mark.parametrize(
    "name", ["image", "image_perturbed", "target", "output", "output_perturbed", "image_checksum"]
)
def test_a_flip_beside_the_maps_is_found_and_mended(tmp_path: Path, name: str) -> None:
    path = write_all(tmp_path / "a.h5")
    with h5py.File(path) as file:
        row_bytes = file[name].id.get_storage_size() // 3
    flip(path, byte_offset(path, name) + row_bytes)
    assert verify(path) == [(1, 1, "image_checksum")]
    assert list(problem_lines(verify(path))) == [
        "sample 1 at position 1: image_checksum: an image, the target or an output is damaged"
    ]
    with PairWriter.resume(path, PairStore(path).attrs) as writer:
        assert writer.missing.tolist() == [1]


def test_both_kinds_of_damage_to_a_sample_are_named(tmp_path: Path) -> None:
    path = write_all(tmp_path / "a.h5")
    flip(path, byte_offset(path, "image"))
    flip(path, byte_offset(path, "perturbed"))
    flip(path, byte_offset(path, "prediction"))
    assert verify(path) == [*METADATA, (0, 0, "checksum"), (0, 0, "image_checksum")]


def test_images_are_verified_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_all(tmp_path / "a.h5")
    flip(path, byte_offset(path, "image") + 2 * 36)
    monkeypatch.setattr("lensmetrics.pairfile.slices.BLOCK_BYTES", 300)
    assert verify(path) == [(2, 2, "image_checksum")]


def test_a_chunk_of_an_image_that_cannot_be_decompressed(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with PairWriter(path, n_samples=3, shape=(3, 4), attrs={}, compression="gzip") as writer:
        image = np.random.default_rng(0).random((3, 9, 9))
        writer.write(slice(0, 3), np.zeros((3, 3, 4)), np.zeros((3, 3, 4)), image=image)
    with h5py.File(path) as file:
        chunk = file["image"].id.get_chunk_info(1)
    with path.open("r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(b"\xff" * chunk.size)
    assert verify(path) == [(1, 1, "image_checksum")]


def test_the_checksum_is_that_of_a_finished_file(tmp_path: Path) -> None:
    path, part = tmp_path / "a.h5", tmp_path / "a.h5.part"
    with PairWriter(path, n_samples=3, shape=(3, 4), attrs=ATTRS) as writer:
        writer.write(0, MAP, MAP, prediction=4)
        assert "checksum_metadata" not in PairStore(part).attrs
    first = PairStore(path).attrs["checksum_metadata"]
    writer = PairWriter.resume(path, PairStore(path).attrs)
    assert "checksum_metadata" not in PairStore(part).attrs
    with writer:
        writer.write(1, MAP, MAP, prediction=5)
        assert "checksum_metadata" not in PairStore(part).attrs
        assert PairStore(part).metadata_damaged == ""
    assert PairStore(path).attrs["checksum_metadata"] != first
    assert [problem for _, _, problem in verify(path)] == ["incomplete"]
    # Attributes may be copied from another file.
    with PairWriter(tmp_path / "b.h5", n_samples=1, shape=(3, 4), attrs=PairStore(path).attrs):
        pass
    assert own(PairStore(tmp_path / "b.h5").attrs) == ATTRS


@pytest.mark.parametrize("n", [0, 5, 6, 30])
def test_finishing_changes_the_file_in_one_place(tmp_path: Path, n: int) -> None:
    """A kill between two writes of metadata could tear it; HDF5 keeps more than eight attributes apart."""
    path, part = tmp_path / "a.h5", tmp_path / "a.h5.part"
    with PairWriter(path, n_samples=1, shape=(3, 4), attrs={f"a{i}": "x" * i for i in range(n)}) as writer:
        writer.write(0, MAP, MAP)
        before = np.frombuffer(part.read_bytes(), np.uint8)
    after = np.frombuffer(path.read_bytes(), np.uint8)
    changed = 48 + np.flatnonzero(before[48:] != after[48:])  # the superblock says that the file is closed
    assert len(changed) <= 12  # the value and HDF5's own checksum of the block that it is in
    assert changed[-1] - changed[0] < 1024


def test_a_file_whose_metadata_is_damaged_is_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with PairWriter(path, n_samples=3, shape=(3, 4), attrs=ATTRS) as writer:
        writer.write(0, MAP, MAP, prediction=4)
    edit(path, lambda file: file["prediction"].__setitem__(0, 3))
    before = path.read_bytes()
    with pytest.raises(
        FormatError, match=r"a\.h5: checksum_metadata does not match: .* delete the attribute"
    ):
        PairWriter.resume(path, ATTRS)
    assert (names_in(tmp_path), path.read_bytes()) == (["a.h5"], before)
    edit(path, lambda file: file.attrs.__delitem__("checksum_metadata"))
    with PairWriter.resume(path, ATTRS) as writer:
        writer.write(1, MAP, MAP, prediction=4)
    assert verify(path) == [(2, -1, "incomplete")]


def test_files_of_other_programs_keep_a_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with PairWriter(path, n_samples=2, shape=(3, 4), attrs=ATTRS) as writer:
        writer.write(0, MAP, MAP, prediction=4)

    def retype(file: h5py.File) -> None:
        file.attrs.create("checksum_metadata", [file.attrs["checksum_metadata"]], dtype=np.uint32)

    edit(path, retype)
    assert PairStore(path).metadata_damaged == ""
    with PairWriter.resume(path, ATTRS) as writer:
        assert "checksum_metadata" not in PairStore(tmp_path / "a.h5.part").attrs
        writer.write(1, MAP, MAP, prediction=4)
    assert verify(path) == []


def test_files_of_older_releases_are_good(tmp_path: Path) -> None:
    for path in sorted((Path(lensmetrics.__file__).parent / "data").glob("*.h5")):
        store = PairStore(path)
        assert "checksum_metadata" not in store.attrs
        assert (store.name, store.n_accepted, store.metadata_damaged) == (None, None, "")
        assert verify(path) == []
        with h5py.File(path) as file:
            norms = file["perturbation_linf"][()]
        assert store.not_attacked.tolist() == (norms == 0).tolist()
        assert store.prediction is not None
        assert store.prediction_perturbed is not None
        changed = np.not_equal(store.prediction, store.prediction_perturbed)
        assert store.label_changed.tolist() == changed.tolist()


# What stands in the way, and mistakes of our own


def make_odd(path: Path, kind: str) -> None:
    if kind == "a link":
        path.symlink_to(path.with_name("elsewhere"))
    elif kind == "a link to a file":
        path.with_name("elsewhere").write_text("x")
        path.symlink_to(path.with_name("elsewhere"))
    elif kind == "a directory":
        path.mkdir()
    elif kind == "a FIFO":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(str(path))


@pytest.mark.parametrize("kind", ["a link", "a link to a file", "a directory", "a FIFO", "a socket"])
@pytest.mark.parametrize("name", ["a.h5.part", "a.h5"])
def test_anything_but_a_regular_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make_odd(Path(name), kind)
    before = names_in(tmp_path)
    words = f"{name} is {kind.removesuffix(' to a file')}"
    with pytest.raises(
        (FileExistsError, IsADirectoryError), match=rf"^{words}(, but a pair file is a|; give)"
    ):
        PairWriter("a.h5", n_samples=1, shape=(1, 1), attrs={})
    with pytest.raises(
        FileExistsError, match=f"^{words}, but a pair file is a regular file: remove it, or choose"
    ):
        PairWriter.resume("a.h5", {})
    assert names_in(tmp_path) == before


def test_a_device_is_refused() -> None:
    with pytest.raises(FileExistsError, match=r"^/dev/null is a device, but a pair file is a regular file"):
        PairWriter("/dev/null", n_samples=1, shape=(1, 1), attrs={})
    with pytest.raises(FileExistsError, match=r"^/dev/zero is a device, but a pair file is a regular file"):
        PairWriter.resume("/dev/zero", {})
    with pytest.raises(FormatError, match=r"^/dev/zero is a device; give a pair file"):
        PairStore("/dev/zero")


def test_a_fifo_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.h5")
    with pytest.raises(FormatError, match=r"a\.h5 is a FIFO; give a pair file"):
        PairStore(tmp_path / "a.h5")


@pytest.mark.parametrize("error", [TypeError, KeyError, RuntimeError, ValueError])
def test_a_mistake_of_our_own_is_not_called_damage(
    run: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def wrong(*_: object) -> None:
        raise error("ours")

    for name in ("find_maps", "check_samples", "fingerprint"):
        with monkeypatch.context() as patch:
            patch.setattr(f"lensmetrics.pairfile.header.{name}", wrong)
            with pytest.raises(error, match=r"^'?ours'?$") as caught:
                PairStore(run)
            assert not isinstance(caught.value, FormatError)
    with monkeypatch.context() as patch:
        patch.setattr("lensmetrics.pairfile.header.find_maps", lambda path, _: 1 + path.name)
        with pytest.raises(TypeError, match="unsupported operand"):
            PairStore(run)


def test_names_that_are_not_utf8(run: Path) -> None:
    space, kind = h5py.h5s.create(h5py.h5s.SCALAR), h5py.h5t.NATIVE_INT8
    edit(run, lambda file: h5py.h5d.create(file.id, b"\xfe", kind, space))
    assert len(PairStore(run)) == 6
    edit(run, lambda file: file.__delitem__("complete"))
    with pytest.raises(
        FormatError, match=r"run\.h5 has no dataset 'complete'; it has: 'checksum'.* b'\\xfe'"
    ):
        PairStore(run)
    edit(run, lambda file: h5py.h5a.create(file.id, b"\xff", kind, space))
    with pytest.raises(
        FormatError, match=r"run\.h5 is damaged: it has an attribute named b'\\xff'; regenerate or"
    ):
        PairStore(run)


def test_names_of_attributes_that_are_reserved(tmp_path: Path) -> None:
    taken = ["file", "sample", "label", "prediction", "prediction_perturbed", "status", "name"]
    taken += ["k", "w", "pool", "metric", "value", "kendall", "lens_recall(k=3,w=1)", "fss"]
    for name in taken:
        with pytest.raises(ValueError, match=rf"attribute name '{re.escape(name)}' is reserved: tables"):
            PairWriter(tmp_path / "a.h5", n_samples=1, shape=(1, 1), attrs={name: 1})
    assert names_in(tmp_path) == []
    free = dict.fromkeys((*CONDITIONS, "attack_k", "eps_norm", "lens", "sample_size", "names"), 1)
    with PairWriter(tmp_path / "a.h5", n_samples=1, shape=(1, 1), attrs=free):
        pass
    edit(tmp_path / "a.h5", lambda file: file.attrs.__setitem__("kendall", 3))
    assert PairStore(tmp_path / "a.h5").attrs["kendall"] == 3  # the store says all that the file says


def test_reserved_names_are_all_metrics() -> None:
    assert sorted(METRIC_NAMES) == sorted(lm.list_metrics())
