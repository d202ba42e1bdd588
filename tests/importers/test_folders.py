"""Folders, globs and lists with a file per sample, and .npz files with an array per sample.

Every file is read by the tool that wrote it, and compared with the pair file.
"""

import os
import shutil
import tracemalloc
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import lensmetrics as lm
from lensmetrics.cli import main
from lensmetrics.errors import FormatError
from lensmetrics.importers.folders import open_folder
from lensmetrics.pairfile.verification import verify
from lensmetrics.tables.natural import natural_key

SIDES = ("clean", "adv")
OUT = Path("out.h5")


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def maps_of(names: Iterable[str], shape: tuple[int, ...] = (5, 6), dtype: Any = "f4") -> dict[str, Any]:
    """Return a map for each name, which depends on the name alone."""
    return {
        name: (np.random.default_rng(list(name.encode())).normal(size=shape) * 50).astype(dtype)
        for name in names
    }


def save(folder: str, maps: Mapping[str, Any], end: str = ".npy") -> None:
    for name, array in maps.items():
        path = Path(folder, name + end)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array)


def save_both(names: Iterable[str], **options: Any) -> dict[str, Any]:
    """Save maps unperturbed, and with one added perturbed; return the unperturbed ones."""
    maps = maps_of(names, **options)
    save("clean", maps)
    save("adv", {name: array + np.array(1, array.dtype) for name, array in maps.items()})
    return maps


def found(path: Path = OUT) -> dict[str, tuple[int, NDArray[Any], NDArray[Any]]]:
    """Return sample number and stored maps by name, in the order of the file."""
    assert verify(path) == []
    with lm.PairStore(path).to_xarray() as dataset:
        columns = (dataset[name].values for name in ("name", "sample", "unperturbed", "perturbed"))
        return {str(name): (sample, *pair) for name, sample, *pair in zip(*columns, strict=True)}


