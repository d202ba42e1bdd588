"""Pair files: what is written is what is read, and everything wrong with a file is said."""

from __future__ import annotations

import os
import pickle
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

from lensmetrics.pairfile import BESIDE_MAPS
from lensmetrics.store import FormatError, PairStore, verify
from lensmetrics.writer import PairWriter

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
        for i in written if stored_beside else ():
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
def test_a_part_is_the_same_samples(tmp_path: Path, compression: str | None) -> None:
    store = PairStore(write_pairs(tmp_path / "a.h5", compression=compression))
    whole = store.read_block(0, 6)
    part = pickle.loads(pickle.dumps(store.part(1, 6).part(1, 4)))
    assert len(part) == 3
    assert part.sample.tolist() == [12, 13, 14]
    assert part.label.tolist() == [0, 1, 2]
    assert part.prediction is None
    unperturbed, perturbed, status = part.read_block(0, 3)
    assert status == ["", "", ""]
    np.testing.assert_array_equal(unperturbed, whole[0][2:5])
    np.testing.assert_array_equal(perturbed, whole[1][2:5])
    np.testing.assert_array_equal(part[2].unperturbed, whole[0][4])
    assert (len(store), store.sample[0]) == (6, 10)


def test_iteration_over_several_blocks(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lensmetrics.store._BLOCK_BYTES", 2 * 2 * 5 * 7 * 4)
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
    with pytest.raises(ValueError, match=r"a\.h5 is closed; go on with PairWriter\.resume"):
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
from lensmetrics.writer import PairWriter
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
    with pytest.raises(ValueError, match=r"a\.h5 was begun with other attributes") as caught:
        PairWriter.resume(path, other)
    assert "eps is 0.1 in the file and 0.2 here" in str(caught.value)
    assert "seed is absent in the file and 3 here" in str(caught.value)
    assert "steps is 20 in the file and absent here" in str(caught.value)
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
        ({"n_samples": 0}, "n_samples must be 1 integers from 1 on, got"),
        ({"n_samples": 2.0}, "n_samples must be an integer, got 2.0"),
        ({"n_samples": True}, "n_samples must be an integer, got True"),
        ({"shape": (4,)}, "shape must be 2 integers from 1 on"),
        ({"channels": 0}, "channels must be 1 integers from 1 on"),
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
        ({"attrs": {"format_version": 2}}, "attribute 'format_version' is written by PairWriter itself: 1"),
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
        with pytest.raises(ValueError, match=r"position 0 of .* is complete: it is not written twice"):
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
    with pytest.raises(FormatError, match=r"run\.h5 has lost its end since it was opened"):
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
        ("format", None, "has no attribute 'format'; a pair file says format = 'lensmetrics-pairs'"),
        ("format", "other", "has format 'other'; a pair file says"),
        ("format_version", None, "has no attribute 'format_version'"),
        (
            "format_version",
            3,
            "has format version 3; this lensmetrics reads version 1: install a newer release",
        ),
        ("format_version", 1.5, "has format_version 1.5; it must be an integer"),
        ("format_version", "1", "has format_version '1'; it must be an integer"),
        ("format_version", 0, "has format_version 0; it must be an integer from 1 on"),
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
    unverified = PairStore(run).read_block(2, 5, verify=False)
    assert unverified[2] == ["", "", ""]
    assert np.isfinite(unverified[1]).all()


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
    assert PairStore(path).read_block(0, 6, verify=False)[2] == status
    assert np.isnan(unperturbed[3]).all()
    assert np.isfinite(unperturbed[[0, 1, 2, 4, 5]]).all()
