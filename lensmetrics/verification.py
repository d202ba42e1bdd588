"""Verifying files in a process of its own: HDF5 can hang or crash on damaged metadata."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from .store import verify
from .worker import serve_parent

Problem = tuple[int, int, str]
# Verifies one file; calls the function with every block that it has read.
Verifier = Callable[[Path, Callable[[], None]], list[Problem]]

# A block of some megabytes takes a slow disk a second.
SECONDS = 60.0


class Verdict(NamedTuple):
    """What is wrong with a file: samples of it, as `verify` returns them, or the file as a whole."""

    path: Path
    problems: list[Problem]
    error: str = ""


def verify_files(
    paths: Iterable[Path], *, seconds: float = SECONDS, verifier: Verifier = verify
) -> Iterator[Verdict]:
    """Verify files one after the other; one that gives no sign of life for so many seconds has failed."""
    context = multiprocessing.get_context("spawn")
    process, connection = None, None
    try:
        for path in paths:
            if process is None or connection is None:
                connection, end = context.Pipe()
                process = context.Process(target=_serve, args=(end, verifier), daemon=True)
                process.start()
                end.close()  # else nobody would notice here that the process has died
                connection.poll(SECONDS)  # it says that it is there
            verdict = _ask(connection, path, seconds)
            if isinstance(verdict, str):
                process.kill()
                process.join()
                connection.close()
                process = None
                verdict = Verdict(path, [], f"{path} {verdict}: it is damaged; make or copy it again")
            yield verdict
    finally:
        if process is not None:
            process.kill()
            process.join()


def _ask(connection: Connection, path: Path, seconds: float) -> Verdict | str:
    """Return what the process says of a file, or what it does instead."""
    try:
        connection.send(path)
        while connection.poll(seconds):
            verdict: Verdict | None = connection.recv()
            if verdict is not None:
                return verdict
    except (EOFError, OSError):
        return "crashes the process that reads it"
    return f"gives no answer in {seconds:g} seconds"


def _serve(connection: Connection, verifier: Verifier) -> None:
    """Answer with a verdict for every path that comes, and with None for every block read until then."""
    serve_parent()
    connection.send(None)
    while True:
        path = connection.recv()
        try:
            verdict = Verdict(path, verifier(path, lambda: connection.send(None)))
        except (ValueError, OSError) as error:
            verdict = Verdict(path, [], str(error))
        connection.send(verdict)


def problem_lines(problems: Iterable[Problem]) -> Iterator[str]:
    """Say which samples are bad, a line for each row of neighbours with the same problem."""

    def kind(problem: Problem) -> tuple[str, int | None]:
        position, sample, status = problem
        # Samples that were never written have no number.
        return status, sample - position if sample >= 0 else None

    runs: list[list[Problem]] = []
    for problem in problems:
        if runs and runs[-1][-1][0] == problem[0] - 1 and kind(runs[-1][-1]) == kind(problem):
            runs[-1].append(problem)
        else:
            runs.append([problem])
    for run in runs:
        (first, sample, status), (last, last_sample, _) = run[0], run[-1]
        if first == last:
            named = f"sample {sample} at position" if sample >= 0 else "position"
            yield f"{named} {first}: {status}"
        else:
            named = f"samples {sample}-{last_sample} at positions" if sample >= 0 else "positions"
            yield f"{named} {first}-{last}: {status} ({len(run)} samples)"
