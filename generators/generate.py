"""Command: attack a checkpoint's explanations and write one pair file.

The samples are the first N of the test split, in dataset order, that the model classifies correctly. Maps are
reduced by abs_sum and stored as float32. Where no perturbed image was accepted (see attacks.py) both maps
are equal and perturbation_linf is 0.

Example: ``python -m generators.generate --dataset fashion_mnist --data DIR --model small_cnn
--checkpoint pgd.pt --explanation integrated_gradients --attack topk --eps 0.1 --samples 64
--out maps/pgd-ig-topk.h5``
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

import lensmetrics as lm

from . import checkpoints
from .attacks import ATTACKS, SETTINGS, Attack
from .commands import accepted, add_shared_options, command_line, device_of, positive_number, run, versions
from .datasets import DATASETS, Split, inputs_of
from .explanations import EXPLANATIONS, Explanation, abs_sum

DTYPES = {"float32": torch.float32, "float64": torch.float64}
# Options that only some explanations and attacks know; left unset they take the published values.
PARAMETERS = ("n_points", "steps", "step_size", "attack_k", "attack_n_points")
# It changes how the work is done, not what comes out, and stays out of the recorded command.
NOT_RECORDED = ("batch_size",)


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m generators.generate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_shared_options(parser)
    parser.add_argument("--checkpoint", required=True, type=Path, metavar="FILE.pt")
    parser.add_argument("--explanation", required=True, choices=EXPLANATIONS)
    parser.add_argument("--n-points", type=positive_number, help="of integrated_gradients; default: 100")
    parser.add_argument("--attack", required=True, choices=ATTACKS)
    parser.add_argument("--eps", required=True, type=float, help="l_inf radius, inputs being in [0, 1]")
    parser.add_argument(
        "--steps", type=positive_number, help="of topk; default: as published for the dataset"
    )
    parser.add_argument("--step-size", type=float, help="of topk; default: as published for the dataset")
    parser.add_argument("--attack-k", type=positive_number, help="pixels topk attacks; default: as published")
    parser.add_argument(
        "--attack-n-points",
        type=positive_number,
        help="of integrated_gradients inside topk, where they cost most; default: --n-points",
    )
    parser.add_argument("--samples", default=64, type=positive_number, metavar="N", help="default: 64")
    parser.add_argument(
        "--dtype",
        default="float32",
        choices=DTYPES,
        help="of all computing; sign steps amplify rounding: with float64 another machine, thread count or "
        "batch size gives the same scores, with float32 only similar ones (default: float32)",
    )
    parser.add_argument(
        "--batch-size", default=16, type=positive_number, help="samples at a time; default: 16"
    )
    parser.add_argument(
        "--store-images",
        nargs="?",
        const="unperturbed",
        choices=("unperturbed", "all"),
        help="store the images, uint8 as in the dataset; with 'all' also the perturbed ones, float32",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.h5")
    return parser


def plan(options: argparse.Namespace) -> tuple[Explanation, Attack, dict[str, Any]]:
    """The explanation and the attack with their parameters bound, and all parameters in use by name."""
    published = SETTINGS[options.dataset]
    n_points = options.n_points or 100
    explanation, attack = EXPLANATIONS[options.explanation], ATTACKS[options.attack]
    reported = accepted(explanation, {"n_points": n_points})
    inside = accepted(explanation, {"n_points": options.attack_n_points or n_points})
    settings = accepted(
        attack,
        {
            "eps": options.eps,
            "steps": options.steps or published.steps,
            "step_size": published.step_size if options.step_size is None else options.step_size,
            "attack_k": options.attack_k or published.attack_k,
        },
    )
    for name in ("eps", "step_size"):
        if name in settings and not 0 < settings[name] <= 1:
            raise ValueError(f"--{_option(name)} must be above 0 and at most 1, got {settings[name]}")
    used = {**reported, **settings}
    if accepted(attack, {"explanation": None}):
        settings["explanation"] = partial(explanation, **inside)
        used |= {f"attack_{name}": value for name, value in inside.items()}
    idle = [name for name in PARAMETERS if getattr(options, name) is not None and name not in used]
    if idle:
        raise ValueError(
            f"--{_option(idle[0])} means nothing for explanation {options.explanation} "
            f"with attack {options.attack}; leave it out"
        )
    return partial(explanation, **reported), partial(attack, **settings), used


def first_correct(
    network: nn.Module, split: Split, n_samples: int, dtype: torch.dtype, device: torch.device
) -> NDArray[np.int64]:
    """Indices of the first `n_samples` of `split`, in dataset order, that `network` classifies correctly."""
    found: list[int] = []
    for start in range(0, len(split.labels), 500):
        images = inputs_of(split.images[start : start + 500], dtype, device)
        correct = _predictions(network, images) == split.labels[start : start + 500]
        found.extend(start + np.flatnonzero(correct))
        if len(found) >= n_samples:
            return np.array(found[:n_samples], dtype=np.int64)
    raise ValueError(
        f"--samples {n_samples}: only {len(found)} of the {len(split.labels)} test samples are "
        "classified correctly; ask for at most that many"
    )


def attributes(options: argparse.Namespace, facts: dict[str, Any], used: dict[str, Any]) -> dict[str, Any]:
    """The pair file's attributes: the condition, the parameters in use, the checkpoint, the command."""
    recorded = {
        name: used.get(name) if name in PARAMETERS else value
        for name, value in vars(options).items()
        if name not in NOT_RECORDED
    }
    return {
        "dataset": options.dataset,
        "model": options.model,
        "training": facts["training"],
        "explanation": options.explanation,
        "attack": options.attack,
        "eps_norm": "linf",
        **used,
        "seed": options.seed,
        "dtype": options.dtype,
        "natural_accuracy": facts["natural_accuracy"],
        "pgd_accuracy": facts["pgd_accuracy"],
        "checkpoint_sha256": facts["sha256"],
        "versions": versions(),
        "command": command_line("generators.generate", recorded),
    }


