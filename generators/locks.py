"""A lock on a file that is being made."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from filelock import lock_descriptor

# Errors of file systems without locks, such as Lustre mounted without flock.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from making `path`; the lock ends with the process, however that ends.

    Raises
    ------
    BlockingIOError
        If another process holds the lock.
    """
    lock = path.with_name(f".{path.name}.lock")
    with _open_locked(lock, path):
        try:
            yield
        finally:
            with contextlib.suppress(PermissionError):  # Windows does not remove open files
                lock.unlink(missing_ok=True)


def _open_locked(lock: Path, path: Path) -> BinaryIO:
    """Return the open and locked file `lock`, which unlocks when it is closed."""
    while True:
        file = lock.open("a+b", buffering=0)
        try:
            if not _lock(file, path):
                raise BlockingIOError(f"another process is making {path}")
            # The process that held the lock may have removed the file that was opened here; others would
            # then lock a new file of that name.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                    return file
        except BaseException:
            file.close()
            raise
        file.close()


def _lock(file: BinaryIO, path: Path) -> bool:
    try:
        return lock_descriptor(file.fileno(), blocking=False)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    print(
        f"{path}: its file system has no locks; make sure that no other process makes this file",
        file=sys.stderr,
    )
    return True
