"""Files that a user names: all that are missing are said, and what is no regular file."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from lensmetrics.inputs import check_inputs, check_regular


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


@pytest.mark.parametrize("kind", ["pipe", "device", "socket"])
def test_only_regular_files(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("it")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to(os.devnull)
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("it")
    with pytest.raises(ValueError, match=f"it is a {kind}; give a regular file"):
        check_regular(path)


def test_a_regular_file_is_good(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    check_regular(tmp_path / "file")
    check_regular(tmp_path / "link")
