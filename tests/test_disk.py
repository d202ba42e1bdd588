"""Missing inputs are named, files appear whole, and copies keep holes and permissions."""

from pathlib import Path

import numpy as np
import pytest

from lensmetrics.disk import check_inputs, copy_file, replacing


def test_all_missing_inputs_are_named_once(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.touch()
    check_inputs([])
    check_inputs([there, str(there), tmp_path])
    with pytest.raises(FileNotFoundError, match=r"^a\.h5 does not exist$"):
        check_inputs([there, "a.h5", "a.h5"])
    with pytest.raises(FileNotFoundError, match=r"^c\.h5, a\.h5 and b\.h5 do not exist$"):
        check_inputs(["c.h5", there, "a.h5", Path("b.h5"), Path("c.h5")])


def test_a_link_to_nothing_is_missing(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match="link does not exist"):
        check_inputs([tmp_path / "link"])


def test_a_file_that_cannot_be_written_is_named_and_not_the_hidden_one_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "a.csv"
    with pytest.raises(OSError, match=r"folder/a\.csv cannot be written \(No such file or dir") as caught:
        write_and_lose(path)
    assert "/." not in str(caught.value)
    with pytest.raises(OSError, match=r"a+ cannot be written \(File name too long\): choose another place"):
        write(tmp_path / ("a" * 255))
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        write(tmp_path / "b.csv", source=tmp_path / "elsewhere")
    assert not list(tmp_path.iterdir())


def write_and_lose(path: Path) -> None:
    with replacing(path) as part:
        part.write_text("x")
        part.unlink()
        path.parent.rmdir()


def write(path: Path, source: Path | None = None) -> None:
    with replacing(path) as part:
        part.write_text("x" if source is None else source.read_text())


@pytest.mark.parametrize("system", ["", "copy_file_range", "SEEK_DATA"])
def test_copies_are_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    """Also where the system lacks a call, and where a file has holes."""
    if system:
        monkeypatch.delattr(f"os.{system}")
    source, target = tmp_path / "source", tmp_path / "target"
    rng = np.random.default_rng(0)
    for n_bytes in (0, 1, 2**20 + 7):
        source.write_bytes(rng.bytes(n_bytes))
        with source.open("r+b") as file:
            copy_file(file, target)
            assert target.read_bytes() == source.read_bytes()
            file.truncate(2**24)
            file.seek(2**23)
            file.write(b"in between")
            file.flush()
            source.chmod(0o600)
            copy_file(file, target)
        assert target.read_bytes() == source.read_bytes()
        assert target.stat().st_mode == source.stat().st_mode
        if not system:
            assert target.stat().st_blocks <= source.stat().st_blocks
