"""The batch size that fits: found by trying."""

import threading
import time
from collections.abc import Callable
from functools import partial

import psutil
import torch


def fitting_batch_size(work: Callable[[int], object], most: int, device: torch.device) -> int:
    """The fastest of 1, 2, 4, ... samples at a time that stays within half of the free memory.

    Parameters
    ----------
    work
        Does a short stretch of the work on that many samples.
    most
        The largest size worth trying: how many samples there are.
    device
        Where `work` computes.
    """
    free = _free_memory(device)
    work(1)  # the first call compiles and fills caches
    best, best_time, size = 1, float("inf"), 1
    while size <= most:
        try:
            started = time.perf_counter()
            used = _peak_memory(device, partial(work, size))
        except torch.cuda.OutOfMemoryError:
            break
        per_sample = (time.perf_counter() - started) / size
        if per_sample > 0.95 * best_time:  # a larger batch must be worth its memory
            break
        best, best_time = size, per_sample
        if 2 * used > free / 2:
            break
        size *= 2
    return best


def _free_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def _peak_memory(device: torch.device, work: Callable[[], object]) -> int:
    """Bytes that `work` holds at most at a time."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return int(torch.cuda.max_memory_allocated(device))
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