def refused(
    first: Any, second: Any, *, match: str, error: type[Exception] = ValueError, **options: Any
) -> None:
    """The import fails with one line, and leaves no file."""
    before = sorted(Path().rglob("*"))
    with pytest.raises(error, match=match) as caught:
        lm.import_maps(first, second, "refused.h5", **options)
    assert "\n" not in str(caught.value)
    assert sorted(Path().rglob("*")) == before


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_folders_arrive_as_numpy_reads_them(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("folders")
    letters = st.text("ab01é _.", min_size=1, max_size=6).filter(lambda name: name.strip("._ ") == name)
    names = data.draw(st.lists(letters, min_size=2, max_size=8, unique=True))
    shape, leading = data.draw(
        st.sampled_from([((5, 6), ()), ((3, 5, 6), ()), ((3, 5, 6), (1,)), ((5, 6), (1,))])
    )
    dtype = data.draw(st.sampled_from(["<f4", ">f4", "<f8", "<f2", "u1", "<i8"]))
    order = data.draw(st.sampled_from([np.ascontiguousarray, np.asfortranarray]))
    for side in SIDES:
        (folder / side).mkdir()
        for name in data.draw(st.permutations(names)):
            array = maps_of([name + side], shape, dtype)[name + side]
            np.save(folder / side / f"{name}.npy", order(array.reshape(leading + shape)))
    out = folder / "out.h5"
    lm.import_maps(folder / "clean", folder / "adv", out)
    stored = found(out)
    assert list(stored) == sorted(names, key=natural_key)
    for position, (name, (sample, *pair)) in enumerate(stored.items()):
        assert sample == position
        for side, array in zip(SIDES, pair, strict=True):
            np.testing.assert_array_equal(array, np.load(folder / side / f"{name}.npy").reshape(shape))


def test_samples_are_in_natural_order() -> None:
    names = ["img10", "img2", "img1", "Img3", "img02", "b", "img2x10", "img2x9"]
    save_both(names)
    lm.import_maps("clean", "adv", OUT)
    assert list(found()) == ["Img3", "b", "img1", "img02", "img2", "img2x9", "img2x10", "img10"]
    assert [sample for sample, *_ in found().values()] == list(range(8))


def test_subfolders_are_part_of_the_name() -> None:
    maps = save_both(["n01440764/img 1", "n01440764/img 2", "n01443537/img 1", "top"])
    for name in (".hidden.npy", "Thumbs.db", "n01443537/.DS_Store"):
        Path("clean", name).write_bytes(b"no map")
    Path("clean/.git").mkdir()
    Path("clean/.git/x.npy").write_bytes(b"no map")
    lm.import_maps("clean/", Path("adv"), OUT)
    assert list(found()) == ["n01440764/img 1", "n01440764/img 2", "n01443537/img 1", "top"]
    for name, (_, unperturbed, perturbed) in found().items():
        np.testing.assert_array_equal(unperturbed, maps[name])
        np.testing.assert_array_equal(perturbed, maps[name] + np.float32(1))


def test_names_with_unusual_blanks_are_stored() -> None:
    names = ["at 10.00\u202fAM", "no\xa0break", "wide\u3000blank", "soft\xadhyphen", "two\nlines"]
    save_both(names)
    lm.import_maps("clean", "adv", OUT)
    assert sorted(found()) == sorted(names)


def test_accents_are_compared_as_they_read() -> None:
    save("clean", maps_of([unicodedata.normalize("NFC", "été"), "b"]))
    save("adv", maps_of([unicodedata.normalize("NFD", "été"), "b"]))
    lm.import_maps("clean", "adv", OUT)
    assert list(found()) == ["b", unicodedata.normalize("NFC", "été")]


@pytest.mark.parametrize(
    ("clean", "adv", "names"),
    [
        ("maps/*_clean.npy", "maps/*_adv.npy", ["1", "x/1", "2"]),
        ("maps/?_clean.npy", "maps/?_adv.npy", ["1", "2"]),
        ("maps/[!2-9]_clean.npy", "maps/[0-1]_adv.npy", ["1"]),
        ("maps/**/*_clean.npy", "maps/**/*_adv.npy", ["1", "2", "x/1"]),
        ("maps/*/*_clean.npy", "maps/*/*_adv.npy", ["x/1"]),
        ("maps/x/*_clean*", "maps/x/*_adv*", ["1"]),
        ("./maps//x/*_cle*.npy", "maps/x/*_ad*.npy", None),
    ],
)
def test_globs_name_samples_by_what_the_wildcards_stand_for(
    clean: str, adv: str, names: list[str] | None
) -> None:
    maps = maps_of(["1", "2", "x/1"])
    save("maps", maps, "_clean.npy")
    save("maps", {name: array + 1 for name, array in maps.items()}, "_adv.npy")
    if names is None:
        refused(clean, adv, match="of which 0 are in both", error=FormatError)
        return
    names = [name for name in names if "*/" in clean or "/" not in name]
    lm.import_maps(clean, adv, OUT)
    assert list(found()) == names
    for name, (_, unperturbed, perturbed) in found().items():
        original = maps["x/1" if "/x/" in clean else name]
        np.testing.assert_array_equal(unperturbed, original)
        np.testing.assert_array_equal(perturbed, original + 1)


def test_a_glob_and_the_folder_give_the_same_names() -> None:
    save_both(["a/v1.2", "a/v1.3"])
    for at, clean in enumerate(["clean/**/*.npy", "clean/**/*", "clean/*/*.*", "c*n"]):
        out = Path(f"out{at}.h5")
        if clean == "c*n":
            refused(clean, "adv", match=r"c\*n matches no files")  # a folder is no file of a sample
            continue
        lm.import_maps(clean, "adv", out)
        assert list(found(out)) == ["a/v1.2", "a/v1.3"]


def test_lists_of_paths() -> None:
    maps = save_both(["1", "2", "10"])
    lm.import_maps([Path("clean/10.npy"), "clean/2.npy"], ["adv/2.npy", "adv/10.npy"], OUT)
    assert list(found()) == ["2", "10"]
    np.testing.assert_array_equal(found()["10"][1], maps["10"])
    refused([], "adv", match="the list holds no files")
    for other in (np.zeros((2, 5, 6)), [np.zeros((5, 6))], b"clean", None):
        refused(other, "adv", match="^maps are given by the path of .*PairWriter writes", error=TypeError)
    refused(
        ["clean/3.npy", "clean/1.npy"], "adv", match=r"clean/3\.npy does not exist", error=FileNotFoundError
    )
    refused(["clean/1.npy", "adv/1.npy"], "adv", match="are both the sample '1'")


def test_a_file_of_another_name_is_one_sample_too_many() -> None:
    names = [f"img{i}" for i in range(12)]
    maps = save_both(names)
    for name in names[:7]:
        Path("adv", f"{name}.npy").unlink()
    Path("clean/img11.npy").unlink()
    refused(
        "clean",
        "adv",
        match=r"4 are in both.*img0, img1, img2, img3, img4, \.\.\. \(7\).*img11.*unmatched='skip'",
        error=FormatError,
    )
    notes = lm.import_maps("clean", "adv", OUT, unmatched="skip")
    assert any("left out 8 samples" in note for note in notes)
    assert list(found()) == ["img7", "img8", "img9", "img10"]
    np.testing.assert_array_equal(found()["img9"][1], maps["img9"])


def test_nothing_in_common() -> None:
    save("clean", maps_of(["a", "b"]))
    save("adv", maps_of(["A", "B"]))
    for unmatched in ("refuse", "skip"):
        refused("clean", "adv", match="0 are in both", error=FormatError, unmatched=unmatched)


def write(name: str, array: Any) -> None:
    """Write the map of a sample with the tool of its kind."""
    suffix, path = Path(name).suffix, Path(name)
    if suffix == ".npz":
        np.savez(path, attr=array)
    elif suffix == ".mat":
        pytest.importorskip("scipy.io").savemat(path, {"attr": array})
    elif suffix == ".h5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            file["deep/attr"] = array
    elif suffix == ".nc":
        xarray = pytest.importorskip("xarray")
        xarray.DataArray(array, dims=("y", "x"), name="attr").to_netcdf(path, engine="h5netcdf")
    elif suffix == ".pt":
        torch = pytest.importorskip("torch")
        torch.save(torch.from_numpy(array), path)
    elif suffix == ".safetensors":
        pytest.importorskip("safetensors.numpy").save_file({"attr": array}, path)
    else:
        pytest.importorskip("PIL.Image").fromarray(array).save(path)


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [
        *((suffix, "f4") for suffix in (".npz", ".mat", ".h5", ".nc", ".pt", ".safetensors", ".tif")),
        (".tiff", "u2"),
        (".png", "u1"),
        (".PNG", "u2"),
    ],
)
def test_every_kind_can_be_the_file_of_a_sample(suffix: str, dtype: str) -> None:
    maps = {
        name: np.abs(array).astype(dtype) for name, array in maps_of(["1", "2", "10"], dtype="f8").items()
    }
    for side in SIDES:
        Path(side).mkdir()
        for name, array in maps.items():
            write(f"{side}/{name}{suffix}", array + np.array(side == "adv", dtype))
    lm.import_maps("clean", "adv", OUT)
    assert list(found()) == ["1", "2", "10"]
    for name, (_, unperturbed, perturbed) in found().items():
        np.testing.assert_array_equal(unperturbed, maps[name])
        np.testing.assert_array_equal(perturbed, maps[name] + np.array(1, dtype))


