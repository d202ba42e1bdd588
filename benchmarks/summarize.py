"""Time ``summarize`` against an older commit, interleaved, and how its time grows with the table.

    python -m benchmarks.summarize --out benchmarks/summarize.json

Tables of one condition, 18 metrics and 100,000 or 1,000,000 rows; the older commit, which takes minutes for
the large one, gets the small one alone. Run it on a quiet machine.
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
    """A table of scores of one condition, as ``evaluate`` makes it, of random numbers."""
    rng = np.random.default_rng(n)
    columns = {"file": pd.Categorical(["a.h5"] * n), "dataset": pd.Categorical(["toy"] * n)}
    scores = pd.DataFrame(columns)
    scores["sample"] = np.arange(n)
    scores["status"] = np.where(rng.random(n) < 0.1, "few_diverse;tied_cut", "ok")
    for metric in metrics:
        scores[metric] = rng.beta(4, 2, n)
    return scores


def measure(n: int) -> float:
    """Return how long ``summarize`` of the package on the path takes."""
    import lensmetrics as lm

    scores = table(n, list(map(str, lm.lens_suite(k=100, windows=(1, 2, 3)))))
    lm.summarize(scores.head(100))  # imports what it needs
    start = time.perf_counter()
    lm.summarize(scores)
    return time.perf_counter() - start


def in_process(package: Path, n: int) -> float:
    """Measure with the package in a folder, in a process of its own."""
    code = f"import sys; sys.path[:0] = [{str(package)!r}, {str(Path(__file__).parents[1])!r}]\n"
    code += f"from benchmarks.summarize import measure; print(measure({n}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    """Measure in turn, keep the best time of each, and print and write them."""
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
