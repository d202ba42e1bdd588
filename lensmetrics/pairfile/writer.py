"""`PairWriter`: one pair file, written so that a killed writer costs only the sample in work."""

from __future__ import annotations

import math
import operator
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..disk import allocate, check_space, lock, part_path, rename_new
from ..errors import FormatError
from ..pairs.arrays import aligned, as_numpy, is_data_array
from .attributes import (
    CHECKSUM,
    COVERED,
    UNFINISHED,
    checked_attrs,
    is_text,
    metadata_checksum,
    read_attrs,
    refuse_other_attrs,
)
from .checks import LARGEST_DECODED_BYTES, read_names
from .format import (
    BESIDE_MAPS,
    COUNTS,
    FORMAT,
    IMAGES,
    INTEGERS,
    MAPS,
    NORMS,
    OPTIONAL,
    OUTPUTS,
    VERSION,
    checksums,
    row_checksums,
)
from .layout import (
    LIBVER,
    check_target,
    column_bytes,
    compression_options,
    create_variable,
    image_dims,
    map_dims,
    refuse_odd,
)
from .precision import FLOAT32, FLOAT64, exact_dtype, rounded
from .store import PairStore
from .verification import verify

# Room for a name in bytes; what a kill cannot tear has a fixed length, and most file names are shorter.
_NAME_BYTES = 256
# Smaller pieces of a variable HDF5 collects in a buffer of this size.
_SIEVE_BYTES = 2**16