@pytest.mark.parametrize("dims", ["yx", "xy", "cyx", "yxc", "syx", "xys", "scyx", "xsyc"])
def test_axes_that_files_name_may_come_in_any_order(dims: str) -> None:
    xarray = pytest.importorskip("xarray")
    words = {"y": "y", "x": "x", "c": "channel", "s": "sample"}
    names, lengths = tuple(words[letter] for letter in dims), {"y": 5, "x": 6, "c": 3, "s": 1}
    maps = maps_of(["1", "2"], tuple(lengths[letter] for letter in dims))
    for side in SIDES:
        Path(side).mkdir()
        for name, array in maps.items():
            one = xarray.DataArray(array + (side == "adv"), dims=names, name="attr")
            one.to_netcdf(f"{side}/{name}.nc", engine="h5netcdf")
    lm.import_maps("clean", "adv", OUT)
    wanted = [name for name in ("sample", "channel", "y", "x") if name in names]
    for name, (_, unperturbed, _) in found().items():
        expected = xarray.DataArray(maps[name], dims=names).transpose(*wanted)
        np.testing.assert_array_equal(unperturbed, expected.squeeze())


def test_sides_of_two_kinds() -> None:
    maps = maps_of(["1", "2", "3"], (6, 6))
    save("clean", maps)
    np.savez("adv.npz", **{name: array + 1 for name, array in maps.items()})
    np.savez("other.npz", **maps)
    lm.import_maps("clean", "adv.npz", OUT)
    assert list(found()) == ["1", "2", "3"]
    np.testing.assert_array_equal(found()["2"][2], maps["2"] + 1)
    np.save("stack.npy", np.stack(list(maps.values())) + 1)
    notes = lm.import_maps("clean", "stack.npy", Path("position.h5"))
    assert any("by position" in note for note in notes)
    assert list(found(Path("position.h5"))) == ["1", "2", "3"]


