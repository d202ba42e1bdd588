"""Folders and names of files in progress."""

from pathlib import Path


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


def part_path(path: Path) -> Path:
    """Return the name of `path` while it is unfinished."""
    return path.with_name(path.name + ".part")
