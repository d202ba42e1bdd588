"""Arguments that several commands share, and checks of what was typed."""

import argparse
import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..disk import check_inputs

# An integer as it is usually written: no blanks, underscores, plus signs or leading zeros.
INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")


def integer(text: str) -> int:
    """Read an integer; Python's int() also accepts underscores, blanks and digits of other scripts."""
    if not INTEGER.fullmatch(text):
        raise argparse.ArgumentTypeError(f"expected an integer, got {text!r}")
    return int(text)


def add_exclude(parser: argparse.ArgumentParser, where: str = "") -> None:
    """Declare --exclude."""
    parser.add_argument(
        "--exclude",
        nargs="+",
        action="extend",
        default=[],
        metavar="STATUS",
        help=f"leave out samples with one of these statuses{where}, such as not_attacked",
    )


@contextlib.contextmanager
def as_usage() -> Iterator[None]:
    """Turn errors of files into errors of usage, in checks of what was typed."""
    try:
        yield
    except OSError as error:
        usage = ValueError(str(error))
        for note in getattr(error, "__notes__", []):
            usage.add_note(note)
        raise usage from error


def check_files(paths: Iterable[Path]) -> None:
    """Raise an error of usage that names all files that do not exist."""
    with as_usage():
        try:
            check_inputs(paths)
        except FileNotFoundError as error:
            for path in paths:
                part = path.with_name(f"{path.name}.part")
                if part.exists() and not path.exists():
                    error.add_note(f"{part} does: finish it with PairWriter.resume")
            raise


def check_suffix(output: Path, suffix: str) -> None:
    """Refuse an output whose suffix does not match what the command writes."""
    if output.suffix != suffix:
        raise ValueError(
            f"{output}: this command writes a {suffix} file; choose a name that ends in {suffix}"
        )
