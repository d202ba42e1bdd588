"""An unfinished pair file, open for writing: it survives a kill, and no second process writes it."""

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ..disk import allocate, check_space, part_path, rename_new
from .attributes import CHECKSUM, COVERED, metadata_checksum, read_attrs
from .batch import Batch
from .checks import read_names
from .contents import Contents
from .format import BESIDE_MAPS, IMAGES, MAPS, OPTIONAL, OUTPUTS
from .layout import LIBVER, column_bytes, create_variable, image_dims, map_dims
from .opening import open_hdf5, raised_by_h5py
from .precision import FLOAT32

# HDF5 collects smaller pieces of a variable in a buffer of this size.
_SIEVE_BYTES = 2**16


@dataclass
class Draft:
    """An unfinished pair file, open for writing.

    It has a temporary name until its first batch is written, then the name of the ``.part``.
    """

    path: Path  # of the finished file
    current: Path
    file: h5py.File
    contents: Contents

    def write(self, batch: Batch) -> None:
        """Write a batch, and mark its samples complete once everything else of them is on disk."""
        if not self.contents.is_begun:
            self._begin(batch)
        variables, where = self.contents.variables, batch.where
        written = batch.arrays | batch.checksums()
        if "image_checksum" not in variables:  # a file of an older release
            written.pop("image_checksum", None)
        with writing(self.current):
            self._allocate(batch)
            for name, values in written.items():
                variables[name][where] = values
            # A sample may be marked complete only after everything of it has left this process.
            self.file.flush()
            variables["complete"][where] = 1
            self.file.flush()
        self.contents.add(where, batch.arrays["sample"].tolist(), batch.names)

    def _begin(self, batch: Batch) -> None:
        """Create the variables and give the file the name under which it can be resumed."""
        n_bytes = column_bytes(self.contents.n_samples)
        if "name" in batch.arrays:
            n_bytes += self.contents.n_samples * batch.arrays["name"].dtype.itemsize
        check_space(self.path.parent, n_bytes, f"the columns of {self.path}")
        with writing(self.current):
            variables = self._create_basics(batch.arrays[MAPS[0]].dtype)
            for name in OPTIONAL:
                if name in batch.arrays:
                    shape, dtype = batch.arrays[name].shape[1:], batch.arrays[name].dtype
                    variables[name] = self._create(name, self._dims(name, shape), dtype)
            if set(BESIDE_MAPS) & set(batch.arrays):
                variables["image_checksum"] = self._create("image_checksum", {}, "<u4")
            self.file.flush()
        part = part_path(self.path)
        rename_new(self.current, part)
        self.current = part
        if self.path.exists():
            part.unlink()
            raise FileExistsError(f"another process created {self.path} in the meantime")
        shapes = (batch.arrays[name].shape[1:] for name in IMAGES if name in batch.arrays)
        self.contents.image_shape = next(shapes, self.contents.image_shape)
        self.contents.dtype = batch.arrays[MAPS[0]].dtype
        self.contents.variables = variables

    def _create_basics(self, dtype: np.dtype[Any]) -> dict[str, h5py.Dataset]:
        """Create the variables that every file has."""
        variables = {"sample": self._create("sample", {}, "<i8")}
        for name in MAPS:
            variables[name] = self._create(name, map_dims(self.contents.map_shape), dtype)
        variables["complete"] = self._create("complete", {}, "u1")
        variables["checksum"] = self._create("checksum", {}, "<u4")
        return variables

    def _create(self, name: str, dims: Mapping[str, int], dtype: str | np.dtype[Any]) -> h5py.Dataset:
        every = {"sample": self.contents.n_samples, **dims}
        return create_variable(self.file, name, every, np.dtype(dtype), self.contents.compression)

    def _dims(self, name: str, shape: tuple[int, ...]) -> dict[str, int]:
        if name in OUTPUTS:
            return {"class": shape[0]}
        return image_dims(self.file, shape) if name in IMAGES else map_dims(shape) if shape else {}

    def _allocate(self, batch: Batch) -> None:
        """Allocate disk space for maps and images, which are holes in the file until they are written."""
        variables = self.contents.variables
        large = {name: values for name, values in batch.arrays.items() if values.ndim > 1}
        if any(variables[name].chunks for name in large):
            n_bytes = sum(values.nbytes for values in large.values())
            check_space(self.path.parent, n_bytes + column_bytes(0), f"a batch of {self.path}")
            return
        descriptor = self.file.id.get_vfd_handle()
        for name, values in large.items():
            row_bytes = values[0].nbytes
            # HDF5 may write what is around the rows with them.
            first = max(batch.rows.start * row_bytes - _SIEVE_BYTES, 0)
            stop = (batch.rows[-1] + 1) * row_bytes + _SIEVE_BYTES
            last = min(stop, self.contents.n_samples * row_bytes)
            allocate(descriptor, variables[name].id.get_offset() + first, last - first)

    def stamp(self, value: int) -> None:
        """Overwrite `checksum_metadata`; a file of an older release has none, and gets none."""
        attrs = self.file.attrs
        if CHECKSUM not in attrs:
            return
        if attrs.get_id(CHECKSUM).dtype == np.int64 and attrs.get_id(CHECKSUM).shape == ():
            attrs.modify(CHECKSUM, np.int64(value))
        else:
            attrs.create(CHECKSUM, value, dtype=np.int64)

    def close(self, *, finished: bool) -> None:
        """Close the file, after writing what only a finished file has."""
        with writing(self.current):
            try:
                if finished:
                    if not self.contents.is_begun:  # no sample was written
                        dtype = self.contents.dtype
                        self.contents.variables = self._create_basics(FLOAT32 if dtype is None else dtype)
                    if CHECKSUM in self.file.attrs:
                        self.stamp(self._metadata_checksum())
                        self.file.flush()
            finally:
                self.file.close()

    def _metadata_checksum(self) -> int:
        variables = self.contents.variables
        columns: dict[str, NDArray[Any]] = {
            name: read_names(self.current, self.file, self.contents.n_samples)
            if name == "name"
            else variables[name][()]
            for name in COVERED
            if name in variables
        }
        return metadata_checksum(read_attrs(self.current, self.file), columns)

    def give_final_name(self) -> None:
        """Rename the closed file, unless another process has resumed it in the meantime."""
        taken = f"another process has resumed {self.current} and will finish it"
        try:
            with open_hdf5(self.current):  # HDF5's lock of a reader keeps writers out
                rename_new(self.current, self.path)
        except (BlockingIOError, FileNotFoundError) as error:
            raise type(error)(taken) from error


def create(path: Path, attrs: Mapping[str, Any], contents: Contents) -> Draft:
    """Create a file without variables, under a temporary name."""
    n_bytes = column_bytes(contents.n_samples) + len(repr(attrs))
    check_space(path.parent, n_bytes, f"the columns of {path}")
    current = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        current.touch(exist_ok=False)
    except OSError as error:
        raise type(error)(f"{path} cannot be written ({error.strerror}): choose another place") from error
    file = h5py.File(current, "w", libver=LIBVER, locking="best-effort")
    try:
        with writing(current):
            file.attrs.update(attrs)
            file.flush()
    except BaseException:
        with suppress(OSError, RuntimeError):
            file.close()
        current.unlink()
        raise
    return Draft(path, current, file, contents)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Report disk errors in one sentence; h5py reports them in various ways."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not isinstance(error, OSError) and not raised_by_h5py(error):
            raise
        # The text of HDF5's error stack is the only place that names the reason.
        found = re.search("error message = '(.*?)'", str(error))
        reason = found[1] if found else getattr(error, "strerror", None) or str(error)
        raise OSError(
            f"{path} cannot be written ({reason}): its complete samples are kept; solve the problem, then "
            "continue with PairWriter.resume"
        ) from error
