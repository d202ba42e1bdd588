"""How the maps of a pair file were smoothed, as its attributes say."""

import math
from typing import Any, NamedTuple

import numpy as np

from ..errors import FormatError
from ..messages import printable
from ..pairfile.store import PairStore

# The explanation that has certificates.
_SMOOTHED = "uniform_smooth"
# What each attribute must be.
_ALLOWED = {
    "radius": "a number above 0, the radius of the l2 ball",
    "n_draws": "a whole number from 1 on, the number of draws that were averaged",
    "dim": "a whole number from 1 on, the number of elements of the input (C H W)",
    "bound": "a number above 0, the largest norm of a map that was averaged",
    "nonnegative": "1 if no element of an averaged map can be negative, otherwise 0",
}


class Smoothing(NamedTuple):
    """How the maps of one file were smoothed."""

    radius: float
    n_draws: int
    dim: int
    bound: float
    nonnegative: bool


def smoothing_of(store: PairStore) -> Smoothing:
    """Return how the maps of a file were smoothed.

    Raises
    ------
    FormatError
        If an attribute is missing or impossible, contradicts what the file stores, or may be damaged, or if
        the channels of the maps were averaged before they were reduced.
    """
    missing = [name for name in _ALLOWED if name not in store.attrs]
    explanation = store.attrs.get("explanation", _SMOOTHED)
    if missing and explanation != _SMOOTHED:  # what others lack cannot be added
        raise FormatError(
            f"{store.path} has explanation={printable(explanation)} and lacks {', '.join(missing)}: only "
            f"means over an l2 ball, such as maps of {_SMOOTHED}, have certificates, and their files have "
            "these attributes"
        )
    if missing:
        raise FormatError(
            f"{store.path} lacks {', '.join(missing)}: certificates are for maps of {_SMOOTHED}, whose "
            f"files have the attributes {', '.join(_ALLOWED)}; if you know them, add them, as in lensmetrics "
            f"set {store.path} {' '.join(f'{name}={_EXAMPLES[name]}' for name in missing)}"
        )
    if store.metadata_damaged:  # a certificate from another radius would be false
        raise FormatError(store.metadata_damaged)
    for name, allowed in _ALLOWED.items():
        if not _is_possible(name, store.attrs[name]):
            raise FormatError(
                f"{store.path} has {name}={_shown(store.attrs[name])}, but it must be {allowed}: "
                f"correct it with lensmetrics set {store.path} {name}={_EXAMPLES[name]}"
            )
    radius, n_draws, dim, bound, nonnegative = (store.attrs[name] for name in _ALLOWED)
    _check_dim(store, int(dim))
    if store.n_channels is not None and store.n_channels > 1:
        raise FormatError(
            f"{store.path} stores {store.n_channels} channels per map, which are reduced after the draws "
            "were averaged: a certificate needs draws that are reduced and scaled one by one"
        )
    return Smoothing(float(radius), int(n_draws), int(dim), float(bound), bool(nonnegative))


_EXAMPLES = {"radius": "0.5", "n_draws": "10000", "dim": "784", "bound": "1", "nonnegative": "1"}


def _shown(value: Any) -> str:
    """Return a value as it is shown; text is called so, because the text 1 looks like the number."""
    return f"{value!r}, which is text" if isinstance(value, str) else printable(value)


def _is_possible(name: str, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    if name == "nonnegative":
        return value in (0, 1)
    if name in ("n_draws", "dim"):
        return value >= 1 and value == int(value)
    return value > 0


def _check_dim(store: PairStore, dim: int) -> None:
    """Refuse a number of elements that the maps or the stored images contradict."""
    height, width = store.shape
    if dim < height * width:
        raise FormatError(
            f"{store.path} has dim={dim}, but its maps have {height * width} pixels: dim is the number of "
            "elements of the input (C H W), also where maps have one channel"
        )
    complete = np.flatnonzero(store.complete)
    image = store.read_image(int(complete[0]))[0] if len(complete) else None
    if image is not None and image.size != dim:
        raise FormatError(
            f"{store.path} has dim={dim}, but its images have {image.size} elements "
            f"({'x'.join(map(str, image.shape))}): correct it with lensmetrics set {store.path} "
            f"dim={image.size}"
        )