def pairs(
    network: nn.Module,
    explain: Explanation,
    images: torch.Tensor,
    perturbed: torch.Tensor,
    labels: torch.Tensor,
) -> dict[str, NDArray[Any]]:
    """What the pair file holds of a batch: both maps of each image as given, predictions, norms."""
    change = (perturbed - images).flatten(1)
    return {
        "unperturbed": _numpy(abs_sum(explain(network, images, labels))),
        "perturbed": _numpy(abs_sum(explain(network, perturbed, labels))),
        "label": labels.cpu().numpy(),
        "prediction": _predictions(network, images),
        "prediction_perturbed": _predictions(network, perturbed),
        "perturbation_linf": _numpy(torch.linalg.vector_norm(change, ord=torch.inf, dim=1)),
        "perturbation_l2": _numpy(torch.linalg.vector_norm(change, dim=1)),
    }


def generate(options: argparse.Namespace) -> None:
    """Write the pair file that `options` ask for."""
    explain, perturb, used = plan(options)
    device, dtype = device_of(options.device), DTYPES[options.dtype]
    options.device = device.type
    network, facts = checkpoints.load(options.checkpoint, dataset=options.dataset, model=options.model)
    network.to(device=device, dtype=dtype)
    split = DATASETS[options.dataset](options.data, "test")
    height, width = split.images.shape[1:3]
    if used.get("attack_k", 1) > height * width:
        raise ValueError(
            f"--attack-k must be at most {height * width} (the number of pixels), got {used['attack_k']}"
        )
    chosen = first_correct(network, split, options.samples, dtype, device)

    n_resisted = 0
    with (
        _writer(options.out, len(chosen), (height, width), attributes(options, facts, used)) as writer,
        tqdm(total=len(writer.missing), desc=options.out.name, unit="sample", disable=None) as progress,
    ):
        missing = writer.missing
        for start in range(0, len(missing), options.batch_size):
            positions = missing[start : start + options.batch_size]
            samples = chosen[positions]
            images = inputs_of(split.images[samples], dtype, device)
            labels = torch.from_numpy(split.labels[samples]).to(device)
            randoms = [np.random.default_rng([options.seed, sample]) for sample in samples]
            perturbed = perturb(network, images, labels, randoms)
            columns = {"sample": samples, **pairs(network, explain, images, perturbed, labels)}
            if options.store_images:
                columns["image"] = split.images[samples]
            if options.store_images == "all":
                columns["image_perturbed"] = _numpy(perturbed[:, 0])
            for row, position in enumerate(positions):
                writer.write(position, **{name: values[row] for name, values in columns.items()})
            n_resisted += int((columns["perturbation_linf"] == 0).sum())
            progress.update(len(samples))
    print(f"{options.out}: {len(missing)} samples; for {n_resisted} of them no perturbed image counts")


def _writer(path: Path, n_samples: int, shape: tuple[int, int], attrs: dict[str, Any]) -> lm.PairWriter:
    """A new file, or the unfinished one that the same command left behind."""
    if path.with_name(path.name + ".part").exists():
        return lm.PairWriter.resume(path, attrs)
    path.parent.mkdir(parents=True, exist_ok=True)
    return lm.PairWriter(path, n_samples=n_samples, shape=shape, attrs=attrs)


def _option(name: str) -> str:
    return name.replace("_", "-")


def _predictions(network: nn.Module, images: torch.Tensor) -> NDArray[np.int64]:
    with torch.no_grad():
        result: NDArray[np.int64] = network(images).argmax(1).cpu().numpy()
    return result


def _numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    result: NDArray[np.float32] = tensor.detach().cpu().numpy().astype(np.float32)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = parser().parse_args(argv)
    return run(lambda: generate(options))


if __name__ == "__main__":
    sys.exit(main())
