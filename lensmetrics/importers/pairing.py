"""Find the maps of both sides, and which samples of them belong together."""

import contextlib
import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..disk import check_inputs, file_kind
from ..errors import FormatError
from ..pairfile.format import MAPS
from .axes import Layout, as_maps
from .by_name import read_by_name
from .columns import check_samples
from .folders import open_folder
from .foreign import what_folder_it_is
from .hdf5 import is_hdf5
from .identities import Identities, Match, match
from .kinds import Address, kind_of
from .listing import Given as Side
from .listing import are_the_same, array_of_matches, one_file, watched
from .matching import match_sources, one_sided, refuse_other_axes, refuse_other_coordinates
from .source import Source, reordered
from .virelay import AttributionPair

PathLike: TypeAlias = str | os.PathLike[str]
# The maps of one side, and the name of the array in each file.
SideAddress: TypeAlias = tuple[Side, str | None]


class Given(NamedTuple):
    """What the user gave, checked as far as that needs no reading."""

    sides: tuple[SideAddress, SideAddress]
    samples: tuple[Address, ...]
    labels: Address | None


class Pairs(NamedTuple):
    """Maps of which row i of the one and row i of the other are a pair, and the columns beside them."""

    maps: tuple[Source, Source]
    columns: dict[str, NDArray[Any]]
    notes: list[str]


def check_given(
    unperturbed: Side,
    perturbed: Side,
    names: tuple[str | None, str | None] | None,
    samples: PathLike | Sequence[PathLike] | None,
    labels: PathLike | None,
) -> Given:
    """Split FILE:NAME, and refuse files that are missing or none."""
    for side in (unperturbed, perturbed):
        _check_side(side)
    first, second = names or (None, None)
    sides = (_side(unperturbed, first), _side(perturbed, second))
    per_sample: Sequence[PathLike] = ()
    if samples is not None:
        per_sample = (samples,) if isinstance(samples, str | os.PathLike) else samples
    if len(per_sample) > 2:
        raise ValueError(
            f"samples must be one file for both sides, or one for each, got {len(per_sample)}: "
            f"{', '.join(map(str, per_sample))}"
        )
    given = Given(
        sides,
        tuple(_address(path, None) for path in per_sample),
        None if labels is None else _address(labels, None),
    )
    paths = [path for path, _ in (*_files(given), *given.samples)]
    if given.labels is not None:
        paths.append(given.labels[0])
    check_inputs(paths)
    for path in paths:
        _check_file(path)
    return given


def pair_files(
    given: Given, layout: Layout, unmatched: str, target: Path, stack: contextlib.ExitStack
) -> Pairs:
    """Open the maps of both sides and pair their samples."""
    beside = target.parent
    files = [one_file(side) for side, _ in given.sides]
    refusals = [None if path is None else watched(path) for path in files]
    found = _found_together(given, layout, stack)
    if found is None:
        first, second = (
            as_maps(_open(side, role, layout, target, stack), layout, known=False)
            for side, role in zip(given.sides, MAPS, strict=True)
        )
    else:
        first, second = (as_maps(source, layout, known=True) for source in found.maps)
    refuse_other_axes(first, second)
    identities = [
        _read_identities(address, source, beside, stack)
        for address, source in zip(given.samples, (first, second), strict=False)
    ]
    columns: dict[str, NDArray[Any]] = {}
    notes: list[str] = []
    if len(identities) == 2 and identities[0].are_texts != identities[1].are_texts:
        raise FormatError(
            f"{identities[0].owner} and {identities[1].owner} identify samples, but one by numbers and one "
            "by texts: give both of one kind"
        )
    if len(identities) == 2:
        matched = match(identities[0], identities[1], unmatched)
        refuse_other_coordinates(first, second, start=1)
    elif found is not None and found.identities is not None:
        matched = match(*found.identities, unmatched)
        columns["sample"] = found.identities[0].values
        refuse_other_coordinates(first, second, start=1)
    else:
        matched, columns = match_sources(first, second, unmatched)
        notes = one_sided(first, second)
    for one in identities[:1]:
        columns["name" if one.are_texts else "sample"] = one.values
    if given.labels is not None:
        _, columns["label"] = _read_column(given.labels, "labels", first, beside, stack)
    columns = {name: matched.taken(0, values) for name, values in columns.items()}
    named = next((side for side, source in enumerate((first, second)) if source.names is not None), None)
    if named is not None and "name" not in columns:
        columns["name"] = matched.taken(named, np.array((first, second)[named].names, dtype=object))
    if found is not None:
        columns = {**found.columns(matched), **columns}
    rows = matched.rows[0]
    if rows is not None and "sample" not in columns:
        columns["sample"] = rows
    maps = [
        source if chosen is None else reordered(source, chosen)
        for source, chosen in zip((first, second), matched.rows, strict=True)
    ]
    if maps[0].shape != maps[1].shape:
        remedy = "; files that say which samples these are match them: samples=(IDS, IDS)"
        raise FormatError(
            f"{first.words} has maps {maps[0].shape} but {second.words} has {maps[1].shape}; both must have "
            f"the same samples and size{remedy if maps[0].shape[1:] == maps[1].shape[1:] else ''}"
        )
    if are_the_same(*(side for side, _ in given.sides)) and first.array == second.array:
        raise ValueError(
            f"{first.words} and {second.words} are one array, so there is nothing to compare: give the maps "
            "before the attack, then those after it"
        )
    maps = [
        source if refuse is None else replace(source, refuse_changes=refuse)
        for source, refuse in zip(maps, refusals, strict=True)
    ]
    return Pairs((maps[0], maps[1]), columns, [*_left_out(matched), *notes])


