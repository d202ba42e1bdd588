"""Files named by a user, looked at before any work."""

import os
from collections.abc import Iterable
from pathlib import Path


def check_inputs(paths: Iterable[str | os.PathLike[str]]) -> None:
    """Raise a FileNotFoundError that names all files that are missing, in the order given, each once."""
    missing = [str(path) for path in dict.fromkeys(map(Path, paths)) if not path.exists()]
    if missing:
        *others, last = missing
        words = f"{', '.join(others)} and {last} do" if others else f"{last} does"
        msg = f"{words} not exist"
        raise FileNotFoundError(msg)
