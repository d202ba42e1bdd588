"""The table "what you have, one line": every line is run on files made by the tools themselves."""

import importlib.util
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest
import scipy.io
from numpy.typing import NDArray

import lensmetrics as lm
from lensmetrics.cli import main
from lensmetrics.importers.kinds import KINDS

ROOT = Path(__file__).parents[2]
ROOM = ROOT / "lensmetrics" / "importers" / "README.md"
ROW = re.compile(r"^\| (.+) \| `lensmetrics import (.+?) -o (\S+)( --set [^`]+)?` \|$", re.MULTILINE)

Arrays = tuple[NDArray[Any], NDArray[Any]]


class Made(NamedTuple):
    """The maps that a pair file must hold, and the columns that it must have."""

    maps: Arrays
    columns: Mapping[str, list[Any]] = MappingProxyType({})


def some(*shape: int) -> Arrays:
    """Maps before and after the attack, without negative values."""
    first, second = np.random.default_rng(0).random((2, *shape)).astype("f4")
    return first, second


SIDES = ("clean", "adv")
MAPS = (6, 28, 28)
NAMES = ["cat_1", "cat_2", "cat_10", "dog 3", "ä"]


def each(save: Callable[[str, NDArray[Any]], object], arrays: Arrays, pattern: str = "{}.npy") -> Arrays:
    """Save both arrays under the names of the table."""
    for side, array in zip(SIDES, arrays, strict=True):
        save(pattern.format(side), array)
    return arrays


def folders() -> Made:
    arrays = some(5, 28, 28)
    for side, array in zip(SIDES, arrays, strict=True):
        Path(side).mkdir()
        for name, one in reversed(list(zip(NAMES, array, strict=True))):
            np.save(f"{side}/{name}.npy", one)
    return Made(arrays, {"name": NAMES, "sample": [0, 1, 2, 3, 4]})


def lacking() -> Made:
    arrays = folders().maps
    Path("clean/cat_2.npy").unlink()
    Path("adv/dog 3.npy").unlink()
    return Made((arrays[0][[0, 2, 4]], arrays[1][[0, 2, 4]]), {"name": ["cat_1", "cat_10", "ä"]})


def globs() -> Made:
    arrays = some(5, 28, 28)
    Path("maps").mkdir()
    for side, array in zip(SIDES, arrays, strict=True):
        for name, one in zip(NAMES, array, strict=True):
            np.save(f"maps/{name}_{side}.npy", one)
    return Made(arrays, {"name": NAMES})


def npz_of_both() -> Made:
    first, second = some(*MAPS)
    np.savez("both.npz", clean=first, adv=second)
    return Made((first, second))


def npz_of_samples() -> Made:
    arrays = some(5, 28, 28)
    for side, array in zip(SIDES, arrays, strict=True):
        np.savez(f"{side}.npz", **dict(reversed(list(zip(NAMES, array, strict=True)))))
    return Made(arrays, {"name": NAMES})


def latec() -> Made:
    arrays = some(3, 12, 3, 28, 28)
    each(lambda name, array: np.savez(name, array, array + 1), arrays, "{}.npz")
    return Made((arrays[0][:, 9], arrays[1][:, 9]))


def tensors() -> Made:
    import torch

    arrays = some(6, 3, 28, 28)
    return Made(each(lambda name, array: torch.save(torch.from_numpy(array), name), arrays, "{}.pt"))


def dict_of_tensors() -> Made:
    import torch

    first, second = some(*MAPS)
    torch.save({"maps": {"clean": torch.from_numpy(first), "adv": torch.from_numpy(second)}}, "both.pt")
    return Made((first, second))


def tensors_of_samples() -> Made:
    import torch

    arrays = some(5, 28, 28)
    for side, array in zip(SIDES, arrays, strict=True):
        torch.save(dict(reversed(list(zip(NAMES, torch.from_numpy(array), strict=True)))), f"{side}.pt")
    return Made(arrays, {"name": NAMES})


def two_kinds() -> Made:
    import torch

    first, second = some(*MAPS)
    np.save("clean.npy", first)
    torch.save(torch.from_numpy(second), "adv.pt")
    return Made((first, second))


