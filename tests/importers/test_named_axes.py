"""Axes and samples that a netCDF file names: they are read by their names, and must agree."""

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

from lensmetrics.errors import FormatError
from lensmetrics.importers import import_maps
from lensmetrics.pairfile.store import PairStore
from tests.importers.test_import_kinds import MAPS, refused, stored
from tests.importers.test_importers import some_maps

pytestmark = pytest.mark.usefixtures("empty_folder")


def netcdf(path: str, axes: str, maps: Any, name: str = "maps", **coords: Any) -> None:
    """Maps (sample, [channel,] y, x) stored with their axes as they are named here."""
    names = tuple(axes.split())
    known = ("sample", "y", "x") if maps.ndim == 3 else ("sample", "channel", "y", "x")
    order = [known.index(axis) for axis in names] if set(names) == set(known) else range(maps.ndim)
    data = xr.Dataset({name: (names, maps.transpose(order))}, coords=coords)
    data.to_netcdf(path, engine="h5netcdf")


@pytest.mark.parametrize("block_bytes", [1, 2**25])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("sample y x", "sample y x"),
        ("sample x y", "sample y x"),
        ("y x sample", "y x sample"),
        ("x sample y", "sample x y"),
        ("sample y x channel", "sample y x channel"),
        ("channel sample x y", "y x channel sample"),
    ],
)
def test_axes_are_read_by_their_names(
    first: str, second: str, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lensmetrics.importers.copying.BLOCK_BYTES", block_bytes)
    maps = some_maps(2, 3, 2, 6, 5) if "channel" in first else some_maps(2, 3, 6, 2)
    netcdf("a.nc", first, maps[0])
    netcdf("b.nc", second, maps[1])
    import_maps("a.nc:maps", "b.nc:maps", "out.h5")
    np.testing.assert_array_equal(stored(), maps)


def test_named_axes_of_databases_are_matched_by_index() -> None:
    maps = some_maps(2, 5, 3, 6, 7)
    order = np.array([3, 0, 4, 1, 2])
    netcdf("a.nc", "y x channel sample", maps[0], "attribution", sample=np.arange(5))
    netcdf("b.nc", "x y channel sample", maps[1][order], "attribution", sample=np.arange(5) + 9)
    message = r"of which 0 are in both by the coordinate 'sample'; .*: give the same samples the same ident"
    refused("a.nc", "b.nc", message, FormatError)
    for name, index in (("a.nc", np.arange(5)), ("b.nc", order)):
        with h5py.File(name, "r+") as file:
            file["index"] = index
    import_maps("a.nc", "b.nc", "out.h5")
    np.testing.assert_array_equal(stored(), maps)


SAME = r"so they do not hold the same samples in the same order: .* such as with ds\.sortby\('{}'\) of xarray"


@pytest.mark.parametrize("axis", ["sample", "n"])
@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ([3.0, np.nan, 2], [3.0, np.nan, 1], r"2\.0 and 1\.0 at position 2"),
        ([1, 2, 3], ["1", "2", "3"], "1 and '1' at position 0"),
    ],
)
def test_samples_whose_coordinates_differ_are_refused(axis: str, first: Any, second: Any, said: str) -> None:
    netcdf("a.nc", f"{axis} y x", MAPS, **{axis: first})
    netcdf("b.nc", f"{axis} y x", MAPS, **{axis: second})
    message = (
        r"^a\.nc, dataset 'maps', and b\.nc, dataset 'maps', differ in the coordinate "
        rf"'{axis}', which is {said}, " + SAME.format(axis)
    )
    refused("a.nc:maps", "b.nc:maps", message, FormatError)
    netcdf("c.nc", f"{axis} y x", MAPS)
    for number, other in enumerate(("a.nc", "c.nc")):  # equal ones, and none
        shutil.copy(other, "d.nc")
        import_maps("a.nc:maps", "d.nc:maps", f"{number}.h5")


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_coordinates_do_not_count_for_the_only_dataset(engine: Any) -> None:
    for name, maps in (("a.nc", MAPS), ("b.nc", MAPS + 1)):
        data = xr.Dataset({"maps": (("sample", "y", "x"), maps)}, coords={"sample": [5, 2, 9]})
        data = data.assign_coords(lat=(("y", "x"), MAPS[0]), time=("sample", [1.0, 2.0, 3.0]), level=7)
        data.to_netcdf(name, engine=engine)
    import_maps("a.nc", "b.nc", "out.h5")
    np.testing.assert_array_equal(stored(), [MAPS, MAPS + 1])
    assert PairStore("out.h5").sample.tolist() == [5, 2, 9]


