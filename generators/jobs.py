"""Make several files at a time, each in a worker process."""

import itertools
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol, TypeVar

import torch


class Item(Protocol):
    """What can be made: a checkpoint or a pair file."""

    def make(self) -> int:
        """Make it and return the exit status."""


T = TypeVar("T", bound=Item)


def made(items: Sequence[T], jobs: int) -> Iterator[tuple[T, int]]:
    """Yield each item with the exit status of its command, in the order in which they end."""
    if jobs == 1 or len(items) < 2:
        yield from ((item, item.make()) for item in items)
        return
    threads = max(1, available_cores() // jobs)
    pool = ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin_worker,
        initargs=(threads,),
    )
    try:
        waiting = iter(items)
        running = {pool.submit(item.make): item for item in itertools.islice(waiting, jobs)}
        while running:  # submit no more than run at a time, so that an interrupted sweep starts nothing new
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
                running |= {pool.submit(item.make): item for item in itertools.islice(waiting, 1)}
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