class PairWriter:
    """Writes one pair file; use it in a ``with``.

    The file is made under a temporary name beside `path`, is called ``NAME.h5.part`` from the first
    `write` on, and ``NAME.h5`` when the ``with`` ends without an error; samples that were not
    written by then read as missing. After an error or a kill the ``.part`` stays, and
    `PairWriter.resume` goes on with it.

    Parameters
    ----------
    path
        Where the finished file goes. Neither it nor its ``.part`` may exist.
    n_samples
        Number of samples the file has room for, at least 1.
    shape
        (height, width) of the maps in pixels.
    attrs
        What the file holds: ``dataset``, ``model``, ``training``, ``explanation``, ``attack``,
        ``eps``, ... Values are str, int, float, or a sequence of one of these; a bool, None or
        float16 is refused, because netCDF-4 readers fail on them.
    channels
        Length of the channel axis between sample and height, None for maps without one. Channels
        are reduced on reading by the rule in the attribute ``reduction``; one channel is not.
    image_shape
        (height, width) or (channel, height, width) of the images, None for that of the first image
        written.
    compression
        None, "gzip" or "zstd" (needs hdf5plugin). It gains some 10 % and makes reading several
        times slower.
    dtype
        "float32" or "float64" rounds the maps on purpose; `write` refuses those of which this would
        make others. None stores them exactly: the first batch decides whether the file is float32,
        which is enough for float16, bfloat16, bool and integers up to 2^24, or float64, for integers
        up to 2^53; maps that need more are refused.

    Raises
    ------
    FileExistsError
        If `path` or its ``.part`` exists.
    OSError
        If nothing can be written at `path`.
    ValueError, TypeError
        If a parameter or an attribute is not as above.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        n_samples: int,
        shape: tuple[int, int],
        attrs: Mapping[str, Any],
        channels: int | None = None,
        image_shape: tuple[int, ...] | None = None,
        compression: str | None = None,
        dtype: str | np.dtype[Any] | type[np.floating] | None = None,
    ) -> None:
        self.path = Path(path)
        check_target(self.path)
        self.n_samples = _sizes("n_samples", (n_samples,), (1,))[0]
        self._stored_shape = _sizes("shape", shape, (2,))
        if channels is not None:
            self._stored_shape = (*_sizes("channels", (channels,), (1,)), *self._stored_shape)
        self._image_shape = None if image_shape is None else _sizes("image_shape", image_shape, (2, 3))
        self._n_classes: int | None = None
        checked = {
            **checked_attrs(attrs),
            "format": FORMAT,
            "format_version": VERSION,
            CHECKSUM: UNFINISHED,
        }
        self._compression = compression_options(compression)
        self._rounds = dtype is not None
        # None until the first batch tells.
        self._dtype = None if dtype is None else _float_type(dtype)
        self._check_compressible(FLOAT32 if self._dtype is None else self._dtype)
        self._complete = np.zeros(self.n_samples, dtype=bool)
        self._samples: set[int] = set()
        self._named: set[bytes] = set()
        # Kept open: a failure to write what HDF5 still holds of a variable is lost when that is closed.
        self._variables: dict[str, h5py.Dataset] = {}
        # The variables of OPTIONAL that the file holds, once the first write has told.
        self._optional: set[str] | None = None

        n_bytes = column_bytes(self.n_samples) + len(repr(checked))
        check_space(self.path.parent, n_bytes, f"the columns of {self.path}")
        self._current = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.tmp")
        try:
            self._current.touch(exist_ok=False)
        except OSError as error:
            raise type(error)(
                f"{self.path} cannot be written ({error.strerror}): choose another place"
            ) from error
        self._file = h5py.File(self._current, "w", libver=LIBVER, locking="best-effort")
        try:
            with _writing(self._current):
                self._file.attrs.update(checked)
                self._file.flush()
        except BaseException:
            with suppress(OSError, RuntimeError):
                self._file.close()
            self._current.unlink()
            raise

    @classmethod
    def resume(
        cls,
        path: str | os.PathLike[str],
        attrs: Mapping[str, Any],
        *,
        dtype: str | np.dtype[Any] | type[np.floating] | None = None,
    ) -> Self:
        """Go on with the ``.part`` of `path`, or with a finished file that lacks samples.

        Everything that is complete is compared with its checksum; a sample that fails counts as
        missing again.

        Parameters
        ----------
        path
            The name of the finished file, without ``.part``.
        attrs
            The attributes the file was begun with.
        dtype
            That of the file, to round further maps on purpose; None refuses maps that it does not
            hold exactly.

        Raises
        ------
        FileNotFoundError
            If there is neither a ``.part`` nor the file.
        FileExistsError
            If both exist, one of them is a link, folder or device, or nothing is missing in the
            finished file.
        ValueError
            If the attributes or the dtype differ from those in the file.
        FormatError
            If the file is damaged as a whole, or does not match its ``checksum_metadata``.
        """
        target = Path(path)
        part = part_path(target)
        for place in (part, target):
            refuse_odd(place)
        if part.exists() and target.exists():
            if not part.samefile(target):
                raise FileExistsError(f"both {target} and {part} exist: delete the one that is not wanted")
            part.unlink()  # the writer was killed as it gave the finished file its name
        if not part.exists() and not target.exists():
            raise FileNotFoundError(
                f"there is no {part} to resume: begin with PairWriter({str(target)!r}, ...)"
            )
        current = part if part.exists() else target
        store = PairStore(current)
        refuse_other_attrs(current, store.attrs, checked_attrs(attrs))
        if store.metadata_damaged:  # what is damaged cannot be told, so it cannot be written again
            raise FormatError(
                f"{store.metadata_damaged}; if it was changed on purpose, delete the attribute {CHECKSUM}"
            )
        if not os.access(current, os.W_OK):
            raise PermissionError(f"{current} may not be written: allow it with chmod, or resume a copy")
        bad = {position for position, _, problem in verify(current) if problem != "incomplete"}
        damaged = sorted(bad)
        if current == target and store.complete.all() and not damaged:
            raise FileExistsError(f"{target} is complete: there is nothing to resume")

        writer = cls.__new__(cls)
        writer.path, writer._current = target, part
        writer._file = _opened_alone(current, store)
        try:
            writer._take_over(store, dtype)
            if current == target:
                rename_new(target, part)
            writer._count_missing(store, damaged)
        except BaseException:
            writer._file.close()
            raise
        return writer

    def _take_over(self, store: PairStore, dtype: str | np.dtype[Any] | type[np.floating] | None) -> None:
        """Learn from the file what was written."""
        self.n_samples = len(store)
        self._optional = {name for name in OPTIONAL if name in self._file}
        held = (*MAPS, "sample", "complete", "checksum", "image_checksum", *self._optional)
        self._variables = {name: self._file[name] for name in held if name in self._file}
        self._dtype = self._variables["unperturbed"].dtype.newbyteorder("<")
        self._compression = {}  # it has its variables already
        self._rounds = dtype is not None
        if dtype is not None and _float_type(dtype) != self._dtype:
            raise ValueError(
                f"dtype is {_float_type(dtype).name}, but {self._current} holds {self._dtype.name}"
            )
        self._stored_shape = self._variables["unperturbed"].shape[1:]
        images = [self._variables[name].shape[1:] for name in IMAGES if name in self._optional]
        self._image_shape = images[0] if images else None
        outputs = [self._variables[name].shape[1] for name in OUTPUTS if name in self._optional]
        self._n_classes = outputs[0] if outputs else None
        self._complete = store.complete.copy()

    def _count_missing(self, store: PairStore, damaged: list[int]) -> None:
        """Begin to change the file: damaged samples count as missing, and it is not finished."""
        self._complete[damaged] = False
        self._samples = set(store.sample[self._complete].tolist())
        self._named = set()
        if store.name is not None:
            self._named = {str(name).encode() for name in store.name[self._complete]}
        with _writing(self._current):
            self._stamp(UNFINISHED)
            self._file.flush()
            if damaged:
                self._variables["complete"][damaged] = 0
                self._file.flush()

    def _stamp(self, value: int) -> None:
        """Set `checksum_metadata` in its place; a file of an older release has none, and stays so."""
        attrs = self._file.attrs
        if CHECKSUM not in attrs:
            return
        if attrs.get_id(CHECKSUM).dtype == np.int64 and attrs.get_id(CHECKSUM).shape == ():
            attrs.modify(CHECKSUM, np.int64(value))
        else:
            attrs.create(CHECKSUM, value, dtype=np.int64)

    @property
    def missing(self) -> NDArray[np.int64]:
        """Positions that are not written yet, in rising order."""
        return np.flatnonzero(~self._complete)

    def write(
        self,
        index: int | slice,
        unperturbed: ArrayLike,
        perturbed: ArrayLike,
        *,
        sample: ArrayLike | None = None,
        label: ArrayLike | None = None,
        prediction: ArrayLike | None = None,
        prediction_perturbed: ArrayLike | None = None,
        perturbation_linf: ArrayLike | None = None,
        perturbation_l2: ArrayLike | None = None,
        image: ArrayLike | None = None,
        image_perturbed: ArrayLike | None = None,
        name: ArrayLike | None = None,
        n_accepted: ArrayLike | None = None,
        best_step: ArrayLike | None = None,
        output: ArrayLike | None = None,
        output_perturbed: ArrayLike | None = None,
        target: ArrayLike | None = None,
    ) -> None:
        """Write one sample, or a batch of them, and mark it complete.

        The optional variables of the file are those given in the first write; every later one must
        give the same. Every array may be a NumPy array, a list, a torch tensor or an
        xarray.DataArray, whose dimensions may come in any order if they are named sample, channel,
        y, x and class; masked pixels and norms become NaN.

        Parameters
        ----------
        index
            Position in the file from 0 to n_samples - 1, or a slice of positions: then everything
            else has a batch axis in front.
        unperturbed, perturbed
            Maps, ([channel,] height, width). inf and NaN are kept and score as NaN. In a file without
            channels, an axis of one channel is dropped.
        sample
            Index of the sample in its source dataset, 0 or more, once per file. By default the integer
            coordinate ``sample`` of the unperturbed maps, if these are a DataArray that has one, else the
            position.
        label, prediction, prediction_perturbed
            True class, and the classes predicted without and with the perturbation.
        perturbation_linf, perturbation_l2
            Norms of the perturbation in units of the input range.
        image, image_perturbed
            The inputs, ([channel,] height, width): uint8, or floating-point, stored as float32.
        name
            What the sample is called in its source dataset, such as a file name. Stored in UTF-8, in
            at most 256 bytes, or more where a name in the first write is longer.
        n_accepted, best_step
            Number of images that the stored one was chosen from (0: the unperturbed one is stored),
            and the step of the best.
        output, output_perturbed
            The network's outputs (logits), (class,), stored as float32.
        target
            The map that the attack aims at, (height, width).

        Raises
        ------
        ValueError, TypeError
            If a value does not fit, a position is already complete, a sample is already in the
            file, or the optional variables are not those of the first write. Nothing is written then.
        IndexError
            If a position lies outside the file.
        """
        if not self._file:
            raise ValueError(f"{self.path} is closed; go on with PairWriter.resume")
        rows = self._rows(index)
        n = len(rows) if isinstance(index, slice) else None
        given = {"unperturbed": unperturbed, "perturbed": perturbed}
        aligned(unperturbed, perturbed)  # for what it refuses
        if sample is None:
            sample = _sample_coordinate(unperturbed, n)
        maps = self._maps(given if target is None else {**given, "target": target}, n)
        samples = _array("sample", list(rows), len(rows), (), np.dtype("<i8"))
        if sample is not None:
            samples = _array("sample", sample, n, (), np.dtype("<i8"))
        self._refuse_repeats(rows, samples)
        others: dict[str, Any] = {
            "name": name,
            "label": label,
            "prediction": prediction,
            "prediction_perturbed": prediction_perturbed,
            "n_accepted": n_accepted,
            "best_step": best_step,
            "perturbation_linf": perturbation_linf,
            "perturbation_l2": perturbation_l2,
            "image": image,
            "image_perturbed": image_perturbed,
            "output": output,
            "output_perturbed": output_perturbed,
        }
        optional = {
            key: self._optional_array(key, value, n) for key, value in others.items() if value is not None
        }
        if target is not None:
            optional["target"] = maps["target"]
        if self._optional is None:
            self._begin(optional, maps["unperturbed"].dtype)
        elif self._optional != set(optional):
            raise ValueError(
                f"this write gives {_names(optional)}, but {self.path} holds {_names(self._optional)}: "
                "every write must give the same as the first"
            )

        where = slice(rows.start, rows.stop, rows.step)
        written = {**maps, "sample": samples, **optional}
        found = checksums(maps["unperturbed"], maps["perturbed"], samples, optional.get("label"))
        if "image_checksum" in self._variables:
            beside = row_checksums([optional[key] for key in BESIDE_MAPS if key in optional])
            written["image_checksum"] = np.array(beside, dtype=np.uint32)
        with _writing(self._current):
            self._reserve(rows, written)
            for name, values in written.items():
                self._variables[name][where] = values
            self._variables["checksum"][where] = np.array(found, dtype=np.uint32)
            # A sample may be called complete only when everything of it has left this process.
            self._file.flush()
            self._variables["complete"][where] = 1
            self._file.flush()
        self._complete[where] = True
        self._samples.update(samples.tolist())
        self._named.update(_texts(optional["name"]) if "name" in optional else ())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with _writing(self._current):
                try:
                    if error is None:
                        self._complete_metadata()
                finally:
                    self._file.close()
        except OSError as failure:
            if error is None:
                raise
            error.add_note(str(failure))
        finally:
            if error is not None and self._optional is None:  # nothing was written that could be resumed
                self._current.unlink(missing_ok=True)
        if error is None:
            self._finish()

    def _complete_metadata(self) -> None:
        """Write what belongs to a finished file only."""
        if self._optional is None:  # no sample was written
            self._create_basics(FLOAT32 if self._dtype is None else self._dtype)
        if CHECKSUM in self._file.attrs:
            self._stamp(self._metadata_checksum())
            self._file.flush()

    def _metadata_checksum(self) -> int:
        columns = {
            name: read_names(self._current, self._file, self.n_samples)
            if name == "name"
            else self._variables[name][()]
            for name in COVERED
            if name in self._variables
        }
        return metadata_checksum(read_attrs(self._current, self._file), columns)

    def _finish(self) -> None:
        """Give the closed file its final name, unless another process has resumed it in this moment."""
        try:
            with self._current.open("rb") as file:
                lock(file)
                rename_new(self._current, self.path)
        except (BlockingIOError, FileNotFoundError) as error:
            raise type(error)(f"another process goes on with {self._current}: it will finish it") from error

    def _reserve(self, rows: range, written: Mapping[str, NDArray[Any]]) -> None:
        """Take room on the disk for maps and images, of which the file has only holes."""
        large = {name: values for name, values in written.items() if values.ndim > 1}
        if any(self._variables[name].chunks for name in large):
            n_bytes = sum(values.nbytes for values in large.values())
            check_space(self.path.parent, n_bytes + column_bytes(0), f"a batch of {self.path}")
            return
        descriptor = self._file.id.get_vfd_handle()
        for name, values in large.items():
            row_bytes = values[0].nbytes
            # HDF5 may write what lies around the rows with them.
            first = max(rows.start * row_bytes - _SIEVE_BYTES, 0)
            last = min((rows[-1] + 1) * row_bytes + _SIEVE_BYTES, self.n_samples * row_bytes)
            allocate(descriptor, self._variables[name].id.get_offset() + first, last - first)

    def _rows(self, index: int | slice) -> range:
        """Positions that an index means, all inside the file and none of them written."""
        if isinstance(index, slice):
            rows = range(self.n_samples)[index]
            # A slice is cut off silently where the file ends; a batch must not be.
            last = index.stop if index.stop is not None else self.n_samples
            inside = (
                rows.step > 0 and (index.start or 0) >= 0 and 0 <= last <= self.n_samples and len(rows) > 0
            )
        else:
            position = _whole("index", index)
            rows = range(position, position + 1)
            inside = 0 <= position < self.n_samples
        if not inside:
            raise IndexError(
                f"index {index} is not inside {self.path}, which has the positions 0 to {self.n_samples - 1}"
            )
        written = [position for position in rows if self._complete[position]]
        if written:
            raise ValueError(f"position {written[0]} of {self.path} is complete: it is not written twice")
        return rows

    def _refuse_repeats(self, rows: range, samples: NDArray[Any]) -> None:
        seen: set[int] = set()
        for position, number in zip(rows, samples.tolist(), strict=True):
            if number < 0:
                raise ValueError(f"sample must be 0 or more, got {number} for position {position}")
            if number in self._samples or number in seen:
                raise ValueError(
                    f"sample {number}, given for position {position}, is already in {self.path}: "
                    "a file holds each sample once"
                )
            seen.add(number)

    def _refuse_repeated_names(self, names: list[bytes]) -> None:
        seen: set[bytes] = set()
        for name in names:
            if name in self._named or name in seen:
                raise ValueError(
                    f"name {name.decode()!r} is already in {self.path}: a file holds each sample once"
                )
            seen.add(name)

    def _maps(self, given: Mapping[str, ArrayLike], n: int | None) -> dict[str, NDArray[np.floating]]:
        """Check the maps and convert them to the type of the file, which they decide if they come first."""
        height_width = self._stored_shape[-2:]
        arrays = {}
        for name, value in given.items():
            shape = height_width if name == "target" else self._stored_shape
            array = _foreign(name, value, n, ("channel", "y", "x"))
            if len(shape) == 2 and array.ndim == 3 + (n is not None) and array.shape[-3] == 1:
                array = array.squeeze(-3)
            arrays[name] = _with_batch(name, array, n, shape)
        if self._rounds and self._dtype is not None:
            return {name: rounded(array, self._dtype, name)[0] for name, array in arrays.items()}
        needed = {name: exact_dtype(array, name) for name, array in arrays.items()}
        dtype = self._dtype
        if dtype is None:
            dtype = max(needed.values(), key=lambda needs: needs.itemsize)
        for name, needs in needed.items():
            if needs.itemsize > dtype.itemsize:
                raise ValueError(
                    f"'{name}' is {arrays[name].dtype} and needs {needs.name}, but {self.path} holds "
                    f"{dtype.name}, as its first maps need no more: begin it with dtype='float64', or give "
                    "dtype='float32' to round on purpose"
                )
        self._check_compressible(dtype)
        return {name: np.ascontiguousarray(array, dtype=dtype) for name, array in arrays.items()}

    def _check_compressible(self, dtype: np.dtype[Any]) -> None:
        n_bytes = dtype.itemsize * math.prod(self._stored_shape)
        if self._compression and n_bytes > LARGEST_DECODED_BYTES:
            raise ValueError(
                f"maps of {self._stored_shape} are too large to be compressed, the largest take "
                f"{LARGEST_DECODED_BYTES} bytes: leave compression out"
            )

    def _optional_array(self, name: str, value: Any, n: int | None) -> NDArray[Any]:
        if name == "name":
            return self._names(value, n)
        if name in INTEGERS:
            return _array(name, value, n, (), np.dtype("<i8"))
        if name in COUNTS:
            counts = _array(name, value, n, (), np.dtype("<i4"))
            if name == "n_accepted" and (counts < 0).any():
                raise ValueError(f"'n_accepted' must be 0 or more, got {counts.min()}")
            return counts
        if name in NORMS:
            norms = _array(name, value, n, (), np.dtype("<f4"))
            if (norms < 0).any():
                raise ValueError(f"'{name}' must be 0 or more, got {norms.min()}")
            if ((norms == 0) & (as_numpy(value, name) != 0)).any():
                raise ValueError(
                    f"'{name}' holds values that float32 makes 0, which would say that nothing was attacked; "
                    "scale it"
                )
            return norms
        if name in OUTPUTS:
            output = _foreign(name, value, n, ("class",))
            if self._n_classes is None and output.shape[-1:] == (0,):
                raise ValueError(f"'{name}' is {output.shape}: it has no classes")
            classes = output.shape[-1:] if self._n_classes is None else (self._n_classes,)
            return _array(name, output, n, classes, np.dtype("<f4"))
        return self._image(name, value, n)

    def _image(self, name: str, value: Any, n: int | None) -> NDArray[Any]:
        image = _foreign(name, value, n, ("channel", "y", "x"))
        shape = self._image_shape
        if shape is None:
            shape = _sizes(f"the shape of '{name}'", image.shape if n is None else image.shape[1:], (2, 3))
        dtype = np.dtype("u1") if image.dtype == np.uint8 else np.dtype("<f4")
        if image.dtype != np.uint8 and image.dtype.kind != "f":
            raise TypeError(f"'{name}' is {image.dtype}; images must be uint8 or floating-point")
        if self._optional is not None and name in self._optional and self._variables[name].dtype != dtype:
            raise TypeError(f"'{name}' is {image.dtype}, but {self.path} holds {self._variables[name].dtype}")
        return _array(name, image, n, shape, dtype)

    def _names(self, value: Any, n: int | None) -> NDArray[Any]:
        """Encode names for a column of fixed length."""
        if np.ma.is_masked(value):
            raise ValueError("'name' is masked in places: a sample without a name needs another one")
        texts = np.asarray(value.data if is_data_array(value) else value, dtype=object)
        _with_batch("name", texts, n, ())
        encoded = [_encoded(text) for text in texts.reshape(-1).tolist()]
        self._refuse_repeated_names(encoded)
        longest = max(map(len, encoded))
        stored = self._variables.get("name")
        if stored is None:
            return np.array(encoded, dtype=h5py.string_dtype("utf-8", max(_NAME_BYTES, longest)))
        if stored.dtype == object:  # of variable length, by another program
            return np.array([text.decode() for text in encoded], dtype=object)
        room = stored.shape[1] if stored.ndim == 2 else stored.dtype.itemsize
        if longest > room:
            raise ValueError(
                f"a name has {longest} bytes, but {self.path} has room for {room}: give the longest name in "
                "the first write"
            )
        if stored.ndim == 2:  # single characters, likewise
            return np.array(encoded, f"S{room}").view("S1").reshape(-1, room)
        return np.array(encoded, stored.dtype)

    def _begin(self, optional: Mapping[str, NDArray[Any]], dtype: np.dtype[Any]) -> None:
        """Complete the layout and give the file the name under which it can be resumed."""
        shapes = {key: optional[key].shape[1:] for key in BESIDE_MAPS if key in optional}
        for kind in (IMAGES, OUTPUTS):
            first, second = (shapes.get(key) for key in kind)
            if first and second and first != second:
                raise ValueError(f"'{kind[0]}' is {first} but '{kind[1]}' is {second}")
        n_bytes = column_bytes(self.n_samples)
        if "name" in optional:
            n_bytes += self.n_samples * optional["name"].dtype.itemsize
        check_space(self.path.parent, n_bytes, f"the columns of {self.path}")
        part = part_path(self.path)
        with _writing(self._current):
            self._create_basics(dtype)
            for key, values in optional.items():
                self._create(key, self._dims(key, values.shape[1:]), values.dtype)
            if shapes:
                self._create("image_checksum", {}, "<u4")
            self._file.flush()
        self._image_shape = next((shapes[key] for key in IMAGES if key in shapes), self._image_shape)
        self._n_classes = next((shapes[key][0] for key in OUTPUTS if key in shapes), None)
        self._dtype = dtype
        rename_new(self._current, part)
        self._current, self._optional = part, set(optional)
        if self.path.exists():
            part.unlink()
            raise FileExistsError(f"another process has written {self.path} in the meantime")

    def _dims(self, name: str, shape: tuple[int, ...]) -> dict[str, int]:
        if name in OUTPUTS:
            return {"class": shape[0]}
        return image_dims(self._file, shape) if name in IMAGES else map_dims(shape) if shape else {}

    def _create_basics(self, dtype: np.dtype[Any]) -> None:
        self._create("sample", {}, "<i8")
        for name in MAPS:
            self._create(name, map_dims(self._stored_shape), dtype)
        self._create("complete", {}, "u1")
        self._create("checksum", {}, "<u4")

    def _create(self, name: str, dims: Mapping[str, int], dtype: str | np.dtype[Any]) -> None:
        dims = {"sample": self.n_samples, **dims}
        self._variables[name] = create_variable(self._file, name, dims, np.dtype(dtype), self._compression)


def _opened_alone(path: Path, store: PairStore) -> h5py.File:
    """Open a file that was read a moment ago, unless it has a writer or had one since."""
    taken = f"{path} is being written by another process; wait until it ends"
    try:
        with path.open("r+b") as probe:
            lock(probe)  # HDF5's own lock, which it takes below, knows no other writer in this process
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


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Say what went wrong on the disk in one sentence; h5py says it in various ways."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = re.search("error message = '(.*?)'", str(error))
        words = reason[1] if reason else getattr(error, "strerror", None) or str(error)
        raise OSError(
            f"{path} cannot be written ({words}): what is complete in it is kept; put right what is wrong, "
            "then go on with PairWriter.resume"
        ) from error


def _sample_coordinate(maps: ArrayLike, n: int | None) -> NDArray[Any] | None:
    """Return the numbers of the samples that a DataArray names, None where it does not."""
    if not is_data_array(maps) or "sample" not in maps.coords:
        return None
    values: NDArray[Any] = maps.coords["sample"].values
    return values if values.dtype.kind in "iu" and values.ndim == (n is not None) else None


def _texts(names: NDArray[Any]) -> list[bytes]:
    """Return names as `PairWriter._names` encoded them, whatever the variable stores."""
    if names.ndim == 2:
        names = np.ascontiguousarray(names).view(f"S{names.shape[1]}").reshape(-1)
    return [name.encode() if isinstance(name, str) else bytes(name) for name in names.tolist()]


def _foreign(name: str, value: Any, n: int | None, axes: tuple[str, ...]) -> NDArray[Any]:
    """Turn one argument of `write` into an array; the axes of a DataArray are found by their names."""
    if is_data_array(value):
        order = axes if n is None else ("sample", *axes)
        # PairStore.to_xarray calls the axes of images so where their lengths are not those of the maps.
        dims = {str(dim).removeprefix("image_"): dim for dim in value.dims}
        if not set(order) - {"channel"} <= set(dims) <= set(order) or len(dims) < len(value.dims):
            raise ValueError(
                f"'{name}' is a DataArray with the dimensions {tuple(value.dims)}; here they must be "
                f"{', '.join(order)}, in any order{' and with or without channel' * ('channel' in order)}"
            )
        value = value.transpose(*(dims[dim] for dim in order if dim in dims))
    return as_numpy(value, name)


def _with_batch(name: str, array: NDArray[Any], n: int | None, shape: tuple[int, ...]) -> NDArray[Any]:
    """Check the shape of one argument of `write`, and give it a batch axis in front."""
    expected = shape if n is None else (n, *shape)
    if array.shape != expected:
        raise ValueError(f"'{name}' is {array.shape}; here it must be {expected}")
    return array.reshape(1 if n is None else n, *shape)


def _array(
    name: str, value: Any, n: int | None, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Check and convert the values of one variable, always with a batch axis in front."""
    if dtype.kind == "i" and _has_mask(value):
        raise ValueError(
            f"'{name}' has masked elements, but no integer stands for a missing one: leave these samples, or "
            f"'{name}', out"
        )
    array = _with_batch(name, _foreign(name, value, n, ()) if shape == () else value, n, shape)
    if array.dtype.kind not in ("iuf" if dtype.kind == "f" else "iu"):
        words = "numbers" if dtype.kind == "f" else "integers"
        raise TypeError(f"'{name}' is {array.dtype}; it must hold {words}")
    if dtype.kind == "i":
        limits = np.iinfo(dtype)
        for number in (int(array.min()), int(array.max())):
            if not limits.min <= number <= limits.max:
                raise ValueError(f"'{name}' holds {number}; it must be from {limits.min} to {limits.max}")
    try:
        with np.errstate(over="raise"):
            return np.ascontiguousarray(array, dtype=dtype)
    except FloatingPointError:
        raise ValueError(
            f"'{name}' holds values beyond +-{np.finfo(dtype).max:.3g}, which {dtype.name} cannot; scale it"
        ) from None


