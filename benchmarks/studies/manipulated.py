"""Run a study of manipulated explanations: make its files, measure them, write its table, page and figure.

The table has a row per sample and file: how much the perturbed map is like its target and like the map
before, how much the unperturbed map is like the target, and what the attack changed in image and output. All
other numbers of the page are computed from it. Patterns that an explanation needs are fitted first. Files
that exist are kept, so the command can be interrupted and repeated. With ``--page`` nothing is made: the page
is of the files that exist so far, and says which do not; where there are none, of the stored table.

Example: ``python -m benchmarks.studies.manipulated benchmarks/studies/manipulated.toml --jobs 2``
"""

import argparse
import datetime
import os
import platform
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

import lensmetrics as lm
from generators import fit_patterns, sweep
from generators.request import Request

from .manipulated_page import write_page
from .run import conditions

# What a row says of its file, by the names of attributes; those that an explanation has not are missing.
CONDITION = (
    *("model", "training", "explanation", "base", "beta", "sigma", "attacked_explanation"),
    *("steps", "learning_rate", "map_weight", "softening"),
)
MAPS = ("pearson", "ssim_normalized", "mse_normalized")
IMAGES = ("image_pearson", "image_ssim", "image_mse")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path, metavar="FILE.toml")
    parser.add_argument("--jobs", default="1")
    parser.add_argument("--out", help="output folder, instead of the one that the file names")
    parser.add_argument(
        "--page", action="store_true", help="make no files; write the page of those that exist"
    )
    options = parser.parse_args(argv)
    try:
        return _run(options, options.study.with_suffix(""))
    except (OSError, ValueError) as error:
        parser.error(str(error))


def _run(options: argparse.Namespace, base: Path) -> int:
    study = read_study(options.study)
    items = sweep.read(options.study, out=options.out)
    if not options.page:
        if status := _fit_missing_patterns(study, items):
            return status
        more = [f"--out={options.out}"] if options.out else []
        if status := sweep.main([str(options.study), "--jobs", options.jobs, *more]):
            return status
    files = conditions(items)
    stored = base.with_suffix(".csv")
    if not options.page or any(path.exists() for path in files):
        measured(files).to_csv(stored, index=False, float_format="%.5g")
    print(write_page(study, pd.read_csv(stored), base))
    return 0


def read_study(path: Path) -> dict[str, Any]:
    """Return what a TOML file says of the study itself: title, notes, and what counts as hardly changed.

    Raises
    ------
    ValueError
        If one of them is missing or out of range.
    """
    study: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8")).get("study", {})
    if missing := {"title", "notes", "image_ssim", "softmax", "pattern_samples"} - study.keys():
        raise ValueError(f"{path} must set {', '.join(sorted(missing))} in [study]")
    for name in ("image_ssim", "softmax"):
        if not 0 < study[name] < 1:
            raise ValueError(f"{path}: {name} in [study] must be between 0 and 1, got {study[name]!r}")
    if type(study["pattern_samples"]) is not int or study["pattern_samples"] < 1:
        raise ValueError(
            f"{path}: pattern_samples in [study] must be an integer above 0, got {study['pattern_samples']!r}"
        )
    return study


def _fit_missing_patterns(study: Mapping[str, Any], items: Sequence[sweep.Item]) -> int:
    """Fit the patterns that files need and that do not exist; return the exit status."""
    for item in items:
        request = Request.parse(item.arguments)
        path = request.patterns_file if request.plan().needs_patterns else None
        if path is None or path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        of_network = {name: getattr(request, name) for name in ("dataset", "data", "model", "checkpoint")}
        words = [f"--{name}={value}" for name, value in of_network.items()]
        words += [f"--device={request.device}", f"--samples={study['pattern_samples']}", f"--out={path}"]
        if status := fit_patterns.main(words):
            return status
    return 0


