"""Which pair file is which file of a table of scores."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path


def match_files(files: Sequence[str], paths: Sequence[Path]) -> dict[str, Path]:
    """Find the pair file of each file that a table names: by its path, or by its name if that is unique.

    >>> match_files(["maps/a.h5", "maps/b.h5"], [Path("moved/b.h5")])
    {'maps/b.h5': PosixPath('moved/b.h5')}
    """
    by_path = {path.resolve(): path for path in paths}
    n_files = Counter(Path(file).name for file in files)
    n_paths = Counter(path.name for path in paths)
    by_name = {path.name: path for path in paths if n_files[path.name] == n_paths[path.name] == 1}
    found = {file: by_path.get(Path(file).resolve(), by_name.get(Path(file).name)) for file in files}
    return {file: path for file, path in found.items() if path is not None}
