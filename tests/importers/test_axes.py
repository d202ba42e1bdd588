"""Axes named by letters: every layout arrives as numpy itself would arrange it, and mistakes are refused."""

import math
import tracemalloc
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

LENGTHS = {"N": 4, "C": 3, "H": 5, "W": 6, "F": 7, "T": 8, "K": 2}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def arranged(array: NDArray[Any], letters: str, class_index: int) -> NDArray[Any]:
    """The slow twin: what a pair file holds of an array with these axes, one number at a time."""
    lengths = dict(zip(letters, array.shape, strict=True))
    planes = [letter for letter in "HWFT" if letter in lengths]
    height = lengths[planes[0]] if len(planes) == 2 else 1
    width = lengths[planes[-1]]
    result = np.empty((lengths.get("N", 1), lengths.get("C", 1), height, width), array.dtype)
    for n, c, y, x in np.ndindex(result.shape):
        at = {"N": n, "C": c, "K": class_index, planes[0]: y, planes[-1]: x}
        result[n, c, y, x] = array[tuple(at[letter] for letter in letters)]
    return result if lengths.get("C", 1) > 1 else result[:, 0]


def written(name: str, array: NDArray[Any], kind: str) -> str:
    if kind == "npy":
        np.save(f"{name}.npy", array)
        return f"{name}.npy"
    chunks = tuple(max(1, length // 2) for length in array.shape) if kind == "chunked" else None
    with h5py.File(f"{name}.h5", "w") as file:
        file.create_dataset("maps", data=array, chunks=chunks)
    return f"{name}.h5"


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_order_of_axes_arrives(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    plane = data.draw(st.sampled_from(["HW", "F", "T"]))
    others = [letter for letter in "NCK" if data.draw(st.booleans())]
    letters = "".join(data.draw(st.permutations([*others, *plane])))
    lengths = {**LENGTHS, **{letter: data.draw(st.integers(1, 5)) for letter in "NC"}}
    kind = data.draw(st.sampled_from(["npy", "contiguous", "chunked"]))
    class_index = data.draw(st.integers(0, 1)) if "K" in letters else None
    maps = np.arange(2 * math.prod(lengths[letter] for letter in letters), dtype="f4")
    maps = maps.reshape(2, *(lengths[letter] for letter in letters))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("axes"))
        patch.setattr(
            "lensmetrics.importers.copying.BLOCK_BYTES", data.draw(st.sampled_from([1, 3000, 2**25]))
        )
        patch.setattr("lensmetrics.importers.source.PIECE_BYTES", data.draw(st.sampled_from([1, 2**24])))
        first, second = [written(name, part, kind) for name, part in zip("up", maps, strict=True)]
        given_letters = letters.lower() if data.draw(st.booleans()) else letters
        lm.import_maps(first, second, "out.h5", axes=given_letters, class_index=class_index)
        with h5py.File("out.h5") as file:
            found = [file[name][()] for name in ("unperturbed", "perturbed")]
    for part, expected in zip(found, maps, strict=True):
        np.testing.assert_array_equal(part, arranged(expected, letters, class_index or 0))


def saved(array: NDArray[Any]) -> tuple[str, str]:
    np.save("u.npy", array)
    np.save("p.npy", array + 1)
    return "u.npy", "p.npy"


def stored() -> NDArray[Any]:
    with h5py.File("out.h5") as file:
        array: NDArray[Any] = file["unperturbed"][()]
    return array


def test_one_class_needs_no_choice() -> None:
    maps = np.random.default_rng(0).normal(size=(4, 5, 6, 3, 1))
    lm.import_maps(*saved(maps), "out.h5", axes="NHWCK")
    np.testing.assert_array_equal(stored(), np.moveaxis(maps[..., 0], -1, 1))


def test_any_number_of_channels_that_is_named_is_taken_and_reduced() -> None:
    maps = np.random.default_rng(0).normal(size=(4, 16, 5, 6))
    lm.import_maps(*saved(maps), "out.h5", axes="NCHW", reduction="abs_max")
    assert lm.PairStore("out.h5").attrs["reduction"] == "abs_max"
    np.testing.assert_allclose(lm.PairStore("out.h5")[1].unperturbed, np.abs(maps[1]).max(axis=0))


def test_features_may_have_a_shape() -> None:
    maps = np.random.default_rng(0).normal(size=(4, 30))
    lm.import_maps(*saved(maps), "out.h5", axes="NF", shape=(5, 6))
    np.testing.assert_array_equal(stored(), maps.reshape(4, 5, 6))
    channels = np.random.default_rng(0).normal(size=(4, 30, 2))
    Path("out.h5").unlink()
    lm.import_maps(*saved(channels), "out.h5", axes="NFC", shape=(5, 6))
    np.testing.assert_array_equal(stored(), np.moveaxis(channels, -1, 1).reshape(4, 2, 5, 6))
    with pytest.raises(
        FormatError, match=r"maps of 1 x 30 pixels by axes='NF', but the shape given is 4 x 6"
    ):
        lm.import_maps(*saved(maps), "x.h5", axes="NF", shape=(4, 6))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"axes": "NDHW"}, "axes='NDHW' names a volume, and maps are planes: save one"),
        ({"axes": "NHX"}, "axes='NHX' must be one letter for each axis"),
        ({"axes": "NHH"}, "axes='NHH' must be one letter for each axis .*, each once"),
        ({"axes": ""}, "axes='' must be one letter for each axis"),
        ({"axes": "NCH"}, "axes='NCH' must have H and W, or F, or T"),
        ({"axes": "NTF"}, "axes='NTF' must have .* such as time and feature, call them H"),
        ({"axes": "NCHW"}, r"\(3, 4, 5\), which are 3 axes, but axes='NCHW' names 4"),
        ({"axes": "HW"}, r"\(3, 4, 5\), which are 3 axes, but axes='HW' names 2"),
        ({"axes": "NHW", "class_index": 0}, "class_index=0 .* name it K, as in axes='NHWCK'"),
        ({"class_index": 0}, "class_index=0 chooses along an axis of classes: name the axes, as"),
        ({"axes": "HWK"}, "with 5 classes: say which to take, class_index=0 to class_index=4"),
        ({"axes": "HWK", "class_index": 5}, "5 classes: class_index must be 0 to 4, got 5"),
        ({"axes": "HWK", "class_index": -1}, "class_index must be 0 to 4, got -1"),
        ({"axes": "NHW", "method": 0}, "method=0 is for LATEC's"),
        ({"reduction": "mean"}, "reduction must be one of abs_sum, sum, abs_max, got 'mean'"),
        ({"reduction": "sum", "attrs": {"reduction": "abs_max"}},
         "reduction='sum' contradicts the attribute reduction='abs_max': give one of them"),
    ],
)  # fmt: skip
def test_mistakes_are_refused(options: dict[str, Any], message: str) -> None:
    paths = saved(np.zeros((3, 4, 5)))
    with pytest.raises(ValueError, match=message) as caught:
        lm.import_maps(*paths, "out.h5", **options)
    assert type(caught.value) is ValueError
    assert not Path("out.h5").exists()


