"""Import of .npy, .npz and HDF5 arrays: every layout is copied, in blocks, and every mistake is reported."""

import shutil
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lensmetrics.cli import main
from lensmetrics.errors import FormatError
from lensmetrics.importers import import_maps
from lensmetrics.pairfile.store import PairStore
from lensmetrics.pairfile.verification import verify


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
    n, height, width = (data.draw(st.integers(1, 6)) for _ in range(3))
    channels = data.draw(st.sampled_from([None, 1, 3, 4])) if width > 4 else None
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
    is_ambiguous = channels is None and (width <= 4 or n == height != width)
    size = (height, width) if flat or is_ambiguous or data.draw(st.booleans()) else None
    import_maps(*paths, out, shape=size, attrs={"dataset": "toy"})

    assert sorted(path.name for path in folder.iterdir()) == sorted({*(p.name for p in paths), "out.h5"})
    assert verify(out) == []
    store = PairStore(out)
    assert store.attrs["dataset"] == "toy"
    assert store.n_channels == (None if channels == 1 else channels)
    assert store.sample.tolist() == list(range(n))
    assert store.label is None
    for found, expected in zip(stored(out), maps[:, :, 0] if channels == 1 else maps, strict=True):
        assert found.dtype == (np.float64 if dtype == "<f8" else np.float32)
        np.testing.assert_array_equal(found, expected)


def test_samples_and_labels(tmp_path: Path) -> None:
    paths = save(tmp_path, np.ones((3, 4, 5)), np.zeros((3, 4, 5)))
    np.save(tmp_path / "samples.npy", np.array([7, 3, 9], np.uint16))
    np.save(tmp_path / "labels.npy", [1, 0, 1])
    out = tmp_path / "out.h5"
    import_maps(*paths, out, samples=tmp_path / "samples.npy", labels=tmp_path / "labels.npy")
    store = PairStore(out)
    assert store.sample.tolist() == [7, 3, 9]
    assert store.label is not None
    assert store.label.tolist() == [1, 0, 1]
    assert verify(out) == []


def test_names_choose_arrays(tmp_path: Path) -> None:
    archive = tmp_path / "a.npz"
    np.savez(archive, clean=np.full((2, 3, 5), 1.0), noisy=np.full((2, 3, 5), 2.0))
    import_maps(archive, archive, tmp_path / "out.h5", names=("clean", "noisy"))
    assert [maps[0, 0, 0] for maps in stored(tmp_path / "out.h5")] == [1.0, 2.0]


def test_the_only_array_needs_no_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.full((2, 3, 5), 1.0))
    np.savez(tmp_path / "b.npz", np.full((2, 3, 5), 2.0))
    import_maps(tmp_path / "a.npz", tmp_path / "b.npz", tmp_path / "out.h5")
    assert [maps[0, 0, 0] for maps in stored(tmp_path / "out.h5")] == [1.0, 2.0]


@pytest.mark.parametrize("kind", ["npy", "npz", "fortran"])
def test_memory_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    maps = np.random.default_rng(0).normal(size=(400, 2500))  # 8 MB
    if kind == "npz":
        paths = (tmp_path / "a.npz",) * 2
        np.savez(paths[0], unperturbed=maps, perturbed=maps)
    else:
        paths = save(tmp_path, *[np.asfortranarray(maps) if kind == "fortran" else maps] * 2)
    expected = maps.reshape(400, 50, 50)
    monkeypatch.setattr("lensmetrics.importers.copying.BLOCK_BYTES", 2**18)
    tracemalloc.start()
    try:
        import_maps(*paths, tmp_path / "out.h5", shape=(50, 50))
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
        import_maps(*paths, folder / "out.h5", **options)
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
        (MAPS.astype(np.longdouble), MAPS, None, r"first\.npy is float128; maps must be .* at most 64 bits"),
        (MAPS.astype(object), MAPS, None, r"first\.npy holds Python objects .*: save arrays of numbers"),
    ],
)  # fmt: skip
def test_arrays_that_are_refused(tmp_path: Path, first: Any, second: Any, shape: Any, message: str) -> None:
    check(tmp_path, first, second, message, shape=shape)


