"""Files that import does not take: each is called what it is, and the line given with it converts it."""

import bz2
import io
import json
import lzma
import pathlib
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import scipy.io
import scipy.sparse
import xarray as xr

from tests.importers.test_importers import some_maps
from tests.importers.toys import imported, refused

pytestmark = pytest.mark.usefixtures("empty_folder")

MAPS = some_maps(6, 8, 9).astype(np.float64)
ROWS = MAPS.reshape(6, -1)


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.zeros((8, 9), "u1")).save(buffer, kind)
    return buffer.getvalue()


def archive_of(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return buffer.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
PICKLE = r"is a Python pickle, which import does not open, .* where the pickle was created, numpy\.save\("
OTHERS: dict[str, tuple[bytes, str]] = {
    "map.jpg": (picture("JPEG"), r"is an image of a kind that holds colours or loses levels, .*PIL\.Image"),
    "map.gif": (picture("GIF"), r"is an image of a kind"),
    "map.bmp": (picture("BMP"), r"is an image of a kind"),
    "map.webp": (picture("WEBP"), r"is an image of a kind"),
    "jpg.npy": (picture("JPEG"), r"is an image of a kind"),
    "map.csv": (b"1,2\n3", r"is text: numpy\.save\('u\.npy', numpy\.loadtxt\('map\.csv', delimiter=','"),
    "map.tsv": (b"1\t2\n", r"is text: .*delimiter='\\t', ndmin=2"),
    "map.txt": (b"1 2\n", r"is text: .*numpy\.loadtxt\('map\.txt', ndmin=2\)\)"),
    "map.json": (b"[[1, 2]]", r"is text: .*json\.loads\(pathlib\.Path\('map\.json'\)\.rea"),
    "text.npy": (b"label;a;b\n1;2;3\n", r"is text, not a .*, a table of .*delimiter=';', skiprows=1, nd"),
    "lfs.npy": (LFS, r"is a Git LFS pointer, .*git lfs pull"),
    "lfs.h5": (LFS, r"is a Git LFS pointer"),
    "lfs.pt": (LFS, r"is a Git LFS pointer"),
    "annex.npy": (b"/annex/objects/SHA256E-s5--00\n", r"is a git-annex pointer, .*git annex get"),
    "map.pkl": (pickle.dumps({"u": 1}), PICKLE),
    "pickle.npy": (pickle.dumps([1], protocol=2), PICKLE),
    "old.pickle": (pickle.dumps([1], protocol=0), PICKLE),
    "map.joblib": (b"\x00\x01", PICKLE),
    "old.pt": (pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2), r"is a file of torch\.save in its"),
    "map.zip": (archive_of("a.txt"), r"is a zip archive without arrays"),
    "map.nc": (b"CDF\1", r"is a netCDF-3 file: convert it with xarray\.open_dataset\('map\.nc'\)\.to_net"),
    "map.npy.gz": (zlib.compress(b"x", wbits=31), r"is compressed with gzip: unpack it first"),
    "map.npy.bz2": (bz2.compress(b"x"), r"is compressed with bzip2"),
    "map.npy.xz": (lzma.compress(b"x"), r"is compressed with xz"),
    "map.npy.zst": (b"\x28\xb5\x2f\xfd" + bytes(9), r"is compressed with zstd"),
    "map.parquet": (b"PAR1" + bytes(20), r"is a table: .*pandas\.read_parquet\('map\.parquet'\)\.to_nu"),
    "page.npy": (b"\n<!DOCTYPE html><html>", r"is a web page, perhaps from a failed download"),
    "odd.npy": (b"\x00\x01\x02\xff" * 9, r"is not a \.npy, \.npz or HDF5 file, or a damaged one"),
    "none.npy": (b"", r"is empty \(0 bytes\); give a \.npy, \.npz or HDF5 file"),
    "cut.h5": (b"\x89HDX", r"is truncated, or not an HDF5 file: regenerate or copy it again"),
    "cut.npz": (b"PK\x03\x04" + bytes(9), r"is truncated, or not an \.npz file: save it again with numpy"),
    "cut.pt": (b"PK\x03\x04" + bytes(9), r"is truncated, or not a file of torch\.save: save it again, or c"),
    "cut.pth": (b"\x00" * 9, r"is truncated, or not a file of torch\.save"),
    "cut.mat": (b"MATLAB", r"is truncated, or not a MATLAB file"),
    "cut.safetensors": (b"\x00" * 9, r"is truncated, or not a safetensors file"),
    "cut.png": (b"\x89PN", r"is truncated, or not a PNG picture"),
    "cut.tif": (b"II", r"is truncated, or not a TIFF picture"),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_files_of_other_kinds_are_called_what_they_are(name: str) -> None:
    content, message = OTHERS[name]
    np.save("u.npy", MAPS)
    Path(name).write_bytes(content)
    refused(name, rf"^{name} {message}")
    refused("u.npy", rf"^{name} {message}", labels=name)


def converted(said: str, line: str) -> None:
    """Run the line of a message, which must hold it."""
    assert line in said
    libraries = {"numpy": np, "pandas": pd, "PIL": PIL, "xarray": xr, "json": json, "pathlib": pathlib}
    eval(line, libraries | {"scipy": scipy})


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("{0}", ", delimiter=','"),
        ("a,b,c\n{0}", ", delimiter=',', skiprows=1"),
        ("# a,b\n{0}", ", delimiter=','"),
        ("\ufeffa;b\n{0}", ", delimiter=';', encoding='utf-8-sig', skiprows=1"),
        ("{0}", ", delimiter=';'"),
        ("{0}", ", delimiter='\\t'"),
        ("{0}", ""),
    ],
)
@pytest.mark.parametrize("suffix", [".csv", ".txt", ".xyz"])
def test_the_line_for_text_converts_it(text: str, options: str, suffix: str) -> None:
    delimiter = next((it for it in (",", ";", "\t") if repr(it) in options), " ")
    rows = "\n".join(delimiter.join(map(repr, row)) for row in ROWS.tolist())
    Path(f"my maps{suffix}").write_text(text.format(rows), encoding="utf-8")
    said = refused(f"my maps{suffix}", r"^my maps")
    line = f"numpy.save('u.npy', numpy.loadtxt('my maps{suffix}'{options}, ndmin=2))"
    converted(said, line)
    np.save("p.npy", ROWS)
    np.testing.assert_array_equal(imported("u.npy", "p.npy", shape=(8, 9)), [MAPS, MAPS])