@pytest.mark.parametrize("axis", ["sample", "n"])
@pytest.mark.parametrize("values", [[30, 10, 20], ["dog", "Ärzte", "cat"]])
def test_samples_are_matched_by_their_coordinates(axis: str, values: list[Any]) -> None:
    maps, order = some_maps(2, 3, 6, 7), [1, 2, 0]
    coordinates: dict[str, Any] = {"a": values, "b": [values[row] for row in order]}
    netcdf("a.nc", f"{axis} y x", maps[0], "maps", **{axis: coordinates["a"]})
    axes = f"y {axis} x" if axis == "sample" else f"{axis} y x"
    netcdf("b.nc", axes, maps[1][order], "maps", **{axis: coordinates["b"]})
    import_maps("a.nc", "b.nc", "out.h5")
    np.testing.assert_array_equal(stored(), maps)
    store = PairStore("out.h5")
    if isinstance(values[0], int):
        assert store.sample.tolist() == values
        assert store.name is None
    else:
        assert store.sample.tolist() == [0, 1, 2]
        assert store.name is not None
        assert store.name.tolist() == values
    repeated: dict[str, Any] = {axis: [values[0], values[1], values[1]]}
    netcdf("c.nc", f"{axis} y x", maps[1], "maps", **repeated)
    twice = (
        rf"c\.nc, dataset 'maps', holds the sample {values[1]} twice by the coordinate '{axis}', and a\.nc"
    )
    Path("out.h5").unlink()
    refused("a.nc", "c.nc", twice, FormatError)


def test_times_are_compared_with_their_units() -> None:
    for name, day in (("a.nc", "2020-01-01"), ("b.nc", "2021-01-01")):
        days = np.datetime64(day, "ns") + np.arange(3) * np.timedelta64(1, "D")
        netcdf(name, "sample y x", MAPS, sample=days)
    message = r"'sample', whose units are 'days since 2020-01-01.*' and 'days since 2021-01-01.*', " + SAME
    refused("a.nc:maps", "b.nc:maps", message.format("sample"), FormatError)
    days = np.datetime64("2020-01-01", "ns") + np.array([7, 3, 5]) * np.timedelta64(1, "D")
    for name, order in (("c.nc", [0, 1, 2]), ("d.nc", [2, 0, 1])):
        data = xr.Dataset({"maps": (("sample", "y", "x"), MAPS[order])}, coords={"sample": days[order]})
        encoding = {"sample": {"units": "days since 2020-01-01", "dtype": "i4"}}
        data.to_netcdf(name, engine="h5netcdf", encoding=encoding)
    import_maps("c.nc:maps", "d.nc:maps", "out.h5")
    np.testing.assert_array_equal(stored(), [MAPS, MAPS])
    assert PairStore("out.h5").sample.tolist() == [0, 1, 2]  # days do not number the samples


@pytest.mark.parametrize(
    ("values", "expected"),
    [([7, 3, 9], [7, 3, 9]), ([7, 3, 7], [0, 1, 2]), ([7, 3, -1], [0, 1, 2]), ([7.0, 3, 9], [0, 1, 2])],
)
def test_numbers_of_samples_come_along(values: Any, expected: list[int]) -> None:
    for name in ("a.nc", "b.nc"):
        netcdf(name, "y x sample", MAPS, sample=values)
    import_maps("a.nc:maps", "b.nc:maps", "out.h5")
    assert PairStore("out.h5").sample.tolist() == expected
    np.save("s.npy", [4, 5, 6])
    import_maps("a.nc:maps", "b.nc:maps", "given.h5", samples="s.npy")
    assert PairStore("given.h5").sample.tolist() == [4, 5, 6]