def test_flat_arrays_need_a_shape(tmp_path: Path) -> None:
    message = (
        r"first\.npy is \(3, 20\), which can be read in two ways: as \(height, width\) it is one map of "
        r"3 x 20 pixels: axes='HW'; as \(N, height\*width\) it has 3 flat maps of 20 values, one per row: "
        r"give their height and width, shape=\(H, W\), axes='NF' if they do not form a picture: windows then "
        r"run along them$"
    )
    check(tmp_path, np.zeros((3, 20)), MAPS, message, ValueError)


def test_one_map_is_not_a_stack_of_its_rows(tmp_path: Path) -> None:
    one = np.zeros((6, 6))
    check(tmp_path, one, one, r"axes='HW'; .* height and width, shape=\(H, W\)$", ValueError)
    message = r"first\.npy is \(6, 6\), one map of the shape given, .*: say so with axes='HW'"
    check(tmp_path, one, one, message, ValueError, shape=(6, 6))
    paths = save(tmp_path, one[None], one[None] + 1)
    import_maps(*paths, tmp_path / "one.h5")
    assert stored(tmp_path / "one.h5")[0].shape == (1, 6, 6)


def test_features_that_do_not_form_a_picture(tmp_path: Path) -> None:
    maps = some_maps(2, 1, 20)
    import_maps(*save(tmp_path, *maps), tmp_path / "out.h5", shape=(1, 20))
    np.testing.assert_array_equal(stored(tmp_path / "out.h5"), maps[:, :, None])


@pytest.mark.parametrize("shape", [(0, 20), (-4, -5), (60,), (3, 4, 5)])
def test_a_shape_is_positive(tmp_path: Path, shape: Any) -> None:
    message = r"shape must be the height and the width of the maps in pixels, got"
    check(tmp_path, np.zeros((3, 20)), MAPS, message, ValueError, shape=shape)


def test_names_are_for_archives(tmp_path: Path) -> None:
    message = r"first\.npy is not an \.npz file: it has no array named 'a'"
    check(tmp_path, MAPS, MAPS, message, ValueError, names=("a", None))


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lensmetrics.importers.copying.BLOCK_BYTES", 1)
    bad = MAPS.copy()
    bad[2] = 1e300
    check(tmp_path, MAPS, bad, r"'perturbed' holds 1e\+300, beyond", ValueError, dtype="float32")


COLUMNS: list[tuple[Any, str]] = [
    (np.arange(4), r"is \(4,\); WHAT must be 3 integers.*, one per sample: \(3,\) or \(3, 1\)"),
    (np.zeros((1, 3), int), r"is \(1, 3\); WHAT must be 3 integers"),
    (np.array(2), r"(is \(\); WHAT must be 3 integers|is a single value)"),
    (np.array([0, 1.5, 2]), r"holds 1.5 in row 1; WHAT must be integers up to"),
    (np.array([0, 1, np.inf]), r"holds inf in row 2; WHAT must be integers up to"),
    (np.array([0, np.nan, 2]), r"has no value in row 1; WHAT need one in every row"),
    (np.array([1, 2, 2.0**60]), r"holds 1.15\d*e\+18 in row 2; WHAT must be integers up to"),
    (np.array([2**63 + 5, 1, 2], "u8"), r"holds 9223372036854775813 in row 0; WHAT must be integers up to"),
    (np.array([True, False, True]), r"is bool; WHAT must be integers: save array.astype\(int\)"),
    (np.zeros(3, complex), r"is complex128; WHAT must be"),
]


@pytest.mark.parametrize("what", ["samples", "labels"])
@pytest.mark.parametrize("kind", ["npy", "npz", "h5"])
@pytest.mark.parametrize(("values", "message"), COLUMNS)
def test_columns_that_are_refused(tmp_path: Path, what: str, kind: str, values: Any, message: str) -> None:
    path = save_column(tmp_path, kind, values)
    message = rf"column\.{kind}.*{message.replace('WHAT', what)}"
    given = {what: path}
    check(tmp_path, MAPS, MAPS, message, FormatError, **given)


