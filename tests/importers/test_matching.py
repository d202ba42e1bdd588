"""Samples of both sides are matched by what identifies them; what has no partner is reported."""

import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import lensmetrics as lm
from lensmetrics.cli import main
from lensmetrics.errors import FormatError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def maps_of(identities: list[Any], side: int) -> NDArray[np.float32]:
    """Maps whose every pixel tells which sample and which side they are."""
    codes = [zlib.crc32(str(one).encode()) % 2**20 + side * 2**21 for one in identities]
    return np.broadcast_to(np.array(codes, "f4")[:, None, None], (len(codes), 11, 6)).copy()


def saved(first: list[Any], second: list[Any]) -> tuple[str, str]:
    """Two arrays and, beside each, a file of its samples."""
    for name, side, identities in (("u", 0, first), ("p", 1, second)):
        np.save(f"{name}.npy", maps_of(identities, side))
        np.save(f"{name}_ids.npy", np.array(identities))
    return "u.npy", "p.npy"


def check(path: str, expected: list[Any]) -> lm.PairStore:
    """The file holds the pairs of these samples, in this order."""
    store = lm.PairStore(path)
    for row, one in enumerate(expected):
        pair = store[row]
        assert pair is not None
        assert pair.unperturbed[0, 0] == maps_of([one], 0)[0, 0, 0]
        assert pair.perturbed[0, 0] == maps_of([one], 1)[0, 0, 0]
    assert len(store) == len(expected)
    return store


IDENTITIES = st.one_of(
    st.lists(st.integers(0, 30), min_size=1, max_size=8, unique=True),
    st.lists(st.sampled_from(["img1", "img2", "img10", "ä", "a b", "x/y", "猫"]), min_size=1, unique=True),
)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_pairs_are_those_of_a_plain_join(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    first: list[Any] = data.draw(IDENTITIES)
    second = data.draw(st.permutations(first))[data.draw(st.integers(0, 1)) :]
    extra = [99, 98] if isinstance(first[0], int) else ["more", "and more"]
    second = data.draw(st.permutations([*second, *extra[: data.draw(st.integers(0, 2))]]))
    common = [one for one in first if one in second]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("match"))
        if not second:
            return
        paths = saved(first, second)
        ids = ("u_ids.npy", "p_ids.npy")
        if len(common) < max(len(first), len(second)):
            with pytest.raises(FormatError, match=f"of which {len(common)} are in both"):
                lm.import_maps(*paths, "out.h5", samples=ids)
            assert not Path("out.h5").exists()
        if not common:
            with pytest.raises(FormatError, match="of which 0 are in both"):
                lm.import_maps(*paths, "out.h5", samples=ids, unmatched="skip")
            return
        np.save("labels.npy", np.arange(len(first)) + 100)
        notes = lm.import_maps(*paths, "out.h5", samples=ids, unmatched="skip", labels="labels.npy")
        store = check("out.h5", common)
    positions = [first.index(one) for one in common]
    n_left_out = len(first) + len(second) - 2 * len(common)
    assert notes[:1] == [note for note in notes if note.startswith(f"left out {n_left_out} samples: ")]
    assert bool(notes) == bool(n_left_out)
    assert store.label is not None
    assert store.label.tolist() == [100 + position for position in positions]
    if isinstance(first[0], int):
        assert store.sample.tolist() == common
        assert store.name is None
    else:
        assert store.name is not None
        assert store.name.tolist() == common
        assert store.sample.tolist() == positions


def test_skipped_samples_are_listed_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    saved([f"a{number}" for number in range(10)], ["a9", "a0", "b1"])
    command = ["import", "u.npy", "p.npy", "-o", "out.h5", "--samples", "u_ids.npy", "--samples", "p_ids.npy"]
    assert main(command) == 1
    assert capsys.readouterr().err == (
        "lensmetrics: u.npy has 10 samples and p.npy has 3, of which 2 are in both by u_ids.npy; without a "
        "partner in u.npy: a1, a2, a3, a4, a5, ... (8); without a partner in p.npy: b1: keep the same "
        "samples in both, or leave these out with --unmatched skip\n"
    )
    assert main([*command, "--unmatched", "skip"]) == 0
    assert capsys.readouterr().err == (
        "wrote out.h5: 2 pairs of 11x6 maps\n"
        "lensmetrics: left out 9 samples: without a partner in u.npy: a1, a2, a3, a4, a5, ... (8); without a "
        "partner in p.npy: b1\n"
    )
    check("out.h5", ["a0", "a9"])


