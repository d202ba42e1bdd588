"""Run a study: make its files, score them, and write its table, page and figure beside its TOML file.

Files that exist are kept, so the command can be interrupted and repeated.

Example: ``python -m benchmarks.studies.run benchmarks/studies/fashion_mnist.toml --jobs 2``
"""

import argparse
import datetime
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from generators import sweep

from .page import read_study, study_table, write_page


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path, metavar="FILE.toml")
    parser.add_argument("--jobs", default="1")
    parser.add_argument("--data", help="data folder, instead of the one that the file names")
    parser.add_argument("--out", help="output folder, instead of the one that the file names")
    parser.add_argument("--results", type=Path, help="folder of the results; default: that of the TOML file")
    options = parser.parse_args(argv)
    base = (options.results or options.study.parent) / options.study.stem
    if not base.parent.is_dir():
        parser.error(f"--results: {base.parent} is not a folder")
    study = read_study(options.study)
    if study.keys() < {"title", "k", "windows"}:
        parser.error(f"{options.study} must set title, k and windows in [study]")
    items = sweep.read(options.study, data=options.data, out=options.out)
    files = [item.out for item in items if item.command == "generate"]
    more = [f"--{name}={value}" for name in ("data", "out") if (value := getattr(options, name))]
    status = sweep.main([str(options.study), "--jobs", options.jobs, *more])
    if status:
        return status
    made = datetime.date.fromtimestamp(max(path.stat().st_mtime for path in files))
    table = study_table(study, files, f"{made}, {platform.machine()} with {os.cpu_count()} cores")
    table.to_csv(base.with_suffix(".csv"), index=False, float_format="%.9g")
    print(write_page(study, table, base))
    return 0


if __name__ == "__main__":
    sys.exit(main())