@pytest.mark.parametrize("end", [".png", ".tif"])
def test_one_other_picture_in_a_folder(end: str) -> None:
    pillow = pytest.importorskip("PIL.Image")
    maps = maps_of(["1", "2", "3"], (5, 6), "u1")
    for side in SIDES:
        Path(side).mkdir()
        for name, array in maps.items():
            pillow.fromarray(array).save(f"{side}/{name}{end}")
    lm.import_maps("clean", "adv", OUT)
    for name, (_, unperturbed, _) in found().items():
        np.testing.assert_array_equal(unperturbed, maps[name])
    OUT.unlink()
    picture = Path(f"adv/2{end}")
    colours = np.repeat(maps["2"][..., None], 3, axis=-1)
    for array, message in (
        (maps["2"].astype("u2"), "2.* is uint16 but .* is uint8: save all with one type"),
        (maps["2"][:, :5], r"2.* is \(5, 5\) but .* is \(5, 6\)"),
        (colours, "2.* holds colours"),
    ):
        pillow.fromarray(array).save(picture)
        refused("clean", "adv", match=message, error=FormatError)
    grey = [pillow.fromarray(maps[name]) for name in ("1", "2")]
    grey[0].save(picture, save_all=True, append_images=grey[1:])
    refused("clean", "adv", match="each of several files holds the map of one sample", error=FormatError)
    picture.write_bytes(Path(f"clean/2{end}").read_bytes()[:60])
    refused("clean", "adv", match="2.* is (truncated or )?damaged", error=FormatError)


def test_axes_of_one_map() -> None:
    maps = save_both(["1", "2"], shape=(5, 6, 3))
    lm.import_maps("clean", "adv", Path("last.h5"), axes="HWC")
    lm.import_maps("clean", "adv", OUT, axes="NHWC")
    for path in (Path("last.h5"), OUT):
        np.testing.assert_array_equal(found(path)["2"][1], np.moveaxis(maps["2"], -1, 0))
    refused("clean", "adv", match="axes='NHWC'", error=Exception)
    save("batched", {name: array[None] for name, array in maps.items()})
    lm.import_maps("batched", "adv", Path("batched.h5"), axes="NHWC")
    np.testing.assert_array_equal(found(Path("batched.h5"))["1"][1], np.moveaxis(maps["1"], -1, 0))


@pytest.mark.parametrize("axes", ["NHWC", "HNWC", "HWCN"])
def test_the_axis_of_samples_may_stand_anywhere_in_a_file(axes: str) -> None:
    maps = maps_of(["1", "2"], (5, 6, 3))
    for side in SIDES:
        save(side, {name: np.expand_dims(array, axes.index("N")) for name, array in maps.items()})
    lm.import_maps("clean", "adv", OUT, axes=axes)
    np.testing.assert_array_equal(found()["2"][1], np.moveaxis(maps["2"], -1, 0))


@pytest.mark.parametrize("folder", ["clean", "adv"])
def test_names_stay_with_their_samples(folder: str) -> None:
    maps = maps_of(["a", "b", "c"])
    save(folder, maps)
    np.save("stack.npy", np.stack([maps[name] for name in "cab"]))
    np.save("ids.npy", [30, 10, 20])
    Path("ids.csv").write_text("a,10\nb,20\nc,30\n")
    sides = [("clean", "ids.csv"), ("stack.npy", "ids.npy")]
    first, second = sides if folder == "clean" else [sides[1], ("adv", "ids.csv")]
    notes = lm.import_maps(first[0], second[0], OUT, samples=(first[1], second[1]))
    assert not any("by position" in note for note in notes)
    assert {name: number for name, (number, _, _) in found().items()} == {"a": 10, "b": 20, "c": 30}
    for name, (_, unperturbed, perturbed) in found().items():
        np.testing.assert_array_equal(unperturbed, maps[name])
        np.testing.assert_array_equal(perturbed, maps[name])


def test_flat_maps_and_names_of_arrays() -> None:
    maps = maps_of(["1", "2"], (30,))
    for side in SIDES:
        Path(side).mkdir()
        for name, array in maps.items():
            np.savez(f"{side}/{name}.npz", attr=array + (side == "adv"), image=np.zeros(3))
    lm.import_maps("clean", "adv", OUT, names=("attr", "attr"), shape=(5, 6))
    np.testing.assert_array_equal(found()["1"][1], maps["1"].reshape(5, 6))
    lm.import_maps("clean:attr", "adv:attr", Path("colon.h5"), shape=(5, 6))
    np.testing.assert_array_equal(found(Path("colon.h5"))["2"][2], maps["2"].reshape(5, 6) + 1)
    lm.import_maps("clean/*.npz:attr", "adv/*.npz:attr", Path("glob.h5"), shape=(5, 6))
    np.testing.assert_array_equal(found(Path("glob.h5"))["2"][1], maps["2"].reshape(5, 6))
    refused(
        "clean/*.npz:attr", "other/*.npz:attr", match=r"other/\*\.npz:attr matches no files", shape=(5, 6)
    )
    refused("clean", "adv", match=r"clean/1\.npz has no array 'unperturbed'; it has 2: attr, image")


