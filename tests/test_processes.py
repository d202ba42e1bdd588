"""Child processes: a hang or crash costs one call, and a mistake of the package is not blamed on a file."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Literal

import pytest

from lensmetrics.errors import FormatError
from lensmetrics.pairfile.verification import verify_files
from lensmetrics.processes import Alive, Child, ChildCrashed, ChildHung, Isolated


def answer(word: str, alive: Alive) -> str:
    if word == "hang":
        time.sleep(60)
    if word == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if word == "slow":
        for _ in range(8):
            time.sleep(0.25)
            alive()
    if word == "connection":
        raise ConnectionResetError(word)
    return word


def mistake(path: Path, _: object) -> list[tuple[int, int, str]]:
    raise ValueError("ours")


def damage(path: Path, _: object) -> list[tuple[int, int, str]]:
    raise FormatError("theirs")


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_hang_or_crash_costs_one_call(method: Literal["spawn", "forkserver"]) -> None:
    with Child(answer, seconds=1, method=method) as child:
        assert child("a") == "a"
        assert child("slow") == "slow"
        with pytest.raises(ChildHung):
            child("hang")
        assert child("b") == "b"
        with pytest.raises(ChildCrashed, match=f"exit code -{int(signal.SIGSEGV)}") as caught:
            child("crash")
        assert caught.value.exitcode == -signal.SIGSEGV
        with pytest.raises(ConnectionResetError, match="connection"):  # of the function, not of the child
            child("connection")
        assert child("c") == "c"


def test_a_mistake_of_ours_is_not_blamed_on_the_file() -> None:
    with Isolated(mistake) as isolated, pytest.raises(ValueError, match=r"^ours") as caught:
        isolated(Path("a.h5"))
    assert type(caught.value) is ValueError
    assert "in mistake" in caught.value.__notes__[0]
    with pytest.raises(ValueError, match=r"^ours"):
        list(verify_files([Path("a.h5")], verifier=mistake))
    (verdict,) = verify_files([Path("a.h5")], verifier=damage)
    assert verdict.error == "theirs"
