"""Files that are left out of a table, and why."""

from pathlib import Path
from typing import NamedTuple

from ..errors import FormatError
from ..pairfile.attributes import is_text


class Failure(NamedTuple):
    """A file that is not in the table, and why."""

    path: Path
    error: Exception


def check_name(path: Path) -> None:
    """Refuse a file whose name no table can hold."""
    if not is_text(str(path)):
        raise FormatError(f"{str(path)!a} has a name that is not UTF-8, which no table can hold: rename it")
