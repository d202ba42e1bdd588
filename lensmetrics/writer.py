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

from .attributes import checked_attrs, refuse_other_attrs
from .layout import (
    LIBVER,
    check_space,
    check_target,
    column_bytes,
    compression_options,
    create_variable,
    give_name,
    image_dims,
    map_dims,
    part_path,
    reserve,
)
from .locks import lock
from .pairfile import FORMAT, IMAGES, INTEGERS, LARGEST_DECODED_BYTES, MAPS, NORMS, VERSION, checksums
from .store import PairStore, verify

_OPTIONAL = (*INTEGERS, *NORMS, *IMAGES)
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
        are reduced on reading by the rule in the attribute ``reduction``.
    image_shape
        (height, width) or (channel, height, width) of the images, None for that of the first image
        written.
    compression
        None, "gzip" or "zstd" (needs hdf5plugin). It gains some 10 % and makes reading several
        times slower.

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
    ) -> None:
        self.path = Path(path)
        check_target(self.path)
        self.n_samples = _sizes("n_samples", (n_samples,), (1,))[0]
        self._stored_shape = _sizes("shape", shape, (2,))
        if channels is not None:
            self._stored_shape = (*_sizes("channels", (channels,), (1,)), *self._stored_shape)
        self._image_shape = None if image_shape is None else _sizes("image_shape", image_shape, (2, 3))
        checked = {**checked_attrs(attrs), "format": FORMAT, "format_version": VERSION}
        self._compression = compression_options(compression)
        if self._compression and 4 * math.prod(self._stored_shape) > LARGEST_DECODED_BYTES:
            raise ValueError(
                f"maps of {self._stored_shape} are too large to be compressed, the largest take "
                f"{LARGEST_DECODED_BYTES} bytes: leave compression out"
            )
        self._dtype = np.dtype("<f4")
        self._complete = np.zeros(self.n_samples, dtype=bool)
        self._samples: set[int] = set()
        # Kept open: a failure to write what HDF5 still holds of a variable is lost when that is closed.
        self._variables: dict[str, h5py.Dataset] = {}
        # The variables of _OPTIONAL that the file holds, once the first write has told.
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
                self._create_basics()
                self._file.flush()
        except BaseException:
            with suppress(OSError, RuntimeError):
                self._file.close()
            self._current.unlink()
            raise

    @classmethod
    def resume(cls, path: str | os.PathLike[str], attrs: Mapping[str, Any]) -> Self:
        """Go on with the ``.part`` of `path`, or with a finished file that lacks samples.

        Everything that is complete is compared with its checksum; a sample that fails counts as
        missing again.

        Parameters
        ----------
        path
            The name of the finished file, without ``.part``.
        attrs
            The attributes the file was begun with.

        Raises
        ------
        FileNotFoundError
            If there is neither a ``.part`` nor the file.
        FileExistsError
            If both exist, or nothing is missing in the finished file.
        ValueError
            If the attributes differ from those in the file.
        FormatError
            If the file is damaged as a whole.
        """
        target = Path(path)
        part = part_path(target)
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
        if not os.access(current, os.W_OK):
            raise PermissionError(f"{current} may not be written: allow it with chmod, or resume a copy")
        damaged = [position for position, _, problem in verify(current) if problem == "checksum"]
        if current == target and store.complete.all() and not damaged:
            raise FileExistsError(f"{target} is complete: there is nothing to resume")

        writer = cls.__new__(cls)
        writer.path, writer._current = target, part
        writer._file = _opened_alone(current, store)
        try:
            if current == target:
                give_name(target, part)
            writer._take_over(store, damaged)
        except BaseException:
            writer._file.close()
            raise
        return writer

    def _take_over(self, store: PairStore, damaged: list[int]) -> None:
        """Learn from the file what was written, and count damaged samples as missing."""
        self.n_samples = len(store)
        self._optional = {name for name in _OPTIONAL if name in self._file}
        self._variables = {
            name: self._file[name] for name in (*MAPS, "sample", "complete", "checksum", *self._optional)
        }
        self._dtype = self._variables["unperturbed"].dtype.newbyteorder("<")
        self._stored_shape = self._variables["unperturbed"].shape[1:]
        images = [self._variables[name].shape[1:] for name in IMAGES if name in self._optional]
        self._image_shape = images[0] if images else None
        self._complete = store.complete.copy()
        self._complete[damaged] = False
        self._samples = set(store.sample[self._complete].tolist())
        if damaged:
            with _writing(self._current):
                self._variables["complete"][damaged] = 0
                self._file.flush()

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
    ) -> None:
        """Write one sample, or a batch of them, and mark it complete.

        The optional variables of the file are those given in the first write; every later one must
        give the same.

        Parameters
        ----------
        index
            Position in the file from 0 to n_samples - 1, or a slice of positions: then everything
            else has a batch axis in front.
        unperturbed, perturbed
            Maps, ([channel,] height, width). Stored as float32; inf and NaN are kept and score as NaN.
        sample
            Index of the sample in its source dataset, 0 or more, once per file. By default the position.
        label, prediction, prediction_perturbed
            True class, and the classes predicted without and with the perturbation.
        perturbation_linf, perturbation_l2
            Norms of the perturbation in units of the input range.
        image, image_perturbed
            The inputs, ([channel,] height, width): uint8, or floating-point, stored as float32.

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
        maps = [
            _array(name, value, n, self._stored_shape, self._dtype)
            for name, value in zip(MAPS, (unperturbed, perturbed), strict=True)
        ]
        samples = _array("sample", list(rows), len(rows), (), np.dtype("<i8"))
        if sample is not None:
            samples = _array("sample", sample, n, (), np.dtype("<i8"))
        self._refuse_repeats(rows, samples)
        given = {
            "label": label,
            "prediction": prediction,
            "prediction_perturbed": prediction_perturbed,
            "perturbation_linf": perturbation_linf,
            "perturbation_l2": perturbation_l2,
            "image": image,
            "image_perturbed": image_perturbed,
        }
        optional = {
            name: self._optional_array(name, value, n) for name, value in given.items() if value is not None
        }
        if self._optional is None:
            self._begin(optional)
        elif self._optional != set(optional):
            raise ValueError(
                f"this write gives {_names(optional)}, but the first one to {self.path} gave "
                f"{_names(self._optional)}: every write must give the same"
            )

        where = slice(rows.start, rows.stop, rows.step)
        written = {**dict(zip(MAPS, maps, strict=True)), "sample": samples, **optional}
        found = checksums(maps[0], maps[1], samples, optional.get("label"))
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with _writing(self._current):
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

    def _finish(self) -> None:
        """Give the closed file its final name, unless another process has resumed it in this moment."""
        try:
            with self._current.open("rb") as file:
                lock(file, shared=True)
                give_name(self._current, self.path)
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
            reserve(descriptor, self._variables[name].id.get_offset() + first, last - first)

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

    def _optional_array(self, name: str, value: ArrayLike, n: int | None) -> NDArray[Any]:
        if name in INTEGERS:
            return _array(name, value, n, (), np.dtype("<i8"))
        if name in NORMS:
            return _array(name, value, n, (), np.dtype("<f4"))
        image = np.asarray(value)
        shape = self._image_shape
        if shape is None:
            shape = _sizes(f"the shape of '{name}'", image.shape if n is None else image.shape[1:], (2, 3))
        dtype = np.dtype("u1") if image.dtype == np.uint8 else np.dtype("<f4")
        if image.dtype != np.uint8 and image.dtype.kind != "f":
            raise TypeError(f"'{name}' is {image.dtype}; images must be uint8 or floating-point")
        if self._optional is not None and name in self._optional and self._file[name].dtype != dtype:
            raise TypeError(f"'{name}' is {image.dtype}, but {self.path} holds {self._file[name].dtype}")
        return _array(name, image, n, shape, dtype)

    def _begin(self, optional: Mapping[str, NDArray[Any]]) -> None:
        """Complete the layout and give the file the name under which it can be resumed."""
        shapes = {name: optional[name].shape[1:] for name in IMAGES if name in optional}
        if len(set(shapes.values())) > 1:
            raise ValueError(
                f"'image' is {shapes['image']} but 'image_perturbed' is {shapes['image_perturbed']}"
            )
        check_space(self.path.parent, column_bytes(self.n_samples), f"the columns of {self.path}")
        part = part_path(self.path)
        with _writing(self._current):
            for name, values in optional.items():
                if name in shapes:
                    self._image_shape = shapes[name]
                dims = image_dims(self._file, shapes[name]) if name in shapes else {}
                self._create(name, dims, values.dtype)
            self._file.flush()
        give_name(self._current, part)
        self._current, self._optional = part, set(optional)
        if self.path.exists():
            part.unlink()
            raise FileExistsError(f"another process has written {self.path} in the meantime")

    def _create_basics(self) -> None:
        self._create("sample", {}, "<i8")
        for name in MAPS:
            self._create(name, map_dims(self._stored_shape), self._dtype)
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


def _array(
    name: str, value: ArrayLike, n: int | None, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Check and convert the values of one variable, always with a batch axis in front."""
    array = np.asarray(value)
    expected = shape if n is None else (n, *shape)
    if array.shape != expected:
        raise ValueError(f"'{name}' is {array.shape}; here it must be {expected}")
    if array.dtype.kind not in ("iuf" if dtype.kind == "f" else "iu"):
        words = "numbers" if dtype.kind == "f" else "whole numbers"
        raise TypeError(f"'{name}' is {array.dtype}; it must hold {words}")
    try:
        with np.errstate(over="raise"):
            converted = np.ascontiguousarray(array, dtype=dtype)
    except FloatingPointError:
        raise ValueError(
            f"'{name}' holds values beyond +-{np.finfo(dtype).max:.3g}, which {dtype.name} cannot; scale it"
        ) from None
    return converted.reshape(1 if n is None else n, *shape)


def _whole(name: str, value: object) -> int:
    if isinstance(value, bool | np.bool_) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    return operator.index(value)


def _sizes(name: str, values: tuple[int, ...], lengths: tuple[int, ...]) -> tuple[int, ...]:
    """Return lengths of axes as plain integers, each at least 1."""
    sizes = tuple(_whole(name, value) for value in values)
    if len(sizes) not in lengths or min(sizes) < 1:
        counts = " or ".join(map(str, lengths))
        raise ValueError(f"{name} must be {counts} whole numbers from 1 on, got {values}")
    return sizes


def _names(names: Mapping[str, Any] | set[str]) -> str:
    return ", ".join(name for name in _OPTIONAL if name in names) or "no optional variables"
