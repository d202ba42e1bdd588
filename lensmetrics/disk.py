"""Files that appear whole, under one name, with room on the disk and a lock."""

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO


def check_writable(path: Path) -> None:
    """Raise an OSError that says why, if no file can be written at the path."""
    if path.is_dir():
        msg = f"{path} is a directory; give the name of a file in it"
        raise IsADirectoryError(msg)
    if not path.parent.is_dir():
        msg = f"{path} cannot be written: there is no directory {path.parent}; create it"
        raise FileNotFoundError(msg)
    if not os.access(path.parent, os.W_OK):  # also an existing file is replaced, not written into
        msg = f"{path} cannot be written: permission denied; choose another place"
        raise PermissionError(msg)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; without an error that file then takes its place."""
    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())  # else a power cut could leave the new name with nothing behind it
        part.replace(path)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        msg = f"{path} cannot be written ({os.strerror(error.errno)}): make room, or write elsewhere"
        raise OSError(msg) from error
    finally:
        part.unlink(missing_ok=True)


def part_path(path: Path) -> Path:
    """Name of a file while it is unfinished."""
    return path.with_name(path.name + ".part")


def kind_words(mode: int) -> str:
    """Say what something in a folder is that is not a plain file."""
    kinds = {
        stat.S_IFDIR: "a directory",
        stat.S_IFLNK: "a link",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def give_name(path: Path, name: Path) -> None:
    """Rename a file, but never over another one: two writers may come here at the same time."""
    taken = f"{name} cannot be made: another process has made it meanwhile; what was written is in {path}"
    try:
        os.link(path, name)
    except FileExistsError as error:
        raise FileExistsError(taken) from error
    except OSError:  # a file system without hard links
        if os.path.lexists(name):
            raise FileExistsError(taken) from None
        path.rename(name)
    else:
        path.unlink()


def check_space(folder: Path, n_bytes: int, what: str) -> None:
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise OSError(
            f"{what} needs {n_bytes} bytes in {folder}, {free} are free: make room, or write elsewhere"
        )


def reserve(descriptor: int, start: int, n_bytes: int) -> None:
    """Take room on the disk for bytes of a file, or raise an OSError that says why there is none.

    HDF5 must not meet a full disk: it loses what it has not written yet, and can crash the process.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(descriptor, start, n_bytes)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            raise


def check_inputs(paths: Iterable[str | os.PathLike[str]]) -> None:
    """Raise a FileNotFoundError that names all files that are missing, in the order given, each once."""
    missing = [str(path) for path in dict.fromkeys(map(Path, paths)) if not path.exists()]
    if missing:
        *others, last = missing
        words = f"{', '.join(others)} and {last} do" if others else f"{last} does"
        msg = f"{words} not exist"
        raise FileNotFoundError(msg)


# What file systems answer that have no locks, such as Lustre mounted without flock.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


def lock(file: BinaryIO, *, shared: bool = False) -> bool:
    """Lock an open file until it is closed; return False where the system or its file system has no locks.

    A lock that is shared keeps only writers out.

    Raises
    ------
    BlockingIOError
        If the file is locked already, be it in this process.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        return False
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def open_locked(path: Path) -> tuple[BinaryIO, bool]:
    """Open a file, made where there is none, and lock it until it is closed; say also whether it is locked.

    The file may be removed by whoever holds the lock, and only before closing it.

    Raises
    ------
    BlockingIOError
        If the file is locked already, be it in this process.
    """
    while True:
        file = path.open("a+b", buffering=0)
        try:
            is_locked = lock(file)
            # The process that held the lock may have removed what was opened here: another would lock
            # the new file of that name.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    return file, is_locked
        except BaseException:
            file.close()
            raise
        file.close()