@pytest.mark.parametrize("kind", ["npy", "npz", "h5"])
def test_labels_are_numbers(tmp_path: Path, kind: str) -> None:
    path = save_column(tmp_path, kind, np.array([b"cat", b"dog", b"fox"]))
    message = r"is \|S3; labels must be integers: save numbers, such as numpy.unique"
    check(tmp_path, MAPS, MAPS, message, FormatError, labels=path)


def save_column(folder: Path, kind: str, values: Any) -> Path:
    path = folder / f"column.{kind}"
    if kind == "npy":
        np.save(path, values)
    elif kind == "npz":
        np.savez(path, values)
    else:
        hdf5(path, y=values)
    return path


@pytest.mark.parametrize("kind", ["npy", "npz", "h5"])
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("dtype", ["i8", "u1", ">u2", "f2", "f4", "f8", "u8"])
@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_columns_are_taken_alike_from_all_files(
    tmp_path: Path, kind: str, named: bool, dtype: str, shape: tuple[int, ...]
) -> None:
    paths = save(tmp_path, MAPS, MAPS)
    column: Any = save_column(tmp_path, kind, np.array([7, 0, 3], dtype).reshape(shape))
    if named and kind != "npy":
        column = f"{column}:{'y' if kind == 'h5' else 'arr_0'}"
    import_maps(*paths, tmp_path / "out.h5", samples=column, labels=column)
    store = PairStore(tmp_path / "out.h5")
    assert store.label is not None
    assert store.label.dtype == np.int64
    assert (store.sample.tolist(), store.label.tolist()) == ([7, 0, 3], [7, 0, 3])


def test_large_sample_numbers_stay_exact(tmp_path: Path) -> None:
    numbers = np.array([2**63 - 1, 2**53 + 1, 0], "u8")
    np.save(tmp_path / "n.npy", numbers)
    import_maps(*save(tmp_path, MAPS, MAPS), tmp_path / "out.h5", samples=tmp_path / "n.npy")
    assert PairStore(tmp_path / "out.h5").sample.tolist() == numbers.tolist()


def test_columns_of_an_archive_are_called_like_the_option(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", unperturbed=MAPS, perturbed=MAPS + 1, labels=np.array([3, 1, 2]))
    a = tmp_path / "a.npz"
    import_maps(a, a, tmp_path / "pair.h5", labels=a)
    label = PairStore(tmp_path / "pair.h5").label
    assert label is not None
    assert label.tolist() == [3, 1, 2]
    message = r"a\.npz has no array 'samples'; it has 3: unperturbed, perturbed, labels; name one"
    check(tmp_path, MAPS, MAPS, message, ValueError, samples=a)


def test_repeated_samples_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "samples.npy", [1, 2, 1])
    message = r"samples\.npy holds 1 twice; a pair file holds each sample once"
    check(tmp_path, MAPS, MAPS, message, samples=tmp_path / "samples.npy")
    np.save(tmp_path / "samples.npy", [1, -2, 0])
    message = r"samples\.npy holds -2 in row 1; sample numbers must be 0 or more"
    check(tmp_path, MAPS, MAPS, message, samples=tmp_path / "samples.npy")


