"""Time everything the README claims and write it as JSON.

    python -m benchmarks.run --out benchmarks/results.json

Every case is run in turn, round after round, and its best time kept, so that a slow spell of the
machine hits all of them alike. Run it pinned to one core of a quiet machine.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt

import lensmetrics as lm

from . import baselines

Map = npt.NDArray[np.float32]
# What is timed, and how many pairs one call of it scores.
Case = tuple[Callable[[], object], int]


def random_pairs(n: int, side: int) -> tuple[Map, Map]:
    """Return smooth random maps and perturbed ones, float32: about .5 in top-k intersection."""
    rng = np.random.default_rng(side)
    rows = np.arange(side)
    unperturbed = np.zeros((n, side, side))
    for i in range(n):
        for _ in range(12):
            y, x, spread = rng.uniform((0, 0, 2), (side, side, 2 + side / 8))
            bump = np.exp(-((rows - y) ** 2) / (2 * spread**2))[:, None]
            unperturbed[i] += bump * np.exp(-((rows - x) ** 2) / (2 * spread**2))
    unperturbed *= rng.uniform(0.25, 1.25, unperturbed.shape)
    noise = rng.uniform(0.25, 1.75, unperturbed.shape)
    perturbed = unperturbed * noise + rng.uniform(0, 0.15, unperturbed.shape)
    return unperturbed.astype(np.float32), perturbed.astype(np.float32)


def score_cases(folder: Path) -> dict[str, Case]:
    """Return the timed calls on 227x227 and 28x28 maps, by name."""
    cases: dict[str, Case] = {}
    for side, k, n in ((227, 1000, 250), (28, 100, 5000)):
        u, p = random_pairs(n, side)
        suite = lm.lens_suite(k=k, windows=(1, 2, 3))
        smoothed = [lm.get_metric(name, w=w) for w in (1, 2, 3) for name in ("lens_kendall", "lens_spearman")]
        path = folder / f"{side}.h5"
        with lm.PairWriter(path, n_samples=n, shape=(side, side), attrs={"attack": "noise"}) as writer:
            writer.write(slice(0, n), u, p)
        first = u[0].reshape(-1), p[0].reshape(-1)
        cases[f"score suite {side}"] = partial(lm.score, u, p, suite), n
        cases[f"evaluate suite {side}"] = partial(lm.evaluate, path, suite), n
        cases[f"score smoothed {side}"] = partial(lm.score, u, p, smoothed), n
        cases[f"kendalltau {side}"] = partial(baselines.kendalltau, *first), 1
        cases[f"spearmanr {side}"] = partial(baselines.spearmanr, *first), 1
        cases[f"plain suite {side}"] = partial(baselines.plain_suite, u[0], p[0], k, (1, 2, 3)), 1
    return cases


def best_times(cases: dict[str, Case], rounds: int) -> dict[str, float]:
    """Return the best time of each case in seconds per pair."""
    for call, _ in cases.values():
        call()
    best = dict.fromkeys(cases, float("inf"))
    for turn in range(rounds):
        for name, (call, n) in cases.items():
            if name.startswith("plain") and turn % 10:
                continue  # seconds long: its best is found soon enough
            start = time.perf_counter()
            call()
            best[name] = min(best[name], (time.perf_counter() - start) / n)
    return best


def process_times(folder: Path, rounds: int) -> dict[str, float]:
    """Return the best times of whole processes in seconds, and of a first call that compiles."""
    python = [sys.executable, "-c"]
    first_call = (
        "import time, numpy as np, lensmetrics as lm\n"
        "u = np.random.default_rng(0).random((1, 28, 28), np.float32)\n"
        "start = time.perf_counter()\n"
        "lm.score(u, u[:, ::-1], lm.lens_suite(k=100))\n"
        "print(time.perf_counter() - start)"
    )
    import_time = "import time; t = time.perf_counter(); import lensmetrics; print(time.perf_counter() - t)"
    compiling = []
    for attempt in range(2):
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / f"cache{attempt}")}
        compiling.append(float(subprocess.check_output([*python, first_call], env=environment)))
    times = {"first call, compiling": min(compiling)}
    for name, code in (("first call, cached", first_call), ("import lensmetrics", import_time)):
        times[name] = min(
            float(subprocess.check_output([*python, code], env=environment)) for _ in range(rounds)
        )
    helps = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "lensmetrics", "--help"], stdout=subprocess.DEVNULL, check=True)
        helps.append(time.perf_counter() - start)
    times["lensmetrics --help"] = min(helps)
    return times


def main() -> None:
    """Run all benchmarks."""
    parser = argparse.ArgumentParser(description="Time lensmetrics against its baselines.")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--rounds", type=int, default=25, help="how often every case is run (default: 25)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
            "versions": {name: version(name) for name in ("lensmetrics", "numpy", "numba", "scipy", "h5py")},
            "seconds_per_pair": best_times(score_cases(Path(folder)), arguments.rounds),
            "seconds": process_times(Path(folder), 5),
        }
    arguments.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
