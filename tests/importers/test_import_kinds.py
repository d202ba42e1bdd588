"""What import accepts and refuses: axes, precision, samples that must match, and foreign files."""

import io
import os
import shutil
import signal
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

import lensmetrics as lm
from lensmetrics.errors import FormatError
from lensmetrics.importers import import_maps
from lensmetrics.pairfile.store import PairStore
from lensmetrics.pairfile.verification import verify
from tests.importers.test_importers import hdf5, some_maps

MAPS = some_maps(3, 6, 7)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_hang() -> Iterator[None]:
    """End the test where a file is waited for."""

    def fail(*_: object) -> None:
        raise TimeoutError("the import hangs")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def both(first: Any, second: Any = None) -> tuple[str, str]:
    np.save("u.npy", first)
    np.save("p.npy", np.asarray(first) + 1 if second is None else second)
    return "u.npy", "p.npy"


def stored(path: str | Path = "out.h5") -> tuple[NDArray[Any], NDArray[Any]]:
    with h5py.File(path) as file:
        return file["unperturbed"][()], file["perturbed"][()]


def refused(first: Any, second: Any, message: str, error: type[Exception], **options: Any) -> str:
    """The import ends with exactly this kind of error, in one line, and leaves nothing."""
    before = sorted(Path().iterdir())
    with pytest.raises(error, match=message) as caught:
        import_maps(first, second, "out.h5", **options)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    assert sorted(Path().iterdir()) == before
    return str(caught.value)


# Axes

FIRST, LAST = r"as \(N, channel, height, width\)", r"as \(N, height, width, channel\)"


@pytest.mark.parametrize(
    ("shape", "first", "last"),
    [
        ((6, 28, 28, 10), "28 channels of 28 x 10 pixels: say so with axes='NCHW';", "10 channels of 28 "),
        ((6, 32, 32, 2), "32 channels of 32 x 2 ", "2 channels of 32 x 32 pixels: axes='NHWC';"),
        ((6, 64, 64, 13), "64 channels", "13 channels"),
        ((6, 4, 4, 3), "4 channels of 4 x 3 ", "3 channels of 4 x 4 "),
        ((6, 3, 8, 4), "3 channels of 8 x 4", "4 channels of 3 x 8 "),
        ((6, 1, 8, 1), "1 channel of 8 x 1 ", "1 channel of 1 x 8 "),
        ((6, 8, 9, 1), "8 channels of 9 x 1", "1 channel of 8 x 9 pixels: "),
        ((6, 2, 8, 9), "2 channels of 8 x 9", "9 channels of 2 x 8"),
        ((6, 16, 28, 28), "16 channels of 28 x 28", "28 channels of 16 x 28 .*an axis of classes"),
    ],
)  # fmt: skip
def test_four_axes_that_can_be_read_in_two_ways(shape: tuple[int, ...], first: str, last: str) -> None:
    words = rf"u\.npy is .* in two ways: {FIRST} it has {first}.*{LAST} it has {last}"
    refused(*both(np.zeros(shape)), words, FormatError)
    hdf5(Path("a.h5"), u=np.zeros(shape), p=np.ones(shape))
    refused("a.h5:u", "a.h5:p", words.replace(r"u\.npy", "dataset 'u',"), FormatError)


@pytest.mark.parametrize("shape", [(6, 28, 28, 10), (6, 3, 8, 4), (6, 8, 9, 3), (6, 8, 9, 1), (6, 4, 4, 3)])
def test_following_either_advice_imports_the_reading_that_was_meant(shape: tuple[int, ...]) -> None:
    array = some_maps(*shape)
    for axes, expected in (("NCHW", array), ("NHWC", np.moveaxis(array, -1, 1))):
        import_maps(*both(array), f"{axes}.h5", axes=axes)
        np.testing.assert_array_equal(
            stored(f"{axes}.h5")[0], expected[:, 0] if expected.shape[1] == 1 else expected
        )


@pytest.mark.parametrize("n_channels", [3, 4])
def test_channels_that_can_be_read_in_one_way_are_kept(n_channels: int) -> None:
    maps = some_maps(2, n_channels, 6, 5)
    import_maps(*both(maps), "out.h5")
    np.testing.assert_array_equal(stored()[0], maps)