def test_one_folder_with_both_arrays_in_each_file() -> None:
    maps = maps_of(["1", "2"])
    Path("both").mkdir()
    for name, array in maps.items():
        np.savez(f"both/{name}.npz", unperturbed=array, perturbed=array + 1)
    lm.import_maps("both", "both", OUT)
    np.testing.assert_array_equal(found()["2"][2], maps["2"] + 1)
    refused("both", "both/", match="nothing to compare", names=("perturbed", "perturbed"))


def other_size() -> None:
    np.save("adv/img7.npy", np.zeros((6, 6), "f4"))


def other_type() -> None:
    np.save("adv/img7.npy", np.zeros((5, 6), "f8"))


def cut() -> None:
    os.truncate("adv/img7.npy", 150)


def longer() -> None:
    with Path("adv/img7.npy").open("ab") as file:
        file.write(b"x")


def other_content() -> None:
    Path("adv/img7.npy").write_text("hello")


def objects() -> None:
    np.save("adv/img7.npy", np.array([{}, {}], dtype=object), allow_pickle=True)


def broken_link() -> None:
    Path("adv/img7.npy").unlink()
    Path("adv/img7.npy").symlink_to("nowhere.npy")


def loop() -> None:
    Path("adv/deep").mkdir()
    Path("adv/deep/again").symlink_to(Path("adv").absolute())


def pipe() -> None:
    Path("adv/img7.npy").unlink()
    os.mkfifo("adv/img7.npy")


def batches() -> None:
    save("adv", maps_of([f"img{i}" for i in range(12)], (2, 3, 5, 6)))


def pair_file() -> None:
    for path in Path("adv").iterdir():
        path.unlink()
    with lm.PairWriter("adv/img0.h5", n_samples=1, shape=(5, 6), attrs={}) as writer:
        writer.write(0, np.zeros((5, 6)), np.zeros((5, 6)))


def not_utf8() -> None:
    Path(os.fsdecode(b"adv/\xff.npy")).write_bytes(Path("adv/img7.npy").read_bytes())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (other_size, r"adv/img7\.npy is \(6, 6\) but adv/img0\.npy is \(5, 6\); .* one size"),
        (other_type, r"adv/img7\.npy is float64 but adv/img0\.npy is float32"),
        (cut, r"adv/img7\.npy is truncated or damaged"),
        (longer, r"adv/img7\.npy has 1 bytes after its array"),
        (other_content, r"adv/img7\.npy is text"),
        (objects, r"adv/img7\.npy holds Python objects"),
        (broken_link, r"adv/img7\.npy is a link to a file that does not exist"),
        (loop, "adv/deep/again is a link that leads back to a folder above it"),
        (pipe, r"adv/img7\.npy is a FIFO"),
        (batches, r"adv/img0\.npy is \(2, 3, 5, 6\), but each of several files holds the map of one sample"),
        (pair_file, r"adv/img0\.h5 is a pair file already"),
        (not_utf8, r"names a sample .*rename it"),
    ],
)
def test_a_bad_file_in_the_middle_leaves_nothing(damage: Callable[[], None], message: str) -> None:
    save_both([f"img{i}" for i in range(12)])
    damage()
    refused("clean", "adv", match=message, error=FormatError)


def test_what_a_folder_may_not_hold() -> None:
    save_both(["1", "2"])
    Path("clean/README.txt").write_text("about these maps")
    Path("clean/labels.csv").write_text("1,0")
    message = (
        r"several kinds, \.npy \(2\), \.txt \(1\), \.csv \(1\): .* glob in quotes, such as 'clean/\*\.npy'"
    )
    refused("clean", "adv", match=message)
    lm.import_maps("clean/*.npy", "adv", OUT)
    Path("adv/1.NPY").write_bytes(Path("adv/1.npy").read_bytes())
    refused("clean/*.npy", "adv", match=r"adv/1\.\w+ and adv/1\.\w+ are both the sample '1'")


