"""Command: a whole experiment from one TOML file: train what is missing, then generate what is missing.

    out = "maps/study"                  # checkpoints/ and the pair files go here

    [common]                            # options of train and generate alike
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
    n_points = 50                       # used by those combinations that know it

Options are those of the two commands, with _ for -. What exists is kept if the same command made it; what
was interrupted goes on. Paths are relative to the folder in which the command is run.

Example: ``python -m generators.sweep experiment.toml --jobs 2``
"""

import argparse
import itertools
import multiprocessing
import os
import shlex
import sys
import tomllib
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import lensmetrics as lm
from lensmetrics.processes import available_cores

from . import generate, train
from .attacks import ATTACKS
from .commands import INTERRUPTED, Parser, option, positive_number, run
from .explanations import EXPLANATIONS
from .networks import checkpoints
from .plan import meaningful

# What a file is named after; other options are named only where the experiment varies them.
_NAMED = {"train": ("dataset", "model", "training"), "generate": ("training", "explanation", "attack", "eps")}
_COMMANDS = {"train": train, "generate": generate}


@dataclass(frozen=True)
class Item:
    """One checkpoint or one pair file, and the command that makes it."""

    command: str
    arguments: tuple[str, ...]
    out: Path

    def check(self, trained: Container[Path]) -> bool:
        """Check the options and tell whether the file exists, made by this very command.

        Raises
        ------
        ValueError
            If an option is wrong, the file was made by another command or from other weights, or the weights
            neither exist nor are `trained` by this experiment.
        """
        if self.command == "train":
            options = train.parser().parse_args(self.arguments)
            expected = train.recorded_command(options)
            found = checkpoints.recorded_command(self.out) if self.out.exists() else None
        else:
            options = generate.parser().parse_args(self.arguments)
            expected = generate.recorded_command(options, generate.planned(options))
            weights = Path(options.checkpoint)
            is_file = str(weights) != checkpoints.TORCHVISION
            if is_file and weights not in trained and not weights.is_file():
                raise ValueError(
                    f"{weights}, which {self.out} needs, does not exist, and no [[train]] makes it"
                )
            attrs = lm.PairStore(self.out).attrs if self.out.exists() else {}
            found = attrs.get("command")
            if is_file and found == expected and not _holds(weights, attrs["checkpoint_sha256"]):
                raise ValueError(
                    f"{self.out} was made from other weights than {weights} holds now; move it away, or "
                    "give another out"
                )
        if not options.data.exists() and not options.download:
            raise ValueError(f"{options.data}, the data folder of {self.out}, does not exist")
        if found not in (None, expected):
            raise ValueError(
                f"{self.out} was made by another command; move it away, or give another out\n"
                f"  made by: {found}\n  wanted:  {expected}"
            )
        return found is not None

    def make(self) -> int:
        """Run the command; its exit status."""
        command: Callable[[Sequence[str]], int] = _COMMANDS[self.command].main
        return command(self.arguments)


def _holds(weights: Path, sha256: str) -> bool:
    return weights.is_file() and checkpoints.sha256(weights) == sha256


def parser() -> Parser:
    """The command's options."""
    parser = Parser(prog="python -m generators.sweep", description=__doc__)
    parser.add_argument("experiment", type=Path, metavar="FILE.toml")
    parser.add_argument("--jobs", default=1, type=positive_number, help="files made at a time; default: 1")
    parser.add_argument("--data", help="instead of the data folder that the file names")
    parser.add_argument("--out", help="instead of the output folder that the file names")
    parser.add_argument("--dry-run", action="store_true", help="print the commands and what is done already")
    return parser


