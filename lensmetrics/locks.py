"""Locks on files, which end with the process that holds them, in whatever way it ends."""

import errno
from typing import BinaryIO

# What file systems answer that have no locks, such as Lustre mounted without flock.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


def lock(file: BinaryIO, *, shared: bool = False) -> bool:
    """Lock an open file until it is closed; return False where its file system has no locks.

    A lock that is shared keeps only writers out.

    Raises
    ------
    BlockingIOError
        If the file is locked already, be it in this process.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True