@pytest.mark.parametrize("last", [1, 2, 3, 4])
def test_three_axes_with_a_short_last_need_a_shape(last: int) -> None:
    maps = some_maps(3, 9, last)
    channels = "1 channel" if last == 1 else f"{last} channels"
    message = (
        rf"u\.npy is \(3, 9, {last}\), which can be read in several ways: as \(N, height, width\) it has 3 "
        rf"maps of 9 x {last} pixels: say so with axes='NHW'; as \(height, width, channel\) one map with "
        rf"{channels}: axes='HWC'; as \(N, time, channel\) 3 series with {channels}: axes='NTC'$"
    )
    refused(*both(maps), message, ValueError)
    series = np.moveaxis(maps, -1, 1)[:, :, None]
    one = np.moveaxis(maps, -1, 0)[None]
    for axes, expected in (("NHW", maps), ("HWC", one), ("NTC", series)):
        import_maps(*both(maps), f"{axes}.h5", axes=axes)
        kept = expected[:, 0] if axes != "NHW" and last == 1 else expected
        np.testing.assert_array_equal(stored(f"{axes}.h5")[0], kept)
    import_maps(*both(maps), "out.h5", shape=(9, last))
    np.testing.assert_array_equal(stored()[0], maps)


def test_square_maps_whose_samples_may_come_last_need_axes() -> None:
    array = some_maps(9, 9, 12)
    message = (
        r"u\.npy is \(9, 9, 12\), which can be read in two ways: as \(N, height, width\) it has 9 maps of "
        r"9 x 12 pixels: say so with axes='NHW'; as \(height, width, N\) 12 maps of 9 x 9 pixels: axes='HWN'$"
    )
    refused(*both(array), message, ValueError)
    for axes, expected in (("NHW", array), ("HWN", np.moveaxis(array, -1, 0))):
        import_maps(*both(array), f"{axes}.h5", axes=axes)
        np.testing.assert_array_equal(stored(f"{axes}.h5")[0], expected)
    import_maps(*both(array), "out.h5", shape=(9, 12))
    np.testing.assert_array_equal(stored()[0], array)


SHAP = r"shap's \(N, height, width, channel, class\) is axes='NHWCK' and class_index=0, to choose a class;"


@pytest.mark.parametrize("shape", [(4, 28, 28, 1, 10), (4, 3, 28, 28, 10), (4, 5, 3, 9, 3), (4, 5, 2, 9, 9)])
@pytest.mark.parametrize("method", [None, 0])
def test_five_axes_that_are_not_of_latec(shape: tuple[int, ...], method: int | None) -> None:
    message = rf"u\.npy is .*; this is not LATEC's \(N, explanation, channel, height, width\).*; {SHAP}"
    refused(*both(np.zeros(shape)), message, FormatError, method=method)


def test_five_axes_need_a_method() -> None:
    maps = some_maps(4, 5, 3, 9, 8)
    message = rf"u\.npy is .*; LATEC stores .*; {SHAP} .*axes='NCHWK'; .*method=0 to method=4, got"
    refused(*both(maps), message, ValueError)
    import_maps(*both(maps), "out.h5", method=2)
    np.testing.assert_array_equal(stored()[0], maps[:, 2])
    import_maps(*both(maps[:, :, :1]), "one.h5", method=2)
    np.testing.assert_array_equal(stored("one.h5")[0], maps[:, 2, 0])


def test_known_layouts_need_no_guess() -> None:
    maps = some_maps(2, 2, 2, 6, 7)
    for name, part in zip("ab", maps, strict=True):
        hdf5(Path(f"{name}.h5"), attribution=part)
    import_maps("a.h5", "b.h5", "pair.h5")
    np.testing.assert_array_equal(stored("pair.h5"), maps)
    hdf5(Path("c.h5"), attribution=np.zeros((2, 8, 8, 3)))
    shutil.copy("c.h5", "d.h5")
    refused("c.h5", "d.h5", "can be read in two ways", FormatError)


