"""Folders and names of files in progress."""

import errno
from pathlib import Path

# What the names of unfinished files add to the finished one: ".part", or ".", ".XXXXXXXX" and ".tmp".
_LONGEST = "." + 8 * "x" + ".tmp."


def make_folder(path: Path) -> None:
    """Create the folder of `path`.

    Raises
    ------
    OSError
        If it cannot be created.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(
            f"the folder {path.parent} cannot be made ({error.strerror}): choose another --out"
        ) from error


def check_name(path: Path) -> None:
    """Refuse a path where no file can be written, without making anything.

    Raises
    ------
    OSError
        If it is a directory, its folder is a file, or it is too long.
    """
    try:
        path.with_name(path.name + _LONGEST).lstat()
    except FileNotFoundError:
        pass
    except OSError as error:
        why = "its name is too long" if error.errno == errno.ENAMETOOLONG else error.strerror
        raise type(error)(f"{path} cannot be written ({why}): choose another --out") from error
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory: give the name of a file in it")


def part_path(path: Path) -> Path:
    """Return the name of `path` while it is unfinished."""
    return path.with_name(path.name + ".part")
