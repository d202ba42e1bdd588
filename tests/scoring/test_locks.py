"""One process at a time writes a table, and a full disk is reported."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest

import lensmetrics as lm
from lensmetrics.disk import lock
from lensmetrics.scoring.journal import Journal, slice_key
from lensmetrics.scoring.worker import SliceScores

HOLD = """
import sys, time
from lensmetrics.scoring.journal import Journal
with Journal(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(60)
"""


def part_of(output: Path) -> Path:
    return output.with_name(output.name + ".part")


def test_a_second_process_is_refused_until_the_first_has_ended(study: list[Path], output: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(output)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        for resume in (False, True):
            with pytest.raises(BlockingIOError, match=r"scores.parquet is being written by another process"):
                lm.evaluate(study, "kendall", output=output, resume=resume)
        other.kill()
    assert part_of(output).exists()
    lm.evaluate(study, "kendall", output=output)
    assert not part_of(output).exists()


def test_the_lock_is_not_taken_on_a_journal_that_is_removed(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Journal(output)
    original, calls = filelock.lock_descriptor, iter(range(9))

    def lock_descriptor(*arguments: Any, **options: Any) -> bool:
        if next(calls) == 0:  # the other process ends between our opening and our locking
            first.__exit__(None, None, None)
        return original(*arguments, **options)

    monkeypatch.setattr(filelock, "lock_descriptor", lock_descriptor)
    with Journal(output):
        assert part_of(output).exists()
        with pytest.raises(BlockingIOError):
            Journal(output)
    assert not part_of(output).exists()


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.ENOSYS])  # of the file system, of the system
def test_missing_locks_are_reported(output: Path, monkeypatch: pytest.MonkeyPatch, error: int) -> None:
    def unavailable(*_: object, **__: object) -> bool:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(filelock, "lock_descriptor", unavailable)
    with output.open("wb") as file:
        assert lock(file) is False
    output.unlink()
    with (
        pytest.warns(UserWarning, match=r"scores.parquet is on a file system without locks"),
        Journal(output),
    ):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_full_disk_is_reported(output: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(output) as journal:
        resource.setrlimit(resource.RLIMIT_FSIZE, (7, before[1]))  # so many bytes still find room
        try:
            with pytest.raises(OSError, match=r"part cannot be written \(.*\): free some space, .*--resume"):
                journal.add(slice_key(1), SliceScores(np.zeros((2, 1)), ["ok", "ok"]))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