def _files(given: Given) -> list[Address]:
    """Return the sides that are one file each."""
    return [(path, name) for side, name in given.sides if (path := one_file(side)) is not None]


def _found_together(given: Given, layout: Layout, stack: contextlib.ExitStack) -> AttributionPair | None:
    """Return the maps of two files that together are more than two arrays."""
    files = _files(given)
    kinds = [kind_of(path) for path, _ in files]
    if len(kinds) < 2 or kinds[0] is not kinds[1] or kinds[0].match_pairs is None:
        return None
    columns_given = {"samples"} if given.samples else set()
    if given.labels is not None:
        columns_given.add("labels")
    return kinds[0].match_pairs(files, columns_given, layout.method, stack)


def _open(
    address: SideAddress, role: str, layout: Layout, target: Path, stack: contextlib.ExitStack
) -> Source:
    side, name = address
    path = one_file(side)
    if path is None:
        return open_folder(side, role, name, target, letters=layout.letters)
    return kind_of(path).open_maps(path, role, name, beside=target.parent, stack=stack)


def _read_column(
    address: Address, what: str, maps: Source, beside: Path, stack: contextlib.ExitStack
) -> tuple[str, NDArray[Any]]:
    path, name = address
    # Members of a group are in the order of their names; other members of that file are in the same order.
    names = maps.names if maps.keys is None or is_hdf5(path) else maps.keys
    if names is not None:
        return str(path), read_by_name(path, names, what)
    return kind_of(path).read_column(path, name, what, maps, beside=beside, stack=stack)


def _read_identities(address: Address, maps: Source, beside: Path, stack: contextlib.ExitStack) -> Identities:
    words, values = _read_column(address, "samples", maps, beside, stack)
    check_samples(words, values)
    return Identities(maps.words, words.removesuffix(","), values)


def _left_out(matched: Match) -> list[str]:
    n = sum(matched.n_left_out)
    return [f"left out {n} samples: {matched.listed}"] if n else []


def _check_file(path: Path) -> None:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(what_folder_it_is(path))
    if not stat.S_ISREG(mode):  # reading a pipe can block forever, reading a device can fill the memory
        raise ValueError(f"{path} is {file_kind(mode)}; give a regular file")


def _check_side(side: object) -> None:
    paths = side if isinstance(side, Sequence) and not isinstance(side, str) else [side]
    for path in paths:
        if not isinstance(path, str | os.PathLike):
            raise TypeError(
                "maps are given by the path of a file or folder, a glob or a list of paths, got "
                f"{type(path).__name__}; PairWriter writes arrays"
            )


def _side(side: Side, name: str | None) -> SideAddress:
    return _address(side, name) if isinstance(side, str | os.PathLike) else (side, name)


def _address(path: PathLike, name: str | None) -> Address:
    """Split FILE:NAME; a file whose own name contains the colon has priority."""
    text = os.fspath(path)
    for position, letter in enumerate(text):
        if letter == ":" and position and not Path(text).exists() and Path(text[:position]).exists():
            if name is not None:
                raise ValueError(f"{text} names an array already; leave out the other name, {name!r}")
            if not text[position + 1 :].strip("/"):
                raise ValueError(f"{text} names no array; say which, as in {text[:position]}:maps/clean")
            return Path(text[:position]), text[position + 1 :]
    pattern = None if name is not None else array_of_matches(text)
    return (Path(text), name) if pattern is None else (Path(pattern[0]), pattern[1])
