"""File locks that the operating system releases when the process exits or is killed."""

import contextlib
import errno
import os
from pathlib import Path
from typing import BinaryIO

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
