"""Import of .npy and .npz arrays: every layout arrives, in blocks, and every mistake is said."""

from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lensmetrics import importers
from lensmetrics.importers import import_arrays
from lensmetrics.store import FormatError, PairStore, verify


def save(folder: Path, first: Any, second: Any) -> tuple[Path, Path]:
    np.save(folder / "first.npy", first)
    np.save(folder / "second.npy", second)
    return folder / "first.npy", folder / "second.npy"


def stored(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Maps as they are in the file, before any reduction."""
    with PairStore(path).to_xarray() as dataset:
        return dataset["unperturbed"].values, dataset["perturbed"].values


@settings(max_examples=25)
@given(data=st.data())
def test_every_layout_arrives(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("import")
    n, height, width = (data.draw(st.integers(1, 5)) for _ in range(3))
    channels = data.draw(st.none() | st.integers(1, 3))
    shape = (n, height, width) if channels is None else (n, channels, height, width)
    dtype = data.draw(st.sampled_from(["<f4", ">f4", "<f8", "<f2", "u1", "<i8"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    maps = rng.integers(0, 100, (2, *shape)).astype(dtype)
    flat = channels is None and data.draw(st.booleans())
    given_maps = maps.reshape(2, n, -1) if flat else maps
    order = data.draw(st.sampled_from([np.ascontiguousarray, np.asfortranarray]))
    first, second = (order(part) for part in given_maps)
    if data.draw(st.booleans()):
        paths = save(folder, first, second)
    else:
        paths = (folder / "both.npz", folder / "both.npz")
        write = data.draw(st.sampled_from([np.savez, np.savez_compressed]))
        write(paths[0], unperturbed=first, perturbed=second, other=np.zeros(2))

    out = folder / "out.h5"
    size = (height, width) if flat or data.draw(st.booleans()) else None
    import_arrays(*paths, out, shape=size, attrs={"dataset": "toy"})

    assert sorted(path.name for path in folder.iterdir()) == sorted({*(p.name for p in paths), "out.h5"})
    assert verify(out) == []
    store = PairStore(out)
    assert store.attrs["dataset"] == "toy"
    assert store.n_channels == channels
    assert store.sample.tolist() == list(range(n))
    assert store.label is None
    for found, expected in zip(stored(out), maps, strict=True):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


def test_samples_and_labels(tmp_path: Path) -> None:
    paths = save(tmp_path, np.ones((3, 4, 5)), np.zeros((3, 4, 5)))
    np.save(tmp_path / "samples.npy", np.array([7, 3, 9], np.uint16))
    np.save(tmp_path / "labels.npy", [1, 0, 1])
    out = tmp_path / "out.h5"
    import_arrays(*paths, out, samples=tmp_path / "samples.npy", labels=tmp_path / "labels.npy")
    store = PairStore(out)
    assert store.sample.tolist() == [7, 3, 9]
    assert store.label is not None
    assert store.label.tolist() == [1, 0, 1]
    assert verify(out) == []


def test_names_choose_arrays(tmp_path: Path) -> None:
    archive = tmp_path / "a.npz"
    np.savez(archive, clean=np.full((2, 3, 4), 1.0), noisy=np.full((2, 3, 4), 2.0))
    import_arrays(archive, archive, tmp_path / "out.h5", names=("clean", "noisy"))
    assert [maps[0, 0, 0] for maps in stored(tmp_path / "out.h5")] == [1.0, 2.0]


def test_the_only_array_needs_no_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.full((2, 3, 4), 1.0))
    np.savez(tmp_path / "b.npz", np.full((2, 3, 4), 2.0))
    import_arrays(tmp_path / "a.npz", tmp_path / "b.npz", tmp_path / "out.h5")
    assert [maps[0, 0, 0] for maps in stored(tmp_path / "out.h5")] == [1.0, 2.0]


@pytest.mark.parametrize("kind", ["npy", "npz", "fortran"])
def test_memory_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    maps = np.random.default_rng(0).normal(size=(400, 2500))  # 8 MB
    if kind == "npz":
        paths = (tmp_path / "a.npz",) * 2
        np.savez(paths[0], unperturbed=maps, perturbed=maps)
    else:
        paths = save(tmp_path, *[np.asfortranarray(maps) if kind == "fortran" else maps] * 2)
    expected = maps.astype(np.float32).reshape(400, 50, 50)
    del maps
    monkeypatch.setattr(importers, "_BLOCK_BYTES", 2**18)
    tracemalloc.start()
    try:
        import_arrays(*paths, tmp_path / "out.h5", shape=(50, 50))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Neither array was ever in memory as a whole; unpacking copies through buffers of 1 MiB.
    assert peak < 4e6
    np.testing.assert_array_equal(stored(tmp_path / "out.h5")[1], expected)


def check(
    folder: Path, first: Any, second: Any, message: str, error: type[Exception] = FormatError, **options: Any
) -> None:
    """Both arrays are refused with that message, and nothing is left behind."""
    paths = save(folder, first, second)
    before = sorted(folder.iterdir())
    with pytest.raises(error, match=message):
        import_arrays(*paths, folder / "out.h5", **options)
    assert sorted(folder.iterdir()) == before


MAPS = np.zeros((3, 4, 5))


@pytest.mark.parametrize(
    ("first", "second", "shape", "message"),
    [
        (MAPS, MAPS[:2], None, r"first\.npy has maps \(3, 4, 5\) but .*second\.npy has \(2, 4, 5\)"),
        (MAPS, np.zeros((3, 20)), (4, 6), r"first\.npy is \(3, 4, 5\), but the shape given is 4 x 6"),
        (np.zeros((3, 20)), MAPS, (4, 6), r"first\.npy is \(3, 20\), but 4 x 6 maps have 24 pixels, not 20"),
        (np.zeros(3), MAPS, None, r"first\.npy is \(3,\); it must be \(N, height\*width\)"),
        (np.zeros((0, 4, 5)), MAPS, None, r"first\.npy is \(0, 4, 5\); it must be .* none of them 0"),
        (MAPS.astype(bool), MAPS, None, r"first\.npy is bool; maps must be integers or floating-point"),
        (MAPS.astype(complex), MAPS, None, r"first\.npy is complex128; maps must be"),
        (MAPS.astype(str), MAPS, None, r"first\.npy is <U32; maps must be"),
        (MAPS.astype(object), MAPS, None, r"first\.npy is not an array that can be mapped \(.*\); save"),
    ],
)  # fmt: skip
def test_arrays_that_are_refused(tmp_path: Path, first: Any, second: Any, shape: Any, message: str) -> None:
    check(tmp_path, first, second, message, shape=shape)


def test_flat_arrays_need_a_shape(tmp_path: Path) -> None:
    message = r"first\.npy is \(3, 20\), flat maps of 20 pixels: give their shape \(--shape\)"
    check(tmp_path, np.zeros((3, 20)), MAPS, message, ValueError)


def test_names_are_for_archives(tmp_path: Path) -> None:
    message = r"first\.npy is no \.npz: it has no array named 'a'"
    check(tmp_path, MAPS, MAPS, message, ValueError, names=("a", None))


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importers, "_BLOCK_BYTES", 1)
    bad = MAPS.copy()
    bad[2] = 1e300
    check(tmp_path, MAPS, bad, r"'perturbed' holds values beyond", ValueError)


@pytest.mark.parametrize("values", [np.arange(4), np.arange(3.0), np.zeros((3, 1), int)])
def test_columns_that_are_refused(tmp_path: Path, values: Any) -> None:
    np.save(tmp_path / "labels.npy", values)
    check(tmp_path, MAPS, MAPS, r"labels\.npy is .*; it must hold 3 whole", labels=tmp_path / "labels.npy")


def test_repeated_samples_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "samples.npy", [1, 2, 1])
    message = "sample 1, given for position 2, is already in"
    check(tmp_path, MAPS, MAPS, message, ValueError, samples=tmp_path / "samples.npy")


def test_files_that_are_no_arrays(tmp_path: Path) -> None:
    good, other = save(tmp_path, MAPS, MAPS)
    out = tmp_path / "out.h5"
    with pytest.raises(FileNotFoundError, match=r"nothing\.npy does not exist; give a \.npy or \.npz"):
        import_arrays(good, tmp_path / "nothing.npy", out)
    with pytest.raises(IsADirectoryError, match=r"is a directory; give a \.npy or \.npz"):
        import_arrays(tmp_path, other, out)
    with pytest.raises(FileNotFoundError, match=r"labels\.npy does not exist; give a \.npy"):
        import_arrays(good, other, out, labels=tmp_path / "labels.npy")
    for name, content in (("text.npy", b"hello"), ("empty.npy", b""), ("cut.npy", good.read_bytes()[:200])):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FormatError, match=rf"{name} is not an array that can be mapped"):
            import_arrays(tmp_path / name, other, out)
    assert not out.exists()


def test_archives_that_are_wrong(tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    archive = tmp_path / "a.npz"
    np.savez(archive, clean=MAPS, noisy=MAPS)
    with pytest.raises(
        FormatError, match=r"a\.npz has no array 'unperturbed'; it has: clean, noisy; name one"
    ):
        import_arrays(archive, archive, out)
    with pytest.raises(FormatError, match=r"a\.npz has no array 'clear'; it has: clean, noisy"):
        import_arrays(archive, archive, out, names=("clear", "noisy"))
    np.savez(archive, np.array([{}], dtype=object))
    with pytest.raises(FormatError, match=r"a\.npz, array 'arr_0', is not an array that can be mapped"):
        import_arrays(archive, archive, out)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("readme.txt", "hello")
    with pytest.raises(FormatError, match=r"a\.npz has no array 'unperturbed'; it has: none"):
        import_arrays(archive, archive, out)
    np.savez(archive, unperturbed=MAPS, perturbed=MAPS)
    content = bytearray(archive.read_bytes())
    content[300] ^= 1
    archive.write_bytes(content)
    with pytest.raises(FormatError, match=r"a\.npz is truncated or damaged \(Bad CRC-32"):
        import_arrays(archive, archive, out)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_an_existing_output_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "out.h5").touch()
    with pytest.raises(FileExistsError, match=r"out\.h5 exists already"):
        import_arrays(tmp_path / "nothing.npy", tmp_path / "nothing.npy", tmp_path / "out.h5")


def test_no_progress_where_there_is_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import_arrays(*save(tmp_path, MAPS, MAPS), tmp_path / "out.h5")
    assert capsys.readouterr() == ("", "")


def test_channels_last_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 8, 8, 3), np.float32))
    with pytest.raises(FormatError, match=r"looks like \(N, height, width, channel\)"):
        import_arrays(tmp_path / "a.npy", tmp_path / "a.npy", tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def test_truncated_npz_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.zeros((2, 8, 8), np.float32))
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match=r"a\.npz is truncated"):
        import_arrays(tmp_path / "a.npz", tmp_path / "a.npz", tmp_path / "out.h5")