@pytest.mark.parametrize("kind", ["npy", "npz", "fixed", "variable"])
def test_names_of_samples_come_from_every_kind_of_file(kind: str) -> None:
    names = ["Ärzte", "a b", "n02.JPEG"]
    paths = saved([0, 1, 2], [0, 1, 2])
    given = f"n.{kind}"
    if kind == "npy":
        np.save(given, np.array(names)[:, None])
    elif kind == "npz":
        np.savez(given, np.array(names))
    else:
        texts = np.array([name.encode() for name in names]) if kind == "fixed" else names
        with h5py.File("n.h5", "w") as file:
            file["id"] = texts
        given = "n.h5:id"
    lm.import_maps(*paths, "out.h5", samples=given)
    store = check("out.h5", [0, 1, 2])
    assert store.name is not None
    assert store.name.tolist() == names
    assert store.sample.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array(["a", "b", "a"]), "holds a twice; a pair file holds each sample once"),
        (np.array(["a", "", "b"]), "holds '' in row 1; names of samples must be texts in UTF-8"),
        (np.array([b"a", b"\xff", b"b"]), r"holds b'\\xff' in row 1; names of samples must be"),
        (np.array(["a", "b"]), r"is \(2,\); samples must be 3 integers"),
    ],
)
def test_names_that_identify_nothing_are_refused(values: Any, message: str) -> None:
    paths = saved([0, 1, 2], [0, 1, 2])
    np.save("n.npy", values)
    with pytest.raises(FormatError, match=message):
        lm.import_maps(*paths, "out.h5", samples="n.npy")


def test_both_sides_are_identified_by_one_kind() -> None:
    paths = saved([0, 1, 2], [0, 1, 2])
    np.save("n.npy", np.array(["0", "1", "2"]))
    with pytest.raises(FormatError, match="one by numbers and one by texts: give both of one kind"):
        lm.import_maps(*paths, "out.h5", samples=("u_ids.npy", "n.npy"))
    with pytest.raises(ValueError, match="samples must be one file for both sides, or one for each, got 3"):
        lm.import_maps(*paths, "out.h5", samples=["u_ids.npy"] * 3)


def group(path: str, identities: list[Any], side: int, **others: Any) -> None:
    with h5py.File(path, "w") as file:
        for name, one in zip(identities, maps_of(identities, side), strict=True):
            file[f"maps/{name}"] = one
        for name, values in others.items():
            file[name] = values


def test_members_of_groups_are_matched_by_their_names() -> None:
    group("a.h5", ["img1", "img10", "img2"], 0)
    group("b.h5", ["img2", "img3", "img10", "img1"], 1)
    with pytest.raises(FormatError, match=r"3 are in both by their names; without a partner in b.*: img3"):
        lm.import_maps("a.h5:maps", "b.h5:maps", "out.h5")
    lm.import_maps("a.h5:maps", "b.h5:maps", "out.h5", unmatched="skip")
    store = check("out.h5", ["img1", "img10", "img2"])
    assert store.name is not None
    assert store.name.tolist() == ["img1", "img10", "img2"]


def test_members_whose_types_have_no_common_one_are_refused() -> None:
    with h5py.File("a.h5", "w") as file:
        file["maps/a"] = np.full((5, 6), 2**53 + 1)
        file["maps/b"] = np.ones((5, 6), "f4")
    message = r"^a\.h5, group 'maps', has arrays of int64 and float32, whose values no one type holds: save"
    with pytest.raises(FormatError, match=message):
        lm.import_maps("a.h5:maps", "a.h5:maps", "out.h5")
    for path, number in (("b.h5", 2**31 - 1), ("c.h5", 1)):
        with h5py.File(path, "w") as file:
            file["a"] = np.full((5, 6), number, "i4")
            file["b"] = np.full((5, 6), 0.1, "f4")
    lm.import_maps("b.h5:*", "c.h5:*", "out.h5")
    pair = lm.PairStore("out.h5")[0]
    assert pair is not None
    assert pair.unperturbed[0, 0] == 2**31 - 1


