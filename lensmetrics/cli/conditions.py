"""Conditions of files that are typed as NAME=VALUE, or read from the names of the files."""

import argparse
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from .arguments import attribute

Setting = tuple[str, str | int | float]

_FIELD = re.compile(r"\{([^{}]*)\}")


def add_from_name(parser: argparse.ArgumentParser, whose: str) -> None:
    """Declare --from-name."""
    parser.add_argument(
        "--from-name",
        metavar="PATTERN",
        help=f'read attributes from {whose}, as in "{{training}}-{{explanation}}-{{attack}}"; {{}} is '
        "any text, a pattern with / covers the names of folders too, and a name must match in one way only",
    )


def joined(settings: Iterable[Setting]) -> dict[str, str | int | float]:
    """Return settings as attributes; refuse one that is given twice."""
    attrs: dict[str, str | int | float] = {}
    for name, value in settings:
        if name in attrs:
            raise ValueError(f"{name} is given twice; give every attribute once")
        attrs[name] = value
    return attrs


def from_names(pattern: str, paths: Sequence[Path]) -> list[list[Setting]]:
    """Return the settings in the names of files; refuse names that do not match, and name all of them.

    Parameters
    ----------
    pattern
        Text with fields ``{name}``, which match one character or more, but no slash. It is compared with
        the name without ``.h5`` and, for each slash in it, with a folder above.
    paths
        The files; they need not exist.

    Raises
    ------
    ValueError
        If the pattern is none, or a name does not match it, matches in several ways, or holds a value
        that is not allowed.
    """
    fields = _fields(pattern)
    n_parts = pattern.count("/") + 1
    found, wrong = [], []
    for path in paths:
        parts = path.absolute().parts[-n_parts:]
        try:
            found.append(_matched(pattern, fields, "/".join(parts).removesuffix(".h5")))
        except (ValueError, argparse.ArgumentTypeError) as error:
            wrong.append(f"{path} {error}")
    if len(wrong) == 1 == len(paths):
        raise ValueError(wrong[0])
    if len(wrong) == len(paths) > 0:
        raise ValueError(
            f"none of the {len(paths)} names can be read with --from-name, and nothing is changed; the "
            f"first: {wrong[0]}"
        )
    if wrong:
        failure = ValueError(
            f"{len(wrong)} of {len(paths)} names cannot be read with --from-name; nothing is changed:"
        )
        failure.add_note("\n".join(f"  {line}" for line in wrong))
        raise failure
    return found


def _fields(pattern: str) -> list[str]:
    """Return the names of the fields in a pattern, "" for ``{}``."""
    fields = _FIELD.findall(pattern)
    rest = _FIELD.sub("", pattern)
    where = f"--from-name {pattern!r}"
    if "{" in rest or "}" in rest or not any(fields):
        raise ValueError(f"{where} needs fields in braces, such as {{training}}-{{attack}}")
    if "}{" in pattern:
        raise ValueError(f"{where} has two fields without text between them: no name tells where one ends")
    for name in filter(None, fields):
        if fields.count(name) > 1:
            raise ValueError(f"{where} has the field {name} twice")
    return fields


def _matched(pattern: str, fields: Sequence[str], text: str) -> list[Setting]:
    pieces = _FIELD.sub("{}", pattern).removesuffix(".h5").split("{}")
    # If the fields can have different lengths, the match with the shortest first ones differs from that
    # with the longest.
    shortest, longest = (
        re.fullmatch(f"([^/]{quantifier})".join(map(re.escape, pieces)), text, re.DOTALL)
        for quantifier in ("+?", "+")
    )
    if shortest is None or longest is None:
        raise ValueError(f"does not match --from-name {pattern!r}")
    if shortest.groups() != longest.groups():
        first, second = (
            ", ".join(
                f"{name or 'text'} {value!r}" for name, value in zip(fields, match.groups(), strict=True)
            )
            for match in (shortest, longest)
        )
        raise ValueError(
            f"matches --from-name {pattern!r} in several ways ({first}; or {second}): write the fixed part "
            "of the name into the pattern"
        )
    values = zip(fields, shortest.groups(), strict=True)
    return [attribute(f"{name}={value}") for name, value in values if name]
