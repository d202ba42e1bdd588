"""Feed damaged input to every reader of the package, and count the outcomes.

    python -m benchmarks.fuzz metrics --executions 1000000 --seed 0
    python -m benchmarks.fuzz metrics --executions 1000000 --seed 0 --atheris    # guided by coverage
    python -m benchmarks.fuzz files --executions 100000 --seed 0                 # pair files
    python -m benchmarks.fuzz tables --executions 50000 --seed 0                 # journals, CSV, Parquet
    python -m benchmarks.fuzz files --seed 0 --first 4711 --executions 1         # one execution again

Execution i of a seed is always the same. Files are read in a process that may crash or hang; it is then
replaced. The exit status is 1 if something was found that the package is responsible for; crashes and hangs
inside HDF5 or Arrow are counted, and identified by their execution.
"""

import argparse
import collections
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from .files import pair_file_bases
from .harness import N_NAMED, OUTCOMES, WRONG, fuzz_files
from .tables import table_bases
from .texts import fuzz_texts, fuzz_with_atheris, scaling

MAKERS = {"files": pair_file_bases, "tables": table_bases}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("kind", choices=["metrics", *MAKERS])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first execution")
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--atheris", action="store_true", help="metrics: guided by coverage")
    parser.add_argument("--folder", type=Path, help="where files are damaged; best in memory")
    given = parser.parse_args(arguments)
    started = time.monotonic()
    if given.atheris:
        fuzz_with_atheris(given.seed, given.executions)
    if given.kind == "metrics":
        counts: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
        named = []
        for i, outcome, detail in fuzz_texts(given.seed, given.first, given.executions):
            counts[outcome] += 1
            if detail:
                named.append((i, outcome, detail))
        for name, small, large in scaling():
            print(f"{name}: {small * 1e3:.2f} ms for 2**16 characters, {large * 1e3:.2f} ms for 2**20")
            if large > 0.05 + 32 * small:
                named.append((-1, "slow", f"{name} takes more than linear time"))
                counts["slow"] += 1
    else:
        memory = Path("/dev/shm")
        folder = given.folder or (memory if memory.is_dir() else Path(tempfile.gettempdir()))
        printed = [time.monotonic()]

        def progress(counts: dict[str, int]) -> None:
            if time.monotonic() - printed[0] > 60:
                printed[0] = time.monotonic()
                print(json.dumps({name: n for name, n in counts.items() if n}), file=sys.stderr, flush=True)

        with tempfile.TemporaryDirectory(dir=folder) as own:
            sound, work = Path(own) / "sound", Path(own) / "work"
            sound.mkdir()
            work.mkdir()
            bases = MAKERS[given.kind](sound)
            counts, named = fuzz_files(bases, given.seed, given.first, given.executions, work, progress)
    seconds = time.monotonic() - started
    seen: collections.Counter[str] = collections.Counter()
    for i, outcome, detail in named:
        seen[outcome] += 1
        if seen[outcome] <= N_NAMED:
            print(f"{outcome} in execution {i}: {detail}")
    found = {name: n for name, n in counts.items() if n}
    about = {"fuzzer": given.kind, "seed": given.seed, "first": given.first, "seconds": round(seconds, 1)}
    print(json.dumps({**about, "executions": sum(found.values()), **found}))
    return int(any(counts[name] for name in WRONG))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    raise SystemExit(main())
