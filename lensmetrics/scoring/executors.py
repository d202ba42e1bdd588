"""Where slices are scored: a pool of processes, a Dask cluster, or any other executor.

No other module knows Dask. The top of this module imports little: pools start before the rest of the
package is imported.
"""

import contextlib
import multiprocessing
import os
import pkgutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    as_completed,
)
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Protocol, TypeVar

from .. import __version__
from ..messages import say
from ..processes import available_cores, handling, may_start, serve_parent, starting

# Pair files of this size are scored in one or two seconds, which is how long a pool takes to start.
FEW_BYTES = 2**27
# How long to wait for a Dask scheduler to answer.
DASK_SECONDS = 30.0

# What Dask and concurrent.futures call a future; neither shares a type with the other.
Handle = Any
T = TypeVar("T")


class Workers(Protocol):
    """Calls functions elsewhere; its futures can only be passed back to it."""

    def submit(self, function: Callable[..., object], *arguments: object) -> Handle:
        """Return a future of the call."""

    def results(self, futures: Iterable[Handle]) -> Iterator[tuple[Handle, Any]]:
        """Yield futures and their results as they complete; raise the first error of a call."""

    def cancel(self, futures: Iterable[Handle]) -> list[Handle]:
        """Cancel calls that have not started; return those that will never complete."""


def workers_of(executor: Executor) -> Workers:
    """Return the workers behind an executor."""
    cfexecutor = sys.modules.get("distributed.cfexecutor")
    if cfexecutor is not None and isinstance(executor, cfexecutor.ClientExecutor):
        # Its own futures turn a result into an error if the worker that holds the result dies just then;
        # those of its client wait until another worker has computed it.
        return _DaskWorkers(executor._client, executor._kwargs)
    return _ExecutorWorkers(executor)


class _ExecutorWorkers:
    """The workers of a ``concurrent.futures.Executor``."""

    def __init__(self, executor: Executor) -> None:
        self._executor, self._is_broken = executor, False

    def submit(self, function: Callable[..., object], *arguments: object) -> Handle:
        return self._executor.submit(function, *arguments)

    def results(self, futures: Iterable[Handle]) -> Iterator[tuple[Handle, Any]]:
        for future in as_completed(list(futures)):
            try:
                result = future.result()
            except BrokenExecutor:
                self._is_broken = True
                raise
            yield future, result

    def cancel(self, futures: Iterable[Handle]) -> list[Handle]:
        # A broken process pool ends all futures itself, and hangs if it meets one that is cancelled here.
        return [] if self._is_broken else [future for future in futures if future.cancel()]


