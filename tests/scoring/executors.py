"""Executors that reliably do what real ones do rarely."""

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import Any


class ReverseExecutor(Executor):
    """Runs its tasks once there are n of them, the last first, and passes them through pickle."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.waiting: list[tuple[Future[Any], bytes]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((future, pickle.dumps((fn, args, kwargs))))
        if len(self.waiting) == self.n:
            threading.Thread(target=self.run).start()
        return future

    def run(self) -> None:
        for future, task in reversed(self.waiting):
            fn, args, kwargs = pickle.loads(task)
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(pickle.loads(pickle.dumps(fn(*args, **kwargs))))
            except Exception as error:
                future.set_exception(error)


class UntilItFails(Executor):
    """Runs every task at once, until one fails; later ones never complete."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []
        self.failed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if not self.failed:
            try:
                future.set_result(fn(*args, **kwargs))
            except Exception as error:
                self.failed = True
                future.set_exception(error)
        self.futures.append(future)
        return future


class BreaksDown(Executor):
    """Reports a dead worker like a process pool, which then ends all futures itself."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.futures.append(Future())
        if len(self.futures) == 2:
            self.futures[0].set_exception(BrokenExecutor("a worker died"))
        return self.futures[-1]


class Inline(Executor):
    """Runs every task when it is submitted; before the one of that number, it calls `act`."""

    def __init__(self, number: int, act: Callable[[], object]) -> None:
        self.number, self.act, self.n = number, act, 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.n == self.number:
            self.act()
        self.n += 1
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future
