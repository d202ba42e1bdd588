"""Small pair files for the tests of this room, and the values in them."""

from pathlib import Path
from typing import Any

import numpy as np

from lensmetrics.pairfile.writer import PairWriter
from tests.pairfiles import maps_of, write_file

ATTRS = {"dataset": "toy", "attack": "topk", "eps": 0.1, "steps": 20}
MAP = np.zeros((3, 4))
_OF_THE_FILE = ("format", "format_version", "checksum_metadata")


def own(attrs: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes that the writer was given."""
    return {name: value for name, value in attrs.items() if name not in _OF_THE_FILE}


def write_pairs(path: Path, n: int = 6, height: int = 5, width: int = 7, **options: Any) -> Path:
    """Write n complete samples numbered 10, 11, ... with labels."""
    labels = np.arange(10, 10 + n) % 3
    write_file(path, n, (height, width), attrs=ATTRS, step=1, label=labels, **options)
    return path


def write_all(path: Path) -> Path:
    """Write three samples with every variable that a file can have."""
    n = 3
    maps, rng = maps_of(n, 3, 4), np.random.default_rng(1)
    attrs = {**ATTRS, "note": "größer", "scale": np.float32(0.1), "list": [1.5, float("inf")], "one": [7]}
    with PairWriter(path, n_samples=n, shape=(3, 4), attrs={**attrs, "eps": float("nan")}) as writer:
        writer.write(
            slice(0, n),
            *maps,
            label=range(n),
            prediction=range(n),
            prediction_perturbed=[0, 5, 2],
            perturbation_linf=[0.5, 0.5, 0.0],
            perturbation_l2=[1.5, 2.5, 0.0],
            image=rng.integers(0, 256, (n, 3, 3, 4)).astype(np.uint8),
            image_perturbed=rng.random((n, 3, 3, 4), dtype=np.float32),
            name=[f"{i}/ü.png" for i in range(n)],
            n_accepted=[1, 0, 3],
            best_step=[4, -1, 9],
            output=rng.random((n, 2)),
            output_perturbed=rng.random((n, 2)),
            target=maps[0],
        )
    return path
