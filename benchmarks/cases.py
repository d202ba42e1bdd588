"""The calls that are timed on one pair, lensmetrics' and those of other tools for the same numbers."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

import lensmetrics as lm

from . import baselines
from .baselines import Map

WINDOWS = (1, 2, 3)
# Height and width, k, and how many pairs of that size a call of lensmetrics scores.
SIZES = ((227, 1000, 250), (28, 100, 5000))
# Another tool's call, and lensmetrics' for the same numbers.
SAME_NUMBERS = {
    "kendalltau": "score kendall",
    "spearmanr": "score spearman",
    "pandas kendall": "score kendall",
    "pandas spearman": "score spearman",
    "torchmetrics spearman": "score spearman",
    "numpy topk": "score topk",
    "numpy sets": "score sets",
    "numpy and scipy": "score sets and ranks",
    "plain suite": "score set metrics",
}


@dataclass(frozen=True)
class Case:
    """A call, how many pairs it scores, and whether it takes so long that every tenth round is enough."""

    call: Callable[[], object]
    n: int = 1
    is_slow: bool = False


def random_pairs(n: int, side: int) -> tuple[Map, Map]:
    """Return smooth random maps and perturbed ones, float32: about .5 in top-k intersection."""
    rng = np.random.default_rng(side)
    rows = np.arange(side)
    unperturbed = np.zeros((n, side, side))
    for i in range(n):
        for _ in range(12):
            y, x, spread = rng.uniform((0, 0, 2), (side, side, 2 + side / 8))
            bump = np.exp(-((rows - y) ** 2) / (2 * spread**2))[:, None]
            unperturbed[i] += bump * np.exp(-((rows - x) ** 2) / (2 * spread**2))
    unperturbed *= rng.uniform(0.25, 1.25, unperturbed.shape)
    noise = rng.uniform(0.25, 1.75, unperturbed.shape)
    perturbed = unperturbed * noise + rng.uniform(0, 0.15, unperturbed.shape)
    return unperturbed.astype(np.float32), perturbed.astype(np.float32)


def _levels(maps: Map) -> Map:
    """Round each map to 31 levels, as maps from pictures and of coarse arithmetic are."""
    highest = maps.max(axis=(1, 2), keepdims=True)
    rounded: Map = np.round(maps / highest * 30) / np.float32(30)
    return rounded


def score_cases(folder: Path) -> dict[str, Case]:
    """Return the calls on 227x227 and 28x28 maps, by name and size.

    Raises
    ------
    RuntimeError
        If another tool gives another number than lensmetrics.
    """
    cases: dict[str, Case] = {}
    for side, k, n in SIZES:
        u, p = random_pairs(n, side)
        path = folder / f"{side}.h5"
        with lm.PairWriter(path, n_samples=n, shape=(side, side), attrs={"attack": "noise"}) as writer:
            writer.write(slice(0, n), u, p)
        ours = {name: partial(lm.score, u, p, metrics) for name, metrics in _metrics(k).items()}
        levels_u, levels_p = _levels(u), _levels(p)
        bytes_u, bytes_p = (np.round(255 * maps / maps.max()).astype(np.uint8) for maps in (u, p))
        ours["score bytes"] = partial(lm.score, bytes_u, bytes_p, _metrics(k)["score suite"])
        for name in ("levels", "smoothed levels"):
            metrics = _metrics(k)["score suite" if name == "levels" else "score smoothed"]
            ours[f"score {name}"] = partial(lm.score, levels_u, levels_p, metrics)
        ours["evaluate suite"] = partial(lm.evaluate, path, _metrics(k)["score suite"])
        others = _others(u[0], p[0], k)
        _check_agreement(u[:1], p[:1], k, others)
        cases |= {f"{name} {side}": Case(call, n) for name, call in ours.items()}
        cases |= {f"{name} {side}": Case(call, is_slow="plain" in name) for name, call in others.items()}
    return cases


def _metrics(k: int) -> dict[str, list[str]]:
    """Return what lensmetrics is asked for, by the name of the case."""
    suite = [str(metric) for metric in lm.lens_suite(k=k, windows=WINDOWS)]
    ranks = ["kendall", "spearman"]
    topk = [f"topk_intersection(k={k})"]
    sets = topk + [f"{name}(k={k},w={w})" for w in WINDOWS for name in ("lens_recall", "lens_precision")]
    return {
        "score suite": suite,
        "score smoothed": [f"{name}(w={w})" for w in WINDOWS for name in ("lens_kendall", "lens_spearman")],
        "score set metrics": [name for name in suite if name not in ranks],
        "score sets and ranks": sets + ranks,
        "score sets": sets,
        "score topk": topk,
        "score kendall": ranks[:1],
        "score spearman": ranks[1:],
    }


def _others(u: Map, p: Map, k: int) -> dict[str, Callable[[], list[float]]]:
    """Return the calls of other tools by name; that of torchmetrics only where it can be imported."""
    calls: dict[str, Callable[[], list[float]]] = {
        "kendalltau": partial(baselines.scipy_kendall, u, p),
        "spearmanr": partial(baselines.scipy_spearman, u, p),
        "pandas kendall": partial(baselines.pandas_kendall, u, p),
        "pandas spearman": partial(baselines.pandas_spearman, u, p),
        "torchmetrics spearman": partial(baselines.torchmetrics_spearman, u, p),
        "numpy topk": partial(baselines.numpy_topk, u, p, k),
        "numpy sets": partial(baselines.numpy_sets, u, p, k, WINDOWS),
        "numpy and scipy": partial(baselines.numpy_and_scipy, u, p, k, WINDOWS),
        "plain suite": partial(baselines.plain_suite, u, p, k, WINDOWS),
    }
    try:
        calls["torchmetrics spearman"]()
    except (ImportError, RuntimeError) as error:  # with a torchvision of another torch its import fails
        print(f"without the case torchmetrics spearman: {error}", file=sys.stderr)
        del calls["torchmetrics spearman"]
    return calls


def _check_agreement(u: Map, p: Map, k: int, others: dict[str, Callable[[], list[float]]]) -> None:
    """Refuse to time what is not the same; the diverse sets of `plain_suite` are the scripts' own."""
    for name, call in others.items():
        wanted = _scored(u, p, _metrics(k)[SAME_NUMBERS[name]])
        found = call()
        if name == "plain suite":  # its windows go on in the next row: lens_recall_published
            names = [
                f"{m}_published(k={k},w={w})" for w in WINDOWS for m in ("lens_recall", "lens_precision")
            ]
            wanted = _scored(u, p, [f"topk_intersection(k={k})", *names])
            found = [found[i] for i in (0, 1, 2, 6, 7, 11, 12)]
        # torchmetrics computes in float32.
        if not np.allclose(found, wanted, rtol=0, atol=1e-4 if name.startswith("torch") else 1e-12):
            raise RuntimeError(f"{name} gives {found}, lensmetrics {wanted}: they cannot be compared")


def _scored(u: Map, p: Map, metrics: Sequence[str]) -> list[float]:
    scores = lm.score(u, p, metrics)
    return [float(scores[metric].iloc[0]) for metric in metrics]