def test_the_whole_of_a_file_can_be_the_group() -> None:
    for path, names, side in (("a.h5", ["x", "y"], 0), ("b.h5", ["y", "x"], 1)):
        with h5py.File(path, "w") as file:
            for name, one in zip(names, maps_of(names, side), strict=True):
                file[name] = one
    message = r"a\.h5 has no dataset 'unperturbed'; it has: x, y; name one: .*; if each .*: 'a\.h5:\*'"
    with pytest.raises(ValueError, match=message):
        lm.import_maps("a.h5", "b.h5", "out.h5")
    lm.import_maps("a.h5:*", "b.h5:*", "out.h5")
    store = check("out.h5", ["x", "y"])
    assert store.name is not None
    assert store.name.tolist() == ["x", "y"]


def test_identities_that_contradict_each_other_are_refused() -> None:
    group("a.h5", ["x", "y"], 0, index=[7, 3])
    group("b.h5", ["x", "y"], 1, index=[3, 7])
    message = r"have the same samples by their names, but sample x is 7 and 3 by the 'index' beside"
    with pytest.raises(FormatError, match=message):
        lm.import_maps("a.h5:maps", "b.h5:maps", "out.h5")
    group("c.h5", ["x", "y"], 1, index=[7, 3])
    lm.import_maps("a.h5:maps", "c.h5:maps", "out.h5")
    store = check("out.h5", ["x", "y"])
    assert store.sample.tolist() == [7, 3]
    assert store.name is not None


def test_given_identities_go_before_those_of_the_files() -> None:
    group("a.h5", ["x", "y"], 0, ids=["left", "right"])
    group("b.h5", ["y", "x"], 1, ids=["left", "right"])  # h5py lists x first
    lm.import_maps("a.h5:maps", "b.h5:maps", "out.h5", samples=("a.h5:ids", "b.h5:ids"))
    store = lm.PairStore("out.h5")
    assert store.name is not None
    assert store.name.tolist() == ["left", "right"]
    check("out.h5", ["x", "y"])


def test_texts_beside_the_maps_match() -> None:
    for name, ids, side in (("a", ["ä", "b", "c"], 0), ("b", ["c", "ä", "b"], 1)):
        with h5py.File(f"{name}.h5", "w") as file:
            file["maps"], file["index"] = maps_of(ids, side), ids
    lm.import_maps("a.h5:maps", "b.h5:maps", "out.h5")
    store = check("out.h5", ["ä", "b", "c"])
    assert store.name is not None
    assert store.name.tolist() == ["ä", "b", "c"]


def test_databases_may_skip_samples() -> None:
    for name, index, side in (("a", [5, 1, 3], 0), ("b", [3, 9, 5], 1)):
        with h5py.File(f"{name}.h5", "w") as file:
            file["attribution"] = maps_of(index, side)[:, None]
            file["index"] = index
            file["label"] = np.array(index) * 10
            file["prediction"] = np.array(index) + side
    message = r"a\.h5 has 3 samples and b\.h5 has 3, of which 2 are in both by their 'index'; .*: 1; .*: 9"
    with pytest.raises(FormatError, match=message):
        lm.import_maps("a.h5", "b.h5", "out.h5")
    lm.import_maps("a.h5", "b.h5", "out.h5", unmatched="skip")
    store = check("out.h5", [5, 3])
    assert store.sample.tolist() == [5, 3]
    assert store.label is not None
    assert store.label.tolist() == [50, 30]
    assert store.prediction_perturbed is not None
    assert store.prediction_perturbed.tolist() == [6, 4]


def test_coordinates_of_other_files_match_too() -> None:
    for name, values, side in (("a", ["b", "a", "c"], 0), ("b", ["c", "b"], 1)):
        data = xr.Dataset({"maps": (("id", "y", "x"), maps_of(values, side))}, coords={"id": values})
        data.to_netcdf(f"{name}.nc", engine="netcdf4")
    lm.import_maps("a.nc", "b.nc", "out.h5", unmatched="skip")
    store = check("out.h5", ["b", "c"])
    assert store.name is not None
    assert store.name.tolist() == ["b", "c"]
    assert store.sample.tolist() == [0, 2]