def test_the_line_for_json_converts_it() -> None:
    Path("u.json").write_text(json.dumps(MAPS.tolist()))
    line = "numpy.save('u.npy', numpy.array(json.loads(pathlib.Path('u.json').read_text())))"
    converted(refused("u.json", r"^u\.json is text"), line)
    np.save("p.npy", MAPS)
    np.testing.assert_array_equal(imported("u.npy", "p.npy"), [MAPS, MAPS])


@pytest.mark.parametrize("kind", ["parquet", "feather"])
def test_the_lines_for_tables_convert_them(kind: str) -> None:
    frame = pd.DataFrame(ROWS, columns=[f"x{number}" for number in range(ROWS.shape[1])])
    getattr(frame, f"to_{kind}")("wide.table")
    converted(
        refused("wide.table", r"^wide\.table is a table"),
        f"numpy.save('u.npy', pandas.read_{kind}('wide.table').to_numpy(float))",
    )
    lists = pd.DataFrame({"name": list("abcdef"), "NAME": list(ROWS)})
    getattr(lists, f"to_{kind}")("long.table")
    converted(
        refused("long.table", r"^long\.table is a table"),
        f"numpy.stack(pandas.read_{kind}('long.table')['NAME'])",
    )
    np.save("p.npy", ROWS)
    np.testing.assert_array_equal(imported("u.npy", "p.npy", shape=(8, 9)), [MAPS, MAPS])


def test_the_line_for_netcdf_3_converts_it() -> None:
    dataset = xr.Dataset({"maps": (("sample", "y", "x"), MAPS)}, {"sample": [3, 1, 4, 0, 5, 9]})
    dataset.to_netcdf("old.nc", format="NETCDF3_64BIT", engine="scipy")
    converted(
        refused("old.nc", r"^old\.nc is a netCDF-3 file"),
        "xarray.open_dataset('old.nc').to_netcdf('u.nc', engine='h5netcdf')",
    )
    dataset.to_netcdf("p.nc", engine="h5netcdf")
    np.testing.assert_array_equal(imported("u.nc:maps", "p.nc:maps"), [MAPS, MAPS])


@pytest.mark.parametrize(("name", "kind"), [("u.jpg", "JPEG"), ("u.bmp", "BMP"), ("u.webp", "WEBP")])
def test_the_line_for_other_pictures_converts_them(name: str, kind: str) -> None:
    levels = (np.arange(72).reshape(8, 9) * 3).astype("u1")
    PIL.Image.fromarray(levels).save(name, kind, quality=100, lossless=True)
    line = f"numpy.save('u.npy', numpy.asarray(PIL.Image.open('{name}').convert('F'))[None])"
    converted(refused(name, f"^{name} is an image"), line)
    np.save("p.npy", levels[None])
    found = imported("u.npy", "p.npy")
    np.testing.assert_allclose(found[0], found[1], atol=3)


def test_the_line_for_sparse_matrices_converts_them() -> None:
    scipy.sparse.save_npz("u.npz", scipy.sparse.csr_array(ROWS))
    said = refused("u.npz", r"^u\.npz is a sparse matrix of SciPy")
    converted(said, "numpy.save('u.npy', scipy.sparse.load_npz('u.npz').toarray())")
    np.save("p.npy", ROWS)
    np.testing.assert_array_equal(imported("u.npy", "p.npy", shape=(8, 9)), [MAPS, MAPS])


def test_the_line_for_zarr_converts_it() -> None:
    zarr: Any = pytest.importorskip("zarr")
    zarr.open_group("group.zarr", mode="w").create_array("NAME", data=MAPS)
    zarr.save_array("array.zarr", MAPS)
    zarr.save_array("array2.zarr", MAPS, zarr_format=2)
    for name, member in (("group", "['NAME']"), ("array", ""), ("array2", "")):
        said = refused(f"{name}.zarr", rf"^{name}\.zarr is a Zarr folder", IsADirectoryError)
        line = f"numpy.save('u.npy', zarr.open('{name}.zarr'){member}[:])"
        assert line in said
        eval(line, {"numpy": np, "zarr": zarr})
        np.testing.assert_array_equal(np.load("u.npy"), MAPS)


@pytest.mark.parametrize(
    ("files", "member"),
    [
        ({"zarr.json": '{"node_type": "array"}'}, ""),
        ({"zarr.json": '{"node_type": "group"}'}, "['NAME']"),
        ({".zarray": "{}"}, ""),
        ({".zgroup": "{}"}, "['NAME']"),
    ],
)
def test_zarr_stores_are_told_apart(files: dict[str, str], member: str) -> None:
    Path("u").mkdir()
    for name, text in files.items():
        (Path("u") / name).write_text(text)
    said = refused("u", r"^u is a Zarr folder", IsADirectoryError)
    assert said.endswith(f"numpy.save('u.npy', zarr.open('u'){member}[:])")