def test_axes_that_matlab_and_octave_reverse() -> None:
    np.save("p.npy", np.zeros((28, 28, 5)))
    with h5py.File("n.h5", "w") as file:
        file["x"] = np.zeros((28, 28, 5))
        file["x"].attrs["MATLAB_class"] = b"double"
        file["y/value"] = np.zeros((28, 28, 5))
        file["y"].attrs["OCTAVE_NEW_FORMAT"] = np.uint8(1)
    for name in ("x", "y/value"):
        message = rf"n\.h5: '{name}' was saved by MATLAB or Octave, whose axes are reversed in HDF5: numpy"
        refused(f"n.h5:{name}", "p.npy", message, FormatError)


# One channel


@pytest.mark.parametrize("kind", ["npy", "dataset", "group", "attribution"])
def test_one_channel_is_dropped_and_keeps_its_signs(kind: str) -> None:
    maps = some_maps(2, 4, 8, 9)
    np.save("u.npy", maps[0])
    np.save("p.npy", maps[1])
    import_maps("u.npy", "p.npy", "plain.h5")
    files = ["a.h5", "b.h5"]
    for file, part in zip(files, maps[:, :, None], strict=True):
        if kind == "npy":
            np.save(file[0], part)
        else:
            values = dict(zip("abcd", part, strict=True)) if kind == "group" else part
            hdf5(Path(file), **{"x" if kind != "attribution" else "attribution": values})
    given = {"npy": ["a.npy", "b.npy"], "group": ["a.h5:x", "b.h5:x"]}.get(kind, files)
    import_maps(given[0], given[1], "channel.h5")
    np.testing.assert_array_equal(stored("channel.h5"), maps)
    assert PairStore("channel.h5").n_channels is None
    scores = [
        lm.evaluate(f"{name}.h5", ["kendall", "topk_intersection(k=9)"]) for name in ("plain", "channel")
    ]
    for column in ("kendall", "topk_intersection(k=9)"):
        assert scores[0][column].tolist() == scores[1][column].tolist()


def test_one_side_may_have_the_channel_axis() -> None:
    import_maps(*both(MAPS, MAPS[:, None]), "out.h5")
    np.testing.assert_array_equal(stored(), [MAPS, MAPS])


# Precision


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("f2", "f4"), ("f4", "f4"), (">f4", "f4"), ("f8", "f8"), (">f8", "f8"), ("i1", "f4"), ("u2", "f4"),
     ("i4", "f4"), ("u8", "f4")],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["npy", "h5"])
def test_files_keep_the_precision_of_their_source(dtype: str, expected: str, kind: str) -> None:
    maps = np.abs(100 * some_maps(2, 3, 6, 7)).astype(dtype)
    if kind == "npy":
        paths = both(*maps)
    else:
        hdf5(Path("a.h5"), u=maps[0], p=maps[1])
        paths = ("a.h5:u", "a.h5:p")
    import_maps(*paths, "out.h5")
    found = stored()
    assert found[0].dtype == found[1].dtype == f"<{expected}"
    np.testing.assert_array_equal(found, maps)
    assert verify("out.h5") == []


