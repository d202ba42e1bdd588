"""What the commands share: options, the recorded command line, and errors in one sentence."""

import argparse
import contextlib
import platform
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import torch

import lensmetrics

from .datasets import DATASETS
from .networks.models import MODELS, model_names


class Parser(argparse.ArgumentParser):
    """Takes long names whole; where argparse would end the process it raises ValueError, one sentence."""

    def __init__(self, *, prog: str, description: str | None) -> None:
        super().__init__(
            prog=prog,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    @property
    def options(self) -> list[str]:
        """Names of what an experiment may set."""
        return [action.dest for action in self._actions if action.dest not in ("help", "out")]

    def error(self, message: str) -> NoReturn:
        """Raise ValueError."""
        raise ValueError(f"{message}; see {self.prog} --help")


INTERRUPTED = 130  # exit status after Ctrl-C or SIGTERM, as shells have it


class _Models:
    """The models as choices for argparse, which asks for all of them only in help and in error messages.

    Naming torchvision's takes seconds, and is impossible where it is missing.
    """

    def __contains__(self, name: object) -> bool:
        return name in MODELS or name in model_names()

    def __iter__(self) -> Iterator[str]:
        try:
            yield from model_names()
        except ValueError:
            yield from MODELS
            yield "a classifier of torchvision, which cannot be imported here"


def add_shared_options(parser: argparse.ArgumentParser) -> None:
    """--dataset, --data, --download, --image-size, --model, --device and --seed."""
    parser.add_argument("--dataset", required=True, choices=DATASETS)
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="folder with the dataset")
    parser.add_argument("--download", action="store_true", help="fetch the dataset into DIR with torchvision")
    parser.add_argument(
        "--image-size",
        type=positive_number,
        metavar="N",
        help="pixels a side for datasets of picture files; default: that of the dataset",
    )
    parser.add_argument(
        "--model",
        required=True,
        choices=_Models(),
        metavar="NAME",
        help="one of %(choices)s",
    )
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda"), help="auto: cuda where it is (default)"
    )
    parser.add_argument("--seed", default=0, type=whole_number, help="default: 0")


def whole_number(text: str) -> int:
    """An integer from 0 to the largest that files can hold, for argparse."""
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 2**63 - 1, got {text}")
    return int(text)


def positive_number(text: str) -> int:
    """An integer from 1 on, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text}")
    return int(text)


def fraction(text: str) -> float:
    """A number, also written as a fraction such as 8/255, for argparse."""
    try:
        return float(Fraction(text)) if "/" in text else float(text)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(
            f"must be a number or a fraction such as 8/255, got {text!r}"
        ) from None


def device_of(name: str) -> torch.device:
    """The device that --device names."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: this torch sees no GPU; use --device cpu")
    if name == "cuda":
        # Convolutions would round to 10 bits of mantissa, and differ from run to run.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
    return torch.device(name)


def option(name: str) -> str:
    """The option that sets the parameter `name`."""
    return "--" + name.replace("_", "-")


def command_line(program: str, options: dict[str, Any]) -> str:
    """The command that gives this result again: long names, every value that matters, defaults included.

    Values that are None are left out and flags are written only where they are set.
    """
    words = ["python", "-m", program]
    for name, value in options.items():
        if value is None or value is False:
            continue
        words.append(option(name))
        if isinstance(value, list | tuple):
            words.extend(map(str, value))
        elif value is not True:
            words.append(str(value))
    return shlex.join(words)


def versions() -> str:
    """Versions of what shapes the numbers, as one line."""
    found = {"python": platform.python_version(), "lensmetrics": lensmetrics.__version__}
    for name in ("torch", "torchvision", "zennit", "numpy", "scipy", "pillow"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    return ", ".join(f"{name} {number}" for name, number in found.items())


def make_folder(path: Path) -> None:
    """The folder that `path` is to be written in.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(
            f"the folder {path.parent} cannot be made ({error.strerror}): choose another --out"
        ) from error


def part_path(path: Path) -> Path:
    """Where the unfinished file of `path` is kept."""
    return path.with_name(path.name + ".part")


def run(work: Callable[[], None]) -> int:
    """Exit status of `work`: 0, 2 with one sentence on stderr where the input is at fault, 130 on Ctrl-C.

    SIGTERM, which batch systems send before they kill, ends the work as Ctrl-C does.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        work()
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (RuntimeError, MemoryError) as error:
        # torch's own errors for the CPU are plain RuntimeErrors.
        is_memory = isinstance(error, MemoryError | torch.cuda.OutOfMemoryError)
        if not is_memory and "allocate memory" not in str(error):
            raise
        print(
            "error: the memory is too small for this; give a smaller --batch-size or --chunk-size",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it was", file=sys.stderr)
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0
