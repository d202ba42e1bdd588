"""``lensmetrics import``."""

import argparse
import re
from pathlib import Path
from typing import Any

from ..messages import say
from .arguments import as_usage, attribute, check_suffix, integer
from .conditions import add_from_name, from_names, joined
from .printing import description

HELP = "make a pair file from two arrays or folders of maps, before and after an attack"

# How messages of `import_maps` call its parameters, and how those are called here.
_OPTIONS = (
    (r"\b(axes|dtype|reduction|unmatched)='(\w+)'", r"--\1 \2"),
    (r"\bshape=\((\w+), (\w+)\)", r"--shape \1 \2"),
    (r"\bmethod=(-?\d+)", r"--method \1"),
    (r"\bclass_index=(-?\d+)", r"--class \1"),
    (r"\bsamples=\((\w+), (\w+)\)", r"--samples \1 --samples \2"),
    (r"\bclass_index must be", "--class must be"),
    (r"\bshape must be", "--shape must be"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare options and arguments."""
    parser.add_argument(
        "unperturbed",
        help="(N, H, W) or (N, C, H, W) in a .npy, .npz, HDF5, netCDF-4, .mat, .pt, .pth or .safetensors "
        "file, or in a grey PNG or TIFF; FILE:NAME is one array of it. Or a folder, or a glob in quotes, "
        "with one file per sample",
    )
    parser.add_argument("perturbed", help="the same after the attack")
    parser.add_argument(
        "more", nargs="*", default=[], help=argparse.SUPPRESS
    )  # what the shell made of a glob
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="the pair file to write"
    )
    parser.add_argument(
        "--axes",
        metavar="LETTERS",
        help="what each axis of the arrays is: N sample, C channel, H height, W width, F feature, T time, K "
        "class, such as NHWC, NF, or NHWCK of shap; without N, of one map or of the file of each sample",
    )
    parser.add_argument(
        "--class",
        dest="class_index",
        type=integer,
        metavar="I",
        help="which class along the axis K, counted from 0",
    )
    parser.add_argument(
        "--shape", type=integer, nargs=2, metavar=("H", "W"), help="size of the maps; needed for (N, H*W)"
    )
    parser.add_argument(
        "--reduction",
        choices=("abs_sum", "sum", "abs_max"),
        help="how channels become one value per pixel when maps are scored (default: abs_sum); maps without "
        "channels, or with one, keep their signs",
    )
    parser.add_argument(
        "--names", nargs=2, metavar=("U", "P"), help="names of the two arrays in files that hold several"
    )
    parser.add_argument(
        "--method",
        type=integer,
        metavar="I",
        help="which explanation of LATEC's (N, explanation, C, H, W), counted from 0",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "float64"),
        help="round the values to this type; refused if a value overflows, a nonzero value becomes 0, or a "
        "map becomes constant (default: keep every value; float16 and integers up to 2^24 are stored as "
        "float32, integers up to 2^53 as float64)",
    )
    parser.add_argument(
        "--samples",
        action="append",
        metavar="FILE",
        help="which samples these are: N integers (their index in the dataset) or texts (their names) in a "
        "file or FILE:NAME, in the order of the first side; given twice, the second is for the second side, "
        "and samples are matched (default: what both sides tell, such as file names, an index or "
        "coordinates, else 0, 1, ...)",
    )
    parser.add_argument(
        "--labels",
        metavar="FILE",
        help="true classes, N integers in a file or FILE:NAME; for a file per sample, a .csv file with "
        "name,class in each line",
    )
    parser.add_argument(
        "--unmatched",
        choices=("refuse", "skip"),
        default="refuse",
        help="what becomes of samples that one side lacks: refuse the import, or skip them (default: refuse)",
    )
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        type=attribute,
        metavar="NAME=VALUE",
        help="attributes, such as dataset=imagenet attack=topk eps=8/255; a value written as 3, -0.5, 1e-3 "
        "or N/255 is a number; everything else is text, such as 018, 1_0, nan or 2026/11; eps is always a "
        "number and may be any fraction",
    )
    add_from_name(parser, "the name of the pair file")


def run(arguments: argparse.Namespace) -> int:
    """Write the pair file."""
    from ..disk import check_writable
    from ..importers import import_maps
    from ..pairfile.attributes import checked_attrs
    from ..pairfile.store import PairStore

    if arguments.more:
        first = Path(arguments.unperturbed)
        raise ValueError(
            f"import takes the maps before and those after the attack, got {2 + len(arguments.more)}: give "
            "two folders, or put globs in quotes, so that the shell leaves them as they are, such as "
            f"'{first.with_name('*' + first.suffix)}'"
        )
    check_suffix(arguments.output, ".h5")
    with as_usage():
        check_writable(arguments.output)
    named = [[]] if arguments.from_name is None else from_names(arguments.from_name, [arguments.output])
    attrs = joined([*arguments.set, *named[0]])
    try:
        checked_attrs(attrs)
    except TypeError as error:
        raise ValueError(str(error)) from error
    among: Any = attrs.get("reduction", arguments.reduction or "abs_sum")
    if arguments.reduction not in (None, among):
        raise ValueError(f"--reduction {arguments.reduction} contradicts --set reduction={among}: give one")
    try:
        messages = import_maps(
            arguments.unperturbed,
            arguments.perturbed,
            arguments.output,
            attrs=attrs,
            shape=None if arguments.shape is None else tuple(arguments.shape),
            names=None if arguments.names is None else tuple(arguments.names),
            method=arguments.method,
            axes=arguments.axes,
            class_index=arguments.class_index,
            reduction=among,
            dtype=arguments.dtype,
            samples=None if arguments.samples is None else tuple(arguments.samples),
            labels=arguments.labels,
            unmatched=arguments.unmatched,
        )
    except (FileNotFoundError, FileExistsError, IsADirectoryError) as error:
        # These concern what was typed, not what files contain.
        raise ValueError(_with_options(str(error))) from error
    except (ValueError, OSError) as error:
        error.args = (_with_options(str(error)),)
        raise
    say(f"wrote {arguments.output}: {description(PairStore(arguments.output))}")
    for message in messages:
        say(f"lensmetrics: {_with_options(message)}")
    return 0


def _with_options(message: str) -> str:
    """Return a message of `import_maps` with options in place of parameters."""
    for parameter, option in _OPTIONS:
        message = re.sub(parameter, option, message)
    return message
