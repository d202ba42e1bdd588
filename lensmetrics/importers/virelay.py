"""Two attribution databases of ViRelAy or CoRelAy, matched sample by sample."""

import contextlib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..pairfile.opening import reading
from .columns import check_samples
from .datasets import open_column, open_file, open_rows, read_values
from .identities import Identities, Match
from .matching import refuse_other_keys
from .source import Source

ATTRIBUTION = "attribution"
# The size of a block of labels or logits.
BLOCK_BYTES = 2**22
_ONLY_MAPS = "name the maps (FILE:attribution) to import them alone, still matched by 'index'"
_REMEDIES = {
    "label": f"give the true classes (--labels), or {_ONLY_MAPS}",
    "prediction": _ONLY_MAPS,
}


@dataclass(frozen=True)
class AttributionPair:
    """Two attribution databases: what identifies their samples, and the classes of each, in its own order."""

    maps: tuple[Source, Source]
    identities: tuple[Identities, Identities] | None  # None if neither has an 'index'
    classes: tuple[dict[str, NDArray[np.int64]], dict[str, NDArray[np.int64]]]

    def columns(self, found: Match) -> dict[str, NDArray[Any]]:
        """Return the columns of the pair file, for samples matched like this."""
        first, second = (
            {name: found.taken(side, values) for name, values in classes.items()}
            for side, classes in enumerate(self.classes)
        )
        taken = {}
        labels = [side["label"] for side in (first, second) if "label" in side]
        if labels:
            taken["label"] = labels[0]
            n_other = int((labels[0] != labels[-1]).sum())
            if n_other:
                raise FormatError(
                    f"{self.maps[0].words} and {self.maps[1].words} have different labels for {n_other} of "
                    f"{len(labels[0])} samples, so these are not the true classes; {_REMEDIES['label']}"
                )
        for name, side in (("prediction", first), ("prediction_perturbed", second)):
            if "prediction" in side:
                taken[name] = side["prediction"]
        return taken


def find_attributions(
    given: Sequence[tuple[Path, str | None]],
    columns_given: Collection[str],
    method: int | None,
    stack: contextlib.ExitStack,
) -> AttributionPair | None:
    """Match two attribution databases; return None if the HDF5 files given are something else.

    Their content decides, not whether the maps were named; a name asks for the maps alone.
    """
    names = [name for _, name in given]
    if any(name is not None and name.strip("/") != ATTRIBUTION for name in names):
        return None
    first, second = ((path, open_file(path, stack)) for path, _ in given)
    if not _has_attributions(*first) or not _has_attributions(*second):
        return None
    if method is not None or ("samples" in columns_given and (_has_index(*first) or _has_index(*second))):
        raise ValueError(
            f"{first[0]} and {second[0]} are attribution databases, which identify their samples by 'index' "
            "and hold one explanation: leave out samples and method"
        )
    columns: tuple[str, ...] = () if any(names) else ("label", "prediction")
    if "labels" in columns_given:
        columns = tuple(name for name in columns if name != "label")
    return _opened(first, second, columns=columns)


def _has_attributions(path: Path, file: h5py.File) -> bool:
    with reading(path):
        return ATTRIBUTION in file


def _has_index(path: Path, file: h5py.File) -> bool:
    with reading(path):
        return "index" in file


def _opened(
    first: tuple[Path, h5py.File], second: tuple[Path, h5py.File], *, columns: tuple[str, ...]
) -> AttributionPair:
    """Find the maps of two attribution databases of ViRelAy, and read these columns.

    A database holds ``attribution``, a dataset (samples, channel, height, width) or a group with a
    dataset (channel, height, width) per sample. ``index``, ``label`` and ``prediction``, each also a
    dataset or a group, are optional here. As in ViRelAy, a database without ``index`` has the
    samples 0, 1, ... References: ViRelAy documentation, Contributors Guide, Database
    Specification, "Attribution of Input Data" (docs/source/contributors-guide/
    database-specification.rst), and its reader (source/backend/virelay/model.py,
    ``AttributionDatabase``).

    `columns` are some of ``label`` and ``prediction``. A label is a class number, or one value per
    class, exactly one of which is not 0; a prediction is a class number, or one logit per class, the
    largest of which counts (the first of equal ones).
    """
    maps = tuple(open_rows(path, file, ATTRIBUTION) for path, file in (first, second))
    indices = [_index(path, file, rows) for (path, file), rows in zip((first, second), maps, strict=True)]
    identities = None
    if _has_index(*first) or _has_index(*second):
        identities = (
            Identities(str(first[0]), "their 'index'", indices[0]),
            Identities(str(second[0]), "their 'index'", indices[1]),
        )
    classes = tuple(
        {name: _classes(path, file, name, rows) for name in columns if name in file}
        for (path, file), rows in zip((first, second), maps, strict=True)
    )
    return AttributionPair((maps[0], maps[1]), identities, (classes[0], classes[1]))


def _index(path: Path, file: h5py.File, maps: Source) -> NDArray[np.int64]:
    if "index" not in file:
        return np.arange(maps.shape[0])
    index = open_column(path, file, "index", "sample numbers")
    values: NDArray[np.int64] = read_values(index, maps.shape[0], "sample numbers")
    check_samples(f"{path}, dataset 'index',", values)
    return values


def _classes(path: Path, file: h5py.File, name: str, maps: Source) -> NDArray[np.int64]:
    """Return one class number per sample, read in blocks: logits can be larger than memory."""
    rows = open_rows(path, file, name, f"{name}s", "iufb")
    n = maps.shape[0]
    if rows.keys and maps.keys:
        refuse_other_keys(f"'attribution' of {path}", f"'{name}'", maps.keys, rows.keys)
    # For members of a group the specification says (samples, classes), but it means (classes,).
    repeated = rows.keys is not None and len(rows.shape) == 3 and rows.shape[1] == n
    n_classes = rows.shape[-1] if len(rows.shape) == 2 or repeated else None
    if rows.shape[0] != n or (len(rows.shape) > 1 and n_classes is None):
        raise FormatError(f"{rows.words} is {rows.shape}; it must be ({n},) or ({n}, classes)")
    if name == "prediction" and n_classes == 1:
        raise FormatError(
            f"{rows.words} is {rows.shape}; one logit does not tell the class; {_REMEDIES[name]}"
        )
    classes = np.empty(n, dtype=np.int64)
    length = max(1, BLOCK_BYTES // (8 * math.prod(rows.shape[1:])))
    for start in range(0, n, length):
        positions = np.arange(start, min(start + length, n))
        values = rows.read(slice(start, start + len(positions)))
        if repeated:
            values = values[np.arange(len(positions)), positions]
        if n_classes in (None, 1):
            numbers = values.reshape(-1)
            good = np.isfinite(numbers) & (numbers == np.floor(numbers)) & (numbers >= 0) & (numbers < 2**63)
            rule = "must hold integers >= 0"
        elif name == "label":
            numbers = np.argmax(values != 0, axis=1)
            good = ((values != 0).sum(axis=1) == 1) & np.isfinite(values).all(axis=1)
            rule = "must have exactly one value per sample that is not 0, for its class"
        else:
            numbers = np.argmax(values, axis=1)
            good = np.isfinite(values).all(axis=1)
            rule = "must hold finite logits"
        if not good.all():
            row = start + int(np.argmin(good))
            raise FormatError(f"{rows.words} {rule}, but row {row} does not; {_REMEDIES[name]}")
        classes[positions] = numbers
    return classes
