"""``lensmetrics set``."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FormatError
from ..messages import printable, say
from .arguments import attribute, check_once, is_there, pair_files
from .conditions import Setting, add_from_name, from_names, joined
from .opening import isolated

if TYPE_CHECKING:
    from ..pairfile.store import PairStore

HELP = "change attributes of finished pair files, such as training=pgd"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare options and arguments."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="pair files (.h5), or folders of them. All are checked before the first is changed. Each is "
        "then replaced by a copy, so that a kill leaves the old or the new one; maps stay byte for byte",
    )
    # argparse gives all words to the argument above; _separated finds these among them.
    parser.add_argument(
        "settings", nargs="*", metavar="NAME=VALUE", help="what to set in all files, as for import --set"
    )
    add_from_name(parser, "the name of each file")
    parser.add_argument(
        "--remove",
        nargs="+",
        action="extend",
        default=[],
        type=_name,
        metavar="NAME",
        help="attributes to remove",
    )


def run(arguments: argparse.Namespace) -> int:
    """Change the files, after checking that all of them can be changed."""
    from ..pairfile.corrections import replace_attrs

    paths, settings = _separated([*arguments.files, *arguments.settings])
    if not paths:
        raise ValueError("no pair files given: name at least one")
    if not settings and not arguments.remove and arguments.from_name is None:
        raise ValueError("nothing to change: give NAME=VALUE, --from-name or --remove")
    files = pair_files(paths)
    check_once(files)
    named: list[list[Setting]] = [[] for _ in files]
    if arguments.from_name is not None:
        named = from_names(arguments.from_name, files)
    changes = [joined([*settings, *own]) for own in named]
    for name in arguments.remove:
        if name in changes[0]:
            raise ValueError(f"{name} is both set and removed")
    plans = _planned(files, changes, arguments.remove)
    n_changed = 0
    for store, attrs in plans:
        lines = _differences(store.attrs, attrs)
        if lines:
            try:
                replace_attrs(store, attrs)
            except (FormatError, OSError) as error:
                error.add_note(
                    f"{n_changed} of {len(plans)} files are changed; repeat the command for the rest"
                )
                raise
            n_changed += 1
        print(f"{printable(store.path)}: {printable(', '.join(lines) or 'unchanged')}")
    if n_changed:
        say(f"changed {n_changed} of {len(plans)} files; tables scored before still hold what was there")
    return 0 if plans else 1


def _name(text: str) -> str:
    """Read the name of an attribute to remove."""
    if "=" in text:
        raise argparse.ArgumentTypeError(
            f"expected the name of an attribute, got {text!r}; write NAME=VALUE before --remove"
        )
    return text


def _separated(words: Sequence[str]) -> tuple[list[Path], list[Setting]]:
    """Tell files from settings: a setting has = before any slash, and is no .h5 file that exists."""
    paths: list[Path] = []
    settings: list[Setting] = []
    for word in words:
        path = Path(word)
        if "=" not in word.partition("/")[0] or (path.suffix == ".h5" and is_there(path)):
            paths.append(path)
            continue
        if is_there(path):
            raise ValueError(
                f"{word} could be a setting, and there is a file or folder of that name: write ./{word}"
            )
        try:
            settings.append(attribute(word))
        except argparse.ArgumentTypeError as error:
            hint = f"; --remove {word[:-1]} removes an attribute" if word[-1] == "=" else ""
            raise ValueError(f"{error}{hint}") from error
    return paths, settings


def _planned(
    files: Sequence[Path], changes: Sequence[Mapping[str, Any]], removed: Sequence[str]
) -> "list[tuple[PairStore, dict[str, Any]]]":
    """Return every file with its new attributes; nothing, after saying why, if a file cannot be changed."""
    from ..pairfile.corrections import check_replaceable, corrected

    plans = []
    with isolated() as open_one:
        for file, change in zip(files, changes, strict=True):
            try:
                store = open_one(file)
                attrs = corrected(store, change, removed)
                if _differences(store.attrs, attrs):
                    check_replaceable(file)
                plans.append((store, attrs))
            except (FormatError, OSError) as error:
                say(f"lensmetrics: {error}")
            except TypeError as error:
                raise ValueError(str(error)) from error
    if len(plans) < len(files):
        say("lensmetrics: no file is changed")
        return []
    return plans


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    from ..pairfile.corrections import differ

    missing = object()
    return [
        f"{name}: {old.get(name, '(none)')} -> {new.get(name, '(none)')}"
        for name in dict.fromkeys([*old, *new])
        if differ(old.get(name, missing), new.get(name, missing))
    ]
