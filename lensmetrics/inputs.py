"""Files named by a user, looked at before any work."""

import os
import stat
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


def check_regular(path: Path) -> None:
    """Refuse a pipe, a device or a socket, which reading could wait for or fill the memory from."""
    mode = path.stat().st_mode
    for kind, words in ((stat.S_ISFIFO, "pipe"), (stat.S_ISCHR, "device"), (stat.S_ISBLK, "device")):
        if kind(mode):
            msg = f"{path} is a {words}; give a regular file: write what comes from it to one first"
            raise ValueError(msg)
    if stat.S_ISSOCK(mode):
        msg = f"{path} is a socket; give a regular file"
        raise ValueError(msg)
