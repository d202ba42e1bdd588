"""Processes that work for this one."""

import atexit
import contextlib
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Generic, Self, TypeVar

from .pairfile import FormatError

# A block of some megabytes takes a slow disk a second.
SECONDS = 60.0

T = TypeVar("T")


def available_cores() -> int:
    """Return how many cores this process may use: not all of a shared machine need be ours."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def serve_parent() -> None:
    """Let this process end with the one that started it, and only then: Ctrl-C reaches both."""
    atexit.register(gc.freeze)  # as in the command itself
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def prepare() -> None:
    """Import what scoring needs, which takes a second that is free while files are still opened."""
    from . import scoring  # noqa: F401


class Isolated(Generic[T]):
    """A function of files, called in a process of its own: HDF5 can hang or crash on damaged metadata.

    Use it in a ``with``, and call it with the path of a file: it returns what the function returns
    and raises what the function raises. The process is started beforehand, and again after a file
    that cost it.

    Parameters
    ----------
    function
        Called with the path and with a function to call now and then, as a sign of life. It and
        what it returns or raises are sent from process to process.
    seconds
        How long there may be no sign of life.

    Raises
    ------
    FormatError
        By the call, if the file makes the process hang or crash.
    """

    def __init__(
        self, function: Callable[[Path, Callable[[], None]], T], *, seconds: float = SECONDS
    ) -> None:
        self._function, self._seconds = function, seconds
        self._process: BaseProcess | None = None
        self._is_there = False

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def __call__(self, path: Path) -> T:
        if self._process is None:
            self._start()
        if not self._is_there:
            self._connection.poll(SECONDS)  # it says that it is there
            self._is_there = True
        try:
            result, error = self._ask(path)
        except FormatError:
            self._stop()
            raise
        if error is not None:
            raise error
        return result

    def _ask(self, path: Path) -> tuple[T, Exception | None]:
        try:
            self._connection.send(path)
            while self._connection.poll(self._seconds):
                answer: tuple[T, Exception | None] | None = self._connection.recv()
                if answer is not None:
                    return answer
        except (EOFError, OSError):
            what = "crashes the process that reads it"
        else:
            what = f"gives no answer in {self._seconds:g} seconds"
        raise FormatError(f"{path} {what}: it is damaged; make or copy it again")

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, end = context.Pipe()
        self._is_there = False
        self._process = context.Process(target=_serve, args=(end, self._function), daemon=True)
        self._process.start()
        end.close()  # else nobody would notice here that the process has died

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None


def _serve(connection: Connection, function: Callable[[Path, Callable[[], None]], object]) -> None:
    """Answer with a result or an error for every path that comes, and with None for every sign of life."""
    serve_parent()
    with contextlib.suppress(EOFError, ConnectionError):  # the parent has ended
        connection.send(None)
        while True:
            path = connection.recv()
            answer: tuple[object, Exception | None]
            try:
                answer = function(path, lambda: connection.send(None)), None
            except Exception as error:
                answer = None, error
            connection.send(answer)