def test_empty_folders_and_globs_without_a_match() -> None:
    save_both(["1", "2"])
    Path("empty/sub").mkdir(parents=True)
    refused("clean", "empty", match="empty holds no files")
    refused("clean", "adv/*.npz", match=r"adv/\*\.npz matches no files$")
    refused(
        "clean", "adv[1]/*.npy", match=r"adv\[1\]/\*\.npy matches no files; a \[ in a name is written \[\[\]"
    )
    Path("maps.zarr").mkdir()
    refused("clean", "maps.zarr", match="is a Zarr folder", error=IsADirectoryError)


def test_a_folder_whose_only_file_holds_all_samples() -> None:
    save_both(["maps"], shape=(3, 5, 6))
    refused("clean", "adv", match=r"holds one file, clean/maps\.npy, of \(3, 5, 6\): give that file")
    lm.import_maps("clean", "adv", OUT, axes="CHW")
    assert list(found()) == ["maps"]


def test_links_are_followed() -> None:
    maps = save_both(["1", "2"])
    Path("linked").mkdir()
    Path("linked/1.npy").symlink_to(Path("clean/1.npy").absolute())
    Path("linked/2.npy").symlink_to(Path("clean/2.npy").absolute())
    Path("all").symlink_to("linked")
    lm.import_maps("all", "adv", OUT)
    np.testing.assert_array_equal(found()["2"][1], maps["2"])


def add() -> None:
    np.save("clean/3.npy", np.zeros((5, 6), "f4"))


def remove() -> None:
    Path("clean/1.npy").unlink()


def rewrite() -> None:
    path = Path("clean/2.npy")
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(1, 1))


def add_another_kind() -> None:
    Path("clean/notes.txt").write_text("about these maps")


def remove_all() -> None:
    shutil.rmtree("clean")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (add_another_kind, r"clean/notes\.txt was added while clean was read"),
        (remove_all, r"clean/1\.npy was removed while clean was read"),
        (add, r"clean/3\.npy was added while clean was read"),
        (remove, r"clean/1\.npy was removed while clean was read"),
        (rewrite, r"clean/2\.npy was written while clean was read"),
    ],
)
def test_changes_while_a_folder_is_read_are_noticed(change: Callable[[], None], message: str) -> None:
    save_both(["1", "2"])
    source = open_folder("clean", "unperturbed", None, OUT)
    assert source.refuse_changes is not None
    source.refuse_changes()
    change()
    with pytest.raises(FormatError, match=message):
        source.refuse_changes()
    if change is remove:
        with pytest.raises(FormatError, match=r"clean/1\.npy was removed while its folder was read"):
            source.read(slice(0, 2))


class Changing(list[str]):
    """Paths of files, one of which is written again once the pair file is begun."""

    def __iter__(self) -> Iterator[str]:
        if Path("out.h5.part").exists():
            rewrite()
        return super().__iter__()


def test_files_that_change_during_an_import_leave_no_file() -> None:
    save_both(["1", "2"])
    paths = Changing(["clean/1.npy", "clean/2.npy"])
    message = r"clean/2\.npy was written while the list from clean/1\.npy was read"
    with pytest.raises(FormatError, match=message):
        lm.import_maps(paths, "adv", OUT)
    assert sorted(path.name for path in Path().iterdir()) == ["adv", "clean"]


def test_a_file_with_all_samples_that_changes_leaves_no_file() -> None:
    save_both(["1", "2"])
    np.save("stack.npy", np.zeros((2, 5, 6)))

    class AlsoChanging(list[str]):
        def __iter__(self) -> Iterator[str]:
            if Path("out.h5.part").exists():
                np.save("stack.npy", np.zeros((3, 5, 6)))
            return list.__iter__(self)

    paths = AlsoChanging(["clean/1.npy", "clean/2.npy"])
    with pytest.raises(FormatError, match=r"^stack\.npy was written while it was read: import again once"):
        lm.import_maps(paths, "stack.npy", OUT)
    assert not any(path.name.startswith(OUT.name) for path in Path().iterdir())


def test_the_output_may_lie_in_the_folder() -> None:
    save_both(["1", "2"])
    lm.import_maps("clean", "adv", "clean/out.h5")
    assert list(found(Path("clean/out.h5"))) == ["1", "2"]


