"""The files of a folder, a glob or a list, and the names of their samples."""

import glob
import itertools
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from ..disk import check_inputs, file_kind, part_path
from ..errors import FormatError
from ..tables.natural import natural_key
from .foreign import is_zarr, what_folder_it_is
from .names import sample_name

# What may be given for the maps of one side.
Given: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

# What systems leave in folders; names that begin with a point are hidden as well.
_LEFT_BY_SYSTEMS = {"thumbs.db", "desktop.ini", "__macosx"}
# The wildcards of `glob`, of which one in brackets holds at least one character.
_WILDCARD = re.compile(r"(\*\*/|\*+|\?|\[!?.[^\]]*\])")
_N_SHOWN = 3


class SampleFile(NamedTuple):
    """The file of one sample, and what differs once it is written again."""

    name: str
    path: str  # making a Path takes longer than reading a small map
    size: int
    modified: int


class _Found(NamedTuple):
    """A file, and the name of its sample."""

    name: str
    suffix: str
    path: str
    entry: os.DirEntry[str] | Path


def one_file(given: Given) -> Path | None:
    """Return the path of the file with all maps, None if a folder, a glob or a list of files is given."""
    if not isinstance(given, str | os.PathLike) or Path(given).is_dir():
        return None
    text = os.fspath(given)
    names_an_array = any(Path(text[:at]).is_file() for at, letter in enumerate(text) if letter == ":")
    is_glob = _WILDCARD.search(text) is not None and not names_an_array and not os.path.lexists(text)
    return None if is_glob else Path(text)


def array_of_matches(text: str) -> tuple[str, str] | None:
    """Split GLOB:NAME, which names the array in each file; return None for anything else."""
    pattern, colon, name = text.rpartition(":")
    if not colon or not name or one_file(text) is not None or not _WILDCARD.search(pattern):
        return None
    return None if _matches(text) or not _matches(pattern) else (pattern, name)


def are_the_same(given: Given, other: Given) -> bool:
    """Return whether two things given are one file, folder, glob or list."""
    if isinstance(given, str | os.PathLike) and isinstance(other, str | os.PathLike):
        paths = Path(given), Path(other)
        return paths[0] == paths[1] or (all(path.exists() for path in paths) and paths[0].samefile(paths[1]))
    if isinstance(given, str | os.PathLike) or isinstance(other, str | os.PathLike):
        return False
    return list(map(Path, given)) == list(map(Path, other))


def sample_files(given: Given, output: Path) -> list[SampleFile]:
    """Return the files of all samples in natural order of their names.

    A folder is read with its subfolders; links are followed, and hidden files left out, like `output`.

    Raises
    ------
    ValueError
        If there are no files, files of several kinds, or several with one name.
    FormatError
        If a link leads nowhere or back, or something is no regular file.
    """
    if not isinstance(given, str | os.PathLike):
        check_inputs(given)
    found = _listed(given, output)
    if not found:
        hint = "; a [ in a name is written [[]" if "[" in shown(given) else ""
        is_glob = isinstance(given, str | os.PathLike) and _folder(given) is None
        raise ValueError(f"{shown(given)} {'matches' if is_glob else 'holds'} no files{hint}")
    _refuse_several_kinds(given, found)
    files = [_sample_file(it) for it in found]
    files.sort(key=lambda file: natural_key(file.name))
    for before, file in itertools.pairwise(files):
        if before.name == file.name:
            raise ValueError(
                f"{before.path} and {file.path} are both the sample '{file.name}': rename or remove one, or "
                "give the names by a glob, whose wildcards stand for the name, such as 'maps/*_clean.npy'"
            )
    return files


def refuse_changes(given: Given, output: Path, files: Sequence[SampleFile]) -> None:
    """Refuse files that were written, added or removed since they were listed."""
    before = {file.path: (file.size, file.modified) for file in files}
    now = {file.path: _state(file.entry) for file in _listed(given, output)}
    changed = [path for path in {**before, **now} if before.get(path) != now.get(path)]
    if changed:
        what = "removed" if now.get(changed[0]) is None else "written" if changed[0] in before else "added"
        raise FormatError(
            f"{changed[0]} was {what} while {shown(given)} was read: import again once nothing writes there"
        )


def watched(path: Path) -> Callable[[], None]:
    """Return a function that refuses a file if it was written or removed since."""
    before = _state(path)

    def refuse() -> None:
        now = _state(path)
        if now != before:
            what = "removed" if now is None else "written"
            raise FormatError(f"{path} was {what} while it was read: import again once nothing writes there")

    return refuse


def _listed(given: Given, output: Path) -> list[_Found]:
    """Return the files that are there now, in any order."""
    folder = _folder(given)
    if not isinstance(given, str | os.PathLike):
        found = [_Found(Path(path).stem, Path(path).suffix, os.fspath(path), Path(path)) for path in given]
    elif folder is not None:
        found = list(_walk(folder, "", ()))
    else:
        found = _matches(os.fspath(given))
    for path in (output, part_path(output)):
        if path.exists():
            found = [it for it in found if not (it.path.endswith(path.name) and path.samefile(it.path))]
    return found


