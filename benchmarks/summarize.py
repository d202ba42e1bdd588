"""Time ``summarize`` against an older commit, interleaved, and measure how its time grows with the table.

    python -m benchmarks.summarize --out benchmarks/summarize.json

The tables have one condition, 18 metrics and 100,000 or 1,000,000 rows. The older commit is timed on the small
table only, because the large one takes it minutes. Run this on a quiet machine.
"""

import argparse
import datetime
import io
import json
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

BASELINE = "34346d8"
SMALL, LARGE = 100_000, 1_000_000


def table(n: int, metrics: list[str]) -> pd.DataFrame:
    """Return a table of random scores of one condition, in the form that ``evaluate`` returns."""
    rng = np.random.default_rng(n)
    columns = {"file": pd.Categorical(["a.h5"] * n), "dataset": pd.Categorical(["toy"] * n)}
    scores = pd.DataFrame(columns)
    scores["sample"] = np.arange(n)
    scores["status"] = np.where(rng.random(n) < 0.1, "few_diverse;tied_cut", "ok")
    for metric in metrics:
        scores[metric] = rng.beta(4, 2, n)
    return scores


def measure(n: int) -> float:
    """Return the time that ``summarize`` takes, in the package that is on the path."""
    import lensmetrics as lm

    scores = table(n, list(map(str, lm.lens_suite(k=100, windows=(1, 2, 3)))))
    lm.summarize(scores.head(100))  # imports
    start = time.perf_counter()
    lm.summarize(scores)
    return time.perf_counter() - start


def in_process(package: Path, n: int) -> float:
    """Measure the package in a folder, in a new process."""
    code = f"from benchmarks.summarize import measure; print(measure({n}))"
    path = os.pathsep.join([str(package), str(Path(__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def main() -> None:
    """Measure in turn, then print and write the best time of each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    here = Path(__file__).parents[1]
    best: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "archive", BASELINE, "lensmetrics"], cwd=here, capture_output=True, check=True
        ).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        for _ in range(options.rounds):
            for name, package, n in (
                (f"{BASELINE}, {SMALL:,} rows", Path(folder), SMALL),
                (f"now, {SMALL:,} rows", here, SMALL),
                (f"now, {LARGE:,} rows", here, LARGE),
            ):
                best[name] = min(best.get(name, np.inf), in_process(package, n))
    before, small, large = best.values()
    found = {
        "made": f"{datetime.date.today()}, {platform.machine()} with {os.cpu_count()} cores",
        "seconds": {name: round(seconds, 3) for name, seconds in best.items()},
        f"{SMALL:,} rows, share of {BASELINE}": round(small / before, 4),
        f"{LARGE:,} rows, times {SMALL:,}": round(large / small, 2),
    }
    print(json.dumps(found, indent=2))
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
