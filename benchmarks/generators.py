"""Samples per second of the topk attack, batched against one sample at a time.

    python -m benchmarks.generators --threads 2

Weights are fresh and images random; trained weights can be slower on a CPU, where softplus then returns
subnormal numbers. All cases of a network are timed in turn, round after round, and the best round of each
counts. Every step takes equally long, so a few are timed and scaled to the published 100; computing the two
reported maps is included.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import nn

from generators.attacks import ATTACKS
from generators.explanations import Explain, abs_sum, gradient, integrated_gradients
from generators.networks.activations import prepare
from generators.networks.models import build

STEPS, POINTS = 100, 50
# model, shape of its images, timed steps for the gradient and for integrated gradients
NETWORKS = {"small_cnn": ((1, 28, 28), 20, 2), "squeezenet1_1": ((3, 227, 227), 5, 1)}


def seconds(work: Callable[[], object]) -> float:
    """Return the duration of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def attack(
    network: nn.Module, explanation: Explain, images: torch.Tensor, batch_size: int, steps: int
) -> None:
    """Attack all `images`, `batch_size` at a time."""
    for part in torch.split(images, batch_size):
        labels = network(part).argmax(1)
        randoms = [np.random.default_rng(row) for row in range(len(part))]
        ATTACKS["topk"](
            network,
            part,
            labels,
            randoms,
            explanation=explanation,
            eps=8 / 255,
            steps=steps,
            step_size=1 / 255,
            attack_k=100,
        )


def report(network: nn.Module, explanation: Explain, images: torch.Tensor, batch_size: int) -> None:
    """Explain all `images` twice, as for the file."""
    for part in torch.split(images, batch_size):
        labels = network(part).argmax(1)
        for _ in range(2):
            abs_sum(explanation(network, part, labels))


def main(argv: Sequence[str] | None = None) -> None:
    """Print a line per network, explanation and batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print("model, explanation, samples at a time: samples per second, times one at a time")
    for name in options.models:
        shape, gradient_steps, ig_steps = NETWORKS[name]
        network = prepare(build(name, 10)).to(options.device)
        images = torch.rand((options.batch_size, *shape), device=options.device)
        for explanation, steps in (
            (gradient, gradient_steps),
            (partial(integrated_gradients, n_points=POINTS), ig_steps),
        ):
            cases: dict[tuple[int, str], Callable[[], object]] = {}
            for size in (1, options.batch_size):
                for what, n in (("setup", 0), ("steps", steps)):
                    cases[size, what] = partial(attack, network, explanation, images, size, n)
                cases[size, "maps"] = partial(report, network, explanation, images, size)
            cases[options.batch_size, "steps"]()  # warms up
            best = dict.fromkeys(cases, float("inf"))
            for _ in range(options.rounds):
                for case, work in cases.items():
                    best[case] = min(best[case], seconds(work))
            spent = {
                size: best[size, "setup"]
                + (best[size, "steps"] - best[size, "setup"]) * STEPS / steps
                + best[size, "maps"]
                for size in (1, options.batch_size)
            }
            label = getattr(explanation, "__name__", f"integrated_gradients({POINTS})")
            for size, time_spent in spent.items():
                rate, gain = len(images) / time_spent, spent[1] / time_spent
                print(f"{name}, {label}, {size}: {rate:.3g}, {gain:.2f}", flush=True)


if __name__ == "__main__":
    main()
