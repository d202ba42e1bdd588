"""Things that are not pair files, and mistakes of the package itself."""

import os
import re
import socket
from pathlib import Path

import h5py
import pytest

import lensmetrics as lm
from lensmetrics.errors import FormatError
from lensmetrics.pairfile.opening import opened
from lensmetrics.pairfile.store import PairStore
from lensmetrics.pairfile.writer import PairWriter
from lensmetrics.tables.columns import AGAINST, CONDITIONS
from lensmetrics.tables.known import BUILT_IN
from tests.pairfiles import edit, names_in


def make_odd(path: Path, kind: str) -> None:
    if kind == "a link":
        path.symlink_to(path.with_name("elsewhere"))
    elif kind == "a link to a file":
        path.with_name("elsewhere").write_text("x")
        path.symlink_to(path.with_name("elsewhere"))
    elif kind == "a directory":
        path.mkdir()
    elif kind == "a FIFO":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(str(path))


@pytest.mark.parametrize("kind", ["a link", "a link to a file", "a directory", "a FIFO", "a socket"])
@pytest.mark.parametrize("name", ["a.h5.part", "a.h5"])
def test_anything_but_a_regular_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make_odd(Path(name), kind)
    before = names_in(tmp_path)
    words = f"{name} is {kind.removesuffix(' to a file')}"
    with pytest.raises(
        (FileExistsError, IsADirectoryError), match=rf"^{words}(, but a pair file is a|; give)"
    ):
        PairWriter("a.h5", n_samples=1, shape=(1, 1), attrs={})
    with pytest.raises(
        FileExistsError, match=f"^{words}, but a pair file is a regular file: remove it, or choose"
    ):
        PairWriter.resume("a.h5", {})
    assert names_in(tmp_path) == before


def test_a_device_is_refused() -> None:
    with pytest.raises(FileExistsError, match=r"^/dev/null is a device, but a pair file is a regular file"):
        PairWriter("/dev/null", n_samples=1, shape=(1, 1), attrs={})
    with pytest.raises(FileExistsError, match=r"^/dev/zero is a device, but a pair file is a regular file"):
        PairWriter.resume("/dev/zero", {})
    with pytest.raises(FormatError, match=r"^/dev/zero is a device; give a pair file"):
        PairStore("/dev/zero")


def test_a_fifo_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.h5")
    with pytest.raises(FormatError, match=r"a\.h5 is a FIFO; give a pair file"):
        PairStore(tmp_path / "a.h5")


@pytest.mark.parametrize("error", [TypeError, KeyError, RuntimeError, ValueError])
def test_a_mistake_of_our_own_is_not_called_damage(
    run: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def wrong(*_: object) -> None:
        raise error("ours")

    for name in ("find_maps", "check_samples", "fingerprint"):
        with monkeypatch.context() as patch:
            patch.setattr(f"lensmetrics.pairfile.header.{name}", wrong)
            with pytest.raises(error, match=r"^'?ours'?$") as caught:
                PairStore(run)
            assert not isinstance(caught.value, FormatError)
    with monkeypatch.context() as patch:
        patch.setattr("lensmetrics.pairfile.header.find_maps", lambda path, _: 1 + path.name)
        with pytest.raises(TypeError, match="unsupported operand"):
            PairStore(run)


def test_names_that_are_not_utf8(run: Path) -> None:
    space, kind = h5py.h5s.create(h5py.h5s.SCALAR), h5py.h5t.NATIVE_INT8
    edit(run, lambda file: h5py.h5d.create(file.id, b"\xfe", kind, space))
    assert len(PairStore(run)) == 6
    edit(run, lambda file: file.__delitem__("complete"))
    with pytest.raises(
        FormatError, match=r"run\.h5 has no dataset 'complete'; it has: 'checksum'.* b'\\xfe'"
    ):
        PairStore(run)
    edit(run, lambda file: h5py.h5a.create(file.id, b"\xff", kind, space))
    with pytest.raises(
        FormatError, match=r"run\.h5 is damaged: it has an attribute named b'\\xff'; regenerate or"
    ):
        PairStore(run)


def test_what_hdf5_cannot_find_is_named_without_quotes_around_the_sentence(run: Path) -> None:
    message = r"run\.h5 is truncated or damaged \(Unable to .*'nothing' doesn't exist\)\): regenerate"
    with pytest.raises(FormatError, match=message), opened(run) as file:
        file["nothing"]


def test_names_of_attributes_that_are_reserved(tmp_path: Path) -> None:
    taken = ["file", "sample", "label", "prediction", "prediction_perturbed", "status", "name"]
    taken += ["against", "k", "w", "pool", "metric", "value", "kendall", "lens_recall(k=3,w=1)", "fss"]
    for name in taken:
        with pytest.raises(ValueError, match=rf"attribute name '{re.escape(name)}' is reserved: tables"):
            PairWriter(tmp_path / "a.h5", n_samples=1, shape=(1, 1), attrs={name: 1})
    assert names_in(tmp_path) == []
    conditions = [name for name in CONDITIONS if name != AGAINST]  # which says how files were scored
    free = dict.fromkeys((*conditions, "attack_k", "eps_norm", "lens", "sample_size", "names"), 1)
    with PairWriter(tmp_path / "a.h5", n_samples=1, shape=(1, 1), attrs=free):
        pass
    edit(tmp_path / "a.h5", lambda file: file.attrs.__setitem__("kendall", 3))
    assert PairStore(tmp_path / "a.h5").attrs["kendall"] == 3  # the store says all that the file says


def test_reserved_names_are_all_metrics() -> None:
    assert sorted(BUILT_IN) == sorted(lm.list_metrics())
