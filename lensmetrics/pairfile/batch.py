"""The arguments of one `PairWriter.write`, parsed and checked as a whole before anything is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..pairs.arrays import aligned, as_numpy, is_data_array
from .arguments import as_integer, as_variable, axis_lengths, ordered, with_batch_axis
from .attributes import is_text
from .contents import Contents
from .format import (
    BESIDE_MAPS,
    COUNTS,
    IMAGES,
    INTEGERS,
    MAPS,
    NORMS,
    OPTIONAL,
    OUTPUTS,
    checksums,
    row_checksums,
)
from .precision import exact_dtype, rounded

# Names have a fixed length, because a kill could tear others; most file names are shorter than this.
NAME_BYTES = 256


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples to write: for each variable the values, with a batch axis first, in the type of the file."""

    rows: range
    arrays: dict[str, NDArray[Any]]
    names: list[bytes]

    @property
    def where(self) -> slice:
        """The positions as a slice, which HDF5 takes."""
        return slice(self.rows.start, self.rows.stop, self.rows.step)

    @property
    def optional(self) -> set[str]:
        """The optional variables among those given."""
        return {name for name in OPTIONAL if name in self.arrays}

    def checksums(self) -> dict[str, NDArray[np.uint32]]:
        """Return `checksum` and, if something is stored beside the maps, `image_checksum`."""
        arrays = self.arrays
        unperturbed, perturbed = (arrays[name] for name in MAPS)
        found = {"checksum": checksums(unperturbed, perturbed, arrays["sample"], arrays.get("label"))}
        beside = [arrays[name] for name in BESIDE_MAPS if name in arrays]
        if beside:
            found["image_checksum"] = row_checksums(beside)
        return {name: np.array(values, dtype=np.uint32) for name, values in found.items()}


def parse_batch(contents: Contents, index: int | slice, given: Mapping[str, Any]) -> Batch:
    """Return the samples of one `write` as the file will store them.

    Parameters
    ----------
    given
        The arguments of `PairWriter.write` by name, without those that are None.

    Raises
    ------
    ValueError, TypeError, IndexError
        If something does not fit the file, or the rest of the batch.
    """
    rows = _rows(contents, index)
    n = len(rows) if isinstance(index, slice) else None
    aligned(given["unperturbed"], given["perturbed"])  # refuses different coordinates
    arrays: dict[str, NDArray[Any]] = _maps(contents, given, n)
    sample = given.get("sample")
    if sample is None:
        sample = _sample_coordinate(given["unperturbed"], n)
    if sample is None:
        arrays["sample"] = np.array(rows, dtype="<i8")
    else:
        arrays["sample"] = as_variable("sample", sample, n, (), np.dtype("<i8"))
    _refuse_repeats(contents, rows, arrays["sample"])
    names: list[bytes] = []
    for name in OPTIONAL:
        if name == "name" and name in given:
            names = _encoded_names(contents, given[name], n)
            arrays[name] = _stored_names(contents, names)
        elif name in given and name not in arrays:
            arrays[name] = _optional(contents, name, given[name], n)
    batch = Batch(rows, arrays, names)
    if contents.is_begun and contents.optional != batch.optional:
        held = _listed(contents.optional)
        if not contents.samples:
            raise ValueError(
                f"this write gives {_listed(batch.optional)}, but {contents.path} was created with {held} "
                "and holds no samples: delete it and start again"
            )
        raise ValueError(
            f"this write gives {_listed(batch.optional)}, but {contents.path} holds {held}: every write must "
            "give the same variables as the first"
        )
    for first, second in (IMAGES, OUTPUTS):
        if {first, second} <= arrays.keys() and arrays[first].shape != arrays[second].shape:
            raise ValueError(
                f"'{first}' is {arrays[first].shape[1:]} but '{second}' is {arrays[second].shape[1:]}"
            )
    return batch


def _rows(contents: Contents, index: int | slice) -> range:
    """Return the positions that an index means, if all are inside the file and none is written."""
    if isinstance(index, slice):
        rows = range(contents.n_samples)[index]
        # Python truncates a slice at the end of the file silently; a batch must not be truncated.
        last = index.stop if index.stop is not None else contents.n_samples
        inside = (
            rows.step > 0 and (index.start or 0) >= 0 and 0 <= last <= contents.n_samples and len(rows) > 0
        )
    else:
        position = as_integer("index", index)
        rows = range(position, position + 1)
        inside = 0 <= position < contents.n_samples
    if not inside:
        raise IndexError(
            f"index {index} is not inside {contents.path}, which has the positions 0 to "
            f"{contents.n_samples - 1}"
        )
    written = [position for position in rows if contents.complete[position]]
    if written:
        raise ValueError(f"position {written[0]} of {contents.path} is complete: it cannot be written again")
    return rows


def _refuse_repeats(contents: Contents, rows: range, samples: NDArray[Any]) -> None:
    seen: set[int] = set()
    for position, number in zip(rows, samples.tolist(), strict=True):
        if number < 0:
            raise ValueError(f"sample must be 0 or more, got {number} for position {position}")
        if number in contents.samples or number in seen:
            raise ValueError(
                f"sample {number}, given for position {position}, is already in {contents.path}: "
                "a file holds each sample once"
            )
        seen.add(number)


