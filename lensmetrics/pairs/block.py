"""Pairs of a block of maps, one after the other."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from .known import Asked, Known, can_survey, survey
from .mappair import MapPair, asked_of, known_pair

# Larger maps take so long that calls from Python do not matter; loading the kernel takes as long as it saves
# on so many pairs.
LARGEST = 2**13
FEWEST = 64
# What is found together takes memory, and Ctrl-C waits for it.
MOST = 1024


def pairs_of(
    unperturbed: npt.NDArray[Any], perturbed: npt.NDArray[Any], indices: Iterable[int]
) -> Iterator[MapPair]:
    """Yield the pairs with these ascending indices from two arrays (pair, height, width).

    What has been asked of a pair of small maps when the next one is wanted is found for many others at once,
    so ask the same of every pair.
    """
    surveys = can_survey(unperturbed, perturbed) and np.prod(unperturbed.shape[1:]) <= LARGEST
    asked: Asked | None = None
    known: list[Known] = []
    first = 0
    for i in indices:
        if asked is None:
            pair = MapPair(unperturbed[i], perturbed[i])
            yield pair
            found = asked_of(pair) if surveys and len(unperturbed) - i > FEWEST else None
            asked = found if found is not None and any(found) else None
            first = i + 1
            continue
        if i >= first + len(known):
            first = i
            known = survey(unperturbed[i : i + MOST], perturbed[i : i + MOST], asked)
        yield known_pair(unperturbed[i], perturbed[i], known[i - first])
