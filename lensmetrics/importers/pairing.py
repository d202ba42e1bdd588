"""Find the maps of both sides, and which samples of them belong together."""

import contextlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from numpy.typing import NDArray

from ..disk import check_inputs, file_kind
from ..errors import FormatError
from ..pairfile.format import MAPS
from .axes import Layout, as_maps
from .columns import check_samples
from .foreign import what_folder_it_is
from .identities import Identities, Match, match
from .kinds import Address, kind_of
from .matching import match_sources, refuse_other_axes, refuse_other_coordinates
from .source import Source, reordered

PathLike: TypeAlias = str | os.PathLike[str]
# What may be given for the maps of one side.
Side: TypeAlias = PathLike | Sequence[PathLike]


class Given(NamedTuple):
    """What the user gave, checked as far as that needs no reading."""

    sides: tuple[Side, Side]
    addresses: tuple[Address, Address]
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
    samples: PathLike | tuple[PathLike, PathLike] | None,
    labels: PathLike | None,
) -> Given:
    """Split FILE:NAME, and refuse files that are missing or none."""
    first, second = names or (None, None)
    addresses = (_address(unperturbed, first), _address(perturbed, second))
    per_sample: Sequence[PathLike] = ()
    if samples is not None:
        per_sample = (samples,) if isinstance(samples, str | os.PathLike) else samples
    if len(per_sample) > 2:
        raise ValueError(
            f"samples must be one file for both sides, or one for each, got {len(per_sample)}: "
            f"{', '.join(map(str, per_sample))}"
        )
    given = Given(
        (unperturbed, perturbed),
        addresses,
        tuple(_address(path, None) for path in per_sample),
        None if labels is None else _address(labels, None),
    )
    paths = [path for path, _ in (*addresses, *given.samples)]
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
    kinds = [kind_of(path) for path, _ in given.addresses]
    found = None
    if kinds[0] is kinds[1] and kinds[0].match_pairs is not None:
        columns_given = {"samples"} if given.samples else set()
        if given.labels is not None:
            columns_given.add("labels")
        found = kinds[0].match_pairs(given.addresses, columns_given, layout.method, stack)
    if found is None:
        first, second = (
            as_maps(kind.open_maps(path, role, name, beside=beside, stack=stack), layout, known=False)
            for kind, role, (path, name) in zip(kinds, MAPS, given.addresses, strict=True)
        )
    else:
        first, second = (as_maps(source, layout, known=True) for source in found.maps)
    if given.addresses[0][0].samefile(given.addresses[1][0]) and first.array == second.array:
        raise ValueError(
            f"{given.sides[0]} and {given.sides[1]} are one array, so there is nothing to compare: "
            "give the maps before the attack, then those after it"
        )
    refuse_other_axes(first, second)
    identities = [
        _read_identities(address, source, beside, stack)
        for address, source in zip(given.samples, (first, second), strict=False)
    ]
    columns: dict[str, NDArray[Any]] = {}
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
    for one in identities[:1]:
        columns["name" if one.are_texts else "sample"] = one.values
    if given.labels is not None:
        path, name = given.labels
        _, columns["label"] = kind_of(path).read_column(
            path, name, "labels", first, beside=beside, stack=stack
        )
    columns = {name: matched.taken(0, values) for name, values in columns.items()}
    if found is not None:
        columns = {**found.columns(matched), **columns}
    rows = matched.rows[0]
    if rows is not None and "sample" not in columns:
        columns["sample"] = rows
    maps = tuple(
        source if chosen is None else reordered(source, chosen)
        for source, chosen in zip((first, second), matched.rows, strict=True)
    )
    if maps[0].shape != maps[1].shape:
        raise FormatError(
            f"{given.sides[0]} has maps {maps[0].shape} but {given.sides[1]} has {maps[1].shape}; both must "
            "have the same samples and size"
        )
    return Pairs((maps[0], maps[1]), columns, _notes((first, second), matched))


def _read_identities(address: Address, maps: Source, beside: Path, stack: contextlib.ExitStack) -> Identities:
    path, name = address
    words, values = kind_of(path).read_column(path, name, "samples", maps, beside=beside, stack=stack)
    check_samples(words, values)
    return Identities(maps.words.removesuffix(","), words.removesuffix(","), values)


def _notes(sources: tuple[Source, Source], matched: Match) -> list[str]:
    notes = []
    if any(matched.n_left_out):
        first, second = matched.n_left_out
        notes.append(f"left out {first + second} samples: {matched.listed}")
    for source, other in (sources, sources[::-1]):
        if source.names is not None and other.names is None and other.keys is None:
            notes.append(
                f"samples are paired by position, in the order of the names in {source.words} because "
                f"{other.words} does not say which its samples are"
            )
    return notes


def _check_file(path: Path) -> None:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(what_folder_it_is(path))
    if not stat.S_ISREG(mode):  # reading a pipe can block forever, reading a device can fill the memory
        raise ValueError(f"{path} is {file_kind(mode)}; give a regular file")


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
    return Path(text), name
