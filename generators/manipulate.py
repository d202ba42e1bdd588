"""Command: make the map of one image look like that of another one, and draw it.

The attack is target_map of Dombrowski et al. (NeurIPS 2019), with their settings unless told otherwise.
IMAGE and TARGET_IMAGE are any two image files; they are turned upright as their EXIF data says, put on white
where they are not opaque, resized and center-cropped to the size of --dataset, whose own images are not
read. FILE.h5 has the one pair, with the target, both images and the outputs; FILE.png shows image,
manipulated image, their maps and the target. The maps of IMAGE explain the class that the network predicts
for it, which the attack keeps.

Example: ``python -m generators.manipulate cat.jpg dog.jpg --dataset imagenet --model squeezenet1_1
--checkpoint squeezenet1_1.npz --explanation gradient --out figure.h5``
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .attacks.targets import TARGET_MAP
from .commands import Parser, add_shared_options, command_line, find_dataset, run, use_device
from .datasets import DATASETS, described, inputs_of
from .explanations import EXPLANATIONS, INDEPENDENT_DRAWS, OWN_EXPLANATION
from .image_folders import read_pictures
from .loading import load_network
from .methods import parameters
from .networks.models import check_images
from .options import non_negative_integer
from .pairfiles import check_targets, outcome, unfinished
from .picture import draw
from .request import NOT_STARTED, Request, attributes, condition, training_of
from .request_options import DTYPES, add_computation, add_method, add_patterns, add_weights
from .selection import predictions
from .splits import Split
from .work import Work

# The fields of a request that this command has no options for.
_FIXED: Mapping[str, Any] = {
    "attack": "target_map",
    "also": (),
    "samples": 1,
    "batch_size": 1,
    "store_images": "all",
    "start": None,
    "download": False,
}


@dataclass(frozen=True)
class Manipulation:
    """The pair file that is asked for, and the two images."""

    request: Request
    image: Path
    target_image: Path
    target_label: int | None

    @classmethod
    def parse(cls, arguments: Sequence[str] | None) -> "Manipulation":
        """Read the command line.

        Raises
        ------
        ValueError
            If an option is unknown, missing or wrong.
        """
        values = vars(parser().parse_args(arguments))
        find_dataset(values, is_read=False)
        given = {name: values.pop(name) for name in _options()}
        own = {name: values.pop(name) for name in ("image", "target_image", "target_label")}
        known = {name: value for name, value in given.items() if value is not None}
        request = Request(**_FIXED, **values, parameters=known)
        if request.out.suffix != ".h5":
            raise ValueError(f"--out {request.out} must end in .h5; the picture is beside it, with .png")
        return cls(request, **own)


def parser() -> Parser:
    """Return the parser of the command's options."""
    result = Parser(prog="python -m generators.manipulate", description=__doc__)
    result.add_argument("image", type=Path, metavar="IMAGE", help="the image that is manipulated")
    result.add_argument(
        "target_image", type=Path, metavar="TARGET_IMAGE", help="the image whose map is the target"
    )
    add_shared_options(result, reads_dataset=False)
    add_weights(result)
    add_method(result, "explanation", EXPLANATIONS, OWN_EXPLANATION)
    known = parameters()
    for name in _options():
        known[name].add_to(result)
    result.add_argument(
        "--target-label",
        type=non_negative_integer,
        metavar="CLASS",
        help="class index that the target explains; default: what the network predicts for TARGET_IMAGE",
    )
    add_computation(result)
    add_patterns(result)
    result.add_argument("--out", required=True, type=Path, metavar="FILE.h5")
    return result


def _options() -> list[str]:
    """Return the names of the options of explanations, and of target_map."""
    of_methods = [option for method in EXPLANATIONS.values() for option in method.options]
    inside = [option.inside[0] for option in of_methods if option.inside is not None]
    taken = {option.name for option in (*of_methods, INDEPENDENT_DRAWS, *TARGET_MAP.options)} | set(inside)
    return [name for name in parameters() if name in taken]


