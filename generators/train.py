"""Command: train a classifier under a regime and write a checkpoint.

Initial weights are those published for the network; --init begins from the weights of another checkpoint.
Adam trains at a constant rate, without augmentation; --optimizer sgd takes the momentum, weight decay and
rates with which RAR and ART train on gtsrb and flower17. Both accuracies are measured on the test split, the
second under PGD as published for the dataset, for every regime. With --samples or --accuracy-samples the
samples are spread evenly over the split, which may be sorted by class. After each epoch a line says how much
of the loss the attribution term was.

Every ten seconds the state is saved in FILE.pt.part. If the command is interrupted, run it again with the
same settings: it continues from there. On a CPU the same seed gives the same weights, interrupted or not; a
GPU adds in varying order.

Example: ``python -m generators.train --dataset fashion_mnist --data DIR --model small_cnn --training pgd
--epochs 5 --out pgd.pt``
"""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from . import published, rates
from .commands import Parser, command_line, find_dataset, run, stop_if_interrupted, use_device, versions
from .datasets import described, read_split
from .disk import part_path
from .locks import locked
from .networks import checkpoints
from .networks.initial import draw_rar_weights
from .networks.models import build, check_images
from .networks.training import Course, Training, accuracies
from .options import flag
from .published import PGD, Settings
from .rates import Rates
from .regimes import LOOP
from .splits import evenly_spread
from .train_options import NEEDED, OPTIONS, fill, make_parser, not_published, parameters_of

# Options that affect how the data is found, not the result; they are not recorded.
NOT_RECORDED = ("download",)
# Where the files are and how much is computed at once: two trainings that differ in these alone are the same.
NOT_COMPARED = ("data", "download", "chunk_size", "init", "out")
# What checkpoints were made with before there were these options.
_BEFORE = {"initial_weights": "torch"}
SAVE_EVERY = 10  # seconds of training that a kill loses at most


@dataclass(frozen=True)
class Request:
    """A checkpoint that is asked for: the values of the command's options.

    `parameters` holds the settings of the regime that were given; all others have the names of the options.
    """

    dataset: str
    data: Path
    download: bool
    image_size: int | None
    model: str
    device: str
    seed: int
    training: str
    epochs: int | None
    training_steps: int | None
    samples: int | None
    batch_size: int
    init: Path | None
    initial_weights: str | None
    optimizer: str
    learning_rate: Rates
    momentum: float | None
    weight_decay: float | None
    chunk_size: int
    accuracy_samples: int | None
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
        find_dataset(values)
        fill(values)
        given = {name: values[name] for name in OPTIONS if values[name] is not None}
        own = {field.name: values[field.name] for field in fields(cls) if field.name != "parameters"}
        return cls(**own, parameters=given)

    def settings(self) -> Settings:
        """Return the settings of the regime: as given, otherwise as published.

        Raises
        ------
        ValueError
            If an option has no effect with the regime, or a value is out of range.
        """
        given, taken = self.parameters, parameters_of(self.dataset, self.training)
        idle = [name for name in given if name not in taken]
        if idle:
            raise ValueError(f"{flag(idle[0])} has no effect with --training {self.training}; remove it")
        for name in ("eps", "step_size"):
            if not 0 < given.get(name, 1) <= 1:
                raise ValueError(f"{flag(name)} must be above 0 and at most 1, got {given[name]}")
        positive = [("weight", given.get("weight", 1))]
        for name, value in positive + [("learning_rate", rate) for rate in rates.values(self.learning_rate)]:
            if not 0 < value < math.inf:
                raise ValueError(f"{flag(name)} must be above 0 and finite, got {value}")
        if not 0 <= (self.momentum or 0) < 1:
            raise ValueError(f"--momentum must be at least 0 and below 1, got {self.momentum}")
        if not 0 <= (self.weight_decay or 0) < math.inf:
            raise ValueError(f"--weight-decay must be at least 0 and finite, got {self.weight_decay}")
        if self.dataset in published.TRAINING:
            settings = published.regime(self.dataset, self.training)
        else:  # what the regime does not take has no effect
            settings = Settings(**{name: given.get(name, 0) for name in NEEDED})
        return replace(settings, **given, chunk_size=self.chunk_size)

    def pgd(self) -> PGD:
        """Return the attack under which the accuracy is measured: as published, or else that of training."""
        if self.dataset in published.TRAINING:
            return published.TRAINING[self.dataset].pgd
        return PGD(**{name: self.parameters[name] for name in LOOP})

    def used(self) -> dict[str, Any]:
        """Return the settings that affect this training, by name."""
        values = asdict(self.settings())
        return {name: values[name] for name in parameters_of(self.dataset, self.training)}

    def identity(self) -> dict[str, Any]:
        """Return everything that distinguishes this checkpoint from others; None means all or the default.

        The weights to begin from count by their hash, which is left out where the file does not exist yet.
        """
        names = [
            field.name for field in fields(self) if field.name not in (*NOT_COMPARED, "parameters", "device")
        ]
        found = {**{name: getattr(self, name) for name in names}, **self.used()}
        if self.init is None or self.init.is_file():
            found["init_sha256"] = checkpoints.sha256(self.init) if self.init else None
        return found

    def defaults(self) -> dict[str, Any]:
        """Return the values of all optional settings of a checkpoint that does not name them."""
        required = ("dataset", "data", "model", "training", "out")
        asked = not_published(self.dataset, self.training)
        values = {**vars(self), **self.parameters}
        words = [word for name in (*required, *asked) for word in (flag(name), str(values[name]))]
        found = {**Request.parse(words).identity(), **_BEFORE}
        return {name: value for name, value in found.items() if name not in required}