def test_letters_are_a_text() -> None:
    with pytest.raises(TypeError, match="axes must be a text, such as 'NHWC', got 3"):
        lm.import_maps(*saved(np.zeros((3, 4, 5))), "out.h5", axes=3)  # type: ignore[arg-type]


def test_arrays_that_letters_do_not_fit_are_refused() -> None:
    paths = saved(np.zeros((3, 0, 5)))
    with pytest.raises(FormatError, match=r"u\.npy is \(3, 0, 5\); no axis may be 0 long"):
        lm.import_maps(*paths, "out.h5", axes="NHW")
    paths = saved(np.zeros((3, 4, 5)))
    with pytest.raises(FormatError, match="maps of 4 x 5 pixels by axes='NHW', but the shape given is"):
        lm.import_maps(*paths, "out.h5", axes="NHW", shape=(4, 6))


def test_the_command_speaks_of_options(capsys: pytest.CaptureFixture[str]) -> None:
    saved(np.zeros((6, 28, 28, 10)))
    for options, said in [
        ((), "28 channels of 28 x 10 pixels: say so with --axes NCHW; as (N, height, width, channel)"),
        ((), "with an axis of classes, --axes NKHW or --axes NHWK and --class 0; of volumes save one"),
        (("--axes", "NHWK"), "u.npy is (6, 28, 28, 10) with 10 classes: say which to take, --class 0"),
        (("--axes", "NHWK", "--class", "10"), "--class must be 0 to 9, got 10"),
        (("--shape", "0", "5"), "--shape must be the height and the width"),
        (("--reduction", "sum", "--set", "reduction=abs_max"), "--reduction sum contradicts --set"),
    ]:  # fmt: skip
        assert main(["import", "u.npy", "p.npy", "-o", "out.h5", *options]) in (1, 2)
        err = capsys.readouterr().err
        assert said in err
        assert "='" not in err
    command = [
        "import",
        "u.npy",
        "p.npy",
        "-o",
        "out.h5",
        "--axes",
        "NHWK",
        "--class",
        "3",
        "--reduction",
        "sum",
    ]
    assert main(command) == 0
    assert stored().shape == (6, 28, 28)
    assert "reduction" not in lm.PairStore("out.h5").attrs  # there are no channels


