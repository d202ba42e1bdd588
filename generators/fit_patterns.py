"""Command: estimate the patterns that the explanation pattern_attribution needs, from the training images.

One pass over the images, in float64 whatever the weights are. The file lies beside the checkpoint unless
--out says otherwise, and generate finds it there. It belongs to these weights alone: it has their hash. The
work is about that of three passes of the network in float64 for each image, so for a large network take a
GPU, or fewer --samples. It takes the memory of the weights in float64 four times.

Example: ``python -m generators.fit_patterns --dataset fashion_mnist --data data --model small_cnn
--checkpoint pgd.pt``, which writes pgd.patterns.pt
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from .commands import (
    Parser,
    add_shared_options,
    command_line,
    find_dataset,
    run,
    stop_if_interrupted,
    use_device,
    versions,
)
from .datasets import Split, inputs_of, read_split
from .explanations import attach_patterns, fit_patterns
from .locks import locked
from .networks import checkpoints
from .networks.models import check_images
from .options import positive_integer
from .pattern_files import beside, save_patterns
from .splits import evenly_spread


@dataclass(frozen=True)
class Request:
    """A file of patterns that is asked for: the values of the command's options."""

    dataset: str
    data: Path
    download: bool
    image_size: int | None
    model: str
    device: str
    checkpoint: str
    split: str
    samples: int | None
    batch_size: int
    out: Path

    @classmethod
    def parse(cls, arguments: Sequence[str] | None) -> "Request":
        """Read the command line.

        Raises
        ------
        ValueError
            If an option is unknown, missing or wrong.
        """
        values = vars(parser().parse_args(arguments))
        find_dataset(values)
        values["out"] = values["out"] or beside(values["checkpoint"])
        if values["out"] is None:
            raise ValueError(
                f"--out must be given with --checkpoint {values['checkpoint']}, which is no file that the "
                "patterns could lie beside"
            )
        return cls(**values)


def parser() -> Parser:
    """Return the parser of the command's options."""
    made = Parser(prog="python -m generators.fit_patterns", description=__doc__)
    add_shared_options(made, draws=False)
    made.add_argument(
        "--checkpoint",
        required=True,
        metavar="FILE",
        help="the weights, as in generators.generate: a file, or the word torchvision or factory",
    )
    made.add_argument(
        "--split",
        default="train",
        choices=("train", "test"),
        help="images from which patterns are estimated; test where there are no others (default: train)",
    )
    made.add_argument(
        "--samples",
        type=positive_integer,
        metavar="N",
        help="number of images, spread evenly over the split; default: all of it",
    )
    made.add_argument(
        "--batch-size", default=32, type=positive_integer, help="images at a time (default: 32)"
    )
    made.add_argument(
        "--out", type=Path, metavar="FILE.patterns.pt", help="default: that name beside the checkpoint"
    )
    return made


def fit(request: Request) -> None:
    """Estimate the patterns and write them."""
    if request.out.is_file():
        raise FileExistsError(f"{request.out} exists already: delete it, or choose another --out")
    network, facts = checkpoints.load(
        request.checkpoint, dataset=request.dataset, model=request.model, data=request.data
    )
    checkpoints.check_checkpoint_target(request.out)
    with locked(request.out):
        _fit(request, network, facts)


def _fit(request: Request, network: nn.Module, facts: Mapping[str, Any]) -> None:
    device = use_device(request.device)
    network.to(device=device, dtype=torch.float64)
    split = read_split(
        request.dataset,
        request.data,
        request.split,
        image_size=request.image_size,
        download=request.download,
    )
    if facts.get("shape", split.shape) != split.shape:
        trained, given = ("x".join(map(str, shape)) for shape in (facts["shape"], split.shape))
        raise ValueError(
            f"{request.checkpoint} was trained on images of {trained}, these are {given}: use --image-size"
        )
    check_images(network, split.channels, *split.shape)
    samples = evenly_spread(request.samples, len(split.labels), "samples")
    found = fit_patterns(network, _batches(request, split, samples, device))
    attach_patterns(network, found.values)  # refuses what generate would refuse
    here = {
        "dataset": request.dataset,
        "model": request.model,
        "split": request.split,
        "shape": split.shape,
        "checkpoint_sha256": facts["sha256"],
        "command": recorded_command(request),
        "versions": versions(),
    }
    save_patterns(request.out, found, here)
    n_neurons = sum(len(value) for value in found.values.values())
    words = f"{request.out}: patterns of {len(found.values)} layers from {found.n_samples} images"
    n_undefined = sum(found.undefined.values())
    if n_undefined:
        words += f"; {n_undefined} of {n_neurons} neurons never vary or open their ReLU: their pattern is 0"
    print(words)


def _batches(
    request: Request, split: Split, samples: NDArray[np.int64], device: torch.device
) -> Iterator[torch.Tensor]:
    name = request.out.name
    with tqdm(total=len(samples), desc=name, unit="sample", disable=None) as progress:
        for first in range(0, len(samples), request.batch_size):
            stop_if_interrupted()
            part = samples[first : first + request.batch_size]
            yield inputs_of(split.images[part], torch.float64, device)
            progress.update(len(part))


def recorded_command(request: Request) -> str:
    """Return the command that makes this file again, defaults included."""
    names = [field.name for field in fields(request) if field.name not in ("download", "batch_size")]
    own = {name: getattr(request, name) for name in names}
    return command_line("generators.fit_patterns", {**own, "device": use_device(request.device).type})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(lambda: fit(Request.parse(argv)), continues=False)


if __name__ == "__main__":
    sys.exit(main())