def _has_mask(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_has_mask, value))
    return bool(np.ma.is_masked(value))


def _encoded(text: object) -> bytes:
    if not isinstance(text, str):
        raise TypeError(f"a name must be a text, got {text!r}")
    if not text or "\0" in text or not is_text(text):
        raise ValueError(
            f"a name must be a text of valid characters, not empty and without NUL, got {text!r}"
        )
    return text.encode()


def _float_type(dtype: str | np.dtype[Any] | type[np.floating]) -> np.dtype[Any]:
    try:
        found = np.dtype(dtype).newbyteorder("<")
    except TypeError:
        found = None
    if found is None or found not in (FLOAT32, FLOAT64):  # NumPy takes None for float64
        raise ValueError(f"dtype must be None, 'float32' or 'float64', got {dtype!r}")
    return found


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool | np.bool_) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    return operator.index(value)


def _sizes(name: str, values: tuple[int, ...], lengths: tuple[int, ...]) -> tuple[int, ...]:
    """Return lengths of axes as plain integers, each at least 1."""
    sizes = tuple(_whole(name, value) for value in values)
    if len(sizes) not in lengths or min(sizes) < 1:
        counts = " or ".join(map(str, lengths))
        raise ValueError(f"{name} must be {counts} integers from 1 on, got {values}")
    return sizes


def _names(names: Mapping[str, Any] | set[str]) -> str:
    return ", ".join(name for name in OPTIONAL if name in names) or "no optional variables"
