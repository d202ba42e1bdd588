"""Progress and speed of a run, on stderr."""

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..messages import say


class Progress:
    """A bar on a terminal while a run works, and its speed at the end.

    Parameters
    ----------
    shown
        False keeps the run silent.
    """

    def __init__(self, *, shown: bool = True) -> None:
        self.shown = shown
        self._bar: tqdm[Any] | None = None
        self._seconds = 0.0

    @contextlib.contextmanager
    def running(self, n_pairs: int, n_reused: int) -> Iterator[None]:
        """Show the bar while pairs are scored; `n_reused` of them are known from an earlier run."""
        began = time.perf_counter()
        with tqdm(
            total=n_pairs,
            initial=n_reused,
            unit="pair",
            desc="scoring",
            disable=None if self.shown and sys.stderr is not None else True,  # None: where it is a terminal
        ) as bar:
            self._bar = bar
            yield
        self._seconds = time.perf_counter() - began

    def advance(self, path: Path, start: int, stop: int) -> None:
        """Advance the bar by the samples from `start` to `stop` of a file, which are scored."""
        if self._bar is not None:
            self._bar.update(stop - start)

    def finish(self, n_scored: int, n_reused: int, *, ranks_signed: bool) -> None:
        """Print the speed, and what top-k sets mean if maps have negative values."""
        if not self.shown:
            return
        if n_reused:
            say(f"reused {n_reused} pairs that were scored before")
        if n_scored:
            rate = n_scored / self._seconds
            say(f"scored {n_scored} pairs in {self._seconds:.1f} s: {rate:.0f} pairs per second")
        if ranks_signed:
            say(
                "lensmetrics: the maps hold negative values: top-k sets are of the largest signed values, so "
                "negative attributions rank last; score absolute values if the sign does not matter"
            )