def test_numbers_of_samples_come_along_from_databases_without_index() -> None:
    for name in ("a.nc", "b.nc"):
        netcdf(name, "sample y x", MAPS, "attribution", sample=[7, 3, 9])
    import_maps("a.nc", "b.nc", "out.h5")
    assert PairStore("out.h5").sample.tolist() == [7, 3, 9]


@pytest.mark.parametrize(("what", "column"), [("labels", "label"), ("samples", "sample")])
def test_columns_of_other_samples_are_refused(what: str, column: str) -> None:
    for name in ("a.nc", "b.nc"):
        netcdf(name, "y x sample", MAPS, sample=[7, 3, 9])
    for name, samples in (("good.nc", [7, 3, 9]), ("bad.nc", [7, 9, 3])):
        data = xr.Dataset({"id": ("sample", [4, 5, 6])}, coords={"sample": samples})
        data.to_netcdf(name, engine="h5netcdf")
    message = (
        r"^a\.nc, dataset 'maps', and bad\.nc, dataset 'id', differ in .*'sample', which is 3 and 9 at pos"
    )
    bad: dict[str, Any] = {what: "bad.nc:id"}
    refused("a.nc:maps", "b.nc:maps", message, FormatError, **bad)
    good: dict[str, Any] = {what: "good.nc:id"}
    import_maps("a.nc:maps", "b.nc:maps", "out.h5", **good)
    assert getattr(PairStore("out.h5"), column).tolist() == [4, 5, 6]


@pytest.mark.parametrize(("axes", "axis"), [("sample y x", "y"), ("sample y x", "x"), ("n lat lon", "lat")])
def test_pixels_whose_coordinates_differ_are_refused(axes: str, axis: str) -> None:
    along: dict[str, Any] = {axis: np.arange(7 if axis == "x" else 6) / 2}
    back: dict[str, Any] = {axis: along[axis][::-1]}
    netcdf("a.nc", axes, MAPS, **along)
    netcdf("b.nc", axes, MAPS, **back)
    message = rf"coordinate '{axis}', which is 0\.0 and .* at position 0, so they do not hold the same pixels"
    refused("a.nc:maps", "b.nc:maps", message, FormatError)


def test_axes_with_other_names_are_refused() -> None:
    for name, axes in (("a", "sample y x"), ("b", "n lat lon"), ("c", "n lon lat"), ("d", "y x n")):
        netcdf(f"{name}.nc", axes, MAPS)
    for first, second, words in [
        ("a", "b", r"\(sample, y, x\) but .*\(n, lat, lon\)"),
        ("b", "c", r"\(n, lat, lon\) but .*\(n, lon, lat\)"),
    ]:
        message = rf"has the axes {words}: bring both to the same axes in the same order, with ds\.transpose"
        refused(f"{first}.nc:maps", f"{second}.nc:maps", message, FormatError)
    shutil.copy("d.nc", "e.nc")
    message = (
        r"d\.nc, dataset 'maps', has the axes \(y, x, n\), the first of which is taken as the samples: say"
    )
    refused("d.nc:maps", "e.nc:maps", message, FormatError)
    shutil.copy("b.nc", "f.nc")
    import_maps("b.nc:maps", "f.nc:maps", "out.h5")
    np.testing.assert_array_equal(stored(), [MAPS, MAPS])


@pytest.mark.parametrize("kind", ["partly", "several", "deleted"])
def test_scales_that_do_not_name_each_axis_are_ignored(kind: str) -> None:
    for path, order in (("a.h5", [0, 1, 2]), ("b.h5", [2, 1, 0])):
        with h5py.File(path, "w") as file:
            file["x"] = MAPS
            for axis, (name, length) in enumerate(zip(("sample", "y", "x0"), MAPS.shape, strict=True)):
                file[name] = order if name == "sample" else np.arange(length)
                file[name].make_scale(name)
                if kind != "partly" or axis < 2:
                    file["x"].dims[axis].attach_scale(file[name])
            if kind == "several":
                file["other"] = np.arange(7)
                file["other"].make_scale("other")
                file["x"].dims[2].attach_scale(file["other"])
            elif kind == "deleted":
                del file["x0"]
    import_maps("a.h5:x", "b.h5:x", "out.h5")
    np.testing.assert_array_equal(stored(), [MAPS, MAPS])
    assert PairStore("out.h5").sample.tolist() == [0, 1, 2]