def manipulate(asked: Manipulation) -> None:
    """Write the pair file and the picture."""
    request = asked.request
    found = request.plan()
    picture = request.out.with_suffix(".png")
    for path in (request.out, picture):
        check_targets([path])
    device, dtype = use_device(request.device), DTYPES[request.dtype]
    dataset = described(request.dataset, request.data)
    pictures = (asked.image, asked.target_image)
    split, notes = read_pictures(pictures, dataset, request.image_size or dataset.image_size)
    network, facts = load_network(request, found, device, dtype)
    n_classes = check_images(network, split.channels, *split.shape)
    dataset.check(n_classes, request.dataset)
    found.check_shape(split.shape)
    labels = predictions(network, inputs_of(split.images[:2], dtype, device))
    split = split._replace(labels=_with_target(labels, asked.target_label, n_classes))
    _refuse_reached(asked, split)

    chosen = np.array([0])
    work = Work(found, network, split, chosen, dtype, device, "all", aims=np.array([1]))
    work.check()
    facts = {**facts, "training": training_of(facts["training"], request.training)}
    aim = {"target_image": asked.target_image.name, "target_label": int(split.labels[1])}
    attrs = {
        **attributes(request, facts, found, request.out, NOT_STARTED, (split.channels, *split.shape)),
        **aim,
        "command": _command(asked, found.used),
    }
    compared = (*condition(request, found), *aim, "checkpoint_sha256", "patterns_sha256", "versions")
    same = {name: attrs.get(name) for name in compared}
    steps = found.settings["steps"]
    for note in notes:
        print(note, file=sys.stderr)
    print(f"{asked.image}: {steps} steps towards the map of {asked.target_image}", file=sys.stderr)
    with unfinished(request.out, chosen, split.shape, attrs, same, found.defaults) as writer:
        (columns,) = work.columns(np.arange(1))
        writer.write(np.arange(1), {**columns, "name": np.array([asked.image.name], dtype=object)})
    print(outcome(request.out))
    for line in draw(request.out, picture, names=dataset.classes):
        print(line)
    print(f"{picture}: the picture")


def _with_target(labels: Any, target: int | None, n_classes: int) -> Any:
    """Return the two labels, the second of which is the one that was asked for, if one was.

    Raises
    ------
    ValueError
        If the network has no such class.
    """
    if target is None:
        return labels
    if target >= n_classes:
        raise ValueError(
            f"--target-label {target}: the network has the classes 0 to {n_classes - 1}; choose one of them"
        )
    return np.array([labels[0], target])


def _refuse_reached(asked: Manipulation, split: Split) -> None:
    """Refuse a target that is the map of the image itself.

    Raises
    ------
    ValueError
        If it is.
    """
    image, target = split.images[:2]
    if split.labels[0] == split.labels[1] and np.array_equal(image, target):
        raise ValueError(
            f"{asked.image} and {asked.target_image} are the same image to the network, so its map is the "
            "target already: choose another image, or another class of it with --target-label"
        )


def _command(asked: Manipulation, used: Mapping[str, Any]) -> str:
    """Return the command that makes this file again, defaults included."""
    request = asked.request
    given = {
        "dataset": request.dataset,
        "data": None if request.dataset in DATASETS else request.data,
        "image_size": request.image_size,
        "model": request.model,
        "device": use_device(request.device).type,
        "seed": request.seed,
        "checkpoint": request.checkpoint,
        "training": request.training,
        "explanation": request.explanation,
        "patterns": request.patterns,
        "target_label": asked.target_label,
        "dtype": request.dtype,
        "out": request.out,
        **{name: used[name] for name in _options() if name in used},
    }
    given |= {"no_on_logits": used["on_logits"] is False}
    return command_line("generators.manipulate", given, asked.image, asked.target_image)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(lambda: manipulate(Manipulation.parse(argv)), continues=False)


if __name__ == "__main__":
    sys.exit(main())
