"""Run a study of certificates: make its files, measure them, and write its table, page and figure.

The table has a row per sample and file: the norms of both maps, their cosine, and what the file says of the
smoothing. All other numbers of the page are computed from it. Files that exist are kept, so the command can
be interrupted and repeated. With ``--page`` nothing is made: the page is of the stored table alone.

Example: ``python -m benchmarks.studies.certified benchmarks/studies/certificates.toml --jobs 2``
"""

import argparse
import datetime
import os
import platform
import sys
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import lensmetrics as lm
from generators import sweep

from .certified_page import write_page

# What a row says of its file, by the names of attributes.
CONDITION = ("training", "radius", "eps")
SMOOTHING = ("n_draws", "dim", "bound", "nonnegative")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path, metavar="FILE.toml")
    parser.add_argument("--jobs", default="1")
    parser.add_argument("--data", help="data folder, instead of the one that the file names")
    parser.add_argument("--out", help="output folder, instead of the one that the file names")
    parser.add_argument("--page", action="store_true", help="make no files; write the page of the table")
    options = parser.parse_args(argv)
    base = options.study.with_suffix("")
    try:
        study = read_study(options.study)
        if not options.page:
            more = [f"--{name}={value}" for name in ("data", "out") if (value := getattr(options, name))]
            if status := sweep.main([str(options.study), "--jobs", options.jobs, *more]):
                return status
            items = sweep.read(options.study, data=options.data, out=options.out)
            files = [item.out for item in items if item.command == "generate"]
            measured(files).to_csv(base.with_suffix(".csv"), index=False, float_format="%.9g")
        print(write_page(study, pd.read_csv(base.with_suffix(".csv")), base))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return 0


def read_study(path: Path) -> dict[str, Any]:
    """Return what a TOML file says of the study itself: title, notes, wanted cosine and alpha.

    Raises
    ------
    ValueError
        If one of them is missing, or a number is not between 0 and 1.
    """
    study: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8")).get("study", {})
    if missing := {"title", "notes", "cosine", "alpha"} - study.keys():
        raise ValueError(f"{path} must set {', '.join(sorted(missing))} in [study]")
    for name in ("cosine", "alpha"):
        if not 0 < study[name] < 1:
            raise ValueError(f"{path}: {name} in [study] must be between 0 and 1, got {study[name]!r}")
    return study


def measured(files: Iterable[Path]) -> pd.DataFrame:
    """Return a row per sample of each file."""
    return pd.concat([_measured(path) for path in files], ignore_index=True)


def _measured(path: Path) -> pd.DataFrame:
    store = lm.PairStore(path)
    change = store.header.columns.perturbation_l2
    if change is None:
        raise ValueError(f"{path} does not say how far its images were moved (perturbation_l2)")
    unperturbed, perturbed, _ = store.read_block(0, len(store))
    norms, norms_perturbed = (
        np.linalg.norm(maps.astype(np.float64), axis=(1, 2)) for maps in (unperturbed, perturbed)
    )
    rows = {
        "sample": store.sample,
        "norm": norms,
        "norm_perturbed": norms_perturbed,
        "cosine": lm.score(unperturbed, perturbed, ["cosine"])["cosine"].to_numpy(),
        "perturbation_l2": change,
        "not_attacked": store.not_attacked,
    }
    day = datetime.date.fromtimestamp(path.stat().st_mtime)
    facts = {name: store.attrs[name] for name in (*CONDITION, *SMOOTHING)}
    made = f"{day}, {platform.machine()} with {os.cpu_count()} cores; {store.attrs.get('versions')}"
    return pd.DataFrame(rows).assign(**facts, made=made)[[*facts, *rows, "made"]]


if __name__ == "__main__":
    sys.exit(main())
