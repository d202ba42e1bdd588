"""Opening what was named on the command line."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import FormatError
from ..messages import say
from .arguments import pair_files

if TYPE_CHECKING:
    import pandas as pd

    from ..children import Isolated
    from ..pairfile.store import PairStore


def open_store(path: Path, _: object) -> "PairStore":
    """Open a pair file; damaged files can crash HDF5, so commands call this in a separate process."""
    from ..pairfile.store import PairStore

    return PairStore(path)


def isolated() -> "Isolated[Path, PairStore]":
    """Return a process that opens pair files; use it in a ``with`` statement."""
    from ..children import Isolated

    return Isolated(open_store)


def open_stores(paths: Sequence[Path]) -> "list[PairStore]":
    """Open pair files and those in folders; damaged files of a folder are left out with a message."""
    stores = []
    files = [(file, file == path) for path in paths for file in pair_files([path])]
    with isolated() as open_one:
        opened = open_one.each(file for file, _ in files)
        for store, (_, is_named) in zip(opened, files, strict=True):
            if not isinstance(store, Exception):
                stores.append(store)
            elif is_named:
                raise store
            else:
                say(f"lensmetrics: left out: {store}")
    return stores


def open_scores(path: Path) -> "pd.DataFrame":
    """Read a table of scores; report what is wrong with it as an error of the file."""
    from ..tables.files import read_scores

    try:
        return read_scores(path)
    except ValueError as error:
        raise FormatError(str(error)) from error
