"""Correct the attributes of a finished file: nothing but attributes changes, and a kill loses nothing."""

import os
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr

import lensmetrics as lm
from lensmetrics.disk import lock
from lensmetrics.errors import FormatError
from lensmetrics.pairfile.corrections import check_replaceable, corrected, replace_attrs
from lensmetrics.pairfile.store import PairStore
from lensmetrics.pairfile.verification import verify
from tests.pairfile.faults import CONTEXT, SEED, fill, mounted, once
from tests.pairfile.toys import ATTRS, own, write_all, write_pairs
from tests.pairfiles import edit, flip_byte, names_in, write_file


def correct(path: Path, changes: dict[str, Any], removed: tuple[str, ...] = ()) -> PairStore:
    store = PairStore(path)
    check_replaceable(path)
    replace_attrs(store, corrected(store, changes, removed))
    return PairStore(path)


def values_of(path: Path) -> dict[str, bytes]:
    with h5py.File(path) as file:
        return {name: file[name][()].tobytes() for name in file if file[name].dtype != object}


@pytest.mark.parametrize("kind", ["every variable", "gzip", "missing", "channels", "plain"])
def test_only_attributes_change(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.h5"
    if kind == "every variable":
        write_all(path)
    else:
        options: dict[str, dict[str, Any]] = {
            "gzip": {"compression": "gzip"},
            "missing": {"missing": [0, 5]},
            "channels": {"channels": 3},
            "plain": {},
        }
        write_file(path, attrs={**ATTRS, "note": "größer", "list": [1.5, 2.5]}, labels=True, **options[kind])
    before, values = PairStore(path), values_of(path)
    bad = verify(path)
    changes = {
        "training": "pgd",  # new
        "attack": "ein längerer Text als zuvor",
        "eps": float("nan"),
        "steps": "twenty",  # of another type
        "list": [3, 4, 5],
        "seed": -(2**63),
    }
    after = correct(path, changes, ("note",))
    expected = {name: value for name, value in own(before.attrs).items() if name != "note"} | changes
    assert repr(sorted(own(after.attrs).items())) == repr(sorted(expected.items()))
    assert after.attrs["checksum_metadata"] != before.attrs["checksum_metadata"]
    assert not after.metadata_damaged
    assert values_of(path) == values
    assert verify(path) == bad
    assert names_in(tmp_path) == ["a.h5"]
    with netCDF4.Dataset(path) as file, xr.open_dataset(path, engine="h5netcdf") as dataset:
        assert file.attack == dataset.attrs["attack"] == changes["attack"]
    # And back: the same attributes have the same checksum, whatever happened in between.
    again = correct(path, own(before.attrs), tuple({*own(after.attrs)} - {*own(before.attrs)}))
    assert again.fingerprint == before.fingerprint


def test_many_and_large_attributes(run: Path) -> None:
    """HDF5 stores them differently, in a heap, once there are more than eight."""
    many = {f"a{i}": "x" * 200 for i in range(40)}
    assert own(correct(run, many).attrs) == ATTRS | many
    assert own(correct(run, {}, tuple(many)).attrs) == ATTRS
    assert own(correct(run, {"note": "y" * 60_000}).attrs) == {**ATTRS, "note": "y" * 60_000}
    assert len(correct(run, {"note": [0.5] * 20_000}).attrs["note"]) == 20_000
    assert names_in(run.parent) == ["run.h5"]
    assert verify(run) == []


def test_a_file_that_netcdf4_wrote(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "a.h5")
    foreign = tmp_path / "b.h5"
    with netCDF4.Dataset(path) as source, netCDF4.Dataset(foreign, "w") as target:
        for name, dimension in source.dimensions.items():
            target.createDimension(name, len(dimension))
        for name, variable in source.variables.items():
            target.createVariable(name, variable.dtype, variable.dimensions)[:] = variable[:]
        target.setncatts(
            {name: source.getncattr(name) for name in source.ncattrs() if name != "checksum_metadata"}
        )
    assert "checksum_metadata" not in PairStore(foreign).attrs
    after = correct(foreign, {"training": "pgd", "attack": "random"}, ("steps",))
    assert own(after.attrs) == {"dataset": "toy", "attack": "random", "eps": 0.1, "training": "pgd"}
    assert (
        after.attrs["checksum_metadata"]
        == correct(path, {"training": "pgd", "attack": "random"}, ("steps",)).attrs["checksum_metadata"]
    )
    assert verify(foreign) == []
    with netCDF4.Dataset(foreign) as file:
        assert (file.training, file.attack) == ("pgd", "random")


@pytest.mark.parametrize(
    ("changes", "removed", "message"),
    [
        ({"format": "x"}, (), "attribute 'format' belongs to the file format and cannot be changed"),
        ({"format_version": 1}, (), "'format_version' belongs to the file format"),
        ({"checksum_metadata": 1}, (), "'checksum_metadata' belongs to the file format"),
        ({}, ("format",), "'format' belongs to the file format"),
        ({"kendall": 1}, (), "attribute name 'kendall' is reserved"),
        ({"sample": 1}, (), "attribute name 'sample' is reserved"),
        ({"reduction": "mean"}, (), "unknown reduction 'mean'; allowed: abs_sum, sum, abs_max"),
        ({"a/b": 1}, (), "must be a word without '/'"),
        ({"_a": 1}, (), "does not begin with '_'"),
        ({"x": True}, (), "attribute 'x' is True; it must be text"),
        ({}, ("note",), r"run\.h5 has no attribute 'note' to remove; it has: attack, dataset, eps, steps"),
    ],
)
def test_attributes_that_are_refused(
    run: Path, changes: dict[str, Any], removed: tuple[str, ...], message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        corrected(PairStore(run), changes, removed)


def test_reduction_can_be_corrected(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    unperturbed, _ = write_file(path, channels=3)
    after = correct(path, {"reduction": "sum"})
    np.testing.assert_array_equal(after.read_block(0, 6)[0], unperturbed.sum(axis=1))


def test_an_attribute_whose_name_is_taken_can_be_removed(run: Path) -> None:
    edit(run, lambda file: file.attrs.__delitem__("checksum_metadata"))
    edit(run, lambda file: file.attrs.__setitem__("kendall", 1))
    assert own(correct(run, {}, ("kendall",)).attrs) == ATTRS


def test_files_that_are_refused(run: Path) -> None:
    part = run.with_name("b.h5.part")
    part.write_bytes(run.read_bytes())
    with pytest.raises(ValueError, match=r"b\.h5\.part is not finished: finish it with PairWriter\.resume"):
        corrected(PairStore(part), {"training": "pgd"})
    edit(run, lambda file: file.attrs.__setitem__("eps", 0.2))
    with pytest.raises(
        FormatError, match=r"checksum_metadata does not match: .*; if it was changed on purpose"
    ):
        corrected(PairStore(run), {"training": "pgd"})


def test_a_missing_sample_is_added_with_the_new_attributes(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    unperturbed, perturbed = write_file(path, attrs=ATTRS, missing=[2])
    correct(path, {"training": "pgd"})
    with pytest.raises(ValueError, match="training is 'pgd' in the file, absent given"):
        lm.PairWriter.resume(path, ATTRS)
    with lm.PairWriter.resume(path, {**ATTRS, "training": "pgd"}) as writer:
        writer.write(2, unperturbed[2], perturbed[2])
    assert verify(path) == []


def test_damage_of_a_map_is_kept_as_damage(run: Path) -> None:
    flip_byte(run, "perturbed", 9)
    assert correct(run, {"training": "pgd"}).attrs["training"] == "pgd"
    assert [problem for _, _, problem in verify(run)] == ["checksum"]


def test_holes_permissions_and_links_stay(tmp_path: Path) -> None:
    path, link = tmp_path / "a.h5", tmp_path / "link.h5"
    with lm.PairWriter(path, n_samples=400, shape=(200, 200), attrs={}) as writer:
        writer.write(7, *np.ones((2, 200, 200), np.float32))
    path.chmod(0o640)
    link.symlink_to(path.name)
    before = path.stat()
    assert correct(link, {"training": "pgd"}).attrs["training"] == "pgd"
    assert link.is_symlink()
    after = path.stat()
    assert after.st_mode == before.st_mode
    assert after.st_ino != before.st_ino
    assert after.st_blocks <= before.st_blocks + 64
    assert after.st_size >= 2 * 400 * 200 * 200 * 4
    assert verify(path) == verify(link)
    assert len(verify(path)) == 399


def test_a_file_that_changes_meanwhile_is_left_alone(run: Path) -> None:
    first, second = PairStore(run), PairStore(run)
    replace_attrs(first, corrected(first, {"training": "pgd"}))
    with pytest.raises(BlockingIOError, match=r"run\.h5 is being written by another process; wait"):
        replace_attrs(second, corrected(second, {"training": "natural"}))
    store = PairStore(run)
    assert store.attrs["training"] == "pgd"
    with run.open("r+b") as file:
        lock(file)
        with pytest.raises(BlockingIOError, match="is being written by another process"):
            replace_attrs(store, corrected(store, {"training": "natural"}))
    run.rename(run.with_name("elsewhere.h5"))
    with pytest.raises(BlockingIOError, match="is being written by another process"):
        replace_attrs(store, corrected(store, {"training": "natural"}))
    assert names_in(run.parent) == ["elsewhere.h5"]


def test_a_disk_without_room_is_noticed_before(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=2m") as disk:
        path = write_file_of(disk / "a.h5", 2**19)
        check_replaceable(path)
        before = path.read_bytes()
        fill(disk, 2**18)
        with pytest.raises(
            OSError, match=r"^a copy of .*a\.h5, which then replaces it, needs \d+ bytes in .* are free"
        ):
            check_replaceable(path)
        store = PairStore(path)
        with pytest.raises(
            OSError, match=r"a\.h5 cannot be written \(No space left on device\): free some space"
        ):
            replace_attrs(store, corrected(store, {"training": "pgd"}))
        assert names_in(disk) == ["a.h5", "filler"]
        assert path.read_bytes() == before


def write_file_of(path: Path, n_bytes: int) -> Path:
    write_file(path, 2, (1, n_bytes // 16), attrs=ATTRS)
    return path


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_file_is_refused(run: Path) -> None:
    run.chmod(0o444)
    with pytest.raises(PermissionError, match="may not be written: allow it with chmod"):
        check_replaceable(run)


def _correct_to_be_killed(path: Path, sender: Connection) -> None:
    for i in range(1000):
        sender.send(i)
        correct(path, {"training": f"number {i}", "note": "x" * (i % 7) * 1000})


@once
def test_kills_leave_the_old_or_the_new_file(tmp_path: Path) -> None:
    path = write_file_of(tmp_path / "a.h5", 2**22)
    values = values_of(path)
    rng = np.random.default_rng(SEED)
    found: Counter[str] = Counter()
    for i in range(12):
        receiver, sender = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(target=_correct_to_be_killed, args=(path, sender), daemon=True)
        process.start()
        for _ in range(rng.integers(1, 4)):
            receiver.recv()
        time.sleep(float(rng.uniform(0, 0.02)))
        process.kill()
        process.join()
        store = PairStore(path)
        assert not store.metadata_damaged, i
        training = str(store.attrs.get("training", "none"))
        assert len(str(store.attrs.get("note", ""))) == 1000 * (
            int(training.split()[-1]) % 7 if training != "none" else 0
        )
        assert values_of(path) == values, i
        found["copy left" if (tmp_path / ".a.h5.correcting").exists() else "clean"] += 1
    assert found["copy left"] > 0
    correct(path, {"training": "pgd"})
    assert names_in(tmp_path) == ["a.h5"]
    assert verify(path) == []
