"""A child process for calls that may hang or crash, such as reading a damaged HDF5 file."""

import contextlib
import multiprocessing
import pickle
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Generic, Literal, Self, TypeVar

from .errors import FormatError
from .processes import may_start, serve_parent, starting

# How long a child process may be silent; a slow disk takes a second to read a block of some megabytes.
SECONDS = 60.0
# How long a child process may outlive its parent while HDF5 hangs in it.
_LEASH = 5.0
A = TypeVar("A")
T = TypeVar("T")
# A heartbeat: a function that runs in a child process calls it now and then.
Alive = Callable[[], None]


class ChildHung(Exception):
    """A child process was silent for too long, and was killed."""


class ChildCrashed(Exception):
    """A child process died; `exitcode` is negative if a signal killed it."""

    def __init__(self, exitcode: int | None) -> None:
        super().__init__(f"exit code {exitcode}")
        self.exitcode = exitcode


class Child(Generic[A, T]):
    """A child process that calls one function repeatedly; the function may hang or crash.

    Use it in a ``with`` statement, and call it with an argument: it returns what the function returns
    and raises what the function raises. After a hang or a crash, the next call starts a new process.
    The process ends with its parent, even if that is killed while the child hangs. (No library was
    found that keeps this promise and limits the silence of a call rather than its total time.)

    Parameters
    ----------
    function
        Called with the argument and with a heartbeat, a function that it must call now and then. It,
        arguments, results and errors are pickled.
    seconds
        Longest time between two heartbeats.
    method
        How the process is started: "spawn" or "forkserver".
    daemon
        Whether the process ends when this one exits; a daemon cannot start processes.

    Raises
    ------
    ChildHung, ChildCrashed
        By a call that costs the process.
    RuntimeError
        By a call, if the process cannot be started.
    """

    def __init__(
        self,
        function: Callable[[A, Alive], T],
        *,
        seconds: float = SECONDS,
        method: Literal["spawn", "forkserver"] = "spawn",
        daemon: bool = True,
    ) -> None:
        self._function, self._seconds, self._daemon = function, seconds, daemon
        self._context = (
            multiprocessing.get_context("spawn")
            if method == "spawn"
            else multiprocessing.get_context("forkserver")
        )
        self._running: tuple[BaseProcess, Connection] | None = None
        self._is_ready = False

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __call__(self, argument: A) -> T:
        self.send(argument)
        return self.receive()

    def send(self, argument: A) -> None:
        """Start a call; `receive` waits for its end."""
        _, connection = self._ready()
        with contextlib.suppress(ConnectionError):  # `receive` says what a dead process has still answered
            connection.send(argument)

    def receive(self) -> T:
        """Wait for the end of a call that `send` started."""
        result, error = self._answer()
        if error is not None:
            raise error
        return result

    def _answer(self) -> tuple[T, Exception | None]:
        assert self._running is not None
        process, connection = self._running
        try:
            while connection.poll(self._seconds):
                answer: tuple[T, Exception | None] | None = connection.recv()
                if answer is not None:  # None is a heartbeat
                    return answer
        except (EOFError, ConnectionError) as error:
            process.join(_LEASH)
            raise ChildCrashed(self.stop()) from error
        self.stop()
        raise ChildHung

    def _ready(self) -> tuple[BaseProcess, Connection]:
        """Return a process that has started, and the connection to it."""
        process, connection = self._running or self._start()
        if not self._is_ready:
            try:
                self._is_ready = connection.poll(SECONDS) and connection.recv() is None
            except (EOFError, ConnectionError):
                process.join(_LEASH)
            if not self._is_ready:
                exitcode = self.stop()
                raise RuntimeError(f"a child process does not start (exit status {exitcode})")
        return process, connection

    def _start(self) -> tuple[BaseProcess, Connection]:
        connection, end = self._context.Pipe()
        with end:  # close our copy, or the death of the process would go unnoticed
            process = self._context.Process(
                target=_serve, args=(end, self._function, self._seconds + _LEASH), daemon=self._daemon
            )
            with starting(alone=self._function.__module__ != "__main__"):
                process.start()
        self._running, self._is_ready = (process, connection), False
        return process, connection

    def stop(self) -> int | None:
        """Kill the process if there is one, and return its exit code."""
        if self._running is None:
            return None
        process, connection = self._running
        self._running = None
        process.kill()
        process.join(_LEASH)  # a process that waits for a dead disk survives even SIGKILL
        connection.close()
        return process.exitcode