def safetensors() -> Made:
    from safetensors.numpy import save_file

    arrays = some(*MAPS)
    save_file(dict(zip(SIDES, arrays, strict=True)), "both.safetensors")
    return Made(arrays)


def hdf5_datasets() -> Made:
    def save(name: str, array: NDArray[Any]) -> None:
        with h5py.File(name, "w") as file:
            file["maps/attr"] = array
            file["label"] = np.arange(6)

    return Made(each(save, some(*MAPS), "{}.h5"))


def hdf5_groups() -> Made:
    arrays = some(5, 28, 28)
    with h5py.File("both.h5", "w") as file:
        for side, array in zip(SIDES, arrays, strict=True):
            for name, one in zip("abcde", array, strict=True):
                file[f"{side}/{name}"] = one
    return Made(arrays, {"name": list("abcde")})


def databases() -> Made:
    first, second = some(4, 3, 28, 28)
    for side, array, index in (("clean", first, [4, 7, 2, 9]), ("adv", second[[1, 0, 3, 2]], [7, 4, 9, 2])):
        with h5py.File(f"{side}.attribution.h5", "w") as file:
            file["attribution"], file["index"], file["label"] = array, index, np.array(index) % 3
    return Made((first, second), {"sample": [4, 7, 2, 9], "label": [1, 1, 2, 0]})


def netcdf() -> Made:
    import netCDF4

    def save(name: str, array: NDArray[Any]) -> None:
        with netCDF4.Dataset(name, "w") as file:
            for axis, length in zip(("sample", "y", "x"), array.shape, strict=True):
                file.createDimension(axis, length)
                file.createVariable(axis, "i4", (axis,))[:] = np.arange(length) + 3
            file.createVariable("attribution", "f4", ("sample", "y", "x"))[:] = array

    return Made(each(save, some(*MAPS), "{}.nc"), {"sample": [3, 4, 5, 6, 7, 8]})


def matlab() -> Made:
    return Made(each(lambda name, array: scipy.io.savemat(name, {"maps": array}), some(*MAPS), "{}.mat"))


def matlab_order() -> Made:
    def save(name: str, array: NDArray[Any]) -> None:
        scipy.io.savemat(name, {"maps": np.moveaxis(array, 0, -1)})

    return Made(each(save, some(*MAPS), "{}.mat"))


def matlab_struct() -> Made:
    arrays = some(*MAPS)
    scipy.io.savemat("both.mat", {"maps": dict(zip(SIDES, arrays, strict=True)), "note": "x"})
    return Made(arrays)


def tiffs() -> Made:
    from PIL import Image

    arrays = tuple(np.round(array * 65535).astype("u2") for array in some(*MAPS))
    for side, array in zip(SIDES, arrays, strict=True):
        first, *others = [Image.fromarray(one) for one in array]
        first.save(f"{side}.tif", save_all=True, append_images=others)
    return Made((arrays[0], arrays[1]))


def channels_last() -> Made:
    first, second = each(np.save, some(6, 28, 28, 3))
    return Made((np.moveaxis(first, -1, 1), np.moveaxis(second, -1, 1)))


def shap_values() -> Made:
    first, second = each(np.save, some(6, 28, 28, 3, 10))
    return Made((np.moveaxis(first[..., 3], -1, 1), np.moveaxis(second[..., 3], -1, 1)))


def flat() -> Made:
    first, second = each(np.save, some(6, 28 * 28))
    return Made((first.reshape(MAPS), second.reshape(MAPS)))


def features() -> Made:
    first, second = each(np.save, some(6, 40))
    return Made((first[:, None], second[:, None]))


def series() -> Made:
    first, second = each(np.save, some(6, 50, 2))
    return Made((np.moveaxis(first, -1, 1)[:, :, None], np.moveaxis(second, -1, 1)[:, :, None]))


def one_map() -> Made:
    first, second = each(np.save, some(28, 28))
    return Made((first[None], second[None]))


def identified() -> Made:
    first, second = some(*MAPS)
    order = [3, 0, 5, 1, 4, 2]
    each(np.save, (first, second[order]))
    ids = np.array(["a", "b", "c", "d", "e", "f"])
    each(np.save, (ids, ids[order]), "{}_ids.npy")
    return Made((first, second), {"name": ids.tolist()})


