"""What is wrong with files: found in a process of its own, and said in lines."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..processes import SECONDS, Isolated
from .attributes import CHECKSUM
from .store import PairStore

Problem = tuple[int, int, str]
# What each kind of damage means, where its name alone would not tell.
_WORDS = {
    "image_checksum": "image_checksum: an image, the target or an output is damaged",
    "checksum_metadata": "checksum_metadata: attributes, names, predictions or norms are not those that the "
    "file was finished with",
}
# Verifies one file; calls the function with every block that it has read.
Verifier = Callable[[Path, Callable[[], None]], list[Problem]]


class Verdict(NamedTuple):
    """What is wrong with a file: samples of it, as `verify` returns them, or the file as a whole."""

    path: Path
    problems: list[Problem]
    error: str = ""


def verify(
    path: str | os.PathLike[str], progress: Callable[[], object] | None = None
) -> list[tuple[int, int, str]]:
    """Read a whole pair file and say which samples are missing or damaged.

    Calls `progress` after every block of some megabytes.

    Returns
    -------
    list
        (position in the file, sample, problem) for every sample that is not sound, in the order of
        the file. The problem is "incomplete", "checksum" where a map, the number or the label is
        damaged, or "image_checksum" where an image, the target or an output is. Before them
        (-1, -1, "checksum_metadata") where attributes, or columns that no checksum of a sample
        covers, are. Empty for a sound file.

    Raises
    ------
    FormatError
        As `PairStore` does, where the file as a whole cannot be read.
    """
    store = PairStore(path)
    samples = store.sample.tolist()
    problems = [(-1, -1, CHECKSUM)] if store.metadata_damaged else []
    for start, stop in store._blocks():
        status = store.read_block(start, stop)[2]
        beside = store._images_sound(start, stop)
        for position in range(start, stop):
            problem = status[position - start]
            if problem:
                problems.append((position, samples[position], problem))
            if problem != "incomplete" and not beside[position - start]:
                problems.append((position, samples[position], "image_checksum"))
        if progress is not None:
            progress()
    return problems


def verify_files(
    paths: Iterable[Path], *, seconds: float = SECONDS, verifier: Verifier = verify
) -> Iterator[Verdict]:
    """Verify files one after the other; one that gives no sign of life for so many seconds has failed."""
    with Isolated(verifier, seconds=seconds) as isolated:
        for path in paths:
            try:
                yield Verdict(path, isolated(path))
            except (ValueError, OSError) as error:
                yield Verdict(path, [], str(error))


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
        status = _WORDS.get(status, status)
        if first < 0:  # of the whole file
            yield status
        elif first == last:
            named = f"sample {sample} at position" if sample >= 0 else "position"
            yield f"{named} {first}: {status}"
        else:
            named = f"samples {sample}-{last_sample} at positions" if sample >= 0 else "positions"
            yield f"{named} {first}-{last}: {status} ({len(run)} samples)"
