"""Child processes: crash isolation, time limits and clean shutdown."""

import atexit
import contextlib
import gc
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType, ModuleType
from typing import Generic, Self, TypeVar

from .errors import FormatError

# A block of some megabytes takes a slow disk a second.
SECONDS = 60.0
# What a process may outlive its parent by, if HDF5 hangs in it.
_LEASH = 5.0

T = TypeVar("T")


def available_cores() -> int:
    """Return how many cores this process may use: not all of a shared machine need be ours."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def may_start() -> bool:
    """Whether this process may start others: one of a ``multiprocessing.Pool`` may not."""
    return not multiprocessing.current_process().daemon


@contextlib.contextmanager
def starting(*, alone: bool = False) -> Iterator[None]:
    """Let processes that are started here not die of a Ctrl-C before they get to `serve_parent`.

    `alone`: they do not run the main module of this process first, which others need for what it
    defines. No process can run one that came on stdin.
    """
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    from_stdin = getattr(main, "__spec__", None) is None and file is not None and not Path(file).exists()
    with handling(signal.SIG_IGN, signal.SIGINT):
        if alone or from_stdin:
            sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


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


class Isolated(Generic[T]):
    """A function of files, called in a process of its own: HDF5 can hang or crash on damaged metadata.

    Use it in a ``with``, and call it with the path of a file: it returns what the function returns
    and raises what the function raises. The process is started beforehand, and again after a file
    that cost it. Where this process may start none, it calls the function itself.

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
        By the call, if the file makes the process hang, or crash twice: once, somebody may have
        killed it.
    RuntimeError
        By the call, if the process cannot be started.
    """

    def __init__(
        self, function: Callable[[Path, Callable[[], None]], T], *, seconds: float = SECONDS
    ) -> None:
        self._function, self._seconds = function, seconds
        self._running: tuple[BaseProcess, Connection] | None = None
        self._is_there = False

    def __enter__(self) -> Self:
        if may_start():
            self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def __call__(self, path: Path) -> T:
        if not may_start():
            return self._function(path, _idle)
        for _ in range(2):
            connection = self._ready()
            try:
                connection.send(path)
                answer = self._answer(connection)
            except (EOFError, ConnectionError):
                self._stop()
                continue
            if answer is None:
                self._stop()
                msg = (
                    f"{path} gives no answer in {self._seconds:g} seconds: it is damaged, or its disk stalls"
                )
                raise FormatError(msg)
            result, error = answer
            if error is not None:
                raise error
            return result
        raise FormatError(f"{path} crashes the process that reads it: it is damaged; make or copy it again")

    def _answer(self, connection: Connection) -> tuple[T, Exception | None] | None:
        while connection.poll(self._seconds):
            answer: tuple[T, Exception | None] | None = connection.recv()
            if answer is not None:
                return answer
        return None

    def _ready(self) -> Connection:
        """Return the connection to a process that has said that it is there."""
        process, connection = self._running or self._start()
        if not self._is_there:
            try:
                self._is_there = connection.poll(SECONDS) and connection.recv() is None
            except (EOFError, ConnectionError):
                process.join(_LEASH)
            if not self._is_there:
                self._stop()
                msg = f"the process that reads files does not start (exit status {process.exitcode})"
                raise RuntimeError(msg)
        return connection

    def _start(self) -> tuple[BaseProcess, Connection]:
        context = multiprocessing.get_context("spawn")
        connection, end = context.Pipe()
        with end:  # which must be closed here: else nobody would notice that the process has died
            process = context.Process(
                target=_serve, args=(end, self._function, self._seconds + _LEASH), daemon=True
            )
            with starting(alone=self._function.__module__ != "__main__"):
                process.start()
        self._running, self._is_there = (process, connection), False
        return process, connection

    def _stop(self) -> None:
        if self._running is not None:
            process, connection = self._running
            self._running = None
            process.kill()
            process.join(_LEASH)  # one that waits for a dead disk does not even end then
            connection.close()


def _idle() -> None:
    """Give a sign of life to nobody."""


def _sendable(error: Exception) -> Exception:
    """Return an error that arrives in another process, where not every class of errors does."""
    with contextlib.suppress(Exception):
        pickle.loads(pickle.dumps(error))
        return error
    other = RuntimeError(repr(error))
    other.__notes__ = error.__notes__
    return other


def _serve(
    connection: Connection, function: Callable[[Path, Callable[[], None]], object], seconds: float
) -> None:
    """Answer with a result or an error for every path that comes, and with None for every sign of life."""
    serve_parent()

    def end_in(seconds: float) -> None:
        # HDF5 hangs with Python's lock held, and then nobody here can see that the parent has ended.
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def alive() -> None:
        end_in(seconds)
        connection.send(None)

    with contextlib.suppress(EOFError, ConnectionError):  # the parent has ended
        connection.send(None)
        while True:
            path = connection.recv()
            end_in(seconds)
            answer: tuple[object, Exception | None]
            try:
                answer = function(path, alive), None
            except (ValueError, OSError) as error:
                answer = None, error
            except MemoryError:
                answer = (
                    None,
                    FormatError(f"{path} cannot be read (MemoryError: it takes more than there is)"),
                )
            except Exception as error:  # no fault of the file
                error.add_note("in the process that reads files:\n" + traceback.format_exc())
                answer = None, _sendable(error)
            end_in(0)
            connection.send(answer)


Handler = Callable[[int, FrameType | None], object] | signal.Handlers


@contextlib.contextmanager
def handling(handler: Handler, *signals: signal.Signals) -> Iterator[None]:
    """Handle signals so; threads other than the main one may not, and leave them as they are."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
