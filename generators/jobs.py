"""Make several files at a time, each in a worker process, and each after the files that it needs."""

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch


class Item(Protocol):
    """What can be made: a checkpoint or a pair file."""

    @property
    def out(self) -> Path:
        """The file that is made."""

    @property
    def needs(self) -> Sequence[Path]:
        """The files from which it is made."""

    def make(self) -> int:
        """Make it and return the exit status."""


T = TypeVar("T", bound=Item)


class _Waiting(Generic[T]):
    """Items that are not begun yet, in their order."""

    def __init__(self, items: Sequence[T]) -> None:
        self._items = list(items)
        self._unmade = {item.out for item in items}

    def next(self) -> T | None:
        """Remove and return the first item of which all that it needs is made."""
        for item in self._items:
            if self._unmade.isdisjoint(item.needs):
                self._items.remove(item)
                return item
        return None

    def end(self, item: T, status: int) -> list[T]:
        """Record how an item ended; remove and return those that now cannot be made."""
        self._unmade.remove(item.out)
        failed, lost = {item.out} if status else set(), []
        while found := [other for other in self._items if not failed.isdisjoint(other.needs)]:
            lost += found
            failed |= {other.out for other in found}
            self._items = [other for other in self._items if other.out not in failed]
        return lost


def made(items: Sequence[T], jobs: int) -> Iterator[tuple[T, int | None]]:
    """Yield each item with the exit status of its command, in the order in which they end.

    The status is None for an item that was not begun, because one that it needs could not be made. Files that
    are needed and that no item makes are taken to exist.
    """
    waiting = _Waiting(items)
    if jobs == 1 or len(items) < 2:
        while (item := waiting.next()) is not None:
            status = item.make()
            yield item, status
            yield from ((lost, None) for lost in waiting.end(item, status))
        return
    threads = max(1, available_cores() // jobs)
    pool = ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin_worker,
        initargs=(threads,),
    )
    running: dict[Future[int], T] = {}
    try:
        while True:  # submit no more than run at a time, so that an interrupted sweep starts nothing new
            while len(running) < jobs and (item := waiting.next()) is not None:
                running[pool.submit(item.make)] = item
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                item, status = running.pop(future), future.result()
                yield item, status
                yield from ((lost, None) for lost in waiting.end(item, status))
    except BrokenProcessPool as error:
        raise OSError(
            "a worker process was killed, most likely because it ran out of memory; use fewer --jobs or a "
            "smaller batch_size, and run the same command again to continue"
        ) from error
    except BaseException:
        workers = multiprocessing.active_children()
        for worker in workers:
            worker.terminate()  # SIGTERM: each keeps its .part
        for worker in workers:
            worker.join(10)
            worker.kill()  # it may wait for a lock that another worker held when it ended
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def available_cores() -> int:
    """Return the number of cores that this process may use, which is fewer than exist on a shared machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _begin_worker(threads: int) -> None:
    torch.set_num_threads(threads)
    os.environ["TQDM_DISABLE"] = "1"  # progress bars of several files would overwrite one another
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent has ended, which a killed one cannot do.

    It would go on with its file while a second sweep is to continue that, and then wait for ever.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # as a kill: the file keeps its .part