def labelled() -> Made:
    np.save("labels.npy", np.arange(6) % 3)
    return Made(each(np.save, some(*MAPS)), {"label": [0, 1, 2, 0, 1, 2]})


# What is made for each line of the table, by the arguments in it, and the package that must be there.
MAKERS: dict[str, tuple[Callable[[], Made], str]] = {
    "clean/ adv/": (folders, "numpy"),
    "clean/ adv/ --unmatched skip": (lacking, "numpy"),
    "'maps/*_clean.npy' 'maps/*_adv.npy'": (globs, "numpy"),
    "clean.npy adv.npy": (lambda: Made(each(np.save, some(6, 3, 28, 28))), "numpy"),
    "both.npz:clean both.npz:adv": (npz_of_both, "numpy"),
    "'clean.npz:*' 'adv.npz:*'": (npz_of_samples, "numpy"),
    "clean.npz:arr_0 adv.npz:arr_0 --method 9": (latec, "numpy"),
    "clean.pt adv.pt": (tensors, "torch"),
    "both.pt:maps/clean both.pt:maps/adv": (dict_of_tensors, "torch"),
    "'clean.pt:*' 'adv.pt:*'": (tensors_of_samples, "torch"),
    "clean.npy adv.pt": (two_kinds, "torch"),
    "both.safetensors:clean both.safetensors:adv": (safetensors, "safetensors"),
    "clean.h5:maps/attr adv.h5:maps/attr": (hdf5_datasets, "h5py"),
    "both.h5:clean both.h5:adv": (hdf5_groups, "h5py"),
    "clean.attribution.h5 adv.attribution.h5": (databases, "h5py"),
    "clean.nc adv.nc": (netcdf, "netCDF4"),
    "clean.mat:maps adv.mat:maps": (matlab, "scipy"),
    "clean.mat:maps adv.mat:maps --axes HWN": (matlab_order, "scipy"),
    "both.mat:maps/clean both.mat:maps/adv": (matlab_struct, "scipy"),
    "clean.tif adv.tif": (tiffs, "PIL"),
    "clean.npy adv.npy --axes NHWC": (channels_last, "numpy"),
    "clean.npy adv.npy --axes NHWCK --class 3": (shap_values, "numpy"),
    "clean.npy adv.npy --shape 28 28": (flat, "numpy"),
    "clean.npy adv.npy --axes NF": (features, "numpy"),
    "clean.npy adv.npy --axes NTC": (series, "numpy"),
    "clean.npy adv.npy --axes HW": (one_map, "numpy"),
    "clean.npy adv.npy --samples clean_ids.npy --samples adv_ids.npy": (identified, "numpy"),
    "clean.npy adv.npy --labels labels.npy": (labelled, "numpy"),
}


def rows(page: Path) -> list[tuple[str, str, str]]:
    """What people have, the arguments and the output, of each row of the table on a page."""
    text = page.read_text(encoding="utf-8")
    return [(have, words.strip(), output) for have, words, output, _ in ROW.findall(text)]


LINES = sorted({words for page in (ROOM, ROOT / "README.md") for _, words, _ in rows(page)})


@pytest.mark.parametrize("words", LINES)
def test_the_line_imports_what_people_have(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make, package = MAKERS[words]
    if package == "torch" and importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed")
    expected = make()
    before = {path for path in Path().rglob("*") if path.is_file()}
    assert main(["import", *shlex.split(words), "-o", "topk.h5"]) == 0, capsys.readouterr().err
    assert {path for path in Path().rglob("*") if path.is_file()} == {*before, Path("topk.h5")}
    with h5py.File("topk.h5") as file:
        for name, maps in zip(("unperturbed", "perturbed"), expected.maps, strict=True):
            np.testing.assert_array_equal(file[name][()], maps)
    store = lm.PairStore("topk.h5")
    for column, values in expected.columns.items():
        assert getattr(store, column).tolist() == values


def test_every_kind_has_its_rows_and_every_row_its_test() -> None:
    table = {(have, words) for have, words, _ in rows(ROOM)}
    for kind in KINDS:
        assert set(kind.examples) <= table, f"{ROOM} lacks a row of {kind.files}"
    assert {words for _, words in table} == set(MAKERS)


def test_the_help_names_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["import", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for kind in KINDS:
        for name in kind.files.split(", "):
            assert name in text
