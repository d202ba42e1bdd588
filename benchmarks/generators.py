"""Time ``generators.generate`` against an older checkout, interleaved, and compare the files that both write.

    git worktree add ../older 4c52498
    python -m benchmarks.generators --baseline ../older --data data --out benchmarks/generators.json

Every case is one command, run with one step and with several, so that their difference is the time of the
steps alone: direction, map, label and acceptance. The case of uniform_smooth varies its draws instead, of
which each sample has two maps. CPU and wall time are the best of the rounds. The networks
are trained: ``small_cnn`` in the weights of this project, SqueezeNet in DATA/squeezenet1_1_imagenet.npz. What
DATA lacks is replaced by fresh weights and random images, and a line says so: trained weights can be slower,
where a softplus returns subnormal numbers. Run this on a quiet machine.

Sign steps amplify rounding, so in float32 perturbed maps are compared by their mean score alone; in float64
they are compared pixel by pixel.
"""

import argparse
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import lensmetrics as lm
from generators.networks.checkpoints import load
from generators.networks.models import build
from generators.selection import predictions

ROOT = Path(__file__).parents[1]
Figures = dict[str, float]


@dataclass(frozen=True)
class Case:
    """A command: network, dataset, shape of the images, weights, explanation, and how much of it is run.

    `files` are those of DATA that it needs; `weights` may be one of them or belong to the project. It is run
    with `few` and with `many` of what `varied` names, steps of topk or draws.
    """

    model: str
    dataset: str
    shape: tuple[int, ...]
    weights: str
    files: tuple[str, ...]
    explanation: str
    k: int
    samples: int
    many: int
    varied: str = "steps"
    few: int = 1

    def arguments(self, data: Path, weights: Path) -> list[str]:
        """Return the options of the command, without dtype and what is varied."""
        options = {
            "dataset": self.dataset,
            "data": data,
            "model": self.model,
            "checkpoint": weights,
            "explanation": self.explanation,
            "eps": "0.03",
            "samples": self.samples,
            "device": "cpu",
        }
        of_topk = {"attack": "topk", "step-size": "0.01", "attack-k": self.k}
        options |= of_topk if self.varied == "steps" else {"attack": "random_sign"}
        return [word for name, value in options.items() for word in (f"--{name}", str(value))]


_SMALL = ("small_cnn", "fashion_mnist", (28, 28), "generators/weights/fashion_mnist-small_cnn-natural.pt")
_LARGE = ("squeezenet1_1", "imagenet", (227, 227, 3), "squeezenet1_1_imagenet.npz")
CASES = {
    "small_cnn, gradient": Case(*_SMALL, ("fashion_mnist.npz",), "gradient", 100, 32, 200),
    "small_cnn, integrated gradients": Case(
        *_SMALL, ("fashion_mnist.npz",), "integrated_gradients", 100, 15, 6
    ),
    "small_cnn, draws of uniform_smooth": Case(
        *_SMALL, ("fashion_mnist.npz",), "uniform_smooth", 100, 4, 1000, "n-draws", 8
    ),
    "SqueezeNet, gradient": Case(
        *_LARGE, ("imagenet_val", "squeezenet1_1_imagenet.npz"), "gradient", 1000, 3, 31
    ),
}


def inputs(case: Case, data: Path, folder: Path) -> tuple[Path, Path]:
    """Return the folder of the data and the weights, made up in `folder` where `data` lacks them."""
    weights = ROOT / case.weights
    if all((data / name).exists() for name in case.files):
        return data, weights if weights.exists() else data / case.weights
    torch.manual_seed(0)
    if weights.exists():
        network, _ = load(str(weights), dataset=case.dataset, model=case.model)
    else:
        network, weights = build(case.model, 1000).eval(), folder / f"{case.model}.pt"
        torch.save(network.state_dict(), weights)
    what = "random images" if (ROOT / case.weights).exists() else "fresh weights and random images"
    print(f"warning: {data} lacks {' or '.join(case.files)}: {case.model} has {what}", file=sys.stderr)
    images = np.random.default_rng(0).integers(0, 256, (case.samples, *case.shape), dtype=np.uint8)
    values = torch.from_numpy(images).float().reshape(case.samples, *case.shape[:2], -1).movedim(3, 1) / 255
    labels = predictions(network, values)
    file = folder / f"{case.dataset}.npz"
    np.savez(file, x_test=images, y_test=labels, x_train=images[:0], y_train=labels[:0])
    return folder, weights


