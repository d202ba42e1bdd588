"""Arguments that several commands share, and checks of what was typed."""

import argparse
import contextlib
import glob
import math
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..disk import check_inputs
from ..tables.natural import natural_key

# What the shell expands, unless it is quoted.
_PATTERN = re.compile(r"[*?\[]")
# An integer as it is usually written: no blanks, underscores, plus signs or leading zeros.
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
# A decimal number as it is usually written: no blanks, underscores, plus signs, leading zeros or words.
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*|(?=\.))(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def integer(text: str) -> int:
    """Read an integer; Python's int() also accepts underscores, blanks and digits of other scripts."""
    if not _INTEGER.fullmatch(text):
        raise argparse.ArgumentTypeError(f"expected an integer, got {text!r}")
    return int(text)


def number(text: str) -> int | float:
    """Read an integer or a decimal number as they are usually written."""
    found = _number(text)
    if found is None or not math.isfinite(found):
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}")
    return found


def fraction(text: str) -> float:
    """Read a number or a fraction of two numbers, such as 8/255."""
    found = _value(text, any_fraction=True)
    if found is None or not -sys.float_info.max <= found <= sys.float_info.max:
        raise argparse.ArgumentTypeError(f"expected a number or a fraction, got {text!r}")
    return float(found)


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


def add_metrics(parser: argparse.ArgumentParser, what: str) -> None:
    """Declare --metric, which selects metrics of a table."""
    parser.add_argument(
        "-m",
        "--metric",
        nargs="+",
        action="extend",
        metavar="METRIC",
        help=f"metrics to {what}; a name without brackets stands for all its k and w (default: all)",
    )


def add_table_output(parser: argparse.ArgumentParser, what: str) -> None:
    """Declare --output, which also writes the printed table."""
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help=f"also write the {what}: .csv with all digits, .tex (needs the package booktabs) or .md",
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
    paths = list(paths)
    with as_usage():
        try:
            check_inputs(path for path in paths if not matching(path))
        except FileNotFoundError as error:
            for path in paths:
                part = path.with_name(f"{path.name}.part")
                if part.exists() and not path.exists():
                    error.add_note(f"{part} does: finish it with PairWriter.resume")
            raise


def is_there(word: str | Path) -> bool:
    """Return whether a word names a file or folder; Path.exists() fails where it is too long for a name."""
    with contextlib.suppress(OSError, ValueError):
        return str(word) != "" and Path(word).exists()
    return False


def matching(pattern: str | Path) -> list[Path]:
    """Return what a pattern with ``*``, ``?`` or ``[...]`` matches, in natural order."""
    if not _PATTERN.search(str(pattern)) or is_there(pattern):
        return []
    found = glob.glob(str(pattern))  # noqa: PTH207 - Path.glob refuses absolute patterns
    return sorted(map(Path, found), key=natural_key)


def pair_files(paths: Iterable[Path]) -> list[Path]:
    """Return the pair files that were named; raise an error of usage if there are none.

    A folder stands for the files in it, not in folders below, whose names end in ``.h5`` and do not begin
    with a dot, in natural order (a2 before a10). A pattern that the shell has not expanded stands for what
    it matches.
    """
    named: list[Path] = []
    for path in paths:
        found = matching(path)
        if not found and _PATTERN.search(str(path)) and not is_there(path):
            raise ValueError(f"no file matches {path}")
        named += found or [path]
    check_files(named)
    files: list[Path] = []
    for path in named:
        files += _in_folder(path) if path.is_dir() else [path]
    return files


def _in_folder(folder: Path) -> list[Path]:
    files = [path for path in folder.glob("*.h5") if not path.name.startswith(".")]
    if files:
        return sorted(files, key=natural_key)
    below = sorted({path.parent for path in folder.glob("*/**/*.h5")}, key=natural_key)
    hint = f"; there are some in {below[0]}" if below else ""
    raise ValueError(f"{folder} holds no .h5 file: name a folder of pair files, or the files{hint}")


def check_once(files: Sequence[Path]) -> None:
    """Refuse a file that was named twice, even by two names."""
    seen: dict[tuple[int, int], Path] = {}
    for path in files:
        try:
            found = path.stat()
        except OSError:  # such as a link in a folder that leads nowhere; said again when the file is read
            continue
        first = seen.setdefault((found.st_dev, found.st_ino), path)
        if first is not path:
            what = f"{path} is named twice" if first == path else f"{first} and {path} are one file"
            raise ValueError(f"{what}: name every file once")


def check_suffix(output: Path, suffix: str) -> None:
    """Refuse an output whose suffix does not match what the command writes."""
    if output.suffix != suffix:
        raise ValueError(
            f"{output}: this command writes a {suffix} file; choose a name that ends in {suffix}"
        )


def attribute(text: str) -> tuple[str, str | int | float]:
    """Read NAME=VALUE; a value written as numbers are is a number, everything else is text.

    N/M is a number where M is 255, the range of images, and for eps, which must be a number.
    """
    name, _, value = text.partition("=")
    if not name or not value:
        hint = "; a value may not be empty" if name and text == f"{name}=" else ""
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}{hint}")
    if name == "eps" and value == "nan":  # of an attack without a bound
        return name, math.nan
    number = _value(value, any_fraction=name == "eps")
    if number is None and name == "eps":
        raise argparse.ArgumentTypeError(f"eps must be a number, such as 0.1 or 8/255, got {text!r}")
    if number is not None and not -math.inf < number < math.inf:
        raise argparse.ArgumentTypeError(f"the value of {text!r} is not finite")
    return name, value if number is None else number


def _value(text: str, *, any_fraction: bool) -> int | float | None:
    """Read a number or a fraction; return None for other texts."""
    first, slash, second = text.partition("/")
    above, below = _number(first), _number(second)
    if not slash or above is None:
        return above
    if below is None or (below != 255 and not any_fraction):
        return None
    try:
        return above / below
    except (ZeroDivisionError, OverflowError):
        return math.nan


def _number(text: str) -> int | float | None:
    """Read an integer or a decimal number, with or without an exponent; return None for other texts."""
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else None
