"""What is written is what is read, by this package and by others."""

import pickle
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

from lensmetrics.errors import FormatError
from lensmetrics.pairfile.format import BESIDE_MAPS
from lensmetrics.pairfile.store import PairStore
from lensmetrics.pairfile.verification import verify
from lensmetrics.pairfile.writer import PairWriter
from tests.pairfile.toys import ATTRS, own, write_pairs
from tests.pairfiles import edit, maps_of

REDUCED: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "abs_sum": lambda maps: np.abs(maps).sum(axis=1),
    "sum": lambda maps: maps.sum(axis=1),
    "abs_max": lambda maps: np.abs(maps).max(axis=1),
}


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
    unperturbed, perturbed = maps_of(4, *shape)
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
