"""Running with small tasks, and watching runs, for tests."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

import lensmetrics as lm
from lensmetrics.metrics.registry import Metrics, as_metrics
from lensmetrics.scoring.files import as_paths, check_table_target, score_files
from lensmetrics.scoring.progress import Progress

METRICS = [*lm.lens_suite(k=5, windows=(1, 2)), lm.get_metric("lens_recall_adjusted", k=5, w=1)]


def evaluate(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    metrics: Metrics,
    *,
    output: Path | None = None,
    resume: bool = False,
    **options: Any,
) -> pd.DataFrame:
    """Return what `lm.evaluate` does; further options are those of `score_files`."""
    chosen, files = as_metrics(metrics), as_paths(paths)
    if output is not None:
        check_table_target(
            output, files, chosen, against=options.get("against"), resuming=resume, replacing=False
        )
    options = {"output": output, "resume": resume, "stop_at_bad_samples": False, **options}
    scores, _ = score_files(files, chosen, raise_failures=True, **options)
    assert scores is not None
    return scores


class Watcher(Progress):
    """File and first position of every slice that is scored, as it happens.

    `act` is called with the number of slices scored, at the start and after each.
    """

    def __init__(self, act: Callable[[int], object] = lambda _: None) -> None:
        super().__init__(shown=False)
        self.slices: list[tuple[str, int]] = []
        self.act = act

    @contextlib.contextmanager
    def running(self, n_pairs: int, n_reused: int) -> Iterator[None]:
        self.slices.clear()
        self.act(0)
        with super().running(n_pairs, n_reused):
            yield

    def advance(self, path: Path, start: int, stop: int) -> None:
        super().advance(path, start, stop)
        self.slices.append((path.name, start))
        self.act(len(self.slices))
