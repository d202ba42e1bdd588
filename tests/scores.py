"""Tables of scores for tests."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

import lensmetrics as lm

METRICS = [
    *lm.lens_suite(k=5, windows=(1, 2)),
    *(lm.get_metric("lens_recall_chance", k=k, w=w) for k, w in [(5, 0), (7, 2)]),
    *(lm.get_metric("lens_recall_div_published", k=3, w=1, pool=pool) for pool in (20, 30)),
]


CONDITIONS = {"dataset": "toy", "training": "None", "attack": "topk", "eps": 8 / 255, "attack_k": 9}


def make_scores(
    values: npt.ArrayLike, sample: Sequence[int] | None = None, *, name: str = "kendall", **columns: Any
) -> pd.DataFrame:
    """A table with one metric."""
    values = np.asarray(values, dtype=np.float64)
    table = pd.DataFrame({key: pd.Categorical(column) for key, column in columns.items() if key != "status"})
    table["sample"] = np.arange(len(values)) if sample is None else np.asarray(sample)
    table["status"] = columns.get("status", ["ok"] * len(values))
    table[name] = values
    return table


def files_table(**attributes: Any) -> pd.DataFrame:
    """A table with a row for each of some files."""
    n = len(next(iter(attributes.values())))
    return make_scores(np.arange(n), [0] * n, file=[f"{i}.h5" for i in range(n)], **attributes)


def named_scores(values: npt.ArrayLike, names: Sequence[str | None], **columns: Any) -> pd.DataFrame:
    table = make_scores(values, **columns)
    table["name"] = list(names)
    return table


def curve_table() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    table = pd.DataFrame(
        {
            "dataset": "toy",
            "training": pd.Categorical(np.repeat(["natural", "pgd"], 20)),
            "attack": np.tile(np.repeat(["topk", "mass"], 10), 2),
            "sample": np.tile(np.arange(10), 4),
            "status": "ok",
        }
    )
    for column in (
        "topk_intersection(k=9)",
        "lens_recall(k=9,w=3)",
        "lens_recall(k=9,w=1)",
        "lens_recall_chance(k=9,w=0)",
        "lens_recall_chance(k=9,w=1)",
        "lens_recall(k=2,w=1)",
        "lens_precision(k=9,w=1)",
    ):
        table[column] = rng.random(40)
    return table
