"""Import maps of other projects: two arrays of maps become a pair file."""

import contextlib
import operator
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from ..pairfile.format import DEFAULT_REDUCTION, REDUCTIONS
from ..pairfile.layout import check_pair_file_target
from .axes import Layout
from .copying import copy_pairs
from .letters import checked_letters
from .pairing import PathLike, check_given, pair_files


def import_maps(
    unperturbed: PathLike | Sequence[PathLike],
    perturbed: PathLike | Sequence[PathLike],
    output: PathLike,
    *,
    attrs: Mapping[str, Any] | None = None,
    shape: tuple[int, int] | None = None,
    names: tuple[str | None, str | None] | None = None,
    method: int | None = None,
    axes: str | None = None,
    class_index: int | None = None,
    reduction: Literal["abs_sum", "sum", "abs_max"] = "abs_sum",
    dtype: Literal["float32", "float64"] | None = None,
    samples: PathLike | Sequence[PathLike] | None = None,
    labels: PathLike | None = None,
    unmatched: Literal["refuse", "skip"] = "refuse",
) -> list[str]:
    """Copy maps before and after an attack into a new pair file, as the command ``lensmetrics import`` does.

    The maps are copied in blocks and never held in memory as a whole; those in an .npz are first unpacked
    into a temporary directory beside `output`, which needs that much free space during the copy. An import
    that fails leaves nothing behind. Links in HDF5 files are not followed, so only the files given are read.

    Parameters
    ----------
    unperturbed, perturbed
        A file with an array of maps (N, height, width) or (N, channel, height, width), of any integer or
        floating-point type of at most 64 bits; ``FILE:NAME`` is one array in it, such as
        ``a.h5:maps/clean``, or a group with one dataset per sample. Or a folder, a glob such as
        ``"maps/*_clean.npy"``, or a list of files with one map each. The page README.md of this room lists
        the kinds of files. An array that can be read in several ways is refused, and all are named; one
        channel is dropped. netCDF variables are decoded like in xarray: fill values become NaN, packed
        numbers are unpacked. Axes that the file names sample, y and x, or sample, channel, y and x, may be
        stored in any order. Maps of a pair file are refused.
    output
        The pair file to write; it must not exist.
    attrs
        Attributes of the pair file, see `PairWriter`.
    shape
        (height, width) of the maps; needed for flat arrays (N, height*width), checked for others.
    names
        Names of the arrays in the first and in the second file, an alternative to ``FILE:NAME``. By
        default the only array, or "unperturbed" and "perturbed".
    method
        Position of the explanation in LATEC's arrays (N, explanation, channel, height, width), counted
        from 0. The module `latec` says more.
    axes
        A letter for each axis of the arrays: N sample, C channel, H height, W width, F feature, T time,
        K class, such as "NHWC" or, of shap, "NHWCK". Without N it is one map, or one map per file. Maps
        of features or of time steps are 1 x F or 1 x T, so that windows run along them; any number of
        channels is allowed. Volumes are refused.
    class_index
        Position on the axis of classes, counted from 0; needed if axes has a K of more than one.
    reduction
        How channels become one value per pixel when the maps are scored: "abs_sum", "sum" or
        "abs_max". Maps without channels, or with one, keep their signs.
    dtype
        "float32" or "float64": round to this type. By default every value is kept: float16 and
        integers up to 2**24 are stored as float32, integers up to 2**53 as float64.
    samples
        A file, or ``FILE:NAME``, with N integers or texts, (N,) or (N, 1), that identify the samples in
        the order of the first file: integers are the index of each sample in its source dataset, texts
        become its `name`. A pair of them, one for each side, also says which samples belong together.
        By default the identities that both sides have: the names of files, of arrays or of the members
        of a group, an ``index`` beside the maps, or the coordinate of the first axis. Samples are matched
        by these; where nothing identifies them, by position, and they are numbered from 0.
    labels
        A file, or ``FILE:NAME``, with N integers, the true classes in the order of the first file; of
        samples with a file or an array each, a .csv file with a name and a class in each line. They
        replace those of an attribution database.
    unmatched
        What becomes of samples that only one side has: "refuse" the import, or "skip" them.

    Returns
    -------
    list
        What the user should know about the maps, one sentence each: how many samples were skipped, that all
        maps are the same on both sides, that maps hold negative values which metrics rank, and how many
        ties `dtype` has created.

    Raises
    ------
    FormatError
        If an input file has the wrong content, can be read in two ways, or samples have no partner.
    ValueError
        If a name or an option is missing or does not fit the files, or `dtype` cannot hold the maps: a
        value overflows, one that is not 0 becomes 0, or a map becomes constant.
    OSError
        If a file is missing or cannot be read, or `output` cannot be written.

    Notes
    -----
    Two HDF5 files that both have a dataset or group ``attribution``, named or not, are read as
    attribution databases of ViRelAy and CoRelAy: samples are matched by ``index``. Their ``label`` and
    ``prediction`` are imported too unless the maps are named. The module `virelay` describes the layout
    and its source.

    Examples
    --------
    Two arrays with their channels last:

    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import lensmetrics as lm
    >>> folder = tempfile.TemporaryDirectory()
    >>> clean, adv, output = (Path(folder.name) / name for name in ("clean.npy", "adv.npy", "topk.h5"))
    >>> np.save(clean, np.ones((5, 8, 9, 3)))
    >>> np.save(adv, np.zeros((5, 8, 9, 3)))
    >>> lm.import_maps(clean, adv, output, axes="NHWC", attrs={"attack": "topk"})
    []
    >>> lm.PairStore(output)[0].unperturbed[0, :2]
    array([3., 3.])
    >>> folder.cleanup()
    """
    target = Path(output)
    check_pair_file_target(target)
    layout = Layout(
        None if shape is None else _checked_shape(shape),
        None if axes is None else checked_letters(axes),
        None if class_index is None else operator.index(class_index),
        None if method is None else operator.index(method),
    )
    if unmatched not in ("refuse", "skip"):
        raise ValueError(f"unmatched must be 'refuse' or 'skip', got {unmatched!r}")
    stored = _with_reduction(attrs or {}, reduction)
    with contextlib.ExitStack() as stack, _unreadable_named():
        given = check_given(unperturbed, perturbed, names, samples, labels)
        pairs = pair_files(given, layout, unmatched, target, stack)
        if len(pairs.maps[0].shape) == 3 and "reduction" not in (attrs or {}):
            stored.pop("reduction")  # there are no channels
        return pairs.notes + copy_pairs(*pairs.maps, pairs.columns, target, stored, dtype)


@contextlib.contextmanager
def _unreadable_named() -> Iterator[None]:
    """Say in a sentence which file may not be read; what the system says has the name as an attribute."""
    try:
        yield
    except PermissionError as error:
        if error.filename is None:
            raise
        raise PermissionError(
            f"{error.filename} may not be read: allow it with chmod, or read a copy"
        ) from error


def _checked_shape(shape: tuple[int, int]) -> tuple[int, int]:
    sizes = tuple(map(operator.index, shape))
    if len(sizes) != 2 or min(sizes) < 1:
        given = " ".join(map(str, sizes))
        raise ValueError(f"shape must be the height and the width of the maps in pixels, got {given}")
    height, width = sizes
    return height, width


def _with_reduction(attrs: Mapping[str, Any], reduction: str) -> dict[str, Any]:
    """Return the attributes with how channels are reduced, which may be given by either of two ways."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}")
    among = attrs.get("reduction", reduction)
    if among != reduction != DEFAULT_REDUCTION:
        raise ValueError(
            f"reduction={reduction!r} contradicts the attribute reduction={among!r}: give one of them"
        )
    return {**attrs, "reduction": among}
