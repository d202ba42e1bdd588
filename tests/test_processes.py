"""Child processes that crash, hang or cannot start."""

import multiprocessing
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

import lensmetrics as lm
from lensmetrics.pairfile.verification import verify_files
from lensmetrics.processes import Isolated
from tests.pairfile.hostile_openers import (
    die_once,
    fail_oddly,
    hang_or_die,
    hold_in_a_child,
)


def test_verify_never_hangs() -> None:
    paths = [Path(name) for name in ("long", "hang", "die", "a")]
    began = time.monotonic()
    first, *others, last = verify_files(paths, seconds=2, verifier=hang_or_die)
    assert time.monotonic() - began < 50
    assert first == (paths[0], [(0, 0, "checksum")], "")
    assert last == (paths[3], [(0, 0, "checksum")], "")
    assert [verdict.error for verdict in others] == [
        "hang: no response within 2 s; the file may be damaged or its disk unresponsive",
        "die: HDF5 crashed while reading it, so the file is damaged; regenerate or copy it again",
    ]


def test_a_killed_process_does_not_condemn_its_file(tmp_path: Path) -> None:
    with Isolated(die_once) as isolated:
        assert isolated(tmp_path / "killed") == 1
    with Isolated(fail_oddly) as isolated, pytest.raises(lm.FormatError, match=r"a cannot be read \(Memory"):
        isolated(Path("a"))


@pytest.mark.usefixtures("capfd")  # the process prints why it cannot start
def test_a_process_that_cannot_start_condemns_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("only_here")
    exec("def function(path, alive): pass", vars(module))
    monkeypatch.setitem(sys.modules, "only_here", module)
    with Isolated(module.function) as isolated, pytest.raises(RuntimeError, match="does not start"):
        isolated(Path("a"))


@pytest.mark.skipif(sys.platform == "win32", reason="has no timers of this kind")
def test_a_hanging_process_does_not_outlive_its_parent_for_long(tmp_path: Path) -> None:
    parent = multiprocessing.get_context("spawn").Process(target=hold_in_a_child, args=(tmp_path / "pid",))
    parent.start()
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    parent.kill()
    parent.join()
    pid = int((tmp_path / "held").read_text())
    began = time.monotonic()
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_text():
        assert time.monotonic() - began < 20
        time.sleep(0.1)
