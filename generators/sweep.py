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
import itertools
import shlex
import sys
import tomllib
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import generate, train
from .attacks import ATTACKS
from .attacks.strong import STRONG
from .commands import INTERRUPTED, Parser, run
from .explanations import EXPLANATIONS
from .identity import refuse_other
from .jobs import made
from .networks import checkpoints
from .options import flag, positive_integer
from .plan import meaningful, parameters
from .request import Request

# The options in a file's name; others are added only if the experiment varies them.
_NAMED = {"train": ("dataset", "model", "training"), "generate": ("training", "explanation", "attack", "eps")}
_COMMANDS = {"train": train, "generate": generate}


@dataclass(frozen=True)
class Item:
    """A checkpoint or a pair file, and the arguments of the command that makes it."""

    command: str
    arguments: tuple[str, ...]
    out: Path

    def check(self, trained: Container[Path]) -> bool:
        """Check the options and return whether the file exists, made with the same settings.

        Raises
        ------
        ValueError
            If an option is wrong, the file was made with other settings or from other weights, or the weights
            neither exist nor are `trained` by this experiment.
        """
        remedy = "move it away, or choose another out"
        if self.command == "train":
            training = train.Request.parse(self.arguments)
            wanted, defaults = training.identity(), training.defaults()
            _check_data(training, self.out)
            if self.out.exists():
                refuse_other(self.out, checkpoints.identity(self.out), wanted, defaults, remedy=remedy)
            return self.out.exists()
        request = Request.parse(self.arguments)
        plan = request.plan()
        weights = Path(request.checkpoint)
        is_file = str(weights) != checkpoints.TORCHVISION
        if is_file and weights not in trained and not weights.is_file():
            raise ValueError(f"{self.out} needs {weights}, which does not exist and which no [[train]] makes")
        _check_data(request, self.out)
        return not request.missing(plan, remedy=remedy)

    def make(self) -> int:
        """Run the command and return its exit status."""
        command: Callable[[Sequence[str]], int] = _COMMANDS[self.command].main
        return command(self.arguments)


def _check_data(request: train.Request | Request, out: Path) -> None:
    if not request.data.exists() and not request.download:
        raise ValueError(f"{request.data}, the data folder of {out}, does not exist")


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


def read(path: Path, **instead: str | None) -> list[Item]:
    """Return the items of an experiment in the order in which they must be made.

    Raises
    ------
    ValueError
        If the file does not have the form above, an option has no effect in any combination, or two
        combinations would be written to one file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; give a TOML file of the form that --help shows")
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
        raise ValueError(f'{path} must name the output folder: out = "FOLDER"')
    common = experiment.get("common", {})
    override = {"data": instead["data"]} if instead.get("data") else {}
    items = [
        item
        for command in _COMMANDS
        for block in experiment.get(command, [])
        for item in _items(command, _checked(command, {**common, **block, **override}, path), out)
    ]
    if not items:
        raise ValueError(f"{path} has neither [[train]] nor [[generate]], so there is nothing to make")
    seen: set[Path] = set()
    for item in items:
        if item.out in seen:
            raise ValueError(
                f"{path}: two combinations would both be written to {item.out}; make them differ"
            )
        seen.add(item.out)
    return items


def _checked(command: str, block: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """Return the block if an experiment may set all of its entries.

    Raises
    ------
    ValueError
        If an entry is unknown or empty.
    """
    known = _COMMANDS[command].parser().options
    for name, value in block.items():
        if name not in known:
            raise ValueError(f"{path}: [[{command}]] has no option {name!r}; known: {', '.join(known)}")
        if value == []:
            raise ValueError(f"{path}: {name} in [[{command}]] is an empty list, so nothing would be made")
    return block


def _items(command: str, block: Mapping[str, Any], out: Path) -> Iterator[Item]:
    """Yield one item for each combination of the block's lists."""
    values = {name: value if isinstance(value, list) else [value] for name, value in block.items()}
    if "region" in values and not isinstance(values["region"][0], list):
        values["region"] = [values["region"]]  # the four numbers of one region
    combinations = [
        dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values())
    ]
    if command == "generate":
        combinations = _without_idle(combinations, block)
    for options in combinations:
        unnamed = (*_NAMED[command], STRONG.name)
        varied = [name for name in options if len(values[name]) > 1 and name not in unnamed]
        named = [_word(options[name]) for name in _NAMED[command] if name in options]
        named += [STRONG.name] * bool(options.get(STRONG.name))  # beside published settings of another block
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
    """Return each combination with those parameters that its explanation and attack take."""
    for options in combinations:
        for name, allowed in (("explanation", EXPLANATIONS), ("attack", ATTACKS)):
            if options.get(name) not in allowed:
                raise ValueError(
                    f"{name} is {options.get(name)!r} in {dict(block)}; known: {', '.join(allowed)}"
                )
    known_parameters = parameters()
    kept = [
        {
            name: value
            for name, value in options.items()
            if name not in known_parameters
            or name in meaningful(options["explanation"], options["attack"], options.get("base"))
        }
        for options in combinations
    ]
    idle = [name for name in block if not any(name in options for options in kept)]
    if idle:
        raise ValueError(f"{idle[0]} has no effect in any combination of {dict(block)}; remove it")
    return kept


def _arguments(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if value is True:
            yield flag(name)
        elif value is not False:
            yield flag(name)
            yield from map(str, value if isinstance(value, list) else [value])


def _word(value: object) -> str:
    return str(value).replace("/", "_")


def sweep(options: argparse.Namespace) -> int:
    """Make the missing files and return how many could not be made."""
    items = read(options.experiment, data=options.data, out=options.out)
    trained = {item.out for item in items if item.command == "train"}
    missing = [item for item in items if not item.check(trained)]
    if options.dry_run:
        for item in items:
            print("missing" if item in missing else "done   ", item.command, shlex.join(item.arguments))
        return 0
    print(f"{len(items) - len(missing)} of {len(items)} files exist", file=sys.stderr)
    failed: list[Item] = []
    for command in _COMMANDS:  # checkpoints first: pair files need them
        stage = [item for item in missing if item.command == command]
        for item, status in made(stage, options.jobs):
            if status == INTERRUPTED:
                raise KeyboardInterrupt
            if status:
                failed.append(item)
    for item in failed:
        print(f"failed: {item.out}", file=sys.stderr)
    return len(failed)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 1 if a file could not be made."""
    n_failed = 0

    def work() -> None:
        nonlocal n_failed
        n_failed = sweep(parser().parse_args(argv))

    return run(work) or int(n_failed > 0)


if __name__ == "__main__":
    sys.exit(main())
