"""Everything that is wrong with a file is reported when it is opened."""

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from lensmetrics.errors import FormatError
from lensmetrics.pairfile.store import PairStore
from tests.pairfile.toys import ATTRS, own, write_pairs
from tests.pairfiles import byte_offset, edit, replace


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
def test_odd_names_are_reported_in_one_line(run: Path, kind: str) -> None:
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


@pytest.mark.parametrize("tracks", [False, True])
def test_attributes_are_in_the_order_of_h5py(run: Path, tmp_path: Path, tracks: bool) -> None:
    with h5py.File(run) as file, h5py.File(tmp_path / "other.h5", "w", track_order=tracks) as other:
        for name in file:
            file.copy(name, other)
        for name in ("zeta", "format", "alpha", "format_version"):  # netCDF-C tracks their order
            other.attrs[name] = file.attrs.get(name, "x")
        names = list(other.attrs)
    assert (names != sorted(names)) is tracks
    assert list(PairStore(tmp_path / "other.h5").attrs) == names


@pytest.mark.parametrize("value", [np.float32(0.1), np.array(0.1, ">f8"), np.uint64(2**63), np.array([2, 3])])
def test_numbers_of_every_type_are_those_of_h5py(run: Path, value: Any) -> None:
    edit(run, lambda file: file.attrs.__setitem__("odd", value))
    assert PairStore(run).attrs["odd"] == value.tolist()


@pytest.mark.parametrize("kind", [">i8", "<i2", "u8"])
def test_columns_of_other_types_and_layouts(run: Path, kind: str) -> None:
    expected = PairStore(run).sample.tolist()

    def rewrite(file: h5py.File) -> None:
        values = file["sample"][()].astype(kind)
        del file["sample"]
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_layout(h5py.h5d.COMPACT)  # in the header: it has no offset, and no chunks
        file.create_dataset("sample", data=values, dcpl=properties)

    edit(run, rewrite)
    assert PairStore(run).sample.tolist() == expected


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


def test_shapes_larger_than_the_stored_bytes(run: Path) -> None:
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
