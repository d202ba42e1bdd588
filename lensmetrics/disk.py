"""Files that appear whole, under one name, with enough disk space and a lock."""

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
        raise IsADirectoryError(f"{path} is a directory; give the name of a file in it")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no directory {path.parent}; create it")
    if not os.access(path.parent, os.W_OK):  # an existing file is replaced, not written into
        raise PermissionError(f"{path} cannot be written: permission denied; choose another place")


@contextlib.contextmanager
def replacing(path: Path, part: Path | None = None) -> Iterator[Path]:
    """Yield a path beside `path` to write to; if no error occurs, that file then replaces `path`.

    `part` is the path beside it; by default its name contains the number of the process.
    """
    if part is None:
        part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())  # otherwise a power cut could leave an empty file under the new name
        part.replace(path)
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if not is_full and part.name not in str(error):
            raise
        reason = str(error) if error.errno is None else os.strerror(error.errno)
        cure = "free some space, or write elsewhere" if is_full else "choose another place"
        raise OSError(f"{path} cannot be written ({reason}): {cure}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def copy_file(source: BinaryIO, target: Path) -> None:
    """Copy an open file with its permissions; holes stay holes, and blocks are shared where possible."""
    size = os.fstat(source.fileno()).st_size
    with target.open("wb") as file:
        os.truncate(file.fileno(), size)
        for start, stop in _stored_ranges(source.fileno(), size):
            _copy_range(source, file, start, stop)
    target.chmod(stat.S_IMODE(os.fstat(source.fileno()).st_mode))


def _stored_ranges(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield where a file holds data; a file with room for samples that are missing has holes."""
    stop = 0
    while stop < size:
        try:
            start = os.lseek(descriptor, stop, os.SEEK_DATA)
            stop = os.lseek(descriptor, start, os.SEEK_HOLE)
        except (AttributeError, OSError) as error:
            if getattr(error, "errno", None) != errno.ENXIO:  # there is data, or nobody can tell
                yield stop, size
            return
        yield start, stop


def _copy_range(source: BinaryIO, target: BinaryIO, start: int, stop: int) -> None:
    while start < stop:
        try:
            n = os.copy_file_range(source.fileno(), target.fileno(), stop - start, start, start)
        except (AttributeError, OSError) as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise
            n = 0  # this system or file system cannot
        if n == 0:
            source.seek(start)
            target.seek(start)
            data = source.read(min(stop - start, 2**24))
            if not data:
                raise OSError(f"{source.name} became shorter while it was copied")
            target.write(data)
            target.flush()
            n = len(data)
        start += n


def part_path(path: Path) -> Path:
    """Return the name of a file while it is unfinished."""
    return path.with_name(path.name + ".part")


def file_kind(mode: int) -> str:
    """Describe a directory entry that is not a regular file."""
    kinds = {
        stat.S_IFDIR: "a directory",
        stat.S_IFLNK: "a link",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def rename_new(path: Path, name: Path) -> None:
    """Rename a file without ever replacing another one, even if two processes try at the same time."""
    taken = f"another process created {name} in the meantime; your data is in {path}"
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
    """Raise an OSError if the disk has fewer bytes free than `what` needs."""
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise OSError(
            f"{what} needs {n_bytes} bytes in {folder}, {free} are free: free some space, or write elsewhere"
        )


def allocate(descriptor: int, start: int, n_bytes: int) -> None:
    """Allocate disk space for a range of a file, or raise an OSError that says why there is none.

    HDF5 must never meet a full disk: it loses buffered data, and can crash the process. Where the file
    system cannot allocate in advance, the next flush reports what went wrong.
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
        raise FileNotFoundError(f"{words} not exist")


# What the system reports where files cannot be locked: by file systems such as Lustre mounted without
# flock, and by filelock (ENOSYS) where Python has no locks.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


def lock(file: BinaryIO) -> bool:
    """Lock an open file until it is closed; return False where the system or file system has no locks.

    The operating system releases the lock when the process exits or is killed. No lock file is needed:
    the file itself is locked (with flock on POSIX, LockFileEx on Windows).

    Raises
    ------
    BlockingIOError
        If the file is locked already, even by this process.
    """
    import filelock  # takes 50 ms, and few runs lock anything

    try:
        if filelock.lock_descriptor(file.fileno(), blocking=False):
            return True
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    raise BlockingIOError(errno.EAGAIN, "the file is locked", file.name)


def open_locked(path: Path) -> tuple[BinaryIO, bool]:
    """Open a file, creating it if there is none, and lock it until it is closed.

    Return the file, and whether it could be locked. Only the holder of the lock may remove the file,
    and only before closing it.

    Raises
    ------
    BlockingIOError
        If the file is locked already, even by this process.
    """
    while True:
        file = path.open("a+b", buffering=0)
        try:
            is_locked = lock(file)
            # The previous holder may have removed the file between our opening and our locking; another
            # process would then lock the new file of that name.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    return file, is_locked
        except BaseException:
            file.close()
            raise
        file.close()
