"""Folders and names of files that are being made."""

from pathlib import Path


def make_folder(path: Path) -> None:
    """Make the folder of `path`.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(
            f"the folder {path.parent} cannot be made ({error.strerror}): choose another --out"
        ) from error


def part_path(path: Path) -> Path:
    """Return the name of `path` while it is unfinished."""
    return path.with_name(path.name + ".part")
