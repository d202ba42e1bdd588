"""Pair files with damaged bytes."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from lensmetrics.errors import FormatError
from lensmetrics.pairfile.format import checksums
from lensmetrics.pairfile.store import PairStore
from lensmetrics.pairfile.verification import verify
from lensmetrics.pairfile.writer import PairWriter

from .harness import Base, Finding, check_message
from .mutations import Span, metadata_mask, sealed_structures


def _maps(n: int, *shape: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    first, second = np.random.default_rng(n).normal(size=(2, n, *shape)).astype(np.float32)
    return first, second


def pair_file_bases(folder: Path) -> list[Base]:
    """Write one pair file of each layout."""
    numbers = np.arange(4)
    columns: dict[str, Any] = {
        "label": numbers,
        "prediction": numbers,
        "prediction_perturbed": numbers + 1,
        "perturbation_linf": numbers / 8,
        "perturbation_l2": numbers / 4,
        "image": np.arange(4 * 12, dtype=np.uint8).reshape(4, 3, 4),
        "image_perturbed": np.arange(4 * 12, dtype=np.float32).reshape(4, 3, 4),
        "name": ["a.png", "b.png", "ü.png", "d.png"],
        "n_accepted": numbers,
        "best_step": numbers - 1,
        "output": np.arange(8, dtype=np.float32).reshape(4, 2),
        "target": np.arange(4 * 12, dtype=np.float32).reshape(4, 3, 4),
    }
    layouts: dict[str, tuple[dict[str, Any], dict[str, Any], Sequence[str]]] = {
        "plain": ({}, {}, ["label"]),
        "bare": ({}, {}, []),
        "channels": ({"channels": 2}, {"reduction": "abs_max"}, ["label"]),
        "gzip": ({"compression": "gzip"}, {}, ["label"]),
        "images": ({}, {"eps": 0.1, "seeds": [1, 2], "model": "net"}, list(columns)),
        "gzip_images": ({"compression": "gzip"}, {}, list(columns)),
    }
    for name, (options, attrs, given) in layouts.items():
        shape = (2, 3, 4) if "channels" in options else (3, 4)
        maps = _maps(4, *shape)
        path = folder / f"{name}.h5"
        begun = PairWriter(path, n_samples=5, shape=(3, 4), attrs={"attack": "topk", **attrs}, **options)
        with begun as writer:
            values = {key: columns[key] for key in given}
            writer.write(slice(0, 4), *maps, sample=numbers + 10, **values)
    _write_foreign(folder / "big_endian.h5", ">f8", {}, "earliest")
    _write_foreign(folder / "chunked.h5", "<f8", {"chunks": (2, 3, 2), "fletcher32": True}, "latest")
    _write_foreign(folder / "old.h5", "<f4", {}, "earliest")
    bases = []
    for path in sorted(folder.glob("*.h5")):
        data = path.read_bytes()
        # Damage to the metadata has the widest effects; within a map, its place does not matter.
        metadata = _metadata(path, data)
        if path.stem not in ("bare", "old"):
            # HDF5 hangs on many damages to a global heap; elsewhere there is more to find.
            metadata = [(start, stop) for start, stop in metadata if b"GCOL" not in data[start:stop]]
        spans = [(0, len(data)), *(metadata * (1 + 50 // len(metadata)))]
        bases.append(Base(path.name, data, spans, sealed_structures(data), PairFileCheck(path)))
    return bases


def _write_foreign(path: Path, dtype: str, options: Mapping[str, Any], libver: str) -> None:
    """Write a pair file as another program might."""
    with h5py.File(path, "w", libver=libver) as file:
        file.attrs["format"] = np.bytes_("lensmetrics-pairs")
        file.attrs["format_version"] = np.array([1], np.int32)
        file.attrs["eps"] = 0.1
        file.attrs["note"] = "as a text of variable length"
        maps = [array.astype(dtype) for array in _maps(4, 3, 4)]
        for name, array in zip(("unperturbed", "perturbed"), maps, strict=True):
            file.create_dataset(name, data=array, **options)
        file["sample"] = np.arange(4, dtype=">i4")
        file["label"] = np.arange(4, dtype=np.int16)
        file["complete"] = np.ones(4, np.uint8)
        little = [array.astype(array.dtype.newbyteorder("<")) for array in maps]
        numbers = np.arange(4)
        file["checksum"] = np.array(checksums(little[0], little[1], numbers, numbers), np.uint32)


def _metadata(path: Path, data: bytes) -> list[Span]:
    """Return where the file holds neither values of a dataset nor unused space."""
    used = metadata_mask(path)
    for zeros in re.finditer(rb"\0{32,}", data):
        used[zeros.start() + 8 : zeros.end() - 8] = False
    ends = np.flatnonzero(np.diff(used, prepend=False, append=False)).tolist()
    return list(zip(ends[::2], ends[1::2], strict=True))


def _raw(store: PairStore) -> tuple[list[bytes], list[str], list[object]]:
    """Read all of a file: the bytes of each sample, its status, and what no checksum covers."""
    rows: list[bytes] = []
    statuses: list[str] = []
    # As many samples at once as the package itself would read.
    for start, stop in store.blocks():
        unperturbed, perturbed, status = store.read_block(start, stop)
        statuses += status
        for row in range(stop - start):
            label = None if store.label is None else int(store.label[start + row])
            identity = repr((int(store.sample[start + row]), label, unperturbed.dtype.str, store.shape))
            rows.append(unperturbed[row].tobytes() + perturbed[row].tobytes() + identity.encode())
    free: list[object] = [sorted(store.attrs.items()), store.complete.tolist(), store.n_channels]
    for i in range(len(store)):
        for name in ("prediction", "prediction_perturbed", "name", "n_accepted", "best_step"):
            column = getattr(store, name)
            free.append(None if column is None or not store.complete[i] else column.tolist()[i])
    images = store.read_image(len(store) // 2)
    free += [None if image is None else (image.dtype.str, image.tobytes()) for image in images]
    return rows, statuses, free


class PairFileCheck:
    """Opens and reads a pair file, and compares it with what the sound one holds."""

    def __init__(self, path: Path) -> None:
        self.rows, self.statuses, self.free = _raw(PairStore(path))
        self.reduction = PairStore(path).reduction

    def __call__(self, path: Path) -> str:
        try:
            store = PairStore(path)
            rows, statuses, free = _raw(store)
        except (FormatError, OSError) as error:
            check_message(error, path)
            return "refused"
        if store.reduction != self.reduction:  # an attribute: the samples' checksums do not cover it
            return "damage noticed" if store.metadata_damaged else "uncovered"
        for i, (row, status) in enumerate(zip(rows, statuses, strict=True)):
            if not status and (i >= len(self.rows) or self.statuses[i] or row != self.rows[i]):
                raise Finding("silently different", f"sample at position {i}")
        if statuses != self.statuses:
            return "damage noticed"
        if repr(free) == repr(self.free):
            return "equal"
        return "damage noticed" if verify(path) else "uncovered"
