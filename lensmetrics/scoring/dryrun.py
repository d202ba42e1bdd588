"""A dry run that finds mistakes in metrics before hours of work, not after."""

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np

from ..errors import FormatError
from ..metrics.registry import Metric
from ..pairfile.store import PairStore
from ..pairs.block import FEWEST, LARGEST
from .worker import score_block


def dry_run(
    stores: Iterable[PairStore], metrics: Sequence[Metric], *, compiling: bool, against: str = "unperturbed"
) -> None:
    """Try every metric once on a trial map of every size.

    Trial maps of NaN cost next to nothing. With `compiling`, trial maps are ramps, on which all
    kernels are compiled, so that workers find them in the cache instead of all compiling at once. A
    metric that fails on a trial map may be right to do so: what counts is a pair of the files.
    """
    by_shape: dict[tuple[int, int], list[PairStore]] = {}
    for store in stores:
        by_shape.setdefault(store.shape, []).append(store)
    for shape, alike in by_shape.items():
        n_pixels = shape[0] * shape[1]
        # Many small maps have a kernel of their own.
        many = compiling and n_pixels <= LARGEST and max(map(len, alike)) > FEWEST
        trial = np.tile(
            np.arange(n_pixels, dtype=np.float32).reshape(shape), (FEWEST + 2 if many else 1, 1, 1)
        )
        if not compiling:
            trial[:] = np.nan
        turned = np.ascontiguousarray(trial[:, ::-1, ::-1])
        try:
            score_block(trial, turned, metrics, np.empty((len(trial), len(metrics))), lambda _: "a trial map")
        except Exception:
            _score_first(alike, metrics, against)


def _score_first(stores: Iterable[PairStore], metrics: Sequence[Metric], against: str) -> None:
    """Score the first pair of the files that can be read."""
    for store in stores:
        for at in np.flatnonzero(store.complete)[:1].tolist():
            try:
                first, perturbed, unreadable = store.slice(at, at + 1, against=against).read_block(0, 1)
            except (FormatError, OSError):  # reported when the file is scored
                continue
            if not unreadable[0]:
                name = partial("sample {} of {}".format, store.sample[at], store.path)
                score_block(first, perturbed, metrics, np.empty((1, len(metrics))), name)
                return