def test_a_file_of_the_same_order_is_read_in_blocks() -> None:
    """Rows are asked for as slices, which cost nothing, where nothing is to be reordered."""
    ids = list(range(50))
    paths = saved(ids, ids)
    lm.import_maps(*paths, "same.h5", samples=("u_ids.npy", "p_ids.npy"))
    check("same.h5", ids)
    with pytest.raises(ValueError, match="unmatched must be 'refuse' or 'skip', got 'drop'"):
        lm.import_maps(*paths, "x.h5", unmatched="drop")  # type: ignore[arg-type]


def test_arrays_of_other_samples_need_files_that_identify_them() -> None:
    saved([1, 2, 3], [3, 1])
    with pytest.raises(FormatError, match=r"same samples and size; .* match them: samples=\(IDS, IDS\)$"):
        lm.import_maps("u.npy", "p.npy", "out.h5")
    np.save("p.npy", np.zeros((3, 11, 7), "f4"))
    with pytest.raises(FormatError, match=r"both must have the same samples and size$"):
        lm.import_maps("u.npy", "p.npy", "out.h5")


def test_labels_of_the_datasets_of_a_group_are_told_by_name() -> None:
    order = ["img10", "img2", "img1"]  # as they are written; h5py lists them by their names
    with h5py.File("g.h5", "w") as file:
        for name in order:
            file[f"u/{name}"], file[f"p/{name}"] = maps_of([name], 0)[0], maps_of([name], 1)[0]
        file["labels"] = [1, 10, 2]
    np.save("labels.npy", [10, 2, 1])
    with pytest.raises(ValueError, match=r"labels\.npy has no names, .* give the labels as a \.csv file"):
        lm.import_maps("g.h5:u", "g.h5:p", "out.h5", labels="labels.npy")
    Path("labels.csv").write_text("img10,10\nimg2,2\nimg1,1\n")
    for number, labels in enumerate(("labels.csv", "g.h5:labels")):
        lm.import_maps("g.h5:u", "g.h5:p", f"{number}.h5", labels=labels)
        store = check(f"{number}.h5", ["img1", "img10", "img2"])
        assert store.label is not None
        assert store.label.tolist() == [1, 10, 2]


@pytest.mark.parametrize("sides", ["up", "pu"])
@pytest.mark.parametrize("identities", [[30, 10, 20], ["c", "a", "b"]])
def test_what_one_file_alone_says_is_kept(identities: list[Any], sides: str) -> None:
    told = xr.DataArray(maps_of(identities, "up".index(sides[0])), dims=("sample", "y", "x"), name="maps")
    told.assign_coords(sample=identities).to_netcdf("told.nc", engine="h5netcdf")
    np.save("silent.npy", maps_of(identities, "up".index(sides[1])))
    first, second = ("told.nc", "silent.npy") if sides == "up" else ("silent.npy", "told.nc")
    (note,) = lm.import_maps(first, second, "out.h5")
    assert note.startswith(
        "samples are paired by position, in the order of told.nc, dataset 'maps', which has "
    )
    assert note.endswith("because silent.npy does not say which its samples are")
    store = check("out.h5", identities)
    kept = store.sample if isinstance(identities[0], int) else store.name
    assert kept is not None
    assert kept.tolist() == identities


def test_names_of_the_second_side_stay_with_their_maps() -> None:
    identities = [30, 10, 20]
    np.save("u.npy", maps_of(identities, 0))
    np.save("u_ids.npy", identities)
    Path("adv").mkdir()
    for one, array in zip(identities, maps_of(identities, 1), strict=True):
        np.save(f"adv/img{one}.npy", array)
    Path("p_ids.csv").write_text("".join(f"img{one},{one}\n" for one in identities))
    assert lm.import_maps("u.npy", "adv", "out.h5", samples=("u_ids.npy", "p_ids.csv")) == []
    store = check("out.h5", identities)
    assert store.sample.tolist() == identities
    assert store.name is not None
    assert store.name.tolist() == ["img30", "img10", "img20"]
