"""The options of a command that writes pair files."""

import argparse
from collections.abc import Collection
from pathlib import Path

import torch

from .attacks import ATTACKS, OWN_ATTACK
from .commands import Names, Parser, add_shared_options
from .explanations import EXPLANATIONS, OWN_EXPLANATION
from .methods import parameters
from .options import flag, positive_integer

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def options_parser(description: str | None) -> Parser:
    """Return the parser of the command's options."""
    parser = Parser(prog="python -m generators.generate", description=description)
    add_shared_options(parser)
    add_weights(parser)
    add_method(parser, "explanation", EXPLANATIONS, OWN_EXPLANATION)
    add_method(parser, "attack", ATTACKS, OWN_ATTACK)
    for option in parameters().values():
        option.add_to(parser)
    parser.add_argument(
        "--also",
        action="extend",
        nargs="+",
        default=[],
        metavar="EXPLANATION",
        help="explain the same perturbed images by these as well, each in FILE-EXPLANATION.h5: a name, with "
        'parameters if they are not the defaults, such as "beta_smooth(base=lrp,beta=0.8)"',
    )
    parser.add_argument("--samples", default=64, type=positive_integer, metavar="N", help="default: 64")
    parser.add_argument(
        "--batch-size",
        type=_batch_size,
        help="samples at a time, or auto: the fastest that fits into memory; default: 64 on a "
        "GPU, else 16, or fewer if the points of that many need more than one pass of the network",
    )
    add_computation(parser)
    parser.add_argument(
        "--store-images",
        nargs="?",
        const="unperturbed",
        choices=("unperturbed", "all"),
        help="store the images, uint8 as in the dataset; with 'all' also the perturbed ones, float32",
    )
    parser.add_argument(
        "--start",
        type=Path,
        metavar="FILE.h5",
        help="start at the perturbed images in the file of a smaller eps and otherwise the same settings, "
        "which --store-images all has stored: the scores of the attack then do not rise with eps. With "
        "several --acceptance, the images of FILE-METRIC.h5 beside it are tried as well",
    )
    add_patterns(parser)
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.h5")
    return parser


def add_weights(parser: Parser) -> None:
    """Add --checkpoint and --training."""
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="FILE",
        help="a checkpoint of generators.train, a state dict (.pt, .npz), a MadryLab/robustness checkpoint, "
        "or a word: torchvision for its own weights, factory for those of the network that your own returns",
    )
    parser.add_argument(
        "--training",
        help="how foreign weights were trained, such as pgd; default for them: natural. Of a checkpoint: its "
        "training and what tells it from others of the same, such as art-weight=1.0",
    )


def add_patterns(parser: Parser) -> None:
    """Add --patterns."""
    parser.add_argument(
        "--patterns",
        type=Path,
        metavar="FILE.patterns.pt",
        help="patterns for pattern_attribution, of generators.fit_patterns; default: that name beside the "
        "checkpoint",
    )


def add_method(parser: Parser, name: str, known: Collection[str], own: str) -> None:
    """Add --explanation or --attack: a name of the table `known`, or one's own."""
    parse = Names(known, own).parse
    parser.add_argument(
        flag(name), required=True, type=parse, metavar="NAME", help=f"{', '.join(known)}, or {own}"
    )


def add_computation(parser: Parser) -> None:
    """Add --dtype and --chunk-size."""
    parser.add_argument(
        "--dtype",
        default="float32",
        choices=DTYPES,
        help="type of all computation; sign steps amplify rounding: with float64 another machine, thread "
        "count or batch size gives the same scores, with float32 only similar ones (default: float32)",
    )
    parser.add_argument(
        "--chunk-size",
        type=positive_integer,
        help="images in one pass of the network, for explanations by many points; bounds the memory; "
        "default: one point of each sample, or more if the images are small",
    )


def _batch_size(text: str) -> int | str:
    if text == "auto":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be an integer >= 1, or auto, got {text}")
    return int(text)
