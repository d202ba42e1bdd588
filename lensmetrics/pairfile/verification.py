"""Verify files in a subprocess and format the problems found."""

import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..children import SECONDS, Isolated
from ..errors import FormatError
from . import slices
from .attributes import CHECKSUM
from .format import BESIDE_MAPS
from .opening import load_filters, opened
from .store import PairStore

Problem = tuple[int, int, str]
# What each kind of damage means, where its name alone does not tell.
_EXPLANATIONS = {
    "image_checksum": "image_checksum: an image, the target or an output is damaged",
    "checksum_metadata": "checksum_metadata: attributes, names, predictions or norms have changed since the "
    "file was finished",
}
# Verifies one file, and calls the function after every block that it has read.
Verifier = Callable[[Path, Callable[[], None]], list[Problem]]


class Verdict(NamedTuple):
    """What is wrong with a file: bad samples, as `verify` returns them, or the error that it raised."""

    path: Path
    problems: list[Problem]
    error: str = ""


def verify(
    path: str | os.PathLike[str], progress: Callable[[], object] | None = None
) -> list[tuple[int, int, str]]:
    """Read a whole pair file and list the samples that are missing or damaged.

    Calls `progress` after every block of some megabytes.

    Returns
    -------
    list
        (position in the file, sample, problem) for every bad sample, in the order of the file. The
        problem is "incomplete", "checksum" if a map, the number or the label is damaged, or
        "image_checksum" if an image, the target or an output is. Before them
        (-1, -1, "checksum_metadata") if attributes, or columns that no checksum of a sample covers,
        are damaged. Empty for a sound file.

    Raises
    ------
    FormatError
        As `PairStore` does, if the file as a whole cannot be read.
    """
    store = PairStore(path)
    samples = store.sample.tolist()
    problems = [(-1, -1, CHECKSUM)] if store.metadata_damaged else []
    for start, stop in store.blocks():
        status = store.read_block(start, stop)[2]
        beside = _images_sound(store, start, stop)
        for position in range(start, stop):
            problem = status[position - start]
            if problem:
                problems.append((position, samples[position], problem))
            if problem != "incomplete" and not beside[position - start]:
                problems.append((position, samples[position], "image_checksum"))
        if progress is not None:
            progress()
    return problems


def _images_sound(store: PairStore, start: int, stop: int) -> list[bool]:
    """Compare images, targets and outputs with their checksum, if the file has one."""
    expected = store.header.columns.image_checksum
    if expected is None:
        return [True] * (stop - start)
    load_filters(store.path, store.header.layout.filters)
    sound: list[bool] = []
    with opened(store.path) as file:
        datasets = [file[name] for name in BESIDE_MAPS if name in file]
        row_bytes = sum(math.prod(dataset.shape[1:]) * dataset.dtype.itemsize for dataset in datasets)
        length = max(1, slices.BLOCK_BYTES // max(row_bytes, 1))
        for first in range(start, stop, length) if datasets else ():
            last = min(first + length, stop)
            sound += slices.read_beside(file, first, last - first, expected[first:last])[1]
    return sound or [True] * (stop - start)


def verify_files(
    paths: Iterable[Path], *, seconds: float = SECONDS, verifier: Verifier = verify
) -> Iterator[Verdict]:
    """Verify files one by one; a file whose verification makes no progress for `seconds` has failed."""
    with Isolated(verifier, seconds=seconds) as isolated:
        for path in paths:
            try:
                yield Verdict(path, isolated(path))
            except (FormatError, OSError) as error:
                yield Verdict(path, [], str(error))


def problem_lines(problems: Iterable[Problem]) -> Iterator[str]:
    """Describe bad samples, with one line for each run of neighbours that have the same problem."""

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
        status = _EXPLANATIONS.get(status, status)
        if first < 0:  # of the whole file
            yield status
        elif first == last:
            named = f"sample {sample} at position" if sample >= 0 else "position"
            yield f"{named} {first}: {status}"
        else:
            named = f"samples {sample}-{last_sample} at positions" if sample >= 0 else "positions"
            yield f"{named} {first}-{last}: {status} ({len(run)} samples)"
