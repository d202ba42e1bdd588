"""Time ``compare`` against scipy's ``permutation_test`` and ``bootstrap``, interleaved.

    python -m benchmarks.compare --out benchmarks/compare.json

The table has two conditions, 10,000 samples and 18 metrics. scipy does the same for one metric after the
other, with as many resamples: it is timed on one metric, and its time for 18 is 18 times that.
"""

import argparse
import datetime
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.stats

import lensmetrics as lm

N_SAMPLES, N_FLIPS, N_RESAMPLES = 10_000, 10_000, 2000


def table(n: int) -> pd.DataFrame:
    """Return the scores of n samples under two trainings, for the 18 metrics of the LENS suite."""
    rng = np.random.default_rng(n)
    scores = pd.DataFrame(
        {
            "training": pd.Categorical(np.repeat(["natural", "pgd"], n)),
            "sample": np.tile(np.arange(n), 2),
            "status": "ok",
        }
    )
    for metric in lm.lens_suite(k=100, windows=(1, 2, 3)):
        shared = rng.beta(4, 2, n)
        scores[str(metric)] = np.concatenate([shared, shared + rng.normal(0.001, 0.1, n)])
    return scores


def by_scipy(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    """Return p and interval of one metric; blocks of 100 resamples are faster than all at once."""

    def difference(x: Any, y: Any, axis: int) -> Any:
        return np.mean(y - x, axis=axis)

    options: dict[str, Any] = {"vectorized": True, "batch": 100, "rng": np.random.default_rng(0)}
    tested = scipy.stats.permutation_test(
        (first, second), difference, permutation_type="samples", n_resamples=N_FLIPS, **options
    )
    drawn = scipy.stats.bootstrap(
        (first, second), difference, paired=True, method="percentile", n_resamples=N_RESAMPLES, **options
    ).confidence_interval
    return float(tested.pvalue), float(drawn.low), float(drawn.high)


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    """Measure in turn, then print and write the best time of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    scores = table(N_SAMPLES)
    metric = scores.columns[-1]
    first, second = scores[metric].to_numpy().reshape(2, N_SAMPLES)
    found = lm.compare(scores)
    print(found.loc[found["metric"] == metric, ["p", "ci_low", "ci_high"]].iloc[0].tolist())
    print(by_scipy(first, second))
    n_metrics = len(found)
    ours = scipys = np.inf
    for _ in range(options.rounds):
        for _ in range(5):
            ours = min(ours, seconds(lambda: lm.compare(scores)))
        scipys = min(scipys, n_metrics * seconds(lambda: by_scipy(first, second)))
    result = {
        "made": f"{datetime.date.today()}, {platform.machine()} with {os.cpu_count()} cores",
        "samples": N_SAMPLES,
        "metrics": n_metrics,
        "seconds, compare": round(ours, 3),
        f"seconds, scipy {scipy.__version__}, extrapolated from one metric": round(scipys, 1),
        "scipy, times compare": round(scipys / ours, 1),
    }
    print(json.dumps(result, indent=2))
    if options.out is not None:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