def test_files_that_are_not_arrays(tmp_path: Path) -> None:
    good, other = save(tmp_path, MAPS, MAPS)
    out = tmp_path / "out.h5"
    with pytest.raises(FileNotFoundError, match=r"nothing\.npy does not exist$"):
        import_maps(good, tmp_path / "nothing.npy", out)
    for name, content, message in (
        ("text.npy", b"hello", r"is text, not a \.npy, \.npz or HDF5 file: save the array with numpy\.save"),
        ("empty.npy", b"", r"is empty \(0 bytes\); give a \.npy, \.npz or HDF5 file"),
        (
            "cut.npy",
            good.read_bytes()[:200],
            r"is truncated or damaged \(mmap length is greater .*\): save it",
        ),
        ("bytes.npy", b"\xff" * 99, r"is not a \.npy, \.npz or HDF5 file, or a damaged one"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FormatError, match=f"{name} {message}"):
            import_maps(tmp_path / name, other, out)
    assert not out.exists()


def test_archives_that_are_wrong(tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    archive = tmp_path / "a.npz"
    np.savez(archive, clean=MAPS, noisy=MAPS)
    with pytest.raises(
        ValueError, match=r"a\.npz has no array 'unperturbed'; it has 2: clean, noisy; name one"
    ):
        import_maps(archive, archive, out)
    with pytest.raises(ValueError, match=r"a\.npz has no array 'clear'; it has 2: clean, noisy; name one$"):
        import_maps(archive, archive, out, names=("clear", "noisy"))
    np.savez(archive, np.array([{}], dtype=object))
    with pytest.raises(FormatError, match=r"a\.npz, array 'arr_0', holds Python objects"):
        import_maps(archive, archive, out)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("readme.txt", "hello")
    with pytest.raises(FormatError, match=r"a\.npz is a zip archive without arrays, not a \.npy, \.npz"):
        import_maps(archive, archive, out)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("u.npy", "hello")
    with pytest.raises(FormatError, match=r"a\.npz, array 'u', is not a NumPy array"):
        import_maps(archive, archive, out)
    np.savez(archive, **{f"img{i:02}": MAPS[0] for i in range(48)})
    listed = ", ".join(f"img{i:02}" for i in range(12))
    message = rf"it has 48: {listed}, \.\.\.; name one; if each is one sample, say so"
    with pytest.raises(ValueError, match=message):
        import_maps(archive, archive, out)
    scipy.sparse.save_npz(archive, scipy.sparse.csr_array(np.eye(3)))
    with pytest.raises(
        FormatError, match=r"a\.npz is a sparse matrix of SciPy: numpy\.save\('u\.npy', scipy"
    ):
        import_maps(archive, archive, out)
    np.savez(archive, unperturbed=MAPS, perturbed=MAPS)
    content = bytearray(archive.read_bytes())
    content[300] ^= 1
    archive.write_bytes(content)
    with pytest.raises(FormatError, match=r"a\.npz is truncated or damaged \(Bad CRC-32"):
        import_maps(archive, archive, out)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_an_existing_output_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "out.h5").touch()
    with pytest.raises(FileExistsError, match=r"out\.h5 exists already"):
        import_maps(tmp_path / "nothing.npy", tmp_path / "nothing.npy", tmp_path / "out.h5")


def test_no_progress_where_there_is_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import_maps(*save(tmp_path, MAPS, MAPS), tmp_path / "out.h5")
    assert capsys.readouterr() == ("", "")


def test_channels_last_are_refused(tmp_path: Path) -> None:
    message = (
        r"first\.npy is \(2, 8, 9, 3\), which can be read in two ways: as \(N, channel, height, width\) it "
        r"has 8 channels of 9 x 3 pixels: say so with axes='NCHW'; as \(N, height, width, channel\) it has 3 "
        r"channels of 8 x 9 pixels: axes='NHWC'; with an axis of classes,"
    )
    check(tmp_path, np.zeros((2, 8, 9, 3)), MAPS, message)


def test_truncated_npz_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.zeros((2, 8, 8), np.float32))
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match=r"a\.npz is truncated"):
        import_maps(tmp_path / "a.npz", tmp_path / "a.npz", tmp_path / "out.h5")


# HDF5 files by the names of their datasets


def hdf5(path: Path, **contents: Any) -> Path:
    """Write datasets; `__` in a name stands for `/`, a dict for a group with a dataset per sample."""
    with h5py.File(path, "w") as file:
        for name, values in contents.items():
            members = values if isinstance(values, dict) else {"": values}
            for key, value in members.items():
                file["/".join(filter(None, (name.replace("__", "/"), key)))] = value
    return path