class Isolated(Generic[A, T]):
    """Calls a function of files in a child process: HDF5 can hang or crash on damaged metadata.

    Use it in a ``with`` statement, and call it with the path of a file, or with something that prints as
    one: it returns what the function returns and raises what the function raises. A process that may
    start no others calls the function itself.

    `Child` says what `function` and `seconds` are.

    Raises
    ------
    FormatError
        By a call, if the file makes the process hang, or crash twice: a process that crashed once may
        have been killed from outside.
    RuntimeError
        By a call, if the process cannot be started.
    """

    def __init__(self, function: Callable[[A, Alive], T], *, seconds: float = SECONDS) -> None:
        self._function, self._seconds = function, seconds
        self._child = Child(function, seconds=seconds) if may_start() else None

    def __enter__(self) -> Self:
        if self._child is not None:
            self._child.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._child is not None:
            self._child.__exit__(*error)

    def __call__(self, path: A) -> T:
        return self._tried(path, 2)

    def _tried(self, path: A, n_tries: int) -> T:
        if self._child is None:
            return self._function(path, _idle)
        for _ in range(n_tries):
            try:
                return self._child(path)
            except ChildHung:
                raise self._hung(path) from None
            except ChildCrashed:
                continue
        raise FormatError(
            f"{path}: HDF5 crashed while reading it, so the file is damaged; regenerate or copy it again"
        )

    def each(self, paths: Iterable[A]) -> Iterator[T | FormatError | OSError]:
        """Yield what the calls of all paths return or, of a file that is at fault, its error, in order.

        The process works on a path while this one asks for the next and uses the result before it, so make
        no other call before the last one has been yielded.
        """
        if self._child is None:
            yield from map(self._outcome, paths)
            return
        sent: deque[A] = deque()
        try:
            for path in paths:
                sent.append(path)
                self._child.send(path)
                if len(sent) > 1:
                    yield from self._first(self._child, sent)
            if sent:
                yield from self._first(self._child, sent)
        finally:
            if sent:  # nobody asked for the last answer, and the next call must not get it
                self._child.stop()

    def _first(self, child: Child[A, T], sent: deque[A]) -> Iterator[T | FormatError | OSError]:
        """Yield the outcome of the first path that was sent; of all, if the process is lost."""
        outcome: T | FormatError | OSError
        try:
            outcome = child.receive()
        except (FormatError, OSError) as error:
            outcome = error
        except ChildHung:
            outcome = self._hung(sent[0])
            sent.popleft()
            yield outcome
            yield from self._again(sent, crashed=False)
            return
        except ChildCrashed:
            yield from self._again(sent, crashed=True)
            return
        sent.popleft()
        yield outcome

    def _again(self, sent: deque[A], *, crashed: bool) -> Iterator[T | FormatError | OSError]:
        """Ask again, one by one, for what was sent to a process that is lost with its answers.

        `crashed` says that it was lost over the first of them, which is then tried once more, not twice.
        """
        n_tries = 1 if crashed else 2
        while sent:
            outcome = self._outcome(sent[0], n_tries)
            sent.popleft()
            yield outcome
            n_tries = 2

    def _outcome(self, path: A, n_tries: int = 2) -> T | FormatError | OSError:
        try:
            return self._tried(path, n_tries)
        except (FormatError, OSError) as error:
            return error

    def _hung(self, path: A) -> FormatError:
        return FormatError(
            f"{path}: no response within {self._seconds:g} s; the file may be damaged or its disk "
            "unresponsive"
        )


def _idle() -> None:
    """Do nothing: the heartbeat of a call in this process."""


def _sendable(error: Exception) -> Exception:
    """Return an error that survives pickling, which not every class of errors does."""
    with contextlib.suppress(Exception):
        pickle.loads(pickle.dumps(error))
        return error
    other = RuntimeError(repr(error))
    other.__notes__ = error.__notes__
    return other


def _serve(connection: Connection, function: Callable[[A, Alive], object], seconds: float) -> None:
    """Answer every argument with a result or an error; None means ready, or is a heartbeat."""
    serve_parent()

    def end_in(seconds: float) -> None:
        # HDF5 hangs while it holds the GIL, so the thread that watches the parent cannot run.
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def alive() -> None:
        end_in(seconds)
        connection.send(None)

    with contextlib.suppress(EOFError, ConnectionError):  # the parent has ended
        connection.send(None)
        while True:
            argument = connection.recv()
            end_in(seconds)
            answer: tuple[object, Exception | None]
            try:
                answer = function(argument, alive), None
            except (FormatError, OSError) as error:
                answer = None, error
            except MemoryError:
                answer = (
                    None,
                    FormatError(f"{argument} cannot be read (MemoryError: there is not enough memory)"),
                )
            except Exception as error:  # not the fault of the file
                error.add_note("in the child process:\n" + traceback.format_exc())
                answer = None, _sendable(error)
            end_in(0)
            connection.send(answer)
