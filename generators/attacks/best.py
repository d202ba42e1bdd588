"""The best image found so far: what an attack returns."""

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .acceptance import Remaining
from .batch import Batch, on_device, on_host, select

# Iterates that may wait for their scores while the next step runs.
_WAITING = 2

# Which images keep the label, and what is left of their maps: (sample) and (acceptance, sample).
_Scores = tuple[NDArray[np.bool_], NDArray[np.float64]]


@dataclass(frozen=True)
class Found:
    """What an attack returns, by one acceptance.

    Attributes
    ----------
    images
        The best images (sample, channel, height, width); the unperturbed one where none was better.
    n_accepted
        How many images of each sample were perturbed and kept the label, over all runs.
    best_step
        The step of the best image, counted from 1 over all runs; 0 for the unperturbed one.
    """

    images: torch.Tensor
    n_accepted: NDArray[np.int32]
    best_step: NDArray[np.int32]


class Best:
    """The best image of each sample, by each acceptance.

    An image counts if the model still gives its label and less remains of its map than of the unperturbed
    one; NaN is never less. Maps are compared as float32, the type in which they are stored: with more digits,
    rounding would order pixels that tie in the file.
    """

    def __init__(self, batch: Batch, remaining: Remaining) -> None:
        self._batch = batch
        self._remaining = remaining
        self.unperturbed = batch.maps(batch.images)
        (self._maps,) = on_host(self.unperturbed)()
        self._least = np.array([remaining(i, one, one) for i, one in enumerate(self._maps)]).T
        none = np.zeros(len(self._maps), np.int32)
        self._found = [Found(batch.images, none, none) for _ in self._least]

    def among(
        self, iterates: Iterable[torch.Tensor], starts: Iterable[torch.Tensor] = ()
    ) -> tuple[Found, ...]:
        """Return the best of images that were given, `starts`, and of those that steps find, `iterates`.

        Those that are not perturbed do not count: a start may be the image itself, and a step may move
        nothing. A thread scores an iterate while the next step runs, so that a GPU is not waited for; what is
        found does not depend on that.
        """
        waiting: deque[tuple[int, torch.Tensor, Future[_Scores]]] = deque()
        scorer = ThreadPoolExecutor(1)
        try:
            for step, images in chain(((0, start) for start in starts), enumerate(iterates, 1)):
                maps, labels = self._batch.maps_and_labels(images)
                keeps = (labels == self._batch.labels) & self._batch.is_perturbed(images)
                if len(waiting) == _WAITING:
                    self._keep(*waiting.popleft())
                waiting.append((step, images, scorer.submit(self._scores, on_host(keeps, maps))))
            while waiting:
                self._keep(*waiting.popleft())
        finally:
            scorer.shutdown(cancel_futures=True)
        return tuple(self._found)

    def _scores(self, on_host: Callable[[], list[NDArray[Any]]]) -> _Scores:
        """Return which images keep the label, and what is left of their maps (acceptance, sample)."""
        keeps, maps = on_host()
        left = np.full_like(self._least, np.nan)
        for i in np.flatnonzero(keeps).tolist():
            left[:, i] = self._remaining(i, self._maps[i], maps[i])
        return keeps, left

    def _keep(self, step: int, images: torch.Tensor, scores: "Future[_Scores]") -> None:
        """Keep those of the images that leave less than all before."""
        keeps, all_left = scores.result()
        for i, (left, before) in enumerate(zip(all_left, self._found, strict=True)):
            better = left < self._least[i]
            self._least[i] = np.where(better, left, self._least[i])
            is_any = better.any()
            self._found[i] = Found(
                select(on_device(better, images), images, before.images) if is_any else before.images,
                before.n_accepted + keeps.astype(np.int32),
                np.where(better, np.int32(step), before.best_step),
            )
