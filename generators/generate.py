"""Command: attack a network's explanations and write one pair file.

The samples are the first N of the test split, in dataset order, that the model classifies correctly; if the
split is sorted by class, one of each class in turn. Maps are reduced by abs_sum and stored as float32. Where
no perturbed image was accepted (see attacks/), both maps are equal and perturbation_linf is 0. If the command
is interrupted, run it again with the same settings: it continues with the .part file.

Example: ``python -m generators.generate --dataset fashion_mnist --data DIR --model small_cnn
--checkpoint pgd.pt --explanation integrated_gradients --attack topk --eps 0.1 --samples 64
--out maps/pgd-ig-topk.h5``
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from .attacks import ATTACKS
from .commands import Parser, add_shared_options, command_line, run, use_device, versions
from .datasets import DATASETS, read_split
from .explanations import EXPLANATIONS
from .identity import as_stored
from .networks import checkpoints
from .networks.models import check_images
from .options import positive_integer
from .pairfiles import open_writer, write
from .plan import Plan, parameters, plan
from .selection import first_correct
from .work import Work

DTYPES = {"float32": torch.float32, "float64": torch.float64}
# Options that affect how the file is computed, not its content; they are not recorded.
NOT_RECORDED = ("batch_size", "chunk_size", "download")


@dataclass(frozen=True)
class Request:
    """A pair file that is asked for: the values of the command's options.

    `parameters` holds those of the explanation and the attack that were given; all others have the names of
    the options. `batch_size` is None for auto.
    """

    dataset: str
    data: Path
    download: bool
    image_size: int | None
    model: str
    device: str
    seed: int
    checkpoint: str
    training: str | None
    explanation: str
    attack: str
    samples: int
    dtype: str
    batch_size: int | None
    chunk_size: int | None
    store_images: str | None
    out: Path
    parameters: Mapping[str, Any]

    @classmethod
    def parse(cls, arguments: Sequence[str] | None) -> "Request":
        """Read the command line.

        Raises
        ------
        ValueError
            If an option is unknown, missing or wrong.
        """
        values = vars(parser().parse_args(arguments))
        given = {name: values[name] for name in parameters() if values[name] is not None}
        own = {field.name: values[field.name] for field in fields(cls) if field.name != "parameters"}
        return cls(**own, parameters=given)

    def plan(self) -> Plan:
        """Return the explanation and the attack with all their parameters.

        Raises
        ------
        ValueError
            If they do not go together, or a parameter is missing, out of range, or has no effect.
        """
        return plan(
            self.explanation,
            self.attack,
            dataset=self.dataset,
            model=self.model,
            given=self.parameters,
            seed=self.seed,
            chunk_size=self.chunk_size,
        )


def parser() -> Parser:
    """Return the parser of the command's options."""
    parser = Parser(prog="python -m generators.generate", description=__doc__)
    add_shared_options(parser)
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="FILE",
        help="a checkpoint of generators.train, a state dict (.pt, .npz), a MadryLab/robustness checkpoint, "
        "or the word torchvision for its own weights",
    )
    parser.add_argument(
        "--training", help="how foreign weights were trained, such as pgd; default for them: natural"
    )
    parser.add_argument("--explanation", required=True, choices=EXPLANATIONS)
    parser.add_argument("--attack", required=True, choices=ATTACKS)
    for option in parameters().values():
        option.add_to(parser)
    parser.add_argument("--samples", default=64, type=positive_integer, metavar="N", help="default: 64")
    parser.add_argument(
        "--dtype",
        default="float32",
        choices=DTYPES,
        help="type of all computation; sign steps amplify rounding: with float64 another machine, thread "
        "count or batch size gives the same scores, with float32 only similar ones (default: float32)",
    )
    parser.add_argument(
        "--batch-size",
        default="16",
        type=_batch_size,
        help="samples at a time, or auto: the fastest size that fits into memory; default: 16",
    )
    parser.add_argument(
        "--chunk-size",
        type=positive_integer,
        help="images in one pass of the network, for explanations by many points; bounds the memory; "
        "default: one point of each sample, or more if the images are small",
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


def condition(request: Request, found: Plan) -> dict[str, Any]:
    """Return the attributes of the condition under which the maps are made; training is None if not given."""
    return {
        "dataset": request.dataset,
        "model": request.model,
        "training": request.training,
        "explanation": request.explanation,
        "attack": request.attack,
        "eps": np.nan,
        "eps_norm": found.attack.norm,
        **{name: as_stored(value) for name, value in found.used.items()},
        "seed": request.seed,
        "dtype": request.dtype,
    }


def attributes(request: Request, facts: Mapping[str, Any], found: Plan) -> dict[str, Any]:
    """Return the pair file's attributes: the condition, facts about the weights, and how it was made."""
    measured = ("natural_accuracy", "pgd_accuracy", "accuracy_samples")
    return {
        **condition(request, found),
        "training": facts["training"],
        **{name: facts[name] for name in measured if name in facts},
        "checkpoint_sha256": facts["sha256"],
        "versions": versions(),
        "command": recorded_command(request, found),
    }


def recorded_command(request: Request, found: Plan) -> str:
    """Return the command that makes this file again, defaults included."""
    names = [field.name for field in fields(request) if field.name != "parameters"]
    own = {name: getattr(request, name) for name in names if name not in NOT_RECORDED}
    used = {name: found.used[name] for name in parameters() if name in found.used}
    recorded = {**own, **used, "device": use_device(request.device).type}
    return command_line("generators.generate", recorded | {"no_on_logits": used.get("on_logits") is False})


def generate(request: Request) -> None:
    """Write the pair file of the request."""
    found = request.plan()
    device, dtype = use_device(request.device), DTYPES[request.dtype]
    network, facts = checkpoints.load(request.checkpoint, dataset=request.dataset, model=request.model)
    network.to(device=device, dtype=dtype)
    split = read_split(
        request.dataset, request.data, "test", image_size=request.image_size, download=request.download
    )
    if facts.get("shape", split.shape) != split.shape:
        trained = "x".join(map(str, facts["shape"]))
        raise ValueError(
            f"{request.checkpoint} was trained on images of {trained}, these are "
            f"{split.shape[0]}x{split.shape[1]}: use --image-size"
        )
    check_images(network, DATASETS[request.dataset].channels, *split.shape)
    found.check_shape(split.shape)
    chosen, n_examined = first_correct(network, split, request.samples, dtype, device)
    facts = _training_facts(facts, request.training, len(chosen), n_examined)
    work = Work(found, network, split, chosen, dtype, device, request.store_images)
    work.check()

    n_resisted = 0
    attrs = attributes(request, facts, found)
    compared = {name: attrs[name] for name in (*condition(request, found), "checkpoint_sha256", "versions")}
    with (
        open_writer(request.out, chosen, split.shape, attrs, compared, found.defaults) as writer,
        tqdm(total=len(writer.missing), desc=request.out.name, unit="sample", disable=None) as progress,
    ):
        missing = writer.missing
        size = request.batch_size
        if size is None:
            size = work.fitting_batch_size()
            print(f"--batch-size auto: {size}", file=sys.stderr)
        for start in range(0, len(missing), size):
            positions = missing[start : start + size]
            columns = work.columns(positions)
            write(writer, positions, columns)
            n_resisted += int((columns["perturbation_linf"] == 0).sum())
            progress.update(len(positions))
    left = f", {n_resisted} left unperturbed (no image kept the label and changed the map)" * (n_resisted > 0)
    print(f"{request.out}: {len(missing)} samples{left}")


def _training_facts(
    facts: dict[str, Any], training: str | None, n_correct: int, n_examined: int
) -> dict[str, Any]:
    """Return how the network was trained and its accuracy, measured here if foreign weights do not say."""
    known = facts["training"]
    if known is not None and training not in (None, known):
        raise ValueError(f"--training {training}: the checkpoint says {known}; remove the option")
    if known is not None:
        return facts
    # The accuracy on the samples that were examined until enough correct ones were found.
    measured = {"natural_accuracy": n_correct / n_examined, "accuracy_samples": n_examined}
    return {**facts, **measured, "training": training or "natural"}


def _batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer >= 1, or auto, got {text}")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(lambda: generate(Request.parse(argv)))


if __name__ == "__main__":
    sys.exit(main())
