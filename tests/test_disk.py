"""Missing input files are all named in one message."""

from pathlib import Path

import pytest

from lensmetrics.disk import check_inputs


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
