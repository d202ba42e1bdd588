"""MATLAB files: versions 4 and 5 as SciPy writes them, and 7.3 as MATLAB does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from numpy.typing import NDArray

from lensmetrics.pairfile.store import PairStore
from tests.importers.test_importers import some_maps
from tests.importers.toys import imported, peak_bytes, refused

pytestmark = pytest.mark.usefixtures("empty_folder")

MAPS = some_maps(2, 6, 8, 9).astype(np.float64)
CLASSES = {
    "f8": "double",
    "f4": "single",
    **{f"i{size}": f"int{8 * size}" for size in (1, 2, 4, 8)},
    **{f"u{size}": f"uint{8 * size}" for size in (1, 2, 4, 8)},
}
HEAD = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan  1 00:00:00 2024 HDF5 schema 1.00 ."


def save_73(path: str, values: Mapping[str, Any], **options: Any) -> None:
    """Write a file as MATLAB does: a block of 512 bytes, reversed axes, and the class of every array."""
    with h5py.File(path, "w", userblock_size=512) as file:
        _write(file, values, options)
    with Path(path).open("r+b") as raw:
        raw.write(HEAD.ljust(124))
        raw.write(b"\0\2IM")


def _write(group: h5py.Group, values: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if isinstance(value, Mapping):
            node = group.create_group(name)
            _write(node, value, options)
            node.attrs["MATLAB_class"] = np.bytes_("struct")
        elif isinstance(value, str):
            letters = np.frombuffer(value.encode("utf-16-le"), "u2")[:, None]
            node = group.create_dataset(name, data=letters)
            node.attrs["MATLAB_class"] = np.bytes_("char")
            node.attrs["MATLAB_int_decode"] = np.int32(2)
        elif isinstance(value, list):  # a cell array
            hidden = group.file.require_group("#refs#")
            parts = [hidden.create_dataset(f"{name}{at}", data=part.T) for at, part in enumerate(value)]
            for part in parts:
                part.attrs["MATLAB_class"] = np.bytes_("double")
            node = group.create_dataset(name, data=[[part.ref for part in parts]], dtype=h5py.ref_dtype)
            node.attrs["MATLAB_class"] = np.bytes_("cell")
        else:
            array = np.atleast_2d(value)
            is_logical = array.dtype == bool
            stored = array.astype("u1") if is_logical else array
            if array.dtype.kind == "c":
                stored = np.empty(array.shape, [("real", "f8"), ("imag", "f8")])
                stored["real"], stored["imag"] = array.real, array.imag
            node = group.create_dataset(name, data=np.ascontiguousarray(stored.T), **options)
            kind = "logical" if is_logical else CLASSES.get(array.dtype.str[1:], "double")
            node.attrs["MATLAB_class"] = np.bytes_(kind)
            if is_logical:
                node.attrs["MATLAB_int_decode"] = np.int32(1)


def save_5(path: str, values: Mapping[str, Any]) -> None:
    scipy.io.savemat(path, dict(values))


def save_compressed(path: str, values: Mapping[str, Any]) -> None:
    scipy.io.savemat(path, dict(values), do_compression=True)


def save_73_compressed(path: str, values: Mapping[str, Any]) -> None:
    save_73(path, values, chunks=True, compression="gzip", compression_opts=3)


SAVES = {
    "5": save_5,
    "5 compressed": save_compressed,
    "7.3": save_73,
}


@pytest.mark.parametrize("version", SAVES)
@pytest.mark.parametrize("dtype", ["f8", "f4", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
def test_every_type_of_numbers_arrives(version: str, dtype: str) -> None:
    maps = (MAPS * 9 + 60).astype(dtype)
    SAVES[version]("both.mat", {"unperturbed": maps[0], "perturbed": maps[1], "note": "text"})
    np.testing.assert_array_equal(imported("both.mat", "both.mat"), maps)
    SAVES[version]("u.mat", {"maps": maps[0]})
    np.testing.assert_array_equal(imported("u.mat", "both.mat:perturbed"), maps)


@pytest.mark.parametrize("version", SAVES)
@pytest.mark.parametrize(("letters", "order"), [("HWN", (1, 2, 0)), ("WHN", (2, 1, 0)), ("NHW", (0, 1, 2))])
def test_axes_are_those_that_matlab_shows(version: str, letters: str, order: tuple[int, ...]) -> None:
    SAVES[version]("both.mat", {"u": MAPS[0].transpose(order), "p": MAPS[1].transpose(order)})
    np.testing.assert_array_equal(imported("both.mat:u", "both.mat:p", axes=letters), MAPS)


def test_channels_of_matlab_pictures_arrive() -> None:
    maps = some_maps(2, 6, 3, 8, 9)
    for save in SAVES.values():
        save("both.mat", {"u": maps[0].transpose(2, 3, 1, 0), "p": maps[1].transpose(2, 3, 1, 0)})
        np.testing.assert_array_equal(imported("both.mat:u", "both.mat:p", axes="HWCN"), maps)


@pytest.mark.parametrize("block_bytes", [1, 2**25])
@pytest.mark.parametrize("chunks", [True, (2, 3, 4), (9, 8, 6), (1, 1, 6), (9, 8, 1)])
def test_compressed_arrays_of_version_73_arrive(
    monkeypatch: pytest.MonkeyPatch, block_bytes: int, chunks: Any
) -> None:
    monkeypatch.setattr("lensmetrics.importers.copying.BLOCK_BYTES", block_bytes)
    save_73("both.mat", {"u": MAPS[0], "p": MAPS[1]}, chunks=chunks, compression="gzip")
    np.testing.assert_array_equal(imported("both.mat:u", "both.mat:p"), MAPS)
    assert sorted(path.name for path in Path().iterdir()) == ["both.mat", "out.h5"]


@pytest.mark.parametrize("version", SAVES)
def test_fields_of_structs_are_named_by_paths(version: str) -> None:
    SAVES[version]("both.mat", {"s": {"u": MAPS[0], "deep": {"p": MAPS[1], "t": "text"}}})
    np.testing.assert_array_equal(imported("both.mat:s/u", "both.mat:s/deep/p"), MAPS)
    for name in ("s", "s/deep"):
        message = rf"^both\.mat: '{name}' is a struct; name one of its fields, both\.mat:{name}/FIELD"
        refused(f"both.mat:{name}", message)
    error, message = (ValueError, r"^both\.mat(: 's' has no field| has no array)")
    refused("both.mat:s/nothing", message, error)


@pytest.mark.parametrize("version", SAVES)
def test_columns_may_be_rows_or_columns(version: str) -> None:
    label = np.arange(6.0)
    SAVES[version](
        "both.mat", {"u": MAPS[0], "p": MAPS[1], "labels": label[None], "column": label[:, None] + 3}
    )
    imported("both.mat:u", "both.mat:p", labels="both.mat", samples="both.mat:column")
    store = PairStore(Path("out.h5"))
    assert store.label is not None
    assert (store.label.tolist(), store.sample.tolist()) == ([0, 1, 2, 3, 4, 5], [3, 4, 5, 6, 7, 8])


@pytest.mark.parametrize("version", SAVES)
def test_logical_maps_are_0_and_1(version: str) -> None:
    SAVES[version]("both.mat", {"u": MAPS[0] > 0, "p": MAPS[1] > 0})
    np.testing.assert_array_equal(imported("both.mat:u", "both.mat:p"), MAPS > 0)


def _cell() -> NDArray[Any]:
    cell = np.empty(2, dtype=object)
    cell[:] = [MAPS[0], MAPS[1]]
    return cell


VERSION_5: dict[str, tuple[Any, str]] = {
    "cell": (_cell(), r"'x' is a cell; .*: if its cells are maps .*, save permute\(cat\(3, x\{:\}\), \[3"),
    "char": ("text", r"'x' is a text; maps must be an array of numbers: save one in MATLAB$"),
    "sparse": (scipy.sparse.csc_array(np.eye(6)), r"'x' is a sparse matrix; .*: save full\(x\)$"),
    "struct array": (np.zeros(3, [("u", "f8")]), r"'x' is a struct; name one of its fields"),
    "complex": (MAPS[0] * 1j, r"array 'x', is complex128; maps must be integers"),
}  # fmt: skip


@pytest.mark.parametrize("name", VERSION_5)
@pytest.mark.parametrize("given", ["x.mat", "x.mat:x"])
def test_what_is_no_array_of_numbers_is_refused(name: str, given: str) -> None:
    value, message = VERSION_5[name]
    scipy.io.savemat("x.mat", {"x": value})
    refused(given, rf"^x\.mat(, |: ){message}")


def test_what_is_no_array_of_numbers_in_version_73_is_refused() -> None:
    save_73("x.mat", {"c": list(MAPS[0]), "t": "text", "z": MAPS[0] * 1j, "u": MAPS[0]})
    with h5py.File("x.mat", "r+") as file:
        file["e"] = np.array([0, 3], "u8")
        file["e"].attrs["MATLAB_class"], file["e"].attrs["MATLAB_empty"] = np.bytes_("double"), np.uint8(1)
        sparse = file.create_group("sp")
        sparse["data"], sparse["ir"], sparse["jc"] = np.ones(3), np.arange(3), np.arange(4)
        sparse.attrs["MATLAB_sparse"], sparse.attrs["MATLAB_class"] = np.uint64(3), np.bytes_("double")
        file["f"] = np.array([1], "u4")
        file["f"].attrs["MATLAB_class"] = np.bytes_("function_handle")
        group = file.create_group("st")
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        group.create_dataset("u", data=[file["u"].ref, file["u"].ref], dtype=h5py.ref_dtype)
        file["link"] = h5py.SoftLink("/u")
    for name, message in (
        ("c", r"'c' is a cell; .*save permute\(cat\(3, c\{:\}\), \[3 1 2\]\)$"),
        ("t", r"'t' is a text;"),
        ("z", r"'z' is a complex array;"),
        ("e", r"'e' is empty; it must have one row per sample$"),
        ("sp", r"'sp' is a sparse matrix; .*save full\(sp\)$"),
        ("f", r"'f' is a function_handle;"),
        ("st", r"'st' is a struct; name one of its fields, x\.mat:st/FIELD; it has: u$"),
        ("st/u", r"'st/u' is a field of several structs;"),
        ("link", r"'link' in 'link' is a link; name what it leads to"),
    ):
        refused(f"x.mat:{name}", rf"^x\.mat: {message}")
    refused("x.mat:v", r"^x\.mat has no array 'v'; it has 1: u; name one: x\.mat:NAME$", ValueError)


def test_version_4_is_recognized_by_its_header() -> None:
    scipy.io.savemat("both.mat", {"u": MAPS[0].reshape(6, -1), "p": MAPS[1].reshape(6, -1)}, format="4")
    np.testing.assert_array_equal(imported("both.mat:u", "both.mat:p", shape=(8, 9)), MAPS)
    Path("text.mat").write_text("1 2 3\n")
    refused("text.mat", r"^text\.mat is truncated, or not a MATLAB file")


@pytest.mark.parametrize("version", [*SAVES, "7.3 compressed"])
def test_damaged_files_are_named_in_one_sentence(version: str) -> None:
    save = SAVES.get(version, save_73_compressed)
    save("x.mat", {"u": np.random.default_rng(0).normal(size=(6, 8, 9))})
    whole = Path("x.mat").read_bytes()
    for length in (0, 10, 130, len(whole) // 2, len(whole) - 60):
        Path("x.mat").write_bytes(whole[:length])
        refused("x.mat:u", r"^x\.mat is (truncated or damaged \(|truncated, or not|empty)")


def test_claims_beyond_the_file_are_refused() -> None:
    save_5("x.mat", {"u": MAPS[0]})
    whole = bytearray(Path("x.mat").read_bytes())
    at = whole.index(np.array([6, 8, 9], "<i4").tobytes())
    for sizes in ([2**30, 2**20, 9], [2**20, 8, 9], [6, 8, 8]):
        whole[at : at + 12] = np.array(sizes, "<i4").tobytes()
        Path("x.mat").write_bytes(whole)
        refused("x.mat:u", r"^x\.mat is (truncated or )?damaged")


def test_memory_stays_bounded_for_version_73(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = np.random.default_rng(0).normal(size=(400, 50, 50))  # 8 MB
    save_73("both.mat", {"u": maps})
    save_73("packed.mat", {"p": maps + 1}, chunks=(10, 10, 400), compression="gzip", compression_opts=1)
    assert peak_bytes(monkeypatch, "both.mat:u", "packed.mat:p") < 4e6
    with h5py.File("out.h5") as file:
        np.testing.assert_array_equal(file["perturbed"][()], maps + 1)
