"""Command: a whole experiment from one TOML file: train what is missing, then generate what is missing.

    out = "maps/study"                  # folder of the pair files and of checkpoints/

    [common]                            # options of both train and generate
    dataset = "fashion_mnist"
    data = "data"
    model = "small_cnn"

    [[train]]                           # one checkpoint for each combination of the lists
    training = ["natural", "pgd"]
    epochs = 3

    [[generate]]                        # one pair file for each combination of the lists
    training = ["natural", "pgd"]       # the checkpoints above, or: checkpoint = "FILE"
    explanation = ["gradient", "integrated_gradients"]
    attack = ["random_sign", "topk"]
    eps = 0.1
    n_points = 50                       # used by the combinations that take it

Options are those of the two commands, with _ for -. Existing files are kept if they were made with the same
settings; unfinished ones are continued. Paths, batch_size, chunk_size and device are not compared, so data
and folders may move. Paths are relative to the folder in which the command is run.

Example: ``python -m generators.sweep experiment.toml --jobs 2``
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from .commands import INTERRUPTED, Parser, run, stop_if_interrupted
from .experiment import read as read
from .items import Item as Item
from .jobs import made
from .options import positive_integer


def parser() -> Parser:
    """Return the parser of the command's options."""
    parser = Parser(prog="python -m generators.sweep", description=__doc__)
    parser.add_argument("experiment", type=Path, metavar="FILE.toml")
    parser.add_argument(
        "--jobs", default=1, type=positive_integer, help="number of files made at a time; default: 1"
    )
    parser.add_argument("--data", help="data folder, instead of the one in the file")
    parser.add_argument("--out", help="output folder, instead of the one in the file")
    parser.add_argument("--dry-run", action="store_true", help="print the commands and which files exist")
    return parser


def sweep(options: argparse.Namespace) -> int:
    """Make the missing files and return how many could not be made."""
    items = read(options.experiment, data=options.data, out=options.out)
    made_here = {item.out for item in items}
    missing = {item: item.missing(made_here) for item in items}
    if options.dry_run:
        for item in items:
            print(_plan(item, missing[item]))
        return 0
    n_files = sum(len(item.files()) for item in items)
    n_missing = sum(map(len, missing.values()))
    print(f"{n_files - n_missing} of {n_files} files exist", file=sys.stderr)
    failed: dict[Path, str] = {}
    for item, status in made([item for item in items if missing[item]], options.jobs):
        stop_if_interrupted()
        if status == INTERRUPTED:
            raise KeyboardInterrupt
        if status is None:
            needed = next(path for path in item.needs if path in failed)
            failed[item.out] = f"failed: {item.out}, not begun without {needed}"
        elif status:
            failed[item.out] = f"failed: {item.out}"
    for line in failed.values():
        print(line, file=sys.stderr)
    return len(failed)


def _plan(item: Item, missing: Sequence[Path]) -> str:
    """Return the line of a file for ``--dry-run``, with the files that are missing if not all are."""
    line = f"{'missing' if missing else 'done   '} {item.command} {shlex.join(item.arguments)}"
    is_partly = 0 < len(missing) < len(item.files())
    return line + f"  # {', '.join(map(str, missing))}" * is_partly


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 1 if a file could not be made."""
    n_failed = 0

    def work() -> None:
        nonlocal n_failed
        n_failed = sweep(parser().parse_args(argv))

    return run(work) or int(n_failed > 0)


if __name__ == "__main__":
    sys.exit(main())
