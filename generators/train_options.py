"""The options of the command train, and what they are if they are not given."""

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from . import published, rates
from .commands import Parser, add_shared_options
from .networks.initial import INITIAL_WEIGHTS, RAR_NETWORKS, published_initial_weights
from .options import Option, flag, non_negative_integer, positive_integer
from .published import Settings
from .regimes import LOOP, PARAMETERS, REGIMES

_PUBLISHED = "; default: as published for the dataset"
OPTIONS = {
    option.name: option
    for option in (
        Option("eps", f"radius of the ball in which training attacks; 8/255 may be written{_PUBLISHED}"),
        Option("steps", f"number of steps of the inner loop{_PUBLISHED}", positive_integer),
        Option("step_size", f"length of a step of the inner loop{_PUBLISHED}"),
        Option("n_points", f"points of integrated gradients in the loss{_PUBLISHED}", positive_integer),
        Option(
            "inner_n_points",
            f"points of integrated gradients in the inner loop{_PUBLISHED}",
            positive_integer,
        ),
        Option("weight", f"weight of the attribution term{_PUBLISHED}"),
        Option(
            "eps_ramp",
            "training steps in which --eps and --step-size grow to their values; default: 0",
            non_negative_integer,
        ),
        Option(
            "jitter",
            "draw each point of integrated gradients at random from its part of the path, anew in every step",
            parse=None,
            arguments=(("action", "store_true"), ("default", None)),
        ),
    )
}
# Those without a default.
NEEDED = tuple(field.name for field in fields(Settings) if field.default is MISSING)


def make_parser(description: str | None) -> Parser:
    """Return the parser of the command's options."""
    parser = Parser(prog="python -m generators.train", description=description)
    add_shared_options(parser)
    parser.add_argument("--training", required=True, choices=REGIMES)
    parser.add_argument("--epochs", type=positive_integer, metavar="N", help="default: 5")
    parser.add_argument(
        "--training-steps", type=positive_integer, metavar="N", help="number of batches, instead of --epochs"
    )
    parser.add_argument(
        "--samples", type=positive_integer, metavar="N", help="training samples; default: all of the split"
    )
    parser.add_argument("--batch-size", type=positive_integer, help="default: as published for the dataset")
    _add_weights_and_optimizer(parser)
    for option in OPTIONS.values():
        option.add_to(parser)
    parser.add_argument(
        "--chunk-size",
        default=Settings.chunk_size,
        type=positive_integer,
        help="images in one pass of the network for integrated gradients; bounds the memory; more are faster "
        f"on a GPU; default: {Settings.chunk_size}",
    )
    parser.add_argument(
        "--accuracy-samples", type=positive_integer, metavar="N", help="test samples; default: all"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.pt")
    return parser


def fill(values: dict[str, Any]) -> None:
    """Replace what was not given by what is published.

    Raises
    ------
    ValueError
        If options exclude each other, or one is missing that is not published for the dataset.
    """
    _fill_batch_size(values)
    _fill_length(values)
    _fill_weights(values)
    _fill_optimizer(values)


def _fill_batch_size(values: dict[str, Any]) -> None:
    """Take the published size, or ask for it and for all else that no paper has for the dataset."""
    dataset = values["dataset"]
    if dataset in published.TRAINING:
        values["batch_size"] = values["batch_size"] or published.TRAINING[dataset].batch_size
    asked = not_published(dataset, values["training"])
    if missing := [flag(name) for name in asked if values[name] is None]:
        raise ValueError(
            f"no settings for training on {dataset} are published; give {' and '.join(missing)} (eps, steps "
            "and step size are those of the PGD accuracy as well)"
        )


def _fill_length(values: dict[str, Any]) -> None:
    """Let a training have 5 epochs unless its length is given."""
    if values["epochs"] and values["training_steps"]:
        raise ValueError("--epochs and --training-steps both say how long to train; remove one of them")
    if not values["training_steps"]:
        values["epochs"] = values["epochs"] or 5


def _fill_weights(values: dict[str, Any]) -> None:
    """Begin from the weights published for the network, unless options say otherwise."""
    name, model = values["initial_weights"], values["model"]
    if values["init"] and name:
        raise ValueError("--initial-weights has no effect with --init; remove one of them")
    if name == "rar" and model not in RAR_NETWORKS:
        raise ValueError(
            f"--initial-weights rar is for --model {' or '.join(RAR_NETWORKS)}, not {model}; remove it"
        )
    if not values["init"]:
        values["initial_weights"] = name or published_initial_weights(model)


def _fill_optimizer(values: dict[str, Any]) -> None:
    """Take what is published for the optimizer, dataset and regime, unless options say otherwise."""
    found = published.optimizer(values["optimizer"], values["dataset"], values["training"])
    idle = [name for name in ("momentum", "weight_decay") if values[name] is not None]
    if idle and found.momentum is None:
        raise ValueError(f"{flag(idle[0])} has no effect with --optimizer {found.name}; use --optimizer sgd")
    for name in ("learning_rate", "momentum", "weight_decay"):
        values[name] = getattr(found, name) if values[name] is None else values[name]


def parameters_of(dataset: str, training: str) -> tuple[str, ...]:
    """Return the parameters of a training: of its regime, and of the PGD accuracy if none is published."""
    of_regime = PARAMETERS[training]
    return of_regime if dataset in published.TRAINING else tuple(dict.fromkeys((*LOOP, *of_regime)))


def not_published(dataset: str, training: str) -> tuple[str, ...]:
    """Return the settings that must be given because no paper has any for the dataset."""
    if dataset in published.TRAINING:
        return ()
    return ("batch_size", *(name for name in parameters_of(dataset, training) if name in NEEDED))


def _add_weights_and_optimizer(parser: Parser) -> None:
    parser.add_argument(
        "--init",
        type=Path,
        metavar="FILE.pt",
        help="checkpoint of the same network and dataset, whose weights the training begins from",
    )
    parser.add_argument(
        "--initial-weights",
        choices=INITIAL_WEIGHTS,
        help="rar: large ones, which make rough networks; default: rar for rar_cnn, as published, else torch",
    )
    parser.add_argument(
        "--optimizer",
        default="adam",
        choices=published.OPTIMIZERS,
        help="default: adam; RAR and ART take sgd for gtsrb and flower17, with networks without batch norm",
    )
    parser.add_argument(
        "--learning-rate",
        type=rates.learning_rate,
        metavar="RATE",
        help="or RATE,RATE@STEP: 0.001,0.01@500 is .01 after 500 batches; default: as published for the "
        "optimizer, dataset and regime",
    )
    parser.add_argument("--momentum", type=float, metavar="M", help="of sgd; default: 0.9, as published")
    parser.add_argument(
        "--weight-decay", type=float, metavar="D", help="of sgd; default: 0.0002, as published"
    )