def _state(entry: os.DirEntry[str] | Path) -> tuple[int, int] | None:
    """Return what differs once a file is written again, None if there is no file."""
    try:
        found = entry.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns


def shown(given: Given) -> str:
    """Return how messages call what was given for one side."""
    if isinstance(given, str | os.PathLike):
        return os.fspath(given)
    return f"the list from {os.fspath(given[0])}" if given else "the list"


def _folder(given: Given) -> Path | None:
    return Path(given) if isinstance(given, str | os.PathLike) and Path(given).is_dir() else None


def _walk(folder: Path, inner: str, above: tuple[os.stat_result, ...]) -> Iterator[_Found]:
    """Yield the files of a folder and its subfolders, except hidden ones."""
    here = folder.stat()
    if any(os.path.samestat(here, other) for other in above):
        raise FormatError(f"{folder} is a link that leads back to a folder above it: remove the link")
    if is_zarr(folder):
        raise IsADirectoryError(what_folder_it_is(folder))
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except PermissionError as error:
        raise PermissionError(f"{folder} may not be read: allow it with chmod, or read a copy") from error
    for entry in entries:
        if entry.name.startswith(".") or entry.name.lower() in _LEFT_BY_SYSTEMS:
            continue
        if entry.is_dir():
            yield from _walk(folder / entry.name, f"{inner}{entry.name}/", (*above, here))
        else:
            stem, suffix = _split(entry.name)
            yield _Found(inner + stem, suffix, entry.path, entry)


def _matches(pattern: str) -> list[_Found]:
    """Return the files that match a pattern, named by what its wildcards stand for, joined by a slash."""
    pattern = Path(pattern).expanduser().as_posix()
    has_suffix = not pattern.endswith("*")
    expression = re.compile(
        "".join(
            _expression(part) if at % 2 else re.escape(part)
            for at, part in enumerate(_WILDCARD.split(pattern.removesuffix(".*")))
        ),
        re.DOTALL,
    )
    files = []
    for text in glob.glob(pattern, recursive=True):  # noqa: PTH207 (Path.glob finds hidden files)
        path = Path(text)
        found = expression.fullmatch((path if has_suffix else path.with_suffix("")).as_posix())
        if found is not None and not path.is_dir():
            name = "/".join(part.strip("/") for part in found.groups() if part.strip("/"))
            files.append(_Found(name, path.suffix, text, path))
    return files


def _expression(wildcard: str) -> str:
    """Return the regular expression of a wildcard of `glob`, as a group."""
    if wildcard == "**/":
        return "((?:[^/]+/)*)"
    if wildcard.startswith("*"):
        return "([^/]*)" if wildcard == "*" else "(.*)"
    if wildcard == "?":
        return "([^/])"
    letters = wildcard[1:-1].replace("\\", "\\\\").replace("[", "\\[")
    return f"([^{letters[1:]}])" if letters[0] == "!" else f"([{letters.replace('^', chr(92) + '^')}])"


def _split(name: str) -> tuple[str, str]:
    """Split the name of a file into stem and suffix, as Path does."""
    at = name.rfind(".", 1)
    return (name, "") if at < 0 else (name[:at], name[at:])


def _refuse_several_kinds(given: Given, found: Sequence[_Found]) -> None:
    kinds = Counter(it.suffix.lower() for it in found)
    if len(kinds) == 1:
        return
    most = kinds.most_common()
    words = ", ".join(f"{suffix or 'without suffix'} ({n})" for suffix, n in most[:_N_SHOWN])
    more = ", ..." * (len(most) > _N_SHOWN)
    folder = _folder(given)
    remedy = "give files of one kind"
    if folder is not None:
        place = folder / "**" if any("/" in it.name for it in found) else folder
        suffix = next((suffix for suffix, _ in most if suffix), "")
        remedy = f"say which are the maps by a glob in quotes, such as '{place / '*'}{suffix}'"
    raise ValueError(f"{shown(given)} holds files of several kinds, {words}{more}: {remedy}")


def _sample_file(file: _Found) -> SampleFile:
    path = file.path
    try:
        found = file.entry.stat()
    except FileNotFoundError:
        missing = "is a link to a file that does not exist" if Path(path).is_symlink() else "does not exist"
        raise FormatError(f"{path} {missing}: remove it, or bring the file there") from None
    if not stat.S_ISREG(found.st_mode):  # reading a pipe can block forever
        raise FormatError(
            f"{path} is {file_kind(found.st_mode)}; a folder of maps may hold regular files only"
        )
    name = sample_name(file.name, repr(path))
    return SampleFile(name, path, found.st_size, found.st_mtime_ns)
