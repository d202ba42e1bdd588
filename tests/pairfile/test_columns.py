"""Variables with one value per sample: numbers, labels, norms and names."""

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

from lensmetrics.errors import FormatError
from lensmetrics.pairfile.store import PairStore
from lensmetrics.pairfile.verification import verify
from lensmetrics.pairfile.writer import PairWriter
from tests.pages import Page
from tests.pairfile.toys import ATTRS, MAP, write_all
from tests.pairfiles import edit, replace


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("sample", np.uint64(2**63 + 5), "'sample' holds 9223372036854775813; it must be from -92"),
        ("label", np.uint64(2**63 + 5), "'label' holds 9223372036854775813; it must be from -92"),
        ("prediction", np.uint64(2**64 - 1), "'prediction' holds 18446744073709551615; it must be from"),
        ("n_accepted", 2**31, "'n_accepted' holds 2147483648; it must be from -2147483648 to 2147483647"),
        ("best_step", -(2**31) - 1, "'best_step' holds -2147483649; it must be from"),
        ("best_step", 1.0, "'best_step' is float64; it must hold integers"),
        ("label", True, "'label' is bool; it must hold integers"),
        (
            "perturbation_l2",
            1e-60,
            "'perturbation_l2' holds values that float32 makes 0, which would mean that",
        ),
        ("perturbation_linf", 1e60, r"'perturbation_linf' holds values beyond \+-3.4e\+38"),
        ("output", [1e60, 1.0], r"'output' holds values beyond \+-3.4e\+38"),
        ("output", [], r"'output' is \(0,\): it has no classes"),
        ("output", [[1.0]], r"'output' is \(1, 1\); here it must be \(1,\)"),
        ("target", np.zeros((4, 3)), r"'target' is \(4, 3\); here it must be \(3, 4\)"),
        ("target", np.zeros((3, 4), complex), "'target' is complex128; allowed are"),
        ("name", 3, "a name must be a text, got 3"),
        ("name", b"a", "a name must be a text, got b'a'"),
        ("name", "", "a name must be a non-empty text of valid characters without NUL, got ''"),
        ("name", "a\0b", "a name must be a non-empty text of valid characters"),
        ("name", "a\udc80", "a name must be a non-empty text of valid characters"),
        ("name", ["a"], r"'name' is \(1,\); here it must be \(\)"),
        ("n_accepted", -1, "'n_accepted' must be 0 or more, got -1"),
        ("perturbation_linf", -0.5, r"'perturbation_linf' must be 0 or more, got -0\.5"),
    ],
)
def test_columns_that_are_refused(tmp_path: Path, name: str, value: Any, message: str) -> None:
    with PairWriter(tmp_path / "a.h5", n_samples=2, shape=(3, 4), attrs={}) as writer:
        with pytest.raises((ValueError, TypeError), match=message) as caught:
            writer.write(0, MAP, MAP, **{name: value})
        assert str(caught.value).isprintable()
        writer.write(1, MAP, MAP)


def test_integers_that_do_not_fit_are_refused_by_the_reader(run: Path) -> None:
    replace(run, "label", np.array([0, 1, 2, 2**63 + 5, 1, 2], np.uint64))
    with pytest.raises(FormatError, match=r"'label' holds 9223372036854775813; it must hold integers from -"):
        PairStore(run)
    edit(run, lambda file: file["complete"].__setitem__(3, 0))
    store = PairStore(run)  # what was never finished may hold anything
    assert store.label is not None
    assert store.label[[0, 1, 2, 4, 5]].tolist() == [0, 1, 2, 1, 2]


def test_a_name_is_in_a_file_once(tmp_path: Path) -> None:
    """Dataset and name are what a source sample is known by."""
    path, two = tmp_path / "a.h5", np.zeros((2, 3, 4))
    with PairWriter(path, n_samples=4, shape=(3, 4), attrs={}) as writer:
        with pytest.raises(ValueError, match="name 'a' is already in"):
            writer.write(slice(0, 2), two, two, name=["a", "a"])
        with pytest.raises(ValueError, match="'name' has masked elements, but every sample needs a name"):
            writer.write(slice(0, 2), two, two, name=np.ma.array(["a", "b"], mask=[False, True]))
        writer.write(slice(0, 2), two, two, name=["a", "b"])
        with pytest.raises(ValueError, match="name 'b' is already in"):
            writer.write(2, MAP, MAP, name="b")
    with PairWriter.resume(path, attrs={}) as writer:
        with pytest.raises(ValueError, match="name 'a' is already in"):
            writer.write(2, MAP, MAP, name="a")
        writer.write(slice(2, 4), two, two, name=["c", "d"])
    names = PairStore(path).name
    assert names is not None
    assert names.tolist() == ["a", "b", "c", "d"]


