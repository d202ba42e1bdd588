"""Open an unfinished pair file again, if it is the one to continue and has no other writer."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..disk import lock, part_path, rename_new
from ..errors import FormatError
from .arguments import float_type
from .attributes import CHECKSUM, UNFINISHED, checked_attrs, refuse_other_attrs
from .contents import Contents
from .draft import Draft, writing
from .format import IMAGES, MAPS, OPTIONAL
from .layout import LIBVER, check_regular
from .opening import opened
from .store import PairStore
from .variables import Variable
from .verification import verify


def resumed(
    target: Path, attrs: Mapping[str, Any], dtype: str | np.dtype[Any] | type[np.floating] | None
) -> Draft:
    """Open an unfinished file again, after checking that it is the one to continue."""
    part = part_path(target)
    for place in (part, target):
        check_regular(place)
    if part.exists() and target.exists():
        if not part.samefile(target):
            raise FileExistsError(f"both {target} and {part} exist: delete the one that you do not want")
        part.unlink()  # the writer was killed while it gave the finished file its name
    if not part.exists() and not target.exists():
        raise FileNotFoundError(f"there is no {part} to resume: begin with PairWriter({str(target)!r}, ...)")
    current = part if part.exists() else target
    store = PairStore(current)
    refuse_other_attrs(current, store.attrs, checked_attrs(attrs))
    if store.metadata_damaged:  # it is unknown which part is damaged, so none can be written again
        raise FormatError(
            f"{store.metadata_damaged}; if it was changed on purpose, delete the attribute {CHECKSUM}"
        )
    stored = store.header.layout.dtype
    if dtype is not None and float_type(dtype) != stored:
        raise ValueError(f"dtype is {float_type(dtype).name}, but {current} holds {stored.name}")
    if not os.access(current, os.W_OK) and current.exists():  # otherwise another process has finished it
        raise PermissionError(f"{current} may not be written: allow it with chmod, or resume a copy")
    bad = {position for position, _, problem in verify(current) if problem != "incomplete"}
    if current == target and store.complete.all() and not bad:
        raise FileExistsError(f"{target} is complete: there is nothing to resume")
    draft = _reopen(target, current, store, sorted(bad))
    draft.contents.rounds = dtype is not None
    return draft


def _read_incomplete_chunks(path: Path, store: PairStore) -> None:
    """Refuse a file if HDF5 cannot read what was compressed of incomplete samples.

    A kill can leave it beyond the end that the file records, and HDF5 crashes where it is written again.
    """
    with opened(path) as file:
        for name, dataset in file.items():
            if not Variable(name, dataset.id).filter_codes():
                continue
            starts: list[tuple[int, ...]] = []
            dataset.id.chunk_iter(lambda chunk, starts=starts: starts.append(chunk.chunk_offset))
            for start in starts:
                if not store.complete[start[0] : start[0] + dataset.chunks[0]].all():
                    dataset.id.read_direct_chunk(start)


def _reopen(path: Path, current: Path, store: PairStore, damaged: list[int]) -> Draft:
    """Open a file again that was read as `store` a moment ago; its damaged samples count as missing."""
    file = _open_alone(current, store)
    try:
        variables = {
            name: file[name]
            for name in (*MAPS, "sample", "complete", "checksum", "image_checksum", *OPTIONAL)
            if name in file
        }
        complete = store.complete.copy()
        complete[damaged] = False
        names = () if store.name is None else store.name[complete]
        contents = Contents(
            path,
            store.header.layout.shape,
            complete,
            dtype=store.header.layout.dtype,
            image_shape=next((variables[name].shape[1:] for name in IMAGES if name in variables), None),
            samples=set(store.sample[complete].tolist()),
            names={str(name).encode() for name in names},
            variables=variables,
        )
        part = part_path(path)
        if current == path:
            rename_new(path, part)
        draft = Draft(path, part, file, contents)
        with writing(part):
            draft.stamp(UNFINISHED)
            file.flush()
            if damaged:
                variables["complete"][damaged] = 0
                file.flush()
    except BaseException:
        file.close()
        raise
    return draft


def _open_alone(path: Path, store: PairStore) -> h5py.File:
    """Open a file that was read a moment ago, unless it has a writer or had one since."""
    taken = f"{path} is being written by another process; wait until it ends"
    try:
        _read_incomplete_chunks(path, store)
        with path.open("r+b") as probe:
            lock(probe)  # HDF5's own lock, taken below, does not notice another writer in this process
        file = h5py.File(path, "r+", libver=LIBVER, locking="best-effort")
    except (BlockingIOError, FileNotFoundError) as error:
        raise BlockingIOError(taken) from error
    try:
        same = os.path.samestat(os.fstat(file.id.get_vfd_handle()), path.stat())
        if not same or PairStore(path).fingerprint != store.fingerprint:
            raise BlockingIOError(taken)
    except BaseException as error:
        file.close()
        if isinstance(error, FileNotFoundError):
            raise BlockingIOError(taken) from error
        raise
    return file