def measured(files: Mapping[Path, Mapping[str, Any]]) -> pd.DataFrame:
    """Return a row per sample of each file; a file that does not exist has one, without a sample.

    `files` gives the condition of each file, which only counts where the file does not exist.
    """
    plain: dict[tuple[Any, ...], Path] = {}
    for path in files:
        if path.exists():
            attrs = lm.PairStore(path).attrs
            if "attacked_explanation" not in attrs:
                plain.setdefault(_place(attrs, attrs["explanation"]), path)
    found = [
        _measured(path, plain) if path.exists() else _not_made(condition) for path, condition in files.items()
    ]
    rows = [row for part in found for row in part]
    columns = dict.fromkeys([*CONDITION, "sample", *(name for row in rows for name in row), "made"])
    return pd.DataFrame(rows, columns=list(columns))


def _not_made(condition: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{name: condition.get(name) for name in CONDITION}]


def _place(attrs: Mapping[str, Any], explanation: object) -> tuple[Any, ...]:
    return attrs["model"], attrs["training"], explanation


def _unsmoothed(store: lm.PairStore, plain: Mapping[tuple[Any, ...], Path]) -> npt.NDArray[np.float64]:
    """Return the PCC of each smoothed map with that of the unsmoothed explanation, both without an attack.

    `plain` gives the file of each explanation. It is NaN where nothing is smoothed, or there is no such file.
    """
    smoothed = {"beta_smooth": store.attrs.get("base"), "smooth_grad": "gradient"}
    path = plain.get(_place(store.attrs, smoothed.get(store.attrs["explanation"])))
    other = lm.PairStore(path) if path is not None else None
    if other is None or not np.array_equal(other.sample, store.sample):
        return np.full(len(store), np.nan)
    first, second = (one.read_block(0, len(one))[0] for one in (other, store))
    return lm.score(first, second, ["pearson"])["pearson"].to_numpy(dtype=np.float64)


def _measured(path: Path, plain: Mapping[tuple[Any, ...], Path]) -> list[dict[str, Any]]:
    store = lm.PairStore(path)
    maps, images = list(MAPS), [*MAPS, *IMAGES]
    reached = lm.evaluate(path, images, against="target")
    kept = lm.evaluate(path, ["pearson"])
    with store.to_xarray() as file:
        target, before, after, label = (
            file[name].to_numpy() for name in ("target", "unperturbed", "perturbed", "label")
        )
        outputs = [file[name].to_numpy().astype(np.float64) for name in ("output", "output_perturbed")]
    at_first = lm.score(target, before, maps)
    own = before[target_samples(label)]
    columns = {
        "sample": store.sample,
        **{metric: reached[metric] for metric in maps},
        **{f"{metric} before": at_first[metric] for metric in maps},
        "pearson kept": kept["pearson"],
        "pearson own before": lm.score(own, before, ["pearson"])["pearson"],
        "pearson own": lm.score(own, after, ["pearson"])["pearson"],
        "pearson unsmoothed": _unsmoothed(store, plain),
        **{metric: reached[metric] for metric in IMAGES},
        "logits": np.abs(outputs[1] - outputs[0]).max(axis=1),
        "softmax": np.abs(softmax(outputs[1]) - softmax(outputs[0])).max(axis=1),
        "not_attacked": store.not_attacked,
        "label_changed": store.label_changed,
    }
    day = datetime.date.fromtimestamp(path.stat().st_mtime)
    made = f"{day}, {platform.machine()} with {os.cpu_count()} cores; {store.attrs.get('versions')}"
    facts = {name: store.attrs.get(name) for name in CONDITION}
    rows: list[Any] = pd.DataFrame(columns).to_dict("records")
    return [{**facts, **row, "made": made if i == 0 else None} for i, row in enumerate(rows)]


def target_samples(label: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return whose map is the target of each sample: the next one, cyclically, that has another label."""
    n = len(label)
    found = [next((j % n for j in range(i + 1, i + n) if label[j % n] != label[i]), i) for i in range(n)]
    return np.array(found, dtype=np.int64)


def softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the probabilities (sample, class)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: npt.NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


if __name__ == "__main__":
    sys.exit(main())
