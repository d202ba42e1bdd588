"""Time many pairs and many files, whole processes included, and write it as JSON.

    python -m benchmarks.scale --folder maps/random --out benchmarks/scale.json [--maps maps/scale/*.h5]

Writes up to 24 GB of pair files into the folder, of smooth random maps, and keeps them there for the next
time. `--maps` are pair files of real 227x227 maps, such as `scale.toml` makes, from which the time of a
whole study is extrapolated. Cases that are compared run in turn, and the best round of each counts; of few
and many pairs in one file, the median of five.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

import lensmetrics as lm

from . import baselines
from .cases import random_pairs

STUDY_PAIRS = 144 * 498
# Their median shows a difference of some percent between few pairs and many.
ROUNDS_OF_LENGTH = 5
# Scores files in a fresh process, compiled kernels loaded before the clock starts.
SCORING = """
import resource, sys, time
import lensmetrics as lm
warm, k, times, *paths = sys.argv[1:]
suite = lm.lens_suite(k=int(k))
lm.evaluate(warm, suite)
start = time.perf_counter()
for _ in range(int(times)):
    scores = lm.evaluate(paths, suite)
seconds = (time.perf_counter() - start) / int(times)
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def write_file(path: Path, n: int, side: int, first: int = 0) -> Path:
    """Write a file of n pairs, unless it is there."""
    if not path.exists():
        n_different = 200 if side > 100 else 1000
        u, p = random_pairs(n_different, side)
        with lm.PairWriter(path, n_samples=n, shape=(side, side), attrs={"attack": "noise"}) as writer:
            for start in range(0, n, n_different):
                stop = min(start + n_different, n)
                numbers = np.arange(first + start, first + stop)
                writer.write(
                    slice(start, stop),
                    u[: stop - start],
                    p[: stop - start],
                    sample=numbers,
                    label=numbers % 10,
                )
    return path


def write_small_files(folder: Path, n_files: int, n: int) -> list[Path]:
    """Write files of n pairs of 28x28, unless they are there."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{i:05}.h5" for i in range(n_files)]
    u, p = random_pairs(1000, 28)
    for i, path in enumerate(paths):
        if not path.exists():
            at = i * n % 1000
            attrs = {"dataset": "mnist", "attack": "noise", "eps": 0.3, "training": f"seed {i}"}
            with lm.PairWriter(path, n_samples=n, shape=(28, 28), attrs=attrs) as writer:
                numbers = np.arange(i * n, (i + 1) * n)
                writer.write(slice(0, n), u[at : at + n], p[at : at + n], sample=numbers, label=numbers % 10)
    return paths


def scoring(warm: Path, k: int, paths: Sequence[Path], times: int = 1) -> tuple[float, float]:
    """Return the mean seconds that evaluate takes in a fresh process, and its peak memory in MB."""
    words = [sys.executable, "-c", SCORING, str(warm), str(k), str(times), *map(str, paths)]
    seconds, megabytes = subprocess.check_output(words, text=True).split()
    return float(seconds), float(megabytes)


def command(k: int, paths: Sequence[Path], cores: int) -> tuple[float, float]:
    """Return the seconds that the command takes on so many cores, with startup, and 0."""
    words = [sys.executable, "-m", "lensmetrics", "score", *map(str, paths), "--k", str(k)]
    words += ["--workers", str(cores)]
    ours = os.sched_getaffinity(0)
    start = time.perf_counter()
    os.sched_setaffinity(0, sorted(ours)[:cores])  # which processes that we start inherit
    try:
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    finally:
        os.sched_setaffinity(0, ours)
    return time.perf_counter() - start, 0.0


def in_turn(
    cases: Mapping[str, Callable[[], tuple[float, float]]],
    rounds: int,
    chosen: Callable[[Sequence[float]], float] = min,
) -> dict[str, tuple[float, float]]:
    """Return the time of each case in its best or median round, and the largest memory of any round."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    memory = dict.fromkeys(cases, 0.0)
    for turn in range(rounds):
        for name, call in cases.items():
            seconds, megabytes = call()
            times[name].append(seconds)
            memory[name] = max(memory[name], megabytes)
            print(f"round {turn + 1}: {name}: {seconds:.2f} s", file=sys.stderr)
    return {name: (chosen(times[name]), memory[name]) for name in cases}