def test_coordinates_of_data_arrays_count(tmp_path: Path) -> None:
    maps = xr.DataArray(
        np.random.default_rng(0).normal(size=(2, 3, 4)),
        dims=("sample", "y", "x"),
        coords={"sample": [7, 9], "y": [0, 1, 2]},
    )
    with PairWriter(tmp_path / "a.h5", n_samples=2, shape=(3, 4), attrs={}) as writer:
        for other, name in ((maps[::-1], "sample"), (maps[:, ::-1], "y")):
            with pytest.raises(ValueError, match=f"the {name} coordinates of .* differ; align them first"):
                writer.write(slice(0, 2), maps, other)
        writer.write(slice(0, 2), maps, maps)
    assert PairStore(tmp_path / "a.h5").sample.tolist() == [7, 9]


@pytest.mark.parametrize("n_bytes", [3, 256, 300])
def test_names_are_texts_everywhere(tmp_path: Path, n_bytes: int) -> None:
    names = ["ü" + "x" * (n_bytes - 2), "b/c.png"]
    path = tmp_path / "a.h5"
    with PairWriter(path, n_samples=3, shape=(3, 4), attrs={}) as writer:
        writer.write(slice(0, 2), np.zeros((2, 3, 4)), np.zeros((2, 3, 4)), name=names)
        room = max(256, n_bytes)
        with pytest.raises(
            ValueError, match=rf"a name has {room + 1} bytes, but .* has room for {room}: give"
        ):
            writer.write(2, MAP, MAP, name="y" * (room + 1))
    store = pickle.loads(pickle.dumps(PairStore(path)))
    assert store.name.tolist() == [*names, ""]
    with store.to_xarray() as dataset:
        assert dataset["name"].dims == ("sample",)
        assert dataset["name"].values.tolist() == [*names, ""]
    with h5py.File(path) as file:
        assert file["name"].asstr()[()].tolist() == [*names, ""]
        assert file["name"].id.get_create_plist().get_alloc_time() == h5py.h5d.ALLOC_TIME_EARLY


def test_netcdf4_reads_all_of_it(tmp_path: Path) -> None:
    netcdf4 = pytest.importorskip("netCDF4")
    path = write_all(tmp_path / "a.h5")
    with netcdf4.Dataset(path) as dataset:
        assert dataset["name"][:].tolist() == [f"{i}/ü.png" for i in range(3)]
        assert dataset["output"].dimensions == ("sample", "class")
        assert dataset.checksum_metadata == PairStore(path).attrs["checksum_metadata"]


@pytest.mark.parametrize("kind", ["variable", "fixed", "characters"])
def test_names_as_other_programs_write_them(run: Path, kind: str) -> None:
    names = ["a", "ü", "c" * 9, "", "e", "f"]
    fixed = np.array([name.encode() for name in names], "S9")
    values = {
        "variable": np.array(names, h5py.string_dtype()),
        "fixed": fixed,
        "characters": fixed.view("S1").reshape(6, 9),
    }[kind]
    edit(run, lambda file: file.attrs.pop("checksum_metadata"))
    edit(run, lambda file: file.create_dataset("name", data=values))
    edit(run, lambda file: file["complete"].__setitem__(5, 0))
    store = PairStore(run)
    assert store.name is not None
    assert store.name.tolist() == names
    with PairWriter.resume(run, ATTRS) as writer:
        maps = np.zeros((5, 7), np.float32)
        if kind == "characters":
            with pytest.raises(ValueError, match="has room for 9"):
                writer.write(5, maps, maps, sample=15, label=0, name="x" * 10)
        writer.write(5, maps, maps, sample=15, label=0, name="ende ü")
    store = PairStore(run)
    assert store.name is not None
    assert store.name.tolist() == [*names[:5], "ende ü"]
    assert verify(run) == []


def test_notebook_shows_what_a_file_contains(tmp_path: Path) -> None:
    attrs = {"training": "<b>pgd</b>", "note": 500 * "x", "eps": 0.5}
    with PairWriter(tmp_path / "a&b.h5", n_samples=3, shape=(4, 5), channels=3, attrs=attrs) as writer:
        writer.write(0, np.ones((3, 4, 5), "f4"), np.ones((3, 4, 5), "f4"))
    store = PairStore(tmp_path / "a&b.h5")
    assert repr(store).endswith("a&b.h5': 1 of 3 samples complete, 4x5)")
    page = Page(store._repr_html_())
    facts = dict(zip(page.text("th"), page.text("td"), strict=True))
    assert facts["samples"] == "1 of 3 complete"
    assert facts["maps"] == "4x5, float32, 3 channels reduced by abs_sum"
    assert facts["training"] == "<b>pgd</b>"
    assert facts["eps"] == "0.5"
    assert facts["note"] == 120 * "x" + "…"
    assert page.text("code") == [str(store.path)]
    assert not page.attributes("b")
