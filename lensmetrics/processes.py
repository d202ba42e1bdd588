"""Processes and signals: which cores there are, how children start and end, what Ctrl-C does.

multiprocessing is imported by the functions that use it, because every command imports this module.
"""

import atexit
import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType

Handler = Callable[[int, FrameType | None], object] | signal.Handlers
# One thread at a time may start processes: each puts another module in the place of the main one.
_one_starts = threading.RLock()


def available_cores() -> int:
    """Return the number of cores that this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def may_start() -> bool:
    """Return whether this process may start others; a worker of a ``multiprocessing.Pool`` may not."""
    import multiprocessing

    return not multiprocessing.current_process().daemon


@contextlib.contextmanager
def handling(handler: Handler, *signals: signal.Signals) -> Iterator[None]:
    """Temporarily replace signal handlers; only the main thread can, other threads change nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextlib.contextmanager
def starting(*, alone: bool = False, forks: bool = False) -> Iterator[None]:
    """Protect processes that are started in this context from Ctrl-C until they call `serve_parent`.

    They import nothing from the folder in which they start, which may be one of somebody else's files.
    With `alone`, they do not run the main module of this process first; they need it only if their
    function is defined there. A main module that was read from stdin cannot be run again. With `forks`,
    they are forked from a process that ignores Ctrl-C already: here it takes effect when the context ends.
    """
    received: list[tuple[int, FrameType | None]] = []
    in_effect = signal.getsignal(signal.SIGINT)
    with _one_starts:
        main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    from_stdin = getattr(main, "__spec__", None) is None and file is not None and not Path(file).exists()
    handler = (lambda *interrupt: received.append(interrupt)) if forks else signal.SIG_IGN
    with _one_starts, handling(handler, signal.SIGINT), _safe_path():
        if alone or from_stdin:
            sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main
    if received and callable(in_effect):
        in_effect(*received[0])


@contextlib.contextmanager
def _safe_path() -> Iterator[None]:
    """Keep the current folder out of the path of modules of processes that are started meanwhile."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("PYTHONSAFEPATH", None)
        else:
            os.environ["PYTHONSAFEPATH"] = before


def serve_parent() -> None:
    """Make this process ignore Ctrl-C, which also reaches its parent, and exit when its parent does."""
    atexit.register(gc.freeze)  # skips garbage collection at exit
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
