"""Time everything the README claims, beside other tools, and write it as JSON.

    python -m benchmarks.run --out benchmarks/results.json
    python -m benchmarks.run --compare benchmarks/results.json

Every case is run in turn, round after round, so that a slow spell of the machine hits all of them alike. The
process stays on one core, and the times of a pair are those of the processor. `--compare` says which case
became slower than in an older file, by more than its own spread: the fastest quarter of its rounds takes
longer than the slowest quarter of the older rounds, both as multiples of scipy's `kendalltau` in the same
run. The exit status is then 1.
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
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite.binding import get_host_cpu_name

from .cases import Case, score_cases

VERSIONS = ("lensmetrics", "numpy", "numba", "scipy", "h5py", "pandas", "torchmetrics")
_PARTS = ("seconds_per_pair", "seconds")
# A case with fewer rounds has no quarters.
_LEAST_ROUNDS = 3


def times_per_pair(cases: Mapping[str, Case], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of the processor per pair, of each round of each case."""
    for case in cases.values():
        case.call()
    times: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(rounds):
        for name, case in cases.items():
            if case.is_slow and turn % 10 and turn >= _LEAST_ROUNDS:
                continue
            # Of the processor, so that other programs do not count.
            start = time.process_time()
            case.call()
            times[name].append((time.process_time() - start) / case.n)
    return times


def process_times(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of whole processes, and of a first call that compiles."""
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
    for attempt in range(_LEAST_ROUNDS):
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / f"cache{attempt}")}
        compiling.append(float(subprocess.check_output([*python, first_call], env=environment)))
    times = {"first call, compiling": compiling}
    for name, code in (("first call, cached", first_call), ("import lensmetrics", import_time)):
        times[name] = [
            float(subprocess.check_output([*python, code], env=environment)) for _ in range(rounds)
        ]
    times["lensmetrics --help"] = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "lensmetrics", "--help"], stdout=subprocess.DEVNULL, check=True)
        times["lensmetrics --help"].append(time.perf_counter() - start)
    return times


def slower(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each case that became slower than its own spread, or cannot be compared."""
    found = []
    unit_before, unit_now = (min(results["seconds_per_pair"]["kendalltau 227"]) for results in (before, now))
    for part in _PARTS:
        for name, old in before[part].items():
            new = now[part].get(name)
            if new is None:
                found.append(f"{name}: not timed now")
                continue
            old_median, old_high = np.quantile(old, (0.5, 0.75)) / unit_before
            new_low, new_median = np.quantile(new, (0.25, 0.5)) / unit_now
            if new_low > old_high:
                found.append(f"{name}: {new_median / old_median:.2f} times as long as before")
    return found


def machine() -> str:
    """Return the kind of processor and the version of Python."""
    return f"{platform.machine()} ({get_host_cpu_name()}), Python {platform.python_version()}"


def versions() -> dict[str, str]:
    """Return the versions of what is timed, as far as it is installed."""
    found = {}
    for name in VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def measured(rounds: int) -> dict[str, Any]:
    """Run all benchmarks on one core and return their results."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        return {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "machine": machine(),
            "versions": versions(),
            "seconds_per_pair": times_per_pair(score_cases(Path(folder)), rounds),
            "seconds": process_times(Path(folder), 5),
        }


def written(results: Mapping[str, Any]) -> str:
    """Return the results as JSON with a line for each case."""
    shown = dict(results)
    for part in _PARTS:
        shown[part] = {name: [float(f"{s:.4g}") for s in times] for name, times in results[part].items()}
    lines = []
    for name, value in shown.items():
        if isinstance(value, dict):
            cases = ",\n".join(f"  {json.dumps(key)}: {json.dumps(item)}" for key, item in value.items())
            lines.append(f" {json.dumps(name)}: {{\n{cases}\n }}")
        else:
            lines.append(f" {json.dumps(name)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _read(parser: argparse.ArgumentParser, path: Path) -> dict[str, Any]:
    try:
        results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(times, list) for part in _PARTS for times in results[part].values()):
            raise ValueError("it has one time for each case, not one for each round")
        slower(results, results)
        str(results["machine"])
    except (OSError, ValueError, KeyError) as error:
        parser.error(f"--compare {path} is no file that --out has written: {error}; make one with --out")
    return results


def main(argv: Sequence[str] | None = None) -> int:
    """Run all benchmarks; write them, compare them, or both."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="JSON file of an older run")
    parser.add_argument("--rounds", type=int, default=25, help="how often every case is run (default: 25)")
    arguments = parser.parse_args(argv)
    if arguments.out is None and arguments.compare is None:
        parser.error("give --out FILE to write the times, --compare FILE to compare them, or both")
    if arguments.rounds < _LEAST_ROUNDS:
        parser.error(f"--rounds must be at least {_LEAST_ROUNDS}, got {arguments.rounds}")
    before = None if arguments.compare is None else _read(parser, arguments.compare)
    now = measured(arguments.rounds)
    if arguments.out is not None:
        arguments.out.write_text(written(now), encoding="utf-8")
    if before is None:
        return 0
    if before["machine"] != now["machine"]:
        print(f"the older run is of another machine: {before['machine']}; this is {now['machine']}")
    found = slower(before, now)
    print("\n".join(found or ["no case became slower than its own spread"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
