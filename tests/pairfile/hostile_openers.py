"""Openers of files, and stand-ins for what HDF5 does with damaged metadata, for a child process."""

import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from lensmetrics.children import Isolated
from lensmetrics.pairfile.store import PairStore


def hang_or_die(path: Path, progress: Callable[[], object]) -> list[tuple[int, int, str]]:
    if path.name == "hang":
        time.sleep(60)
    if path.name == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    for _ in range(4 if path.name == "long" else 0):
        time.sleep(0.8)
        progress()
    return [(0, 0, "checksum")]


def open_store(path: Path, _: object) -> PairStore:
    return PairStore(path)


def open_or_die(path: Path, _: object) -> PairStore:
    if path.name == "die.h5":
        os.kill(os.getpid(), signal.SIGKILL)
    return PairStore(path)


def die_once(path: Path, _: object) -> int:
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 1


def fail_oddly(path: Path, _: object) -> int:
    raise MemoryError


def fail_as_a_bug(path: Path, _: object) -> int:
    raise TypeError("a bug of ours")


def hold_the_lock(path: Path, _: object) -> None:
    path.write_text(str(os.getpid()))
    path.rename(path.with_name("held"))
    ctypes.PyDLL(None).sleep(60)  # as HDF5 does, other than CDLL


def hold_in_a_child(path: Path) -> None:
    with Isolated(hold_the_lock, seconds=1) as isolated:
        isolated(path)