def seconds(checkout: Path, arguments: Sequence[str], threads: int) -> tuple[float, float]:
    """Return the CPU time and the duration of the command of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": str(threads)}
    environment["TQDM_DISABLE"] = "1"
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "generators.generate", *arguments],
        cwd=checkout,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    duration, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, duration


def compared(older: Path, newer: Path, k: int) -> Figures:
    """Return how the maps of two files differ."""
    pairs = list(zip(lm.PairStore(older), lm.PairStore(newer), strict=True))
    metric = lm.parse_metric(f"topk_intersection(k={k})")
    scores = np.array([[metric(a), metric(b)] for a, b in pairs])
    return {
        "share of equal top-k sets": float(
            np.mean([metric(lm.MapPair(a.unperturbed, b.unperturbed)) == 1 for a, b in pairs])
        ),
        "largest relative difference of unperturbed maps": max(
            _relative(a.unperturbed, b.unperturbed) for a, b in pairs
        ),
        "largest relative difference of perturbed maps": max(
            _relative(a.perturbed, b.perturbed) for a, b in pairs
        ),
        "mean score of the baseline": float(scores[:, 0].mean()),
        "difference of the mean score": float(scores[:, 1].mean() - scores[:, 0].mean()),
    }


def _relative(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(np.abs(one - other).max() / np.abs(one).max())


def measure(
    case: Case, checkouts: dict[str, Path], data: Path, threads: int, rounds: int
) -> dict[str, object]:
    """Time the command of both checkouts in turn, and compare their files."""
    cpu: Figures = {}
    wall: Figures = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arguments = case.arguments(*inputs(case, data, folder))

        def run(which: str, amount: int, dtype: str) -> tuple[float, float]:
            out = folder / f"{which}-{dtype}.h5"
            out.unlink(missing_ok=True)
            more = [f"--{case.varied}", str(amount), "--dtype", dtype, "--out", str(out)]
            return seconds(checkouts[which], [*arguments, *more], threads)

        for _ in range(rounds):
            for amount in (case.few, case.many):
                for which in checkouts:
                    spent, duration = run(which, amount, "float32")
                    key = f"{which}, {amount}"
                    cpu[key] = min(cpu.get(key, np.inf), spent)
                    wall[key] = min(wall.get(key, np.inf), duration)
        for which in checkouts:
            run(which, case.many, "float64")
        files = {
            dtype: compared(folder / f"baseline-{dtype}.h5", folder / f"now-{dtype}.h5", case.k)
            for dtype in ("float32", "float64")
        }
    found: dict[str, object] = {"samples": case.samples, case.varied: case.many}
    for what, times in (("CPU", cpu), ("wall", wall)):
        per_step = {
            which: 1000 * (times[f"{which}, {case.many}"] - times[f"{which}, {case.few}"])
            / ((case.many - case.few) * case.samples)
            for which in checkouts
        }  # fmt: skip
        one = case.varied.removeprefix("n-").removesuffix("s")
        found[f"{what}: ms per {one} and sample"] = {which: round(v, 2) for which, v in per_step.items()}
        found[f"{what}: share of the baseline"] = round(per_step["now"] / per_step["baseline"], 3)
        whole = {which: times[f"{which}, {case.many}"] for which in checkouts}
        found[f"{what}: whole command, s"] = {which: round(v, 2) for which, v in whole.items()}
    return found | {dtype: {k: float(f"{v:.4g}") for k, v in row.items()} for dtype, row in files.items()}


def processor() -> str:
    """Return the name of the processor, on which the cost of subnormal numbers depends."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--baseline", required=True, type=Path, metavar="DIR", help="an older checkout")
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="folder with the datasets")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(argv)
    checkouts = {"baseline": options.baseline.resolve(), "now": ROOT}
    found: dict[str, object] = {
        "made": f"{datetime.date.today()}, {processor()}, torch {torch.__version__}",
        "threads": options.threads,
        "baseline": commit(options.baseline),
    }
    for name in options.cases:
        case = CASES[name]
        found[name] = measure(case, checkouts, options.data.resolve(), options.threads, options.rounds)
        print(name, json.dumps(found[name], indent=2), flush=True)
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def commit(checkout: Path) -> str:
    """Return the commit of a checkout, or its name if it is no repository."""
    done = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"],
        check=False,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip() or checkout.name


if __name__ == "__main__":
    main()
