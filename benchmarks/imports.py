"""Time ``import_maps`` of two folders with a file per sample beside loading the same files.

    python -m benchmarks.imports --out benchmarks/imports.json

Both take turns, once with the files in memory and once after the system was told to forget them, so that
they come from the disk. numpy loads .npy files, Pillow pictures, and h5py and safetensors theirs. The
import writes the pair file too. Run this on a quiet machine.
"""

import argparse
import datetime
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import PIL.Image
import safetensors.numpy

import lensmetrics as lm

# The kind of file, maps in each of two folders, and their height and width.
CASES = (
    (".npy", 2000, 64),
    (".npy", 500, 224),
    (".png", 1000, 64),
    (".png", 500, 224),
    (".h5", 1000, 64),
    (".h5", 500, 224),
    (".safetensors", 1000, 64),
    (".safetensors", 500, 224),
)


def make(folder: Path, suffix: str, n: int, size: int) -> list[Path]:
    """Write a file for each of n samples into two folders, and return all of them."""
    rng = np.random.default_rng(n)
    paths = [folder / side / f"img{i}{suffix}" for side in ("clean", "adv") for i in range(n)]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        values = rng.normal(size=(size, size)).astype(np.float32)
        if suffix == ".png":
            PIL.Image.fromarray(rng.integers(0, 256, (size, size), np.uint8)).save(path)
        elif suffix == ".h5":
            with h5py.File(path, "w") as file:
                file["maps"] = values
        elif suffix == ".safetensors":
            safetensors.numpy.save_file({"maps": values}, path)
        else:
            np.save(path, values)
    return paths


def forget(paths: list[Path]) -> None:
    """Ask the system to drop files from its cache; nothing else is slowed down."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())  # what is not on the disk yet cannot be dropped
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def load(folder: Path) -> None:
    """Load every file of both folders, as a loop over them would."""
    for side in ("clean", "adv"):
        for path in sorted((folder / side).iterdir()):
            if path.suffix == ".png":
                with PIL.Image.open(path) as picture:
                    np.asarray(picture)
            elif path.suffix == ".h5":
                with h5py.File(path) as file:
                    file["maps"][()]
            elif path.suffix == ".safetensors":
                safetensors.numpy.load_file(path)
            else:
                np.load(path)


def import_both(folder: Path) -> None:
    """Make a pair file of both folders."""
    lm.import_maps(folder / "clean", folder / "adv", folder / "out.h5")


def seconds(work: Callable[[Path], None], folder: Path) -> float:
    """Return how long this takes."""
    start = time.perf_counter()
    work(folder)
    return time.perf_counter() - start


def measure(suffix: str, n: int, size: int, rounds: int) -> dict[str, float]:
    """Return the best time of each case, in seconds, and the ratios."""
    best: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = make(folder, suffix, n, size)
        for _ in range(rounds):
            for where in ("disk", "memory"):
                for what, work in (("load", load), ("import", import_both)):
                    if where == "disk":
                        forget(paths)
                    else:
                        load(folder)
                    case = f"{what} from {where}"
                    best[case] = min(best.get(case, np.inf), seconds(work, folder))
                    (folder / "out.h5").unlink(missing_ok=True)
    found = {case: round(value, 3) for case, value in best.items()}
    for where in ("disk", "memory"):
        found[f"ratio from {where}"] = round(best[f"import from {where}"] / best[f"load from {where}"], 2)
    return found


def main() -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = {
        "made": f"{datetime.date.today()}, {platform.machine()} with {os.cpu_count()} cores",
        **{
            f"2 x {n:,} {suffix} of {size}x{size}": measure(suffix, n, size, options.rounds)
            for suffix, n, size in CASES
        },
    }
    print(json.dumps(found, indent=2))
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