@pytest.mark.parametrize(
    ("largest", "expected"),
    [(2**24, "f4"), (-(2**24), "f4"), (2**24 + 1, "f8"), (2**53, "f8"), (-(2**53), "f8")],
)
@pytest.mark.parametrize("side", [0, 1])
def test_the_type_fits_the_whole_of_both_files(
    largest: int, expected: str, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lensmetrics.importers.copying.BLOCK_BYTES", 1)
    maps = np.arange(2 * 4 * 42).reshape(2, 4, 6, 7)
    maps[side, 3, 5, 6] = largest
    import_maps(*both(*maps), "out.h5")
    assert stored()[0].dtype == expected
    np.testing.assert_array_equal(np.array(stored()).astype(np.int64), maps)


@pytest.mark.parametrize("dtype", ["i8", "u8"])
def test_integers_that_no_float_tells_apart_are_refused(dtype: str) -> None:
    maps = np.arange(84).reshape(2, 6, 7).astype(dtype)
    maps[1, 2, 3] = 2**53 + 1
    other = maps.copy()
    other[0, 0, 0] = 7
    message = r"'unperturbed' holds integers beyond 2\^53, .*dtype='float64' to"
    refused(*both(maps, other), message, ValueError)
    assert import_maps(*both(maps, other), "out.h5", dtype="float64")[0].startswith("new ties in float64: 0")


def test_maps_that_are_all_the_same_are_reported() -> None:
    maps = np.abs(some_maps(3, 6, 7))
    maps[1, 2, 3] = np.nan
    notes = import_maps(*both(maps, maps), "same.h5")
    assert ["all maps are the same before and after" in note for note in notes] == [True]
    other = maps.copy()
    other[2, 5, 6] += 1
    assert import_maps(*both(maps, other), "other.h5") == []


def test_rounding_on_purpose_counts_the_new_ties() -> None:
    maps = some_maps(2, 3, 6, 7).astype("f8")
    maps[0, 0, 0, :3] = 1, np.nextafter(1, 2), np.nextafter(1, 0)
    maps[1, 2, 3, :2] = 5, np.nextafter(5, 6)
    said = import_maps(*both(*np.abs(maps)), "out.h5", dtype="float32")
    assert said == ["new ties in float32: 3 (values of one map that differed and are now equal)"]
    assert stored()[0].dtype == np.float32
    np.testing.assert_array_equal(stored(), np.abs(maps).astype("f4"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda maps: maps * 1e60, "beyond"),
        (lambda maps: maps * 1e-60, "makes 0"),
        (lambda maps: 1 + maps * 1e-12, "makes constant"),
    ],
)
def test_rounding_that_would_make_other_maps_is_refused(change: Any, message: str) -> None:
    maps = some_maps(2, 3, 6, 7).astype("f8")
    paths = both(maps[0], change(maps[1]))
    refused(*paths, f"'perturbed' holds .*{message}", ValueError, dtype="float32")
    import_maps(*paths, "out.h5")  # which loses nothing
    np.testing.assert_array_equal(stored()[1], change(maps[1]))


# Signs


@pytest.mark.parametrize(
    ("shape", "reduction", "said"),
    [((3, 6, 7), None, True), ((3, 1, 6, 7), None, True), ((3, 3, 6, 7), None, False),
     ((3, 3, 6, 7), "abs_max", False), ((3, 3, 6, 7), "sum", True)],
)  # fmt: skip
def test_negative_values_that_metrics_rank_are_reported(
    shape: tuple[int, ...], reduction: Any, said: bool
) -> None:
    maps = np.abs(some_maps(2, *shape))
    attrs = {"reduction": reduction} if reduction else {}
    assert import_maps(*both(*maps), "none.h5", attrs=attrs) == []
    maps[1, 2] *= -1
    found = import_maps(*both(*maps), "some.h5", attrs=attrs)
    assert ["the maps hold negative values: top-k sets are of" in line for line in found] == [True] * said


# netCDF


def test_netcdf_maps_arrive_as_xarray_reads_them() -> None:
    u, p = some_maps(2, 4, 20, 20)
    u[:, :6] = p[:, :6] = np.nan
    packed = {"dtype": "i2", "scale_factor": -0.001, "add_offset": 1.0, "_FillValue": np.int16(-32768)}
    axes = ("n", "y", "x")
    xr.Dataset({"u": (axes, u), "p": (axes, p)}).to_netcdf(
        "a.nc", engine="h5netcdf", encoding={"u": {"_FillValue": np.float32(-999)}, "p": packed}
    )
    import_maps("a.nc:u", "a.nc:p", "out.h5")
    with xr.open_dataset("a.nc", engine="h5netcdf") as dataset:
        for found, name in zip(stored(), "up", strict=True):
            np.testing.assert_array_equal(found, dataset[name].values)
    assert lm.evaluate("out.h5", ["kendall"])["status"].tolist() == ["nan_map"] * 4


def test_members_of_a_group_are_decoded_each_by_its_own_attributes() -> None:
    with h5py.File("a.h5", "w") as file:
        for name in "abc":
            file[f"x/{name}"] = np.arange(42, dtype="i2").reshape(6, 7)
        file["x/b"].attrs["_FillValue"] = np.int16(3)
        file["x/c"].attrs["scale_factor"] = 0.5
        file["y"] = np.zeros((3, 6, 7))
    import_maps("a.h5:x", "a.h5:y", "out.h5")
    plain, masked, scaled = stored()[0].reshape(3, 42)
    assert plain.tolist() == list(range(42))
    assert np.flatnonzero(np.isnan(masked)).tolist() == [3]
    assert scaled.tolist() == (np.arange(42) / 2).tolist()