def test_the_order_of_the_directory_does_not_matter() -> None:
    names = [f"img{i}" for i in range(20)]
    maps = maps_of(names)
    contents = []
    for at, order in enumerate([names, names[::-1], sorted(names)]):
        for side in SIDES:
            save(f"{side}{at}", {name: maps[name] + (side == "adv") for name in order})
        lm.import_maps(f"clean{at}", f"adv{at}", f"out{at}.h5")
        contents.append(found(Path(f"out{at}.h5")))
    for content in contents[1:]:
        assert list(content) == list(contents[0]) == names
        for name in names:
            np.testing.assert_array_equal(content[name][2], contents[0][name][2])


def test_memory_stays_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = {f"img{i}": np.full((50, 50), i, "f8") for i in range(200)}  # 4 MB for each side
    save("clean", maps)
    save("adv", {name: array + 1 for name, array in maps.items()})
    monkeypatch.setattr("lensmetrics.importers.copying.BLOCK_BYTES", 2**17)
    lm.import_maps("clean", "adv", "first.h5")  # imports
    tracemalloc.start()
    try:
        lm.import_maps("clean", "adv", OUT)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2e6
    assert found()["img199"][2][0, 0] == 200


def test_labels_and_sample_numbers_by_name() -> None:
    save_both(["a/1", "a/2", "10"])
    Path("labels.csv").write_text("file;class\na/2.JPEG;5\n10;-1\n\nother;9\na/1;7\n", encoding="utf-8-sig")
    Path("samples.csv").write_text("a/1.npy,300\na/2.npy,20\n10.npy,1\n")
    lm.import_maps("clean", "adv", OUT, labels="labels.csv", samples="samples.csv")
    store = lm.PairStore(OUT)
    assert list(found()) == ["10", "a/1", "a/2"]
    assert store.sample.tolist() == [1, 300, 20]
    assert store.label is not None
    assert store.label.tolist() == [-1, 7, 5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,0\n", r"no labels for 1 of 2 samples: 2;"),
        ("1,0\n2,1\n2.npy,2\n", "gives '2' both 1 and 2"),
        ("1,0\n2,cat\n", "'2,cat' in line 2; labels must be a name and an integer"),
        ("1,0,3\n2,1,3\n", "'1,0,3' in line 1"),
        ("name,class\nother,1\n", "no labels for 2 of 2 samples: 1, 2;"),
        ("1,0.5\n2,1\n", "'1,0.5' in line 1; labels must be a name and an integer"),
        ("1.npy,-\n2,1\n", "'1.npy,-' in line 1"),
        ("/,3\n1,0\n", "no labels for 1 of 2 samples: 2;"),
        (".,0\n/,0\n..,0\n1,0\n", "no labels for 1 of 2 samples: 2;"),
    ],
)
def test_labels_that_do_not_fit(content: str, message: str) -> None:
    save_both(["1", "2"])
    Path("labels.csv").write_text(content)
    refused("clean", "adv", match=message, error=FormatError, labels="labels.csv")


def test_a_sample_may_be_called_like_the_header() -> None:
    save_both(["name", "other"])
    Path("labels.csv").write_text("name,class\nname,3\nother,4\n")
    lm.import_maps("clean", "adv", OUT, labels="labels.csv")
    label = lm.PairStore(OUT).label
    assert label is not None
    assert label.tolist() == [3, 4]


def test_labels_without_names_are_refused() -> None:
    save_both(["1", "2"])
    np.save("labels.npy", [0, 1])
    refused("clean", "adv", match="labels as a .csv file with a name and a number", labels="labels.npy")
    refused("clean", "adv", match="samples as a .csv file with a name and a number", samples="labels.npy")
    for option in ("labels", "samples"):
        message = "^adv is a directory, which only maps may be: give a file with one value per sample$"
        refused("clean", "adv", match=message, error=IsADirectoryError, **{option: "adv"})
    Path("labels.csv").write_bytes(b"\xff\xfe\x00")
    refused("clean", "adv", match="is not text in UTF-8", error=FormatError, labels="labels.csv")


@pytest.mark.parametrize("compressed", [False, True])
def test_archives_with_an_array_per_sample(compressed: bool) -> None:
    maps = maps_of(["img10", "img2", "img1"], (6, 6))
    write_archive = np.savez_compressed if compressed else np.savez
    write_archive("clean.npz", **maps)
    write_archive("adv.npz", **{name: maps[name] + 1 for name in reversed(maps)})
    lm.import_maps("clean.npz", "adv.npz", OUT)
    assert list(found()) == ["img1", "img2", "img10"]
    for name, (_, unperturbed, perturbed) in found().items():
        np.testing.assert_array_equal(unperturbed, maps[name])
        np.testing.assert_array_equal(perturbed, maps[name] + 1)
    refused("clean.npz", "clean.npz", match="nothing to compare")


