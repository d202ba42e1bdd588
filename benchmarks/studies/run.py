"""Run a study: make its files, score them, and write its tables, page and figure beside its TOML file.

Files that exist are kept, so the command can be interrupted and repeated. With ``--page`` nothing is made:
the page is of the files that exist so far, and says which do not.

Example: ``python -m benchmarks.studies.run benchmarks/studies/fashion_mnist.toml --jobs 2``
"""

import argparse
import datetime
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from generators import request, sweep

from .asked import read_study
from .comparisons import comparison_table, path_beside
from .page import write_page
from .table import study_scores, study_table
from .trained import network_facts


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path, metavar="FILE.toml")
    parser.add_argument("--jobs", default="1")
    parser.add_argument("--data", help="data folder, instead of the one that the file names")
    parser.add_argument("--out", help="output folder, instead of the one that the file names")
    parser.add_argument("--results", type=Path, help="folder of the results; default: that of the TOML file")
    parser.add_argument(
        "--page", action="store_true", help="make no files; write the page of those that exist"
    )
    options = parser.parse_args(argv)
    base = (options.results or options.study.parent) / options.study.stem
    if not base.parent.is_dir():
        parser.error(f"--results: {base.parent} is not a folder")
    try:
        return _run(options, base)
    except (OSError, ValueError) as error:
        parser.error(str(error))


def _run(options: argparse.Namespace, base: Path) -> int:
    study = read_study(options.study)
    if not options.page:
        more = [f"--{name}={value}" for name in ("data", "out") if (value := getattr(options, name))]
        status = sweep.main([str(options.study), "--jobs", options.jobs, *more])
        if status:
            print("Files that exist are kept: run again to continue, or with --page", file=sys.stderr)
            return status
    items = sweep.read(options.study, data=options.data, out=options.out)
    files = conditions(items)
    made = [path for path in files if path.exists()]
    if not made:
        raise ValueError(f"none of the {len(files)} files of {options.study} exists yet, so there is no page")
    day = datetime.date.fromtimestamp(max(path.stat().st_mtime for path in made))
    machine = f"{platform.machine()} with {os.cpu_count()} cores"
    scores = study_scores(study, files)
    table = study_table(study, files, scores, f"{day}, {machine}", network_facts(items))
    compared = comparison_table(study, table, scores, list(map(str, files))) if "against" in study else None
    table = _stored(table, base.with_suffix(".csv"))
    if compared is not None:
        compared = _stored(compared, path_beside(base))
    print(write_page(study, table, base, compared))
    return 0


def _stored(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Store a table and return it with the digits that are stored, from which the page is written again."""
    table.to_csv(path, index=False, float_format="%.9g")
    return pd.read_csv(path)


def conditions(items: Sequence[sweep.Item]) -> dict[Path, Mapping[str, Any]]:
    """Return the pair files of a study, made or not, each with the attributes of its condition."""
    found: dict[Path, Mapping[str, Any]] = {}
    for item in items:
        if item.command == "generate":
            wanted = request.Request.parse(item.arguments)
            files = wanted.files(wanted.plan())
            found |= {path: request.condition(wanted, plan) for path, plan in files.items()}
    return found


if __name__ == "__main__":
    sys.exit(main())
