"""Command: attack a network's explanations and write one pair file.

The samples are the first N of the test split, in dataset order, that the model classifies correctly; of a
split sorted by class, one of each class in turn. Maps are reduced by abs_sum and stored as float32. Where no
perturbed image was accepted (see attacks.py) both maps are equal and perturbation_linf is 0. Interrupted at
any point, the same command goes on with the .part file.

Example: ``python -m generators.generate --dataset fashion_mnist --data DIR --model small_cnn
--checkpoint pgd.pt --explanation integrated_gradients --attack topk --eps 0.1 --samples 64
--out maps/pgd-ig-topk.h5``
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

import lensmetrics as lm

from .attacks import ATTACKS
from .attacks.acceptance import ACCEPTANCE, acceptance_metric
from .attacks.losses import region_mask
from .batches import fitting_batch_size
from .commands import (
    Parser,
    add_shared_options,
    command_line,
    device_of,
    fraction,
    make_folder,
    option,
    part_path,
    positive_number,
    run,
    versions,
    whole_number,
)
from .datasets import DATASETS, Split, inputs_of, read_split
from .explanations import EXPLANATIONS, Explanation, abs_sum
from .networks import checkpoints
from .networks.models import check_images
from .plan import Plan, check_ranges, plan, takes

DTYPES = {"float32": torch.float32, "float64": torch.float64}
# Parameters of explanations and attacks; left unset they take the published values.
EXPLANATION_OPTIONS: dict[str, tuple[Any, str]] = {
    "n_points": (positive_number, "points of integrated_gradients"),
    "n_draws": (positive_number, "draws that smooth_grad, uniform_smooth and gradient_shap average"),
    "sigma": (fraction, "standard deviation of the noise of smooth_grad and gradient_shap"),
    "radius": (fraction, "radius of the l2 ball of uniform_smooth"),
    "beta": (fraction, "of the softplus of beta_smooth"),
    "base": (str, "explanation that uniform_smooth and beta_smooth smooth"),
}
ATTACK_OPTIONS: dict[str, tuple[Any, str]] = {
    "eps": (fraction, "radius of the ball, inputs being in [0, 1]; 8/255 may be written"),
    "steps": (positive_number, "number of steps"),
    "step_size": (fraction, "length of a step"),
    "attack_k": (positive_number, "pixels that topk, topk_lens and l2_topk attack"),
    "attack_w": (whole_number, "half-width of the window that topk_lens adds"),
    "restarts": (
        positive_number,
        "runs: the first from the image, further ones from random starts; default: 1",
    ),
    "acceptance": (
        str,
        f"picks the best iterate: {', '.join(ACCEPTANCE)}, with their parameters; default: kendall",
    ),
    "learning_rate": (fraction, "of target_map's Adam"),
    "beta_start": (fraction, "target_map: softplus beta of the first step"),
    "beta_end": (fraction, "target_map: softplus beta towards the last step"),
    "map_weight": (fraction, "target_map: weight of the map's error"),
    "output_weight": (fraction, "target_map: weight of the output's error"),
    "attack_n_points": (
        positive_number,
        "points inside the attack, where they cost most; default: --n-points",
    ),
    "attack_n_draws": (positive_number, "draws inside the attack; default: --n-draws"),
}
PARAMETERS = (*EXPLANATION_OPTIONS, *ATTACK_OPTIONS, "region", "on_logits")
# Input values that one pass of the network takes by default, where a batch has fewer: a graph of small
# networks is quickly built, and recomputing it for small chunks would take longer.
CHUNK = 2**18
# They change how the work is done, not what comes out, and stay out of the recorded command.
NOT_RECORDED = ("batch_size", "chunk_size", "download")


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="python -m generators.generate", description=__doc__)
    add_shared_options(parser)
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="FILE",
        help="from generators.train; or a state dict (.pt, .npz), a MadryLab/robustness checkpoint, or "
        "the word torchvision for its own weights",
    )
    parser.add_argument(
        "--training", help="how foreign weights were trained, such as pgd; default for them: natural"
    )
    parser.add_argument("--explanation", required=True, choices=EXPLANATIONS)
    for name, (kind, text) in EXPLANATION_OPTIONS.items():
        parser.add_argument(option(name), type=kind, help=f"{text}; default: the method's own")
    parser.add_argument("--attack", required=True, choices=ATTACKS)
    for name, (kind, text) in ATTACK_OPTIONS.items():
        default = "" if "default" in text else "; default: as published for attack and dataset"
        parser.add_argument(option(name), type=kind, help=text + default)
    parser.add_argument(
        "--region",
        type=int,
        nargs=4,
        metavar=("TOP", "LEFT", "HEIGHT", "WIDTH"),
        help="pixels that target_region moves attribution to",
    )
    parser.add_argument(
        "--on-logits",
        action=argparse.BooleanOptionalAction,
        help="target_map: keep the logits, not the softmax; default: as published for the network",
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
        "--batch-size",
        default="16",
        type=_batch_size,
        help="samples at a time, or auto: the fastest that fits into memory; default: 16",
    )
    parser.add_argument(
        "--chunk-size",
        type=positive_number,
        help="images in one pass of the network, where an explanation needs many points; bounds the memory; "
        "default: one point of each sample, or more where the images are small",
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


def first_correct(
    network: nn.Module, split: Split, n_samples: int, dtype: torch.dtype, device: torch.device
) -> tuple[NDArray[np.int64], int]:
    """Indices of the first `n_samples` that `network` classifies correctly, and how many it looked at.

    It looks in dataset order; where the split is sorted by class, in turn at one of each class.
    """
    order = visiting_order(split.labels)
    height, width = split.shape
    at_once = max(1, 2**20 // (height * width))
    found: list[int] = []
    for start in range(0, len(order), at_once):
        part = order[start : start + at_once]
        images = inputs_of(split.images[part], dtype, device)
        found.extend(start + np.flatnonzero(_predictions(network, images) == split.labels[part]))
        if len(found) >= n_samples:
            return order[found[:n_samples]], found[n_samples - 1] + 1
    raise ValueError(
        f"--samples {n_samples}: only {len(found)} of the {len(split.labels)} test samples are "
        "classified correctly; ask for at most that many"
    )


def visiting_order(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """All positions in rising order; if that goes class by class, one of each class in turn instead."""
    positions = np.arange(len(labels))
    if len(labels) == 0 or (np.diff(labels) < 0).any():
        return positions
    starts = np.searchsorted(labels, labels)  # where each one's class begins
    return np.lexsort((labels, positions - starts))


def attributes(options: argparse.Namespace, facts: dict[str, Any], found: Plan) -> dict[str, Any]:
    """The pair file's attributes: the condition, the parameters in use, the checkpoint, the command."""
    measured = ("natural_accuracy", "pgd_accuracy", "accuracy_samples")
    return {
        "dataset": options.dataset,
        "model": options.model,
        "training": facts["training"],
        "explanation": options.explanation,
        "attack": options.attack,
        "eps": np.nan,
        "eps_norm": "l2" if options.attack.startswith("l2") else "linf",
        # netCDF-4 has no truth values
        **{name: int(v) if isinstance(v, bool) else v for name, v in found.used.items()},
        "seed": options.seed,
        "dtype": options.dtype,
        **{name: facts[name] for name in measured if name in facts},
        "checkpoint_sha256": facts["sha256"],
        "versions": versions(),
        "command": recorded_command(options, found),
    }


