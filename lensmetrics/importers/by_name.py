"""Labels and sample numbers of named samples, from a CSV file with a name and a number in each line."""

import csv
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError

_N_LISTED = 5
_INTEGER = re.compile("[+-]?[0-9]{1,18}")


def read_by_name(path: Path, names: Sequence[str], what: str) -> NDArray[np.int64]:
    """Return the number of each of these samples.

    A line names a sample as the maps do, or by its file with a suffix. The first line may be a header;
    lines about other samples are left out.

    Raises
    ------
    ValueError
        If the file is no .csv file: the order of the names alone would decide which number is whose.
    FormatError
        If a sample has no number or two, or a line is not a name and an integer.
    """
    if path.suffix.lower() != ".csv":
        raise ValueError(
            f"{path} has no names, and samples with a file or an array each are told by theirs: give the "
            f"{what} as a .csv file with a name and a number in each line, such as img1,7"
        )
    wanted = dict.fromkeys(names)
    found: dict[str, int] = {}
    for number, line in _lines(path):
        fields = [field.strip() for field in line]
        if len(fields) != 2 or not _INTEGER.fullmatch(fields[1]):
            if number == 1 and len(fields) == 2:  # a header
                continue
            raise FormatError(
                f"{path} has {','.join(line)!r} in line {number}; {what} must be a name and an integer, such "
                "as img1,7"
            )
        text = unicodedata.normalize("NFC", fields[0]).replace("\\", "/")
        file = PurePosixPath(text)
        name = text if text in wanted or not file.name else file.with_suffix("").as_posix()
        value = int(fields[1])
        if name in wanted and found.setdefault(name, value) != value:
            raise FormatError(
                f"{path} gives {name!r} both {found[name]} and {value}: remove one of the lines"
            )
    missing = [name for name in names if name not in found]
    if missing:
        listed = ", ".join(missing[:_N_LISTED]) + ", ..." * (len(missing) > _N_LISTED)
        raise FormatError(
            f"{path} has no {what} for {len(missing)} of {len(names)} samples: {listed}; add a line for each"
        )
    return np.array([found[name] for name in names], dtype=np.int64)


def _lines(path: Path) -> list[tuple[int, list[Any]]]:
    """Return the lines that are not empty, numbered from 1."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not text in UTF-8: save it as CSV in UTF-8") from error
    first = text.partition("\n")[0]
    delimiter = next((mark for mark in ",;\t" if mark in first), ",")
    try:
        return [
            (number, line)
            for number, line in enumerate(csv.reader(text.splitlines(), delimiter=delimiter), 1)
            if line
        ]
    except csv.Error as error:
        raise FormatError(
            f"{path} is not a CSV file ({error}): save a name and a number in each line"
        ) from error