def test_names_that_differ_in_their_characters_alone_are_refused() -> None:
    names = ["\u00e9", unicodedata.normalize("NFD", "\u00e9")]
    np.savez("clean.npz", **maps_of(names, (6, 6)))
    refused("clean.npz:*", "clean.npz:*", match="two arrays whose names read '\u00e9'", error=FormatError)


@pytest.mark.parametrize("shape", [(5, 6), (3, 5, 6), (1, 5, 6)])
def test_archives_that_may_hold_something_else_need_a_star(shape: tuple[int, ...]) -> None:
    maps = maps_of(["1", "2", "3"], shape)
    np.savez("clean.npz", **maps)
    np.savez("adv.npz", **{name: array + 1 for name, array in maps.items()})
    refused(
        "clean.npz", "adv.npz", match=r"it has 3: 1, 2, 3; name one; if each is one sample, .*'clean\.npz:\*'"
    )
    lm.import_maps("clean.npz:*", "adv.npz:*", OUT)
    np.testing.assert_array_equal(found()["3"][2], (maps["3"] + 1).squeeze())


def test_a_part_of_an_archive() -> None:
    maps = maps_of(["1", "2"], (6, 6))
    arrays = {f"{side}/{name}": array + (side == "adv") for side in SIDES for name, array in maps.items()}
    np.savez("both.npz", **arrays)
    lm.import_maps("both.npz:clean/*", "both.npz:adv/*", OUT)
    assert list(found()) == ["1", "2"]
    np.testing.assert_array_equal(found()["2"][2], maps["2"] + 1)
    refused("both.npz:pgd/*", "both.npz:adv/*", match=r"has no arrays 'pgd/\*'; it has 4: clean/1, ")


def test_archives_of_several_sizes() -> None:
    np.savez("clean.npz", a=np.zeros((6, 6)), b=np.zeros((7, 7)), c=np.zeros((6, 6)))
    np.savez("adv.npz", a=np.zeros((6, 6)), b=np.zeros((7, 7)), c=np.zeros((6, 6)))
    refused("clean.npz", "adv.npz", match="has no array 'unperturbed'; it has 3: a, b, c; name one")
    refused("clean.npz:*", "adv.npz:*", match="'a' and 'b' have different sizes", error=FormatError)
    np.savez("wide.npz", a=np.zeros((6, 6)), b=np.zeros((9, 4)), c=np.zeros((6, 6)))
    message = r"'a' is \(6, 6\), float64, but 'b' is \(9, 4\)"
    refused("wide.npz:*", "wide.npz:*", match="nothing to compare")
    Path("copy.npz").write_bytes(Path("wide.npz").read_bytes())
    refused("wide.npz:*", "copy.npz:*", match=message, error=FormatError)


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    save_both(["img 1", "img 2"])
    assert main(["import", "clean/", "adv/", "-o", "out.h5", "--set", "attack=topk"]) == 0
    assert "wrote out.h5: 2 pairs of 5x6 maps" in capsys.readouterr().err
    assert main(["import", "clean/*.npy", "adv/*.npy", "-o", "globs.h5"]) == 0
    Path("clean/img 1.npy").unlink()
    capsys.readouterr()
    assert main(["import", "clean", "adv", "-o", "skipped.h5"]) == 1
    assert "img 1: keep" in (message := capsys.readouterr().err)
    assert "--unmatched skip" in message
    assert main(["import", "clean", "adv", "-o", "skipped.h5", "--unmatched", "skip"]) == 0
    assert "left out 1 samples" in capsys.readouterr().err
    assert main(["import", "clean/*.pt", "adv", "-o", "none.h5"]) == 2
    assert not Path("none.h5").exists()


def test_globs_that_the_shell_has_expanded(capsys: pytest.CaptureFixture[str]) -> None:
    save_both(["1", "2"])
    files = [f"{side}/{name}.npy" for side in SIDES for name in ("1", "2")]
    for words in ([*files, "-o", "out.h5"], ["-o", "out.h5", "--set", "attack=topk", *files]):
        assert main(["import", *words]) == 2
        message = capsys.readouterr().err
        assert (
            "got 4 (clean/1.npy, clean/2.npy, adv/1.npy, adv/2.npy): give two folders, or put globs"
            in message
        )
        assert "such as 'clean/*.npy'" in message
        assert not OUT.exists()