@pytest.mark.parametrize("what", ["labels", "samples"])
def test_fill_value_is_not_a_label(what: str) -> None:
    with h5py.File("y.h5", "w") as file:
        file["y"] = np.array([4, -1, 2])
        file["y"].attrs["_FillValue"] = -1
    message = rf"y\.h5, dataset 'y', has no value in row 1; {what} need one in every row"
    given = {what: "y.h5:y"}
    refused(*both(MAPS), message, FormatError, **given)


# Samples that must be those of the other file


@pytest.fixture
def databases() -> NDArray[np.float32]:
    """Two attribution databases in different orders; the first has a logit that is no number."""
    maps = some_maps(2, 6, 3, 8, 9)
    logits = some_maps(6, 4, seed=1)
    other = [3, 1, 0, 5, 4, 2]
    hdf5(Path("clean.h5"), attribution=maps[0], index=np.arange(6), prediction=logits, label=np.arange(6))
    hdf5(Path("adv.h5"), attribution=maps[1][other], index=np.array(other), prediction=logits[other])
    with h5py.File("clean.h5", "r+") as file:
        file["prediction"][0, 0] = np.nan
    return maps


@pytest.mark.parametrize(
    "names", [("attribution", "attribution"), ("/attribution", None), (None, "attribution")]
)
def test_naming_the_maps_of_databases_keeps_the_matching(databases: NDArray[np.float32], names: Any) -> None:
    message = (
        r"row 0 does not; name the maps \(FILE:attribution\) to import them alone, still matched by 'index'"
    )
    refused("clean.h5", "adv.h5", message, FormatError)
    import_maps("clean.h5", "adv.h5", "out.h5", names=names)
    np.testing.assert_array_equal(stored(), databases)
    store = PairStore("out.h5")
    assert (store.label, store.prediction) == (None, None)
    assert store.sample.tolist() == list(range(6))
    given = zip(("clean.h5", "adv.h5"), names, strict=True)
    first, second = (f"{file}:{name}" if name else file for file, name in given)
    import_maps(first, second, "again.h5")
    np.testing.assert_array_equal(stored("again.h5"), databases)


@pytest.mark.parametrize("where", ["index", "deep/index"])
def test_samples_are_matched_by_the_index_beside_them(where: str) -> None:
    maps, order = some_maps(2, 3, 6, 7), np.array([2, 0, 1])
    for name, part, index in (
        ("a.h5", maps[0], np.array([7, 3, 5])),
        ("b.h5", maps[1][order], np.array([7, 3, 5])[order]),
        ("c.h5", maps[1], np.array([7, 3, 5])[:, None]),
        ("d.h5", maps[1], np.array([7, 3, 7])),
    ):
        hdf5(Path(name), deep__maps=part, **{where.replace("/", "__"): index})
    for number, other in enumerate("bc"):
        import_maps("a.h5:deep/maps", f"{other}.h5:deep/maps", f"{number}.h5")
        np.testing.assert_array_equal(stored(f"{number}.h5"), maps)
        assert PairStore(f"{number}.h5").sample.tolist() == [7, 3, 5]
    message = r"^d\.h5, dataset 'deep/maps', holds the sample 7 twice by the 'index' beside them, and a\.h5"
    refused("a.h5:deep/maps", "d.h5:deep/maps", message, FormatError)


def test_an_index_of_something_else_is_ignored() -> None:
    hdf5(Path("a.h5"), maps=MAPS, index=np.arange(5))
    hdf5(Path("b.h5"), maps=MAPS, index=np.array([2, 0, 1]))
    hdf5(Path("c.h5"), maps=MAPS, index=np.array([0.5, 1, 2]))
    for number, (first, second) in enumerate([("a", "b"), ("b", "c")]):
        import_maps(f"{first}.h5:maps", f"{second}.h5:maps", f"{number}.h5")