def test_letters_settle_what_names_of_a_file_leave_open() -> None:
    maps = np.random.default_rng(0).normal(size=(5, 6, 3))
    for name in ("u", "p"):
        data = xr.Dataset({"maps": (("lat", "lon", "time"), maps)}, coords={"time": [7, 3, 9]})
        data.to_netcdf(f"{name}.nc", engine="h5netcdf")
    lm.import_maps("u.nc", "p.nc", "out.h5", axes="HWN")
    np.testing.assert_array_equal(stored(), np.moveaxis(maps, -1, 0))
    assert lm.PairStore("out.h5").sample.tolist() == [7, 3, 9]
    xr.Dataset({"maps": (("y", "x", "sample"), maps)}).to_netcdf("q.nc", engine="h5netcdf")
    with pytest.raises(
        ValueError, match=r"has the axes \(sample, y, x\) by its own names, .*: leave out axes="
    ):
        lm.import_maps("q.nc", "u.nc", "x.h5", axes="HWN")


def test_letters_settle_the_layout_of_databases() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 8, 9, 3))
    for name in ("a", "b"):
        with h5py.File(f"{name}.h5", "w") as file:
            file["attribution"] = maps
            file["index"] = [4, 2] if name == "a" else [2, 4]
    lm.import_maps("a.h5", "b.h5", "out.h5", axes="NHWC")
    np.testing.assert_array_equal(stored(), np.moveaxis(maps, -1, 1))
    assert lm.PairStore("out.h5").sample.tolist() == [4, 2]


@pytest.mark.parametrize("axes", ["NHWK", "KHWN", "NHWC"])
def test_classes_and_turned_axes_do_not_fill_the_memory(axes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = {"N": 60, "H": 20, "W": 20, "K": 50, "C": 50}
    array = np.zeros([lengths[letter] for letter in axes])  # 9.6 MB
    saved(array)
    monkeypatch.setattr("lensmetrics.importers.copying.BLOCK_BYTES", 2**18)
    monkeypatch.setattr("lensmetrics.importers.source.PIECE_BYTES", 2**18)
    tracemalloc.start()
    try:
        lm.import_maps("u.npy", "p.npy", "out.h5", axes=axes, class_index=None if "C" in axes else 7)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4e6
    assert stored().shape == ((60, 50, 20, 20) if "C" in axes else (60, 20, 20))