class _DaskWorkers:
    """The workers of a Dask cluster."""

    def __init__(self, client: Any, options: Mapping[str, Any]) -> None:
        self._client, self._address = client, client.scheduler.address
        self._options = {"pure": False, **options}  # never reuse the result of an earlier call
        _check_installation(client)

    def submit(self, function: Callable[..., object], *arguments: object) -> Handle:
        with self._errors():
            return self._client.submit(function, *arguments, **self._options)

    def results(self, futures: Iterable[Handle]) -> Iterator[tuple[Handle, Any]]:
        from distributed import as_completed

        for future in as_completed(list(futures), loop=self._client.loop):
            with self._errors():
                result = future.result()
            yield future, result

    def cancel(self, futures: Iterable[Handle]) -> list[Handle]:
        cancelled = list(futures)
        self._client.cancel(cancelled)
        return cancelled

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn errors of Dask into errors that say what happened to the run."""
        from distributed import KilledWorker
        from distributed.comm import CommClosedError

        try:
            yield
        except KilledWorker as error:
            raise with_notes(
                RuntimeError(f"workers repeatedly died on the same slice, possibly out of memory ({error})"),
                error,
            ) from error
        except (CancelledError, CommClosedError) as error:
            lost = ConnectionError(f"the connection to the Dask scheduler at {self._address} was lost")
            raise with_notes(lost, error) from error


def _check_installation(client: Any) -> None:
    """Refuse a cluster that lacks this version of lensmetrics; its workers would die on the first slice."""
    found = client.run(pkgutil.resolve_name, "lensmetrics:__version__", on_error="return")
    versions = {f"the worker at {address}": version for address, version in found.items()}
    try:
        versions["the scheduler"] = client.run_on_scheduler(pkgutil.resolve_name, "lensmetrics:__version__")
    except ImportError as error:
        versions["the scheduler"] = error
    for where, version in versions.items():
        if isinstance(version, ImportError):
            raise RuntimeError(
                f"{where} does not have lensmetrics ({version}): scheduler and workers need lensmetrics "
                f"{__version__} installed, as here"
            )
        if isinstance(version, str) and version != __version__:
            raise RuntimeError(
                f"{where} has lensmetrics {version}, this machine has {__version__}: install the same "
                "version on both"
            )


@contextlib.contextmanager
def process_pool(n_workers: int | None, files: Sequence[Path]) -> Iterator[Executor | None]:
    """Yield a pool of processes, or None if this process is to score alone.

    By default, small files are scored in this process.
    """
    if n_workers is None:
        n_bytes = sum(file.stat().st_size for file in files if file.is_file())
        n_workers = available_cores() if n_bytes > FEW_BYTES and may_start() else 1
    if n_workers < 1:
        raise ValueError(f"--workers must be at least 1, got {n_workers}")
    if n_workers == 1:
        yield None
        return
    if not may_start():
        raise ValueError(
            f"--workers {n_workers}: this process belongs to a pool and cannot start others; use --workers 1"
        )
    try:
        with _started(n_workers) as executor:
            yield executor
    except (BrokenProcessPool, BrokenPipeError) as error:
        raise with_notes(
            RuntimeError(
                "a worker process died, possibly out of memory (try fewer --workers) or because of a damaged "
                "compressed file (lensmetrics verify tells which)"
            ),
            error,
        ) from error


@contextlib.contextmanager
def _started(n_workers: int) -> Iterator[Executor]:
    executor = _Pool(n_workers)
    try:
        yield executor
    finally:
        with _second_interrupt_exits():
            executor.shutdown(cancel_futures=True)


class _Pool(Executor):
    """Processes for this run, which nobody can interrupt but this one.

    On Linux they are forked from a process that imports what all of them need, once, while this one still
    opens files. It has no open files, and no threads but those of linear algebra, which allow for forks.
    Elsewhere each is started anew, and imports at the same time. The process from which others are forked
    serves this whole process, to its end.
    """

    def __init__(self, n_workers: int) -> None:
        self._forks = sys.platform == "linux"
        context = multiprocessing.get_context("forkserver" if self._forks else "spawn")
        with starting(), _enough_memory():
            self._processes = ProcessPoolExecutor(n_workers, mp_context=context, initializer=_begin)
            if self._forks:
                from multiprocessing.forkserver import ensure_running

                # The command too: processes run the main module of this one before anything else.
                context.set_forkserver_preload(["lensmetrics.scoring.preloaded", "lensmetrics.cli"])
                ensure_running()
        if not self._forks:
            for _ in range(n_workers):
                self.submit(_import_worker)

    def submit(self, function: Callable[..., T], /, *arguments: Any, **named: Any) -> "Future[T]":
        """Submit a call, for which a process may be started."""
        try:
            with starting(forks=self._forks), _enough_memory():
                return self._processes.submit(function, *arguments, **named)
        except (EOFError, ConnectionError) as error:  # the process died from which others are forked
            raise BrokenProcessPool(str(error)) from error

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End all processes, after the calls that were submitted unless they are cancelled."""
        self._processes.shutdown(wait, cancel_futures=cancel_futures)


@contextlib.contextmanager
def _enough_memory() -> Iterator[None]:
    """Say what to do if a process cannot be started."""
    try:
        yield
    except OSError as error:
        if isinstance(error, ConnectionError):
            raise
        raise OSError(
            f"no worker process can be started ({error.strerror}): free space in the shared memory, "
            "/dev/shm, or use --workers 1"
        ) from error


def _begin() -> None:
    serve_parent()
    import numpy as np

    # Forked workers would all draw the same numbers, where a metric draws any without a seed.
    np.random.seed()  # noqa: NPY002 - its state is what forks share


def _import_worker() -> None:
    """Import what scoring needs; this takes a second, while the parent still opens files."""
    from . import worker  # noqa: F401


def _second_interrupt_exits() -> contextlib.AbstractContextManager[None]:
    """Exit immediately on a second Ctrl-C: interrupting a pool during shutdown can deadlock it."""

    def end(*_: object) -> None:
        say("lensmetrics: interrupted")
        os._exit(130)

    return handling(end, signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def dask_cluster(address: str, *, seconds: float = DASK_SECONDS) -> Iterator[Executor]:
    """Yield an executor on the workers of a Dask scheduler."""
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError("--dask needs Dask's scheduler: pip install 'lensmetrics[distributed]'") from error
    try:
        # Dask would keep a client that fails to connect as the default of this process.
        client = Client(address, timeout=seconds, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"no Dask scheduler answers at {address} ({error}): use the address that the scheduler printed"
        ) from error
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            say(f"lensmetrics: the scheduler at {address} has no workers yet; waiting for one")
        yield client.get_executor()


def with_notes(error: Exception, cause: Exception) -> Exception:
    """Return an error with the notes of the error that it replaces."""
    for note in getattr(cause, "__notes__", []):
        error.add_note(note)
    return error
