"""Command: attack a network's explanations and write one pair file.

The samples are the first N of the test split, in dataset order, that the model classifies correctly; if the
split is sorted by class, one of each class in turn. Maps are reduced by abs_sum, those of uniform_smooth as
--reduction says, and stored as float32. Where no perturbed image was accepted (see attacks/), both maps are
those of the unperturbed image and n_accepted is 0. With several metrics as --acceptance, the best images by
the first are in FILE.h5, those by another in FILE-METRIC.h5; each file is the one that its metric alone would
give. --also explains the same perturbed images by further explanations, each in FILE-EXPLANATION.h5. If the
command is interrupted, run it again with the same settings: it continues with the .part files.

Example: ``python -m generators.generate --dataset fashion_mnist --data DIR --model small_cnn
--checkpoint pgd.pt --explanation integrated_gradients --attack topk --eps 0.1 --samples 64
--out maps/pgd-ig-topk.h5``
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from tqdm import tqdm

from .commands import Parser, run, stop_if_interrupted, use_device
from .datasets import Split, described, read_split
from .loading import load_network
from .networks.models import check_images
from .pairfiles import (
    FoundImages,
    Unfinished,
    check_targets,
    found_images,
    outcome,
    refuse_other_samples,
    unfinished,
)
from .request import Request, attributes, condition, training_of
from .request_options import DTYPES, options_parser
from .selection import first_correct
from .starts import check_start, start_files
from .work import Work


def parser() -> Parser:
    """Return the parser of the command's options."""
    return options_parser(__doc__)


def generate(request: Request) -> None:
    """Write those pair files of the request that an earlier run has not finished."""
    found = request.plan()
    files = request.files(found)
    remedy = "move it away, or choose another --out"
    check_targets(files)
    start = check_start(request, found)
    wanted = {path: files[path] for path in request.missing(found, remedy=remedy, start=start)}
    device, dtype = use_device(request.device), DTYPES[request.dtype]
    network, facts = load_network(request, found, device, dtype)
    split = _read_split(request, facts)
    n_classes = check_images(network, split.channels, *split.shape)
    described(request.dataset, request.data).check(n_classes, request.dataset)
    found.check_shape(split.shape)
    chosen, n_examined = first_correct(network, split, request.samples, dtype, device)
    facts = _training_facts(facts, request.training, len(chosen), n_examined)
    for path in files.keys() - wanted.keys():
        refuse_other_samples(path, chosen, remedy=remedy)
    starts = tuple(start_files(request, found))
    for path in starts:
        refuse_other_samples(path, chosen, remedy="make it again, or remove --start")

    needed = found.accepting(
        *dict.fromkeys(metric for alone in wanted.values() for metric in alone.acceptances)
    )
    alone_plans = tuple(wanted.values())
    work = Work(needed, network, split, chosen, dtype, device, request.store_images, starts, alone_plans)
    work.check()
    earlier = [(found_images(path), files[path].acceptances) for path in files if found.also]

    with ExitStack() as stack:
        writers = []
        for path, alone in wanted.items():
            attrs = attributes(request, facts, alone, path, start, (split.channels, *split.shape))
            compared = (
                *condition(request, alone),
                *start,
                "checkpoint_sha256",
                "patterns_sha256",
                "versions",
            )
            same = {name: attrs.get(name) for name in compared}
            writers.append(
                stack.enter_context(unfinished(path, chosen, split.shape, attrs, same, alone.defaults))
            )
        _write(writers, work, request, [(one, by) for one, by in earlier if one is not None])
    for path in wanted:
        print(outcome(path))


def _write(
    writers: Sequence[Unfinished],
    work: Work,
    request: Request,
    earlier: Sequence[tuple[FoundImages, Sequence[str]]],
) -> None:
    """Write what is missing in any of the files.

    `earlier` says what files of the same images, by an acceptance each, held before.
    """
    missing = np.unique(np.concatenate([writer.missing for writer in writers]))
    size = request.batch_size
    if size is None:
        size = work.batch_size()
    if isinstance(size, str):
        size = work.fitting_batch_size()
        print(f"--batch-size auto: {size}", file=sys.stderr)
    with tqdm(total=len(missing), desc=request.out.name, unit="sample", disable=None) as progress:
        for start in range(0, len(missing), size):
            stop_if_interrupted()
            positions = missing[start : start + size]
            computed = work.columns(positions)
            for alone, columns in zip(work.files, computed, strict=True):
                for images, acceptances in earlier:
                    if acceptances == alone.acceptances:
                        images.check(positions, columns)
            for writer, columns in zip(writers, computed, strict=True):
                writer.write(positions, columns)
            progress.update(len(positions))


def _read_split(request: Request, facts: dict[str, Any]) -> Split:
    """Return the test images, if they have the size on which the network was trained."""
    split = read_split(
        request.dataset, request.data, "test", image_size=request.image_size, download=request.download
    )
    if facts.get("shape", split.shape) != split.shape:
        trained = "x".join(map(str, facts["shape"]))
        raise ValueError(
            f"{request.checkpoint} was trained on images of {trained}, these are "
            f"{split.shape[0]}x{split.shape[1]}: use --image-size"
        )
    return split


def _training_facts(
    facts: dict[str, Any], training: str | None, n_correct: int, n_examined: int
) -> dict[str, Any]:
    """Return how the network was trained and its accuracy, measured here if foreign weights do not say."""
    known = training_of(facts["training"], training)
    if facts["training"] is not None:
        return {**facts, "training": known}
    # The accuracy on the samples that were examined until enough correct ones were found.
    measured = {"natural_accuracy": n_correct / n_examined, "accuracy_samples": n_examined}
    return {**facts, **measured, "training": known}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(lambda: generate(Request.parse(argv, __doc__)))


if __name__ == "__main__":
    sys.exit(main())