def some_maps(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("layout", ["two files", "one file", "names", "groups"])
def test_datasets_by_name(tmp_path: Path, layout: str) -> None:
    maps = some_maps(2, 3, 3, 4, 5)
    maps[0, 1, 0, 0, :2] = np.nan, np.inf
    columns = {"meta__label": np.array([4, 0, 4], np.uint8), "meta__nr": np.array([7, 3, 9])}
    names: tuple[str | None, str | None] = (None, None)
    a = tmp_path / "a.h5"
    if layout == "two files":
        first, second = hdf5(a, x__clean=maps[0], **columns), hdf5(tmp_path / "b.h5", adv=maps[1])
        paths = (f"{first}:x/clean", f"{second}:/adv")
    elif layout == "groups":
        groups = [{f"sample{i}": one for i, one in enumerate(part)} for part in maps]
        hdf5(a, x__clean=groups[0], x__adv=groups[1], **columns)
        paths = (f"{a}:x/clean", f"{a}:x/adv")
    else:
        hdf5(a, x__clean=maps[0], x__adv=maps[1], **columns)
        paths = (f"{a}:x/clean", f"{a}:x/adv")
        if layout == "names":
            paths, names = (str(a), str(a)), ("x/clean", "x/adv")
    out = tmp_path / "out.h5"
    attrs = {"reduction": "sum"}
    import_maps(*paths, out, names=names, samples=f"{a}:meta/nr", labels=f"{a}:meta/label", attrs=attrs)
    assert verify(out) == []
    store = PairStore(out)
    assert (store.n_channels, store.reduction) == (3, "sum")
    assert store.sample.tolist() == [7, 3, 9]
    assert store.label is not None
    assert store.label.tolist() == [4, 0, 4]
    np.testing.assert_array_equal(stored(out), maps)


@settings(max_examples=25)
@given(data=st.data())
def test_every_hdf5_storage_arrives(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("import")
    n, height, width = (data.draw(st.integers(1, 5)) for _ in range(3))
    dtype = data.draw(st.sampled_from(["<f4", ">f4", "<f8", "<f2", "u1", "<i8"]))
    maps = np.random.default_rng(0).integers(0, 100, (2, n, height, width)).astype(dtype)
    flat = data.draw(st.booleans())
    options: dict[str, Any] = data.draw(
        st.sampled_from([{}, {"chunks": True}, {"compression": "gzip", "shuffle": True}])
    )
    with h5py.File(folder / "a.h5", "w") as file:
        for name, part in zip(("unperturbed", "perturbed"), maps, strict=True):
            file.create_dataset(name, data=part.reshape(n, -1) if flat else part, **options)
    import_maps(folder / "a.h5", folder / "a.h5", folder / "out.h5", shape=(height, width))
    np.testing.assert_array_equal(stored(folder / "out.h5"), maps)


def test_the_only_dataset_needs_no_name_and_mixes_with_npy(tmp_path: Path) -> None:
    maps = some_maps(2, 3, 4, 5)
    hdf5(tmp_path / "a.h5", deep__inside=maps[0])
    np.save(tmp_path / "b.npy", maps[1])
    import_maps(tmp_path / "a.h5", tmp_path / "b.npy", tmp_path / "out.h5")
    np.testing.assert_array_equal(stored(tmp_path / "out.h5"), maps)


def test_a_colon_in_a_file_name_comes_before_a_dataset(tmp_path: Path) -> None:
    maps = some_maps(2, 3, 4, 5)
    hdf5(tmp_path / "a:x", x=maps[0])
    hdf5(tmp_path / "a", x=maps[1])
    np.savez(tmp_path / "b.npz", y=maps[1], z=maps[0])
    import_maps(tmp_path / "a:x", f"{tmp_path / 'b.npz'}:y", tmp_path / "out.h5")
    np.testing.assert_array_equal(stored(tmp_path / "out.h5"), maps)


@pytest.mark.parametrize("kind", ["contiguous", "chunked", "groups", "reordered"])
def test_memory_stays_bounded_for_hdf5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    maps = np.random.default_rng(0).normal(size=(400, 50, 50))  # 8 MB
    index = np.arange(400)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        if kind == "groups":
            for position, one in enumerate(maps):
                file[f"attribution/{position:03}"] = one
        else:
            file.create_dataset("attribution", data=maps, chunks=(20, 50, 50) if kind == "chunked" else None)
        file["prediction"] = np.eye(400, dtype=np.float32)
        file["index"] = index
    second = tmp_path / "b.h5"
    if kind == "reordered":
        index = np.random.default_rng(1).permutation(400)
        hdf5(second, attribution=maps[index], index=index)
    else:
        shutil.copy(tmp_path / "a.h5", second)
    expected = maps
    monkeypatch.setattr("lensmetrics.importers.copying.BLOCK_BYTES", 2**18)
    tracemalloc.start()
    try:
        import_maps(tmp_path / "a.h5", second, tmp_path / "out.h5")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4e6
    np.testing.assert_array_equal(stored(tmp_path / "out.h5"), [expected, expected])


def refused(
    folder: Path, first: Any, second: Any, message: str, error: type[Exception], **options: Any
) -> None:
    """The message is one line, and nothing but the inputs is there afterwards."""
    before = sorted(folder.iterdir())
    with pytest.raises(error, match=message) as caught:
        import_maps(first, second, folder / "out.h5", **options)
    assert "\n" not in str(caught.value)
    assert sorted(folder.iterdir()) == before


STRINGS = np.array(["a", "b"], dtype=object)


@pytest.mark.parametrize(
    ("contents", "name", "message"),
    [
        ({"x__y": MAPS, "z": MAPS}, "x/q", r"has no dataset 'x/q'; it has: x/y, z"),
        ({"x__y": MAPS, "z": MAPS}, "x/y/q", r"has no dataset 'x/y/q'; it has: x/y, z"),
        ({"x__y": MAPS}, "/", r"names no array; say which"),
        ({"x": STRINGS}, "x", r"'x' is object; maps must be integers or floating-point"),
        ({"x": MAPS.astype(bool)}, "x", r"'x' is bool; maps must be"),
        ({"x": MAPS.astype(complex)}, "x", r"'x' is complex128; maps must be"),
        ({"x": np.zeros(3, [("a", "f4")])}, "x", r"'x' is \[\('a', '<f4'\)\]; maps must be"),
        ({"x": 3.0}, "x", r"'x' is a single value"),
        ({"x": h5py.Empty("f4")}, "x", r"'x' is empty"),
        ({"x": h5py.SoftLink("/y"), "y": MAPS}, "x", r"'x' in 'x' is a link; name what it leads to"),
        ({"x": h5py.SoftLink("/x")}, "x", r"'x' in 'x' is a link"),
        ({"x": h5py.ExternalLink("secret.h5", "/y")}, "x", r"'x' in 'x' is a link"),
        ({"x": h5py.ExternalLink("secret.h5", "/")}, "x/y", r"'x' in 'x/y' is a link"),
        ({"x": {"a": MAPS[0], "b": h5py.ExternalLink("secret.h5", "/y")}}, "x", r"'b' in 'b' is a link"),
        ({"x": {"a": MAPS[0], "b/c": MAPS[0]}}, "x", r"'x' holds the group 'b'; name a dataset, or a group"),
        ({"x": {"a": MAPS[0], "b": MAPS[0, :2]}}, "x", r"'x/b' is \(2, 5\) but 'x/a' is \(4, 5\); a pair"),
        ({"x": np.dtype("f4")}, "x", r"'x' is a data type; name a dataset"),
        ({"x": MAPS[0, 0]}, "x", r"dataset 'x', is \(5,\); it must be \(N, height\*width\)"),
        ({"x": np.zeros((2, 8, 8, 3))}, "x", r"'x', is \(2, 8, 8, 3\), which can be read in two ways"),
        ({"x": np.zeros((2, 6, 3, 8, 8))}, "x", r"'x', is \(2, 6, 3, 8, 8\); LATEC stores \(N, expl"),
        ({"x": np.zeros((2, 20))}, "x", r"2 flat maps of 20 values, one per row: give"),
        ({"x": MAPS, "y": MAPS}, None, r"has no dataset 'unperturbed'; it has: x, y; name one: .*a\.h5:NAME"),
        ({}, None, r"has no dataset 'unperturbed'; it has: nothing"),
    ],
)  # fmt: skip
def test_datasets_that_are_refused(tmp_path: Path, contents: Any, name: str | None, message: str) -> None:
    hdf5(tmp_path / "secret.h5", y=MAPS)
    a = hdf5(tmp_path / "a.h5", **contents)
    first = a if name is None else f"{a}:{name}"
    refused(tmp_path, first, f"{tmp_path}/secret.h5:y", rf"a\.h5.*{message}", ValueError)


def test_values_stored_elsewhere_are_refused(tmp_path: Path) -> None:
    secret = hdf5(tmp_path / "secret.h5", y=MAPS)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        layout = h5py.VirtualLayout(MAPS.shape, dtype=MAPS.dtype)
        layout[...] = h5py.VirtualSource(secret, "y", MAPS.shape)
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("external", MAPS.shape, "f8", external=[(tmp_path / "raw", 0, MAPS.nbytes)])
    for name in ("virtual", "external"):
        message = rf"'{name}' keeps its values in other files; copy them"
        refused(tmp_path, f"{tmp_path}/a.h5:{name}", f"{secret}:y", message, FormatError)


def test_shapes_larger_than_the_file_are_refused_before_memory_is_allocated(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("contiguous", (10**9, 1000, 1000), "f4")
        file.create_dataset("chunked", (10**9, 1000, 1000), "f4", chunks=(1, 1000, 1000))
        bomb = file.create_dataset("bomb", (300, 1000, 1000), "f4", chunks=(300, 1000, 1000), compression=1)
        assert bomb.nbytes > 2**30
        file.create_dataset("label", (10**9,), "i8", chunks=(10**6,))
        file["good"] = MAPS
    a = tmp_path / "a.h5"
    tracemalloc.start()
    for name, message in [
        ("contiguous", r"'contiguous' is \(1000000000, 1000, 1000\) and needs 4\d* bytes, 0 are there"),
        ("chunked", r"'chunked' is .* and needs 4\d* bytes, 0 are there"),
        (
            "bomb",
            r"'bomb' is stored in chunks that must be decoded 1200000000 bytes at a time; at most 268435456",
        ),
    ]:
        refused(tmp_path, f"{a}:{name}", f"{a}:{name}", message, FormatError)
    refused(tmp_path, f"{a}:good", f"{a}:good", "'label' is .* 0 are there", FormatError, labels=f"{a}:label")
    assert tracemalloc.get_traced_memory()[1] < 4e6
    tracemalloc.stop()


def test_hdf5_files_that_are_wrong(tmp_path: Path) -> None:
    good = hdf5(tmp_path / "good.h5", unperturbed=MAPS, perturbed=MAPS, label=np.array([1.5, 2, 3]))
    whole = good.read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.h5").write_text("text")
    import_maps(good, good, tmp_path / "pair.h5")
    cases: list[tuple[str, str, type[Exception], dict[str, Any]]] = [
        ("cut.h5", r"cut\.h5 is truncated or damaged \(.*\): regenerate or copy it again", FormatError, {}),
        ("text.h5", r"text\.h5 is truncated, or not an HDF5 file", FormatError, {}),
        ("none.h5:x", r"none\.h5:x does not exist$", FileNotFoundError, {}),
        ("pair.h5", r"pair\.h5 is a pair file already: score it as it is; to pair", FormatError, {}),
        ("good.h5", r"'unperturbed', is \(3, 4, 5\); method=1 is for LATEC's", ValueError, {"method": 1}),
        ("good.h5", r"good\.h5 has no dataset 'labels'; it has: label, perturbed, unperturbed; name one",
         ValueError, {"labels": good}),
        ("good.h5", r"'label', holds 1.5 in row 0; labels must be", FormatError, {"labels": f"{good}:label"}),
        ("good.h5", r"is \(3, 4, 5\); samples must be 3 int", FormatError, {"samples": f"{good}:perturbed"}),
        ("good.h5:label", r"names an array already", ValueError, {"names": ("unperturbed", None)}),
    ]  # fmt: skip
    for first, message, error, options in cases:
        if "samples" in options:
            hdf5(tmp_path / "good.h5", unperturbed=MAPS, perturbed=MAPS.astype(int))
        refused(tmp_path, tmp_path / first, good, message, error, **options)


def test_hdf5_values_beyond_the_type_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lensmetrics.importers.copying.BLOCK_BYTES", 1)
    bad = MAPS.copy()
    bad[2] = 1e300
    a = hdf5(tmp_path / "a.h5", unperturbed=MAPS, perturbed=bad)
    refused(tmp_path, a, a, r"'perturbed' holds 1e\+300, beyond \+-3\.4e\+38", ValueError, dtype="float32")


def test_a_chunk_that_cannot_be_decoded_leaves_nothing(tmp_path: Path) -> None:
    a = tmp_path / "a.h5"
    with h5py.File(a, "w") as file:
        noise = some_maps(3, 4, 5)
        for name in ("unperturbed", "perturbed"):
            data = file.create_dataset(name, data=noise, chunks=(1, 4, 5), compression="gzip")
        offset = data.id.get_chunk_info(2).byte_offset
    content = bytearray(a.read_bytes())
    content[offset : offset + 8] = bytes(8)
    a.write_bytes(content)
    refused(tmp_path, a, a, r"a\.h5 is truncated or damaged \(", FormatError)


def test_lack_of_space_is_reported_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = hdf5(tmp_path / "a.h5", unperturbed=MAPS, perturbed=MAPS)
    np.savez(tmp_path / "b.npz", np.zeros((3, 300, 300)))  # more than is unpacked into memory
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=959))
    refused(tmp_path, a, a, r"out\.h5 needs 960 bytes in .*, 959 are free: free some space", OSError)
    message = r"'arr_0\.npy' of .*b\.npz, unpacked, needs \d+ bytes"
    refused(tmp_path, tmp_path / "b.npz", a, message, OSError)


# On the command line


def test_mistakes_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    maps = some_maps(2, 3, 3, 8, 8)
    hdf5(Path("a.h5"), maps__clean=maps[0], label=np.array([3, 1, 2]))
    hdf5(Path("b.h5"), maps__adv=maps[1])
    for words, expected in (
        ("a.h5:x b.h5:maps/adv", 2),
        ("a.h5 none.h5", 2),
        ("a.npy a.npy", 2),
        ("a.h5:label b.h5:maps/adv", 1),
    ):
        assert main(["import", *words.split(), "-o", "x.h5"]) == expected
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("lensmetrics: ")
        assert err.count("\n") == 1
        assert not Path("x.h5").exists()


def test_a_failed_import_leaves_the_unfinished_file_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = save(tmp_path, np.ones((3, 4, 5)), np.zeros((3, 4, 5)))
    part = tmp_path / "out.h5.part"

    def overtaken(folder: Path, n_bytes: int, what: str) -> None:
        part.write_text("of another process")

    monkeypatch.setattr("lensmetrics.importers.copying.check_space", overtaken)
    monkeypatch.setattr("lensmetrics.pairfile.draft.check_space", lambda *_: None)
    with pytest.raises(FileExistsError):
        import_maps(first, second, tmp_path / "out.h5")
    assert part.read_text() == "of another process"


def test_a_mistake_of_ours_is_not_called_damage_of_an_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistake(*_: object) -> None:
        raise ValueError("ours")

    paths = save(tmp_path, np.ones((3, 4, 5)), np.zeros((3, 4, 5)))
    monkeypatch.setattr("lensmetrics.importers.axes.one_method", mistake)
    with pytest.raises(ValueError, match=r"^ours$") as caught:
        import_maps(*paths, tmp_path / "out.h5")
    assert type(caught.value) is ValueError
