"""``lensmetrics import``."""

import argparse
from pathlib import Path

from ..messages import say
from .arguments import as_usage, attribute, check_suffix, integer
from .conditions import add_from_name, from_names, joined
from .printing import description

HELP = "make a pair file from two arrays in .npy, .npz, HDF5 or netCDF-4 files"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare options and arguments."""
    parser.add_argument(
        "unperturbed",
        help="(N, H*W), (N, H, W) or (N, C, H, W) in a .npy, .npz, HDF5 or netCDF-4 file; FILE:NAME is one "
        "array of it; attribution files of ViRelAy need no name",
    )
    parser.add_argument("perturbed", help="the same after the attack")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="the pair file to write"
    )
    parser.add_argument(
        "--shape",
        type=integer,
        nargs=2,
        metavar=("H", "W"),
        help="size of the maps; needed for (N, H*W), and for (N, H, W) with W up to 4; 1 F for N rows of F "
        "values that do not form a picture",
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
        help="round the values to this type (default: keep the type of the files); refused if a value "
        "overflows, a nonzero value becomes 0, or a map becomes constant",
    )
    parser.add_argument(
        "--samples",
        metavar="FILE",
        help="indices of the samples in their dataset: N integers in a .npy, .npz or HDF5 file, or "
        "FILE:NAME (default: coordinates that both files share, else 0, 1, ...)",
    )
    parser.add_argument("--labels", metavar="FILE", help="true classes of the samples, in the same form")
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

    check_suffix(arguments.output, ".h5")
    with as_usage():
        check_writable(arguments.output)
    named = [[]] if arguments.from_name is None else from_names(arguments.from_name, [arguments.output])
    attrs = joined([*arguments.set, *named[0]])
    try:
        checked_attrs(attrs)
    except TypeError as error:
        raise ValueError(str(error)) from error
    try:
        messages = import_maps(
            arguments.unperturbed,
            arguments.perturbed,
            arguments.output,
            shape=None if arguments.shape is None else tuple(arguments.shape),
            attrs=attrs,
            names=(None, None) if arguments.names is None else tuple(arguments.names),
            samples=arguments.samples,
            labels=arguments.labels,
            method=arguments.method,
            dtype=arguments.dtype,
        )
    except (FileNotFoundError, FileExistsError, IsADirectoryError) as error:
        raise ValueError(str(error)) from error  # these concern what was typed, not what files contain
    say(f"wrote {arguments.output}: {description(PairStore(arguments.output))}")
    for message in messages:
        say(f"lensmetrics: {message}")
    return 0
