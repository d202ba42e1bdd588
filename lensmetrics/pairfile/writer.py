"""`PairWriter`: one pair file, written so that a killed writer loses at most the batch being written."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arguments import axis_lengths, float_type
from .attributes import CHECKSUM, UNFINISHED, checked_attrs
from .batch import parse_batch
from .contents import Contents
from .draft import create
from .format import FORMAT, VERSION
from .layout import check_pair_file_target, compression_options
from .precision import FLOAT32
from .resuming import resumed


class PairWriter:
    """Writes one pair file; use it in a ``with`` statement.

    The file is created under a temporary name beside `path`. It is called ``NAME.h5.part`` after the
    first `write`, and ``NAME.h5`` when the ``with`` block ends without an error; samples that were
    not written by then read as missing. After an error or a kill the ``.part`` remains, and
    `PairWriter.resume` continues it. A killed writer loses at most the batch being written; with
    `compression`, a kill in the middle of a flush can, rarely, leave a file that HDF5 cannot open.

    Parameters
    ----------
    path
        Path of the finished file. Neither it nor its ``.part`` may exist.
    n_samples
        Number of samples the file has room for, at least 1.
    shape
        (height, width) of the maps in pixels.
    attrs
        What the file holds: ``dataset``, ``model``, ``training``, ``explanation``, ``attack``,
        ``eps``, ... Required, because files with equal attributes are averaged together; ``{}`` stands
        for none. Values are str, int, float, or a sequence of one of these; a bool, None or float16 is
        refused, because netCDF-4 readers fail on them. ``lensmetrics set`` changes attributes later.
    channels
        Length of the channel axis between sample and height, None for maps without one. Channels
        are reduced on reading by the rule in the attribute ``reduction``; a single channel is not.
    image_shape
        (height, width) or (channel, height, width) of the images, None for that of the first image
        written.
    compression
        None, "gzip" or "zstd" (needs hdf5plugin). Compressed files are about 10 % smaller and take
        several times as long to read.
    dtype
        "float32" or "float64" rounds the maps on request; `write` refuses maps that rounding would
        turn into different ones. None stores them exactly: the first batch decides whether the file
        is float32, which is enough for float16, bfloat16, bool and integers up to 2^24, or float64,
        for integers up to 2^53; maps that need more are refused.

    Raises
    ------
    FileExistsError
        If `path` or its ``.part`` exists.
    OSError
        If nothing can be written at `path`.
    ValueError, TypeError
        If a parameter or an attribute is not as above.

    Examples
    --------
    Write two pairs of maps, one by one; a slice as index writes a batch.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import lensmetrics as lm
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "toy.h5"
    >>> attrs = {"dataset": "toy", "attack": "topk", "eps": 0.1}
    >>> with lm.PairWriter(path, n_samples=2, shape=(1, 3), attrs=attrs) as writer:
    ...     writer.write(0, [[3, 2, 1]], [[1, 2, 3]], sample=17)
    ...     print(writer.missing)
    [1]

    The file was finished with one sample missing, so it can be continued:

    >>> with lm.PairWriter.resume(path, attrs) as writer:
    ...     writer.write(1, [[0, 0, 9]], [[0, 0, 8]], sample=4)
    >>> lm.PairStore(path).sample
    array([17,  4])
    >>> folder.cleanup()
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
        target = Path(path)
        check_pair_file_target(target)
        (n,) = axis_lengths("n_samples", (n_samples,), (1,))
        map_shape = axis_lengths("shape", shape, (2,))
        if channels is not None:
            map_shape = (*axis_lengths("channels", (channels,), (1,)), *map_shape)
        contents = Contents(
            target,
            map_shape,
            np.zeros(n, dtype=bool),
            image_shape=None if image_shape is None else axis_lengths("image_shape", image_shape, (2, 3)),
        )
        checked = {
            **checked_attrs(attrs),
            "format": FORMAT,
            "format_version": VERSION,
            CHECKSUM: UNFINISHED,
        }
        contents.compression = compression_options(compression)
        if dtype is not None:
            contents.dtype, contents.rounds = float_type(dtype), True
        contents.check_compressible(FLOAT32 if contents.dtype is None else contents.dtype)
        self._draft = create(target, checked, contents)

    @classmethod
    def resume(
        cls,
        path: str | os.PathLike[str],
        attrs: Mapping[str, Any],
        *,
        dtype: str | np.dtype[Any] | type[np.floating] | None = None,
    ) -> Self:
        """Continue the ``.part`` of `path`, or a finished file that lacks samples.

        Everything that is complete is compared with its checksum; a sample that does not match counts
        as missing again.

        Parameters
        ----------
        path
            The name of the finished file, without ``.part``.
        attrs
            The attributes the file was created with.
        dtype
            The type of the file, to round further maps on request; None refuses maps that it does not
            hold exactly.

        Raises
        ------
        FileNotFoundError
            If there is neither a ``.part`` nor the file.
        FileExistsError
            If both exist, one of them is a link, directory or device, or nothing is missing in the
            finished file.
        BlockingIOError
            If another process is writing the file.
        ValueError
            If the attributes or the dtype differ from those in the file.
        FormatError
            If the file is damaged as a whole, or does not match its ``checksum_metadata``.
        """
        writer = cls.__new__(cls)
        writer._draft = resumed(Path(path), attrs, dtype)
        return writer

    @property
    def path(self) -> Path:
        """Path of the finished file."""
        return self._draft.path

    @property
    def current(self) -> Path:
        """Path of the unfinished file: a temporary name, or the ``.part`` after the first write."""
        return self._draft.current

    @property
    def n_samples(self) -> int:
        """Number of samples the file has room for."""
        return self._draft.contents.n_samples

    @property
    def missing(self) -> NDArray[np.int64]:
        """Positions that are not written yet, in ascending order."""
        return np.flatnonzero(~self._draft.contents.complete)

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
            Name of the sample in its source dataset, such as a file name. Stored in UTF-8, in at most
            256 bytes, or more if a name in the first write is longer.
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
            If a position is outside the file.
        """
        if not self._draft.file:
            raise ValueError(f"{self.path} is closed; continue it with PairWriter.resume")
        given = {
            "unperturbed": unperturbed,
            "perturbed": perturbed,
            "sample": sample,
            "label": label,
            "prediction": prediction,
            "prediction_perturbed": prediction_perturbed,
            "perturbation_linf": perturbation_linf,
            "perturbation_l2": perturbation_l2,
            "image": image,
            "image_perturbed": image_perturbed,
            "name": name,
            "n_accepted": n_accepted,
            "best_step": best_step,
            "output": output,
            "output_perturbed": output_perturbed,
            "target": target,
        }
        given = {variable: value for variable, value in given.items() if value is not None}
        self._draft.write(parse_batch(self._draft.contents, index, given))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        draft = self._draft
        try:
            draft.close(finished=error is None)
        except OSError as failure:
            if error is None:
                raise
            error.add_note(str(failure))
        finally:
            if error is not None and not draft.contents.is_begun:  # there is nothing to resume
                draft.current.unlink(missing_ok=True)
        if error is None:
            draft.give_final_name()