def published_seconds() -> float:
    """Return the time per pair of the plain implementation of the suite's set metrics, best of three."""
    u, p = random_pairs(3, 227)
    times = []
    for i in range(3):
        start = time.perf_counter()
        baselines.plain_suite(u[i], p[i], 1000, (1, 2, 3))
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    """Run all cases."""
    parser = argparse.ArgumentParser(description="Time lensmetrics on many pairs and many files.")
    parser.add_argument("--folder", type=Path, required=True, help="where to write the pair files")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--maps", type=Path, nargs="*", default=[], help="pair files of real 227x227 maps")
    parser.add_argument("--rounds", type=int, default=3, help="how often every case is run (default: 3)")
    parser.add_argument("--pairs", type=int, default=50_000, help="pairs in the long file (default: 50000)")
    parser.add_argument("--files", type=int, default=5_000, help="number of small files (default: 5000)")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    n_short = 1000
    warm = {side: write_file(folder / f"warm{side}.h5", 10, side) for side in (28, 227)}
    short = write_file(folder / "short.h5", n_short, 227)
    long = write_file(folder / "long.h5", arguments.pairs, 227)
    small = write_small_files(folder / "small", arguments.files, 100)
    big = write_file(folder / "big.h5", 100 * arguments.files, 28)
    maps = arguments.maps or [write_file(folder / "cores.h5", 10_000, 227)]
    n_maps = sum(len(lm.PairStore(path)) for path in maps)

    length = in_turn(
        {
            # As long as the other: a moment is easier to find in which the machine is quick.
            "short": partial(scoring, warm[227], 1000, [short], arguments.pairs // n_short),
            "long": partial(scoring, warm[227], 1000, [long]),
        },
        ROUNDS_OF_LENGTH,
        statistics.median,
    )
    files = in_turn(
        {"small": partial(scoring, warm[28], 100, small), "big": partial(scoring, warm[28], 100, [big])},
        arguments.rounds,
    )
    runs = {
        f"{name}, {n} cores": partial(command, 1000, paths, n)
        for name, paths in (("maps", maps), ("long", [long]))
        for n in (1, 2)
    }
    cores = {name: seconds for name, (seconds, _) in in_turn(runs, arguments.rounds).items()}
    published = published_seconds()
    results = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "length": {
            "pairs": [n_short, arguments.pairs],
            "seconds": [length["short"][0], length["long"][0]],
            "milliseconds per pair": [
                1e3 * length["short"][0] / n_short,
                1e3 * length["long"][0] / arguments.pairs,
            ],
            "many over few": length["long"][0] / arguments.pairs / (length["short"][0] / n_short),
            "peak MB": [length["short"][1], length["long"][1]],
        },
        "files": {
            "files": arguments.files,
            "pairs": 100 * arguments.files,
            "seconds": {"many small": files["small"][0], "one big": files["big"][0]},
            "many over one": files["small"][0] / files["big"][0],
        },
        "cores": [
            {
                "pairs": n,
                "real maps": name == "maps" and bool(arguments.maps),
                "seconds": [cores[f"{name}, 1 cores"], cores[f"{name}, 2 cores"]],
                "gain": cores[f"{name}, 1 cores"] / cores[f"{name}, 2 cores"],
            }
            for name, n in (("maps", n_maps), ("long", arguments.pairs))
        ],
        "study": {
            "pairs": STUDY_PAIRS,
            "seconds": cores["maps, 2 cores"] * STUDY_PAIRS / n_maps,
            "hours of the plain set metrics alone": published * STUDY_PAIRS / 3600,
        },
    }
    arguments.out.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
