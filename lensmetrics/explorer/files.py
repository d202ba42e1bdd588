"""The files that a page shows: opened in the background, one after the other, and known by numbers."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..children import Isolated
from ..errors import FormatError
from ..messages import printable
from ..pairfile.store import PairStore
from .reading import open_store

# How long the thread that opens files may take to notice that it is to stop.
_SECONDS = 2.0


@dataclass
class Entry:
    """A file that was named: opened, not yet opened, or with what is wrong with it."""

    path: Path
    name: str  # short, unique on the page, and printable
    store: PairStore | None = None
    problem: str = ""

    def sentence(self, error: Exception) -> str:
        """Return the message of an error, with the name of the file instead of its path."""
        if isinstance(error, FileNotFoundError):
            return f"{self.name} is not there any more: put it back, or start explore over the files that are"
        if isinstance(error, OSError) and error.strerror:
            return f"{self.name} cannot be read: {error.strerror}"
        return printable(str(error).replace(str(self.path), self.name))


class Files:
    """The files of a page; pages name them by their number.

    Parameters
    ----------
    paths
        Pair files.
    opened
        Called with the number of every file that was opened.
    """

    def __init__(self, paths: Sequence[Path], opened: Callable[[int], object] = lambda _: None) -> None:
        names = short_names(paths)
        self.entries = [Entry(path, name) for path, name in zip(paths, names, strict=True)]
        self.n_tried = 0
        self.is_stopped = False
        self._opened = opened
        self._isolated = Isolated(open_store)
        self._thread = threading.Thread(target=self._open_all, daemon=True)

    def start(self) -> None:
        """Begin to open the files."""
        self._isolated.__enter__()  # here, because only the main thread can keep Ctrl-C from a new process
        self._thread.start()

    def stop(self) -> None:
        """End opening, whatever state it is in."""
        self.is_stopped = True
        self._isolated.__exit__()
        self._thread.join(_SECONDS)
        self._isolated.__exit__()  # a call that was cut off has started another process

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until all files were tried; return whether they were."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def is_done(self) -> bool:
        """Whether all files were tried."""
        return self.n_tried == len(self.entries)

    def _open_all(self) -> None:
        for number, entry in enumerate(self.entries):
            if self.is_stopped:
                return
            try:
                entry.store = self._isolated(entry.path)
            except (FormatError, OSError, RuntimeError) as error:
                entry.problem = entry.sentence(error)
            else:
                self._opened(number)
            self.n_tried += 1
        self._isolated.__exit__()


def short_names(paths: Sequence[Path]) -> list[str]:
    """Return a name for each path: as few of its last parts as tell it from the others.

    >>> short_names([Path("a/x.h5"), Path("b/x.h5"), Path("b/y.h5")])
    ['a/x.h5', 'b/x.h5', 'y.h5']
    """
    names: list[str] = []
    parts = [path.parts for path in paths]
    for own in parts:
        n = 1
        while n < len(own) and sum(other[-n:] == own[-n:] for other in parts) > 1:
            n += 1
        names.append(printable("/".join(own[-n:])))
    return [f"{name} ({i + 1})" if names.count(name) > 1 else name for i, name in enumerate(names)]