def _maps(contents: Contents, given: Mapping[str, ArrayLike], n: int | None) -> dict[str, NDArray[Any]]:
    """Check maps and target, and convert them to the type of the file; the first batch decides it."""
    arrays = {}
    for name in (*MAPS, "target"):
        if name not in given:
            continue
        shape = contents.map_shape[-2:] if name == "target" else contents.map_shape
        array = ordered(name, given[name], n, ("channel", "y", "x"))
        if len(shape) == 2 and array.ndim == 3 + (n is not None) and array.shape[-3] == 1:
            array = array.squeeze(-3)
        arrays[name] = with_batch_axis(name, array, n, shape)
    dtype = contents.dtype
    if contents.rounds and dtype is not None:
        return {name: rounded(array, dtype, name)[0] for name, array in arrays.items()}
    needed = {name: exact_dtype(array, name) for name, array in arrays.items()}
    if dtype is None:
        dtype = max(needed.values(), key=lambda needs: needs.itemsize)
    for name, needs in needed.items():
        if needs.itemsize > dtype.itemsize:
            if contents.is_begun and not contents.samples:
                holds, remedy = (
                    f"was created as {dtype.name} and holds no samples",
                    "delete it and start again",
                )
            else:
                holds = f"holds {dtype.name}, because its first maps need no more"
                remedy = "create it with dtype='float64'"
            raise ValueError(
                f"'{name}' is {arrays[name].dtype} and needs {needs.name}, but {contents.path} {holds}: "
                f"{remedy}, or give dtype='float32' to round the maps"
            )
    contents.check_compressible(dtype)
    return {name: np.ascontiguousarray(array, dtype=dtype) for name, array in arrays.items()}


def _optional(contents: Contents, name: str, value: Any, n: int | None) -> NDArray[Any]:
    if name in INTEGERS:
        return as_variable(name, value, n, (), np.dtype("<i8"))
    if name in COUNTS:
        counts = as_variable(name, value, n, (), np.dtype("<i4"))
        if name == "n_accepted" and (counts < 0).any():
            raise ValueError(f"'n_accepted' must be 0 or more, got {counts.min()}")
        return counts
    if name in NORMS:
        norms = as_variable(name, value, n, (), np.dtype("<f4"))
        if (norms < 0).any():
            raise ValueError(f"'{name}' must be 0 or more, got {norms.min()}")
        if ((norms == 0) & (as_numpy(value, name) != 0)).any():
            raise ValueError(
                f"'{name}' holds values that float32 makes 0, which would mean that nothing was attacked: "
                "scale it"
            )
        return norms
    if name in OUTPUTS:
        output = ordered(name, value, n, ("class",))
        if contents.n_classes is None and output.shape[-1:] == (0,):
            raise ValueError(f"'{name}' is {output.shape}: it has no classes")
        classes = output.shape[-1:] if contents.n_classes is None else (contents.n_classes,)
        return as_variable(name, output, n, classes, np.dtype("<f4"))
    return _image(contents, name, value, n)


def _image(contents: Contents, name: str, value: Any, n: int | None) -> NDArray[Any]:
    image = ordered(name, value, n, ("channel", "y", "x"))
    shape = contents.image_shape
    if shape is None:
        shape = axis_lengths(f"the shape of '{name}'", image.shape if n is None else image.shape[1:], (2, 3))
    dtype = np.dtype("u1") if image.dtype == np.uint8 else np.dtype("<f4")
    if image.dtype != np.uint8 and image.dtype.kind != "f":
        raise TypeError(f"'{name}' is {image.dtype}; images must be uint8 or floating-point")
    stored = contents.variables.get(name)
    if stored is not None and stored.dtype != dtype:
        raise TypeError(f"'{name}' is {image.dtype}, but {contents.path} holds {stored.dtype}")
    return as_variable(name, image, n, shape, dtype)


def _encoded_names(contents: Contents, value: Any, n: int | None) -> list[bytes]:
    """Encode names in UTF-8, and refuse those that the file has already."""
    if np.ma.is_masked(value):
        raise ValueError("'name' has masked elements, but every sample needs a name")
    texts = np.asarray(value.data if is_data_array(value) else value, dtype=object)
    with_batch_axis("name", texts, n, ())
    names: dict[bytes, None] = {}  # an ordered set
    for text in texts.reshape(-1).tolist():
        if not isinstance(text, str):
            raise TypeError(f"a name must be a text, got {text!r}")
        if not text or "\0" in text or not is_text(text):
            raise ValueError(f"a name must be a non-empty text of valid characters without NUL, got {text!r}")
        name = text.encode()
        if name in contents.names or name in names:
            raise ValueError(f"name {text!r} is already in {contents.path}: a file holds each sample once")
        names[name] = None
    return list(names)


def _stored_names(contents: Contents, names: list[bytes]) -> NDArray[Any]:
    """Return names as the variable of the file stores them, which another program may have created."""
    longest = max(map(len, names))
    stored = contents.variables.get("name")
    if stored is None:
        return np.array(names, dtype=h5py.string_dtype("utf-8", max(NAME_BYTES, longest)))
    if stored.dtype == object:  # of variable length
        return np.array([name.decode() for name in names], dtype=object)
    room = stored.shape[1] if stored.ndim == 2 else stored.dtype.itemsize
    if longest > room:
        raise ValueError(
            f"a name has {longest} bytes, but {contents.path} has room for {room}: give the longest name in "
            "the first write"
        )
    if stored.ndim == 2:  # single characters
        return np.array(names, f"S{room}").view("S1").reshape(-1, room)
    return np.array(names, stored.dtype)


def _sample_coordinate(maps: ArrayLike, n: int | None) -> NDArray[Any] | None:
    """Return the numbers of the samples if the maps are a DataArray with an integer coordinate `sample`."""
    if not is_data_array(maps) or "sample" not in maps.coords:
        return None
    values: NDArray[Any] = maps.coords["sample"].values
    return values if values.dtype.kind in "iu" and values.ndim == (n is not None) else None


def _listed(names: set[str]) -> str:
    return ", ".join(name for name in OPTIONAL if name in names) or "no optional variables"
