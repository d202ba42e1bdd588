"""`PairStore`: one pair file, opened for reading."""

import operator
import os
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..messages import printable
from .attributes import CHECKSUM
from .format import IMAGES
from .header import read_header
from .opening import load_filters, opened
from .slices import Slice, read_beside

if TYPE_CHECKING:
    import xarray as xr

    from ..pairs.mappair import MapPair

# Characters of an attribute shown in a notebook.
_SHOWN = 120


class PairStore:
    """One pair file, opened for reading.

    The attributes and the columns (all variables but maps, images, targets and outputs) are read
    once; no file handle is kept, so a store can be pickled and sent to another process. Maps are
    read, verified against their checksums and reduced to one value per pixel when they are asked
    for.

    Parameters
    ----------
    path
        A pair file. The ``.part`` of an unfinished one can be read too, once its writer has ended;
        samples that are not complete are missing.

    Raises
    ------
    FormatError
        If the file is not a pair file of version 1, or is damaged.
    FileNotFoundError, IsADirectoryError, PermissionError
        If there is no such file, or it cannot be opened.
    BlockingIOError
        If another process is writing the file.

    Attributes
    ----------
    path
        Path of the file.
    attrs
        The file's attributes as plain Python values. netCDF does not distinguish a sequence of one
        value from the value, so the value is returned.
    shape
        (height, width) of every map, in pixels.
    n_channels
        Length of the channel axis of the stored maps, None if they have none.
    reduction
        How channels become one value per pixel: ``abs_sum`` (the default), ``sum`` or ``abs_max``.
        A single channel is not reduced.
    sample
        Index of each sample in its source dataset, (n,) int64.
    name
        Name of each sample in its source dataset, (n,) str objects, None if the file has no names.
    label, prediction, prediction_perturbed
        (n,) int64, None if the file does not have them.
    n_accepted, best_step
        The number of images that the stored one was chosen from, and the step of the best, (n,)
        int32, None if the file does not have them.
    complete
        (n,) bool, False where a sample was never finished.
    not_attacked, label_changed
        (n,) bool: whether no perturbed image was accepted or the perturbation is 0, and whether the
        predictions differ; False where the file does not hold what is needed, and for samples that
        are not complete.
    metadata_damaged
        "" or a sentence: the attributes, or the columns that no checksum of a sample covers, have
        changed since the file was finished.
    fingerprint
        A hash of the attributes, the layout and the columns, including the checksums that stand for
        maps and images.

    Examples
    --------
    A store has a length, can be indexed and iterated over; each item is a `MapPair`, which has both
    images where the file stores them and they match their checksum.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import lensmetrics as lm
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "toy.h5"
    >>> with lm.PairWriter(path, n_samples=2, shape=(1, 3), attrs={"attack": "topk"}) as writer:
    ...     writer.write(0, [[3, 2, 1]], [[1, 2, 3]], label=7)
    >>> store = lm.PairStore(path)
    >>> len(store), store.shape, store.attrs["attack"]
    (2, (1, 3), 'topk')
    >>> store[0].perturbed
    array([[1., 2., 3.]], dtype=float32)

    Position 1 was never written, so its maps read as NaN.

    >>> store.complete.tolist(), store.label.tolist()
    ([True, False], [7, -1])
    >>> store.read_block(0, 2)[2]
    ['', 'incomplete']
    >>> folder.cleanup()
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        header = read_header(self.path)
        self.header = header
        self.attrs = header.attrs
        self.reduction = header.layout.reduction
        self.n_channels = header.layout.n_channels
        columns = header.columns
        self.sample, self.complete, self.name = columns.sample, columns.complete, columns.name
        self.label, self.prediction = columns.label, columns.prediction
        self.prediction_perturbed = columns.prediction_perturbed
        self.n_accepted, self.best_step = columns.n_accepted, columns.best_step
        self.fingerprint = header.fingerprint
        self._whole = Slice.of(self.path, header.layout, columns)
        self.shape = self._whole.shape

    @property
    def metadata_damaged(self) -> str:
        if not self.header.metadata_damaged:
            return ""
        return (
            f"{self.path}: {CHECKSUM} does not match: attributes, names, predictions or norms have changed "
            "since the file was finished; regenerate or copy it again"
        )

    @property
    def not_attacked(self) -> NDArray[np.bool_]:
        columns = self.header.columns
        norms = (columns.perturbation_linf, columns.perturbation_l2)
        nothing = np.zeros(len(self), np.bool_)
        for values in norms if columns.n_accepted is None else (columns.n_accepted,):
            if values is not None:
                nothing |= (values == 0) & self.complete
        return nothing

    @property
    def label_changed(self) -> NDArray[np.bool_]:
        if self.prediction is None or self.prediction_perturbed is None:
            return np.zeros(len(self), np.bool_)
        changed: NDArray[np.bool_] = (self.prediction != self.prediction_perturbed) & self.complete
        return changed

    def __len__(self) -> int:
        return len(self.sample)

    def __repr__(self) -> str:
        height, width = self.shape
        n_complete = int(self.complete.sum())
        return f"PairStore('{self.path}': {n_complete} of {len(self)} samples complete, {height}x{width})"

    def _repr_html_(self) -> str:
        """Return what the file contains as a small table, for notebooks."""
        height, width = self.shape
        maps = f"{height}x{width}, {self.header.layout.dtype.name}"
        if self.n_channels is not None:
            maps += f", {self.n_channels} channels reduced by {self.reduction}"
        n_complete = int(self.complete.sum())
        facts = {"samples": f"{n_complete} of {len(self)} complete", "maps": maps, **self.attrs}
        texts = {printable(name): printable(value) for name, value in facts.items()}
        rows = "".join(
            f'<tr><th style="text-align:left">{escape(name)}</th>'
            f'<td style="text-align:left">{escape(text[:_SHOWN])}{"…" * (len(text) > _SHOWN)}</td></tr>'
            for name, text in texts.items()
        )
        return f"<div>PairStore of <code>{escape(printable(self.path))}</code><table>{rows}</table></div>"

    def __iter__(self) -> Iterator["MapPair"]:
        from ..pairs.mappair import MapPair

        for start, stop in self._whole.blocks():
            unperturbed, perturbed, _ = self.read_block(start, stop)
            images = self._sound_images(start, stop)
            for one, other, both in zip(unperturbed, perturbed, images, strict=True):
                yield MapPair(one, other, **both)

    def __getitem__(self, index: int) -> "MapPair":
        return self.pair(index)

    def pair(self, index: int, *, against: str = "unperturbed") -> "MapPair":
        """Return the pair at a position; `against` names its first map, "unperturbed" or "target"."""
        from ..pairs.mappair import MapPair  # its kernels take a while to import, and few readers need them

        position = self._position(index)
        first, perturbed, _ = self.slice(position, position + 1, against=against).read_block(0, 1)
        (both,) = self._sound_images(position, position + 1)
        return MapPair(first[0], perturbed[0], **both)

    def _sound_images(self, start: int, stop: int) -> list[dict[str, NDArray[Any]]]:
        """Return both images of each sample, none where one is not stored, not written or damaged."""
        if not self._has_images:
            return [{}] * (stop - start)
        expected = self.header.columns.image_checksum
        load_filters(self.path, self.header.layout.filters)
        with opened(self.path) as file:
            rows = None if expected is None else expected[start:stop]
            found, sound = read_beside(file, start, stop - start, rows)
        known = sound & self.complete[start:stop]
        return [{name: found[name][i] for name in IMAGES} if known[i] else {} for i in range(stop - start)]

    @property
    def _has_images(self) -> bool:
        return all(name in self.header.beside for name in IMAGES)

    def _position(self, index: int) -> int:
        position = operator.index(index)
        if not -len(self) <= position < len(self):
            raise IndexError(f"{self.path} has {len(self)} samples; there is none at position {index}")
        return position % len(self)

    def slice(self, start: int, stop: int, *, against: str = "unperturbed") -> Slice:
        """Return the samples at positions start to stop - 1, small enough to send to another process.

        `against` is the map that the slice reads beside the perturbed one: "unperturbed" or "target".

        Raises
        ------
        FormatError
            If the file does not have that map.
        """
        if against != "unperturbed" and against not in self.header.beside:
            raise FormatError(
                f"{self.path} holds no {against!r} to score against; files of the attack target_map do: "
                "leave this file out, or score it against the unperturbed maps"
            )
        return replace(self._whole.cut(start, stop), against=against)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Yield the positions, start and stop, of blocks of some megabytes, for `read_block`."""
        return self._whole.blocks()

    def read_block(
        self, start: int, stop: int, *, buffer: NDArray[np.floating] | None = None
    ) -> tuple[NDArray[np.floating], NDArray[np.floating], list[str]]:
        """Read the maps of the samples at positions start to stop - 1, and reduce their channels.

        Parameters
        ----------
        start, stop
            0 <= start <= stop <= number of samples.
        buffer
            An array from `buffer`, for at least as many samples. The maps are then stored in it, and
            overwritten by the next block; allocating memory for each block can cost more than reading.

        Returns
        -------
        unperturbed, perturbed
            (stop - start, height, width), of the file's own float type. The maps of a sample with
            a status are NaN.
        status
            "" for each sample, or what is wrong with it: "incomplete" or "checksum".
        """
        return self._whole.read_block(start, stop, buffer=buffer)

    def buffer(self, n_samples: int) -> NDArray[np.floating]:
        """Return memory for blocks of up to n_samples, to reuse in a loop of `read_block` calls."""
        return self._whole.buffer(n_samples)

    def read_image(self, index: int) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
        """Read the unperturbed and the perturbed input of one sample.

        Returns
        -------
        image, image_perturbed
            (height, width) or (channel, height, width), uint8 or float; None if the file has no such
            image or the sample is not complete.
        """
        position = self._position(index)
        if not self.complete[position]:
            return None, None
        load_filters(self.path, self.header.layout.filters)
        with opened(self.path) as file:
            image, image_perturbed = (file[name][position] if name in file else None for name in IMAGES)
        return image, image_perturbed

    def to_xarray(self) -> "xr.Dataset":
        """Open the file as a lazy xarray dataset: all variables as stored, channels not reduced.

        Nothing is verified; ``complete`` tells which samples hold values. Close the dataset when
        done with it.
        """
        import xarray as xr

        load_filters(self.path, self.header.layout.filters)
        return xr.open_dataset(self.path, engine="h5netcdf", driver_kwds={"locking": "best-effort"})