def test_groups_with_other_names_are_refused() -> None:
    hdf5(Path("a.h5"), x=dict(zip("abc", MAPS, strict=True)))
    hdf5(Path("b.h5"), x=dict(zip("acd", MAPS, strict=True)))
    message = (
        r"^a\.h5, group 'x', has 3 samples and b\.h5, group 'x', has 3, of which 2 are in both by their names"
        r"; without a partner in a\.h5, group 'x': b; without a partner in b\.h5, group 'x': d: keep the "
        r"same samples in both, or leave these out with unmatched='skip'$"
    )
    refused("a.h5:x", "b.h5:x", message, FormatError)


def test_the_same_array_twice_is_refused() -> None:
    np.save("u.npy", MAPS)
    np.savez("a.npz", u=MAPS, p=MAPS)
    hdf5(Path("a.h5"), u=MAPS, p=MAPS)
    hdf5(Path("db.h5"), attribution=MAPS)
    Path("link.npy").symlink_to("u.npy")
    message = r" are one array, so there is nothing to compare: give the maps before the attack"
    for first, second in [
        ("u.npy", "u.npy"), ("u.npy", "link.npy"), ("u.npy", str(Path("u.npy").resolve())),
        ("a.npz:u", "a.npz:u"), ("a.h5:u", "a.h5:/u"), ("db.h5", "db.h5"),
    ]:  # fmt: skip
        refused(first, second, message, ValueError)
    import_maps("a.npz:u", "a.npz:p", "npz.h5")
    import_maps("a.h5:u", "a.h5:p", "hdf5.h5")


def test_maps_of_pair_files_are_refused() -> None:
    attrs = {"reduction": "sum"}
    for name, order in (("a.h5", [0, 1, 2]), ("b.h5", [2, 0, 1])):
        writer = lm.PairWriter(name, n_samples=3, shape=(6, 7), channels=3, attrs=attrs)
        with writer:
            writer.write(slice(0, 3), *some_maps(2, 3, 3, 6, 7), sample=np.array(order))
    np.save("u.npy", some_maps(3, 3, 6, 7))
    message = (
        r"^a\.h5 is a pair file already: score it as it is; to pair maps of two pair files, read them with "
        r"lensmetrics\.PairStore and write matching samples with lensmetrics\.PairWriter$"
    )
    for first, second in [
        ("a.h5", "b.h5"), ("a.h5:unperturbed", "b.h5:perturbed"), ("a.h5:/perturbed", "u.npy"),
        ("u.npy", "a.h5:perturbed"), ("a.h5:unperturbed", "a.h5:perturbed"), ("u.npy", "a.h5"),
    ]:  # fmt: skip
        refused(first, second, message, FormatError)


# Bytes after an array


@pytest.mark.parametrize("kind", ["npy", "npz"])
@pytest.mark.parametrize("what", ["maps", "labels"])
def test_arrays_after_the_first_are_refused(kind: str, what: str) -> None:
    np.save("p.npy", MAPS)
    np.save("whole.npy", np.asfortranarray(MAPS))
    values = MAPS if what == "maps" else np.arange(3)
    for more, message in [
        (values, r"holds more than one array \(np\.save was called several times on one file\): load them "
         r"one by one and save them as one array$"),
        (None, r"has 5 bytes after its array: save it again with numpy\.save$"),
    ]:  # fmt: skip
        buffer = io.BytesIO()
        np.save(buffer, values)
        if more is None:
            buffer.write(b"12345")
        else:
            np.save(buffer, more)
        raw = buffer.getvalue()
        Path(f"y.{kind}").write_bytes(raw if kind == "npy" else _zip(raw, zipfile.ZIP_DEFLATED))
        given = (f"y.{kind}", "p.npy") if what == "maps" else ("whole.npy", "p.npy")
        options = {} if what == "maps" else {"labels": f"y.{kind}"}
        refused(*given, rf"^y\.{kind}(, array 'y',)? {message}", FormatError, **options)
    import_maps("whole.npy", "p.npy", "good.h5")


# What is no file, and files of others