def parser() -> Parser:
    """Return the parser of the command's options."""
    return make_parser(__doc__)


def recorded_command(request: Request) -> str:
    """Return the command that makes this checkpoint again, defaults included."""
    names = [field.name for field in fields(request) if field.name not in (*NOT_RECORDED, "parameters")]
    own = {name: getattr(request, name) for name in names}
    return command_line(
        "generators.train", {**own, **request.used(), "device": use_device(request.device).type}
    )


def train(request: Request) -> None:
    """Train, measure both accuracies on the test split, and write the checkpoint."""
    request.settings()  # refuses wrong options before anything is written
    if request.init and not request.init.is_file():
        raise FileNotFoundError(f"{request.init}, which --init names, does not exist; train it first")
    checkpoints.check_checkpoint_target(request.out)
    with locked(request.out):
        _train(request)


def _train(request: Request) -> None:
    settings, identity = request.settings(), request.identity()
    device, seed, path = use_device(request.device), request.seed, request.out
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"{path} exists already: delete it, or choose another name")
    split, test = (
        read_split(
            request.dataset, request.data, name, image_size=request.image_size, download=request.download
        )
        for name in ("train", "test")
    )
    if (split.channels, *split.shape) != (test.channels, *test.shape):
        kinds = [f"{part.channels} x {part.shape[0]} x {part.shape[1]}" for part in (split, test)]
        raise ValueError(
            f"the images of {request.dataset} are {kinds[0]} (channels, height, width) for training and "
            f"{kinds[1]} for testing; make them alike, in size by --image-size"
        )
    samples = evenly_spread(request.samples, len(split.labels), "samples")
    measured = evenly_spread(request.accuracy_samples, len(test.labels), "accuracy_samples")
    n_steps = request.training_steps or (request.epochs or 0) * math.ceil(len(samples) / request.batch_size)
    if settings.eps_ramp > n_steps:
        raise ValueError(
            f"--eps-ramp {settings.eps_ramp} must be at most {n_steps}, the batches of this training, or it "
            "ends before its ball has --eps"
        )

    torch.manual_seed(seed)  # for weights and dropout
    classes = described(request.dataset, request.data)
    network = build(request.model, classes.n_classes)
    if request.init:
        checkpoints.begin_from(request.init, network, dataset=request.dataset, model=request.model)
    elif request.initial_weights == "rar":
        draw_rar_weights(network)
    classes.check(check_images(network, split.channels, *split.shape), request.dataset)
    if any(getattr(module, "aux_logits", False) for module in network.modules()):
        raise ValueError(
            f"{request.model} has auxiliary outputs, which this command cannot train; choose another --model"
        )
    optimizer = published.Optimizer(
        request.optimizer, request.learning_rate, request.momentum, request.weight_decay
    )
    training = Training(network, device, optimizer=optimizer, seed=seed)
    # A training cannot continue on another device: its random numbers are those of the device.
    state = {**identity, "device": device.type}
    part = part_path(path)
    if part.exists():
        training.resume(part, state, request.defaults())
    training.save(part, state)
    saved = time.monotonic()

    def save_sometimes() -> None:
        nonlocal saved
        stop_if_interrupted()
        if time.monotonic() - saved > SAVE_EVERY:
            training.save(part, state)
            saved = time.monotonic()

    course = Course(split, samples, request.training, settings, request.batch_size, n_steps)
    while training.n_steps(course) < n_steps:
        training.epoch(course, after_batch=save_sometimes)
        training.save(part, state)
        print(training.summary(course), file=sys.stderr)

    network.eval().requires_grad_(False)
    attack = request.pgd()
    natural, pgd = accuracies(network, test, measured, attack, device=device, seed=seed)
    facts = {
        **{name: identity[name] for name in ("dataset", "model", "training", "seed", "epochs")},
        **{name: identity[name] for name in ("batch_size", "learning_rate")},
        "samples": len(samples),
        "shape": split.shape,
        "settings": request.used(),
        "attribution_share": training.shares(),
        "natural_accuracy": natural,
        "pgd_accuracy": pgd,
        "pgd_settings": asdict(attack),
        "accuracy_samples": len(measured),
        checkpoints.IDENTITY: identity,
        "command": recorded_command(request),
        "versions": versions(),
    }
    checkpoints.save(path, network, facts)
    print(
        f"{path}: natural accuracy {natural:.4f}, PGD accuracy {pgd:.4f} (eps {attack.eps:g}, {attack.steps} "
        f"steps of {attack.step_size:g}) on {len(measured)} test samples"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(lambda: train(Request.parse(argv)))


if __name__ == "__main__":
    sys.exit(main())
