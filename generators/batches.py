"""Find the batch size that fits into memory by trying."""

import threading
import time
from collections.abc import Callable
from functools import partial

import psutil
import torch


class Memory:
    """The memory of a device: how much is free, and how much a piece of work needs."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def free(self) -> int:
        """Return the number of free bytes."""
        if self._device.type == "cuda":
            return int(torch.cuda.mem_get_info(self._device)[0])
        return int(psutil.virtual_memory().available)

    def peak(self, work: Callable[[], object]) -> int:
        """Do the work and return the largest number of bytes that it holds at a time."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            work()
            return int(torch.cuda.max_memory_allocated(self._device))
        process = psutil.Process()
        before = process.memory_info().rss
        seen = [before]
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.005):
                seen.append(process.memory_info().rss)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            work()
        finally:
            done.set()
            watcher.join()
        return max(seen) - before


def fitting_batch_size(work: Callable[[int], object], most: int, memory: Memory) -> int:
    """Return the fastest of 1, 2, 4, ..., `most` samples at a time that stays within half of the free memory.

    Parameters
    ----------
    work
        Does a short piece of the work on that many samples.
    most
        The largest size to try: the number of samples, or fewer if more cannot be faster.
    memory
        That of the device on which `work` computes.
    """
    free = memory.free()
    work(1)  # the first call compiles and fills caches
    best, best_time = 1, float("inf")
    sizes = [2**i for i in range((most - 1).bit_length())]  # those below `most`
    for size in [*sizes, most]:
        try:
            started = time.perf_counter()
            used = memory.peak(partial(work, size))
        except torch.OutOfMemoryError:
            break
        per_sample = (time.perf_counter() - started) / size
        if per_sample > 0.95 * best_time:  # a larger batch must be worth its memory
            break
        best, best_time = size, per_sample
        if 2 * used > free / 2:
            break
    return best