@pytest.mark.usefixtures("no_hang")
@pytest.mark.parametrize("kind", ["fifo.npy", "fifo.npz", "fifo.h5", "zero", "socket"])
def test_only_regular_files_are_opened(kind: str) -> None:
    words = "a FIFO"
    if kind == "zero":
        Path(kind).symlink_to("/dev/zero")
        words = "a device"
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(kind)
        words = "a socket"
    else:
        os.mkfifo(kind)
    both(MAPS)
    message = rf"{kind} is {words}; give a regular file"
    for given in (kind, f"{kind}:x"):
        refused(given, "p.npy", message, ValueError)
        refused("u.npy", given, message, ValueError)
        refused("u.npy", "p.npy", message, ValueError, labels=given)
        refused("u.npy", "p.npy", message, ValueError, samples=given)


def test_all_missing_files_are_named() -> None:
    message = "^a.npy, b.npy, c.npy and d.h5:x do not exist$"
    refused("a.npy", "b.npy", message, FileNotFoundError, samples="c.npy", labels="d.h5:x")


def _zip(content: bytes, method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("y.npy", content)
    return buffer.getvalue()


def _encrypted(content: bytes) -> bytes:
    raw = bytearray(_zip(content, zipfile.ZIP_STORED))
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    return bytes(raw)


@pytest.mark.parametrize("method", ["stored", "deflated", "bzip2", "lzma"])
@pytest.mark.parametrize("use", ["maps", "labels"])
def test_damaged_archives_are_named_in_one_sentence(method: str, use: str) -> None:
    values = some_maps(3, 6, 7) if use == "maps" else np.array([3, 1, 2])
    buffer = io.BytesIO()
    np.save(buffer, values)
    whole = _zip(buffer.getvalue(), getattr(zipfile, f"ZIP_{method.upper()}"))
    both(MAPS)
    Path("y.npz").write_bytes(whole)
    given = ("y.npz", "p.npy") if use == "maps" else ("u.npy", "p.npy")
    labels = None if use == "maps" else "y.npz"
    import_maps(*given, "good.h5", labels=labels)
    rng = np.random.default_rng(0)
    before = sorted(Path().iterdir())
    said = []
    for _ in range(60):
        raw = bytearray(whole)
        for position in rng.integers(0, len(raw), 3):
            raw[position] ^= 1 << int(rng.integers(8))
        Path("y.npz").write_bytes(raw)
        try:
            import_maps(*given, "out.h5", labels=labels)
        except ValueError as error:
            said.append(str(error))
        Path("out.h5").unlink(missing_ok=True)  # where only dates and the like were hit
        assert sorted(Path().iterdir()) == before
    assert len(said) > 20
    assert all("y.npz" in sentence and "\n" not in sentence for sentence in said)


def test_encrypted_archive_is_refused() -> None:
    buffer = io.BytesIO()
    np.save(buffer, MAPS)
    Path("y.npz").write_bytes(_encrypted(buffer.getvalue()))
    np.save("p.npy", MAPS)
    message = r"y\.npz is encrypted, which import does not open: save it without a password"
    refused("y.npz", "p.npy", message, FormatError)
    refused(*both(MAPS), message, FormatError, labels="y.npz")


def test_objects_are_not_opened() -> None:
    np.save("p.npy", MAPS)
    np.save("dict.npy", np.array({"u": MAPS}), allow_pickle=True)
    message = (
        r"^dict\.npy holds Python objects \(a dict, or arrays of several sizes\), .*numpy\.savez\('u\.npz'"
    )
    refused("dict.npy", "p.npy", message, FormatError)


@pytest.mark.parametrize("name", ["maps.zarr", "zarr2"])
def test_zarr_folders_are_called_what_they_are(name: str) -> None:
    Path(name).mkdir()
    (Path(name) / ".zgroup").touch()
    np.save("p.npy", MAPS)
    message = rf"^{name} is a Zarr folder; .*zarr\.open\('{name}'\)\['NAME'\]\[:\]\)"
    for given in (name, f"{name}:u"):
        refused(given, "p.npy", message, IsADirectoryError)


def test_a_mistake_of_ours_is_not_called_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    def mistake(*_: object) -> None:
        raise TypeError("unsupported operand")

    hdf5(Path("a.h5"), u=MAPS, p=MAPS)
    monkeypatch.setattr("lensmetrics.importers.datasets.decoder", mistake)
    with pytest.raises(TypeError, match=r"^unsupported operand$") as caught:
        import_maps("a.h5:u", "a.h5:p", "out.h5")
    assert type(caught.value) is TypeError