def recorded_command(options: argparse.Namespace, found: Plan) -> str:
    """The command that makes this file again, defaults written out."""
    recorded = {
        name: found.used.get(name) if name in PARAMETERS else value
        for name, value in vars(options).items()
        if name not in NOT_RECORDED
    }
    recorded |= {"device": device_of(options.device).type, "no_on_logits": recorded["on_logits"] is False}
    return command_line("generators.generate", recorded)


def planned(options: argparse.Namespace) -> Plan:
    """The plan that `options` ask for."""
    given = {name: getattr(options, name) for name in PARAMETERS}
    found = plan(
        options.explanation, options.attack, dataset=options.dataset, model=options.model, given=given
    )
    if "acceptance" in found.settings:
        acceptance_metric(found.settings["acceptance"])
    check_ranges(found.used, l2=options.attack.startswith("l2"))
    return found


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


@dataclass(frozen=True)
class Work:
    """Everything that turns positions in the file into what the file holds."""

    plan: Plan
    network: nn.Module
    split: Split
    chosen: NDArray[np.int64]
    seed: int
    dtype: torch.dtype
    device: torch.device
    chunk_size: int | None
    store_images: str | None

    def columns(self, positions: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Explain and attack the samples at `positions`."""
        samples = self.chosen[positions]
        images, labels = self._inputs(samples)
        chunk_size = self.chunk_size or max(len(samples), CHUNK // images[0].numel())
        bound: dict[str, Any] = {"seed": self.seed, "chunk_size": chunk_size}
        perturbed = self.plan.perturb(
            self.network,
            images,
            labels,
            samples=samples,
            targets=self._targets(positions, bound) if takes(self.plan.attack, "targets") else None,
            **bound,
        )
        explain = self.plan.explain(samples, **bound)
        columns = {"sample": samples, **pairs(self.network, explain, images, perturbed, labels)}
        if self.store_images:
            columns["image"] = _channels_first(self.split.images[samples])
        if self.store_images == "all":
            stored = _numpy(perturbed)
            columns["image_perturbed"] = stored[:, 0] if stored.shape[1] == 1 else stored
        return columns

    def _inputs(self, samples: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.from_numpy(self.split.labels[samples]).to(self.device)
        return inputs_of(self.split.images[samples], self.dtype, self.device), labels

    def _targets(self, positions: NDArray[np.int64], bound: dict[str, Any]) -> torch.Tensor:
        """For each position the map of the next one (after the last comes the first) with another label."""
        labels = self.split.labels[self.chosen]
        others = [_next_other(labels, position) for position in positions]
        samples = self.chosen[others]
        explain = self.plan.explain_inside(samples, **bound)
        return abs_sum(explain(self.network, *self._inputs(samples))).detach()


def generate(options: argparse.Namespace) -> None:
    """Write the pair file that `options` ask for."""
    found = planned(options)
    device, dtype = device_of(options.device), DTYPES[options.dtype]
    network, facts = checkpoints.load(options.checkpoint, dataset=options.dataset, model=options.model)
    network.to(device=device, dtype=dtype)
    split = read_split(
        options.dataset, options.data, "test", image_size=options.image_size, download=options.download
    )
    if facts.get("shape", split.shape) != split.shape:
        trained = "x".join(map(str, facts["shape"]))
        raise ValueError(
            f"{options.checkpoint} was trained on images of {trained}, these are "
            f"{split.shape[0]}x{split.shape[1]}: give --image-size"
        )
    check_images(network, DATASETS[options.dataset].channels, *split.shape)
    height, width = split.shape
    if "region" in found.used:
        region_mask(found.used["region"], split.shape)
    if found.used.get("attack_k", 1) > height * width:
        raise ValueError(
            f"--attack-k must be at most {height * width} (the number of pixels), "
            f"got {found.used['attack_k']}"
        )
    chosen, n_seen = first_correct(network, split, options.samples, dtype, device)
    facts = _training_facts(facts, options.training, len(chosen), n_seen)
    work = Work(
        found, network, split, chosen, options.seed, dtype, device, options.chunk_size, options.store_images
    )

    n_resisted = 0
    with (
        _writer(options.out, len(chosen), split.shape, attributes(options, facts, found)) as writer,
        tqdm(total=len(writer.missing), desc=options.out.name, unit="sample", disable=None) as progress,
    ):
        missing = writer.missing
        size = options.batch_size or _fitting(work)
        for start in range(0, len(missing), size):
            positions = missing[start : start + size]
            columns = work.columns(positions)
            for row, position in enumerate(positions):
                writer.write(position, **{name: values[row] for name, values in columns.items()})
            n_resisted += int((columns["perturbation_linf"] == 0).sum())
            progress.update(len(positions))
    left = f", {n_resisted} left unperturbed (no image kept the label and changed the map)" * (n_resisted > 0)
    print(f"{options.out}: {len(missing)} samples{left}")


def _training_facts(
    facts: dict[str, Any], training: str | None, n_correct: int, n_seen: int
) -> dict[str, Any]:
    """How the network was trained, how accurate it is; measured here where foreign weights do not say."""
    known = facts["training"]
    if known is not None and training not in (None, known):
        raise ValueError(f"--training {training}: the checkpoint says {known}; leave it out")
    if known is not None:
        return facts
    # The accuracy on the samples that were looked at until enough correct ones were found.
    measured = {"natural_accuracy": n_correct / n_seen, "accuracy_samples": n_seen}
    return {**facts, **measured, "training": training or "natural"}


def _fitting(work: Work) -> int:
    """The batch size for `auto`, tried with attacks of one step."""
    one_step = {"steps": 1} if "steps" in work.plan.settings else {}
    brief = replace(work, plan=replace(work.plan, settings={**work.plan.settings, **one_step}))
    n_samples = len(work.chosen)
    size = fitting_batch_size(lambda n: brief.columns(np.arange(n)), n_samples, work.device)
    print(f"--batch-size auto: {size}", file=sys.stderr)
    return size


def _writer(path: Path, n_samples: int, shape: tuple[int, int], attrs: dict[str, Any]) -> lm.PairWriter:
    """A new file, or the unfinished one that the same command left behind."""
    if part_path(path).exists():
        return lm.PairWriter.resume(path, attrs)
    make_folder(path)
    return lm.PairWriter(path, n_samples=n_samples, shape=shape, attrs=attrs, dtype="float32")


def _batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, or auto, got {text}")
    return int(text)


def _next_other(labels: NDArray[np.int64], position: int) -> int:
    """The next position, cyclically, whose label is another one."""
    others = np.flatnonzero(labels != labels[position])
    if not len(others):
        raise ValueError("target_map needs samples of two classes: ask for more --samples")
    after = others[others > position]
    return int(after[0] if len(after) else others[0])


def _channels_first(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return images if images.ndim == 3 else np.moveaxis(images, -1, 1)


def _predictions(network: nn.Module, images: torch.Tensor) -> NDArray[np.int64]:
    with torch.no_grad():
        result: NDArray[np.int64] = network(images).argmax(1).cpu().numpy()
    return result


def _numpy(tensor: torch.Tensor) -> NDArray[np.float32]:
    result: NDArray[np.float32] = tensor.detach().cpu().numpy().astype(np.float32)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(lambda: generate(parser().parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