def read(path: Path, **instead: str | None) -> list[Item]:
    """The items of an experiment in the order in which they have to be made.

    Raises
    ------
    ValueError
        If the file is not as above, an option means nothing for any combination, or two combinations
        would be written to one file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; it must be a TOML file that says what to make")
    try:
        experiment = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from error
    kinds: dict[str, type] = {"out": str, "common": dict, "train": list, "generate": list, "study": dict}
    for name, value in experiment.items():
        if name not in kinds:
            raise ValueError(f"{path}: unknown entry {name!r}; known: out, [common], [[train]], [[generate]]")
        blocks = value if isinstance(value, list) else [{}]
        if not isinstance(value, kinds[name]) or not all(isinstance(block, dict) for block in blocks):
            raise ValueError(f"{path}: {name!r} must look as in --help, got {value!r}")
    out = Path(instead.get("out") or experiment.get("out", ""))
    if out == Path() and "." not in (instead.get("out"), experiment.get("out")):
        raise ValueError(f'{path} must say where the files go: out = "FOLDER"')
    common = experiment.get("common", {})
    override = {"data": instead["data"]} if instead.get("data") else {}
    items = [
        item
        for command in _COMMANDS
        for block in experiment.get(command, [])
        for item in _items(command, _checked(command, {**common, **block, **override}, path), out)
    ]
    if not items:
        raise ValueError(f"{path} has neither [[train]] nor [[generate]]: there is nothing to make")
    seen: set[Path] = set()
    for item in items:
        if item.out in seen:
            raise ValueError(f"{path}: two combinations would both be written to {item.out}; let them differ")
        seen.add(item.out)
    return items


def _checked(command: str, block: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """The block, if an experiment may set all of its entries.

    Raises
    ------
    ValueError
        If it may not.
    """
    known = _COMMANDS[command].parser().options
    for name, value in block.items():
        if name not in known:
            raise ValueError(f"{path}: {name!r} is no option of [[{command}]]; known: {', '.join(known)}")
        if value == []:
            raise ValueError(f"{path}: {name} is an empty list in [[{command}]]: nothing would be made")
    return block


def _items(command: str, block: Mapping[str, Any], out: Path) -> Iterator[Item]:
    """One item for each combination of the block's lists."""
    values = {name: value if isinstance(value, list) else [value] for name, value in block.items()}
    if "region" in values and not isinstance(values["region"][0], list):
        values["region"] = [values["region"]]  # the four numbers of one region
    combinations = [
        dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())
    ]
    if command == "generate":
        combinations = _without_idle(combinations, block)
    for options in combinations:
        varied = [name for name in options if len(values[name]) > 1 and name not in _NAMED[command]]
        named = [_word(options[name]) for name in _NAMED[command] if name in options]
        stem = "-".join(named + [f"{name}={_word(options[name])}" for name in varied])
        if command == "train":
            path = out / "checkpoints" / f"{stem}.pt"
        else:
            path = out / f"{stem}.h5"
            if "checkpoint" not in options:
                trained = "-".join(_word(options.get(name, "")) for name in _NAMED["train"])
                options["checkpoint"] = str(out / "checkpoints" / f"{trained}.pt")
        yield Item(command, (*_arguments(options), "--out", str(path)), path)


def _without_idle(combinations: Sequence[dict[str, Any]], block: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each combination with the parameters that its explanation and attack know."""
    for options in combinations:
        for name, allowed in (("explanation", EXPLANATIONS), ("attack", ATTACKS)):
            if options.get(name) not in allowed:
                raise ValueError(
                    f"{name} is {options.get(name)!r} in {dict(block)}; known: {', '.join(allowed)}"
                )
    kept = [
        {
            name: value
            for name, value in options.items()
            if name not in generate.PARAMETERS
            or name in meaningful(options["explanation"], options["attack"])
        }
        for options in combinations
    ]
    idle = [name for name in block if not any(name in options for options in kept)]
    if idle:
        raise ValueError(f"{idle[0]} means nothing for any combination of {dict(block)}; leave it out")
    return kept


def _arguments(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if value is True:
            yield option(name)
        elif value is not False:
            yield option(name)
            yield from map(str, value if isinstance(value, list) else [value])


def _word(value: object) -> str:
    return str(value).replace("/", "_")


def sweep(options: argparse.Namespace) -> int:
    """Make what is missing; the number of files that could not be made."""
    items = read(options.experiment, data=options.data, out=options.out)
    trained = {item.out for item in items if item.command == "train"}
    missing = [item for item in items if not item.check(trained)]
    if options.dry_run:
        for item in items:
            print("missing" if item in missing else "done   ", item.command, shlex.join(item.arguments))
        return 0
    print(f"{len(items) - len(missing)} of {len(items)} files are there", file=sys.stderr)
    failed: list[Item] = []
    for command in _COMMANDS:  # checkpoints before what needs them
        stage = [item for item in missing if item.command == command]
        for item, status in _made(stage, options.jobs):
            if status == INTERRUPTED:
                raise KeyboardInterrupt
            if status:
                failed.append(item)
    for item in failed:
        print(f"failed: {item.out}", file=sys.stderr)
    return len(failed)


def _made(items: Sequence[Item], jobs: int) -> Iterator[tuple[Item, int]]:
    """Each item with the exit status of its command, as they end."""
    if jobs == 1 or len(items) < 2:
        yield from ((item, item.make()) for item in items)
        return
    threads = max(1, available_cores() // jobs)  # of a shared machine not all need be ours
    pool = ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin_worker,
        initargs=(threads,),
    )
    try:
        waiting = iter(items)
        running = {pool.submit(item.make): item for item in itertools.islice(waiting, jobs)}
        while running:  # no more in the pool than it works on: what is stopped must not begin another
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
                running |= {pool.submit(item.make): item for item in itertools.islice(waiting, 1)}
    except BrokenProcessPool as error:
        raise OSError(
            "a worker process was killed, most likely for want of memory; give fewer --jobs or a smaller "
            "batch_size, and run the same command again to go on"
        ) from error
    except BaseException:
        workers = multiprocessing.active_children()
        for worker in workers:
            worker.terminate()  # SIGTERM: each keeps its .part
        for worker in workers:
            worker.join(10)
            worker.kill()  # one may wait for a lock that another has taken with it
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def _begin_worker(threads: int) -> None:
    torch.set_num_threads(threads)
    os.environ["TQDM_DISABLE"] = "1"  # bars of several files would overwrite one another


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 1 if some file could not be made."""
    n_failed = 0

    def work() -> None:
        nonlocal n_failed
        n_failed = sweep(parser().parse_args(argv))

    return run(work) or int(n_failed > 0)


if __name__ == "__main__":
    sys.exit(main())
