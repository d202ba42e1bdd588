"""What the commands share: options, the device, the recorded command line, and errors in one sentence."""

import argparse
import contextlib
import json
import os
import platform
import re
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import torch

import lensmetrics

from .calls import is_memory
from .datasets import DATASETS
from .names import is_own, unknown
from .networks.models import ARCHITECTURES, MODELS, model_names
from .networks.own import OWN_MODEL
from .options import flag, non_negative_integer, positive_integer


class Parser(argparse.ArgumentParser):
    """A parser without abbreviations that raises ValueError where argparse would end the process."""

    def __init__(self, *, prog: str, description: str | None) -> None:
        layout = argparse.RawDescriptionHelpFormatter
        super().__init__(prog=prog, description=description, formatter_class=layout, allow_abbrev=False)
        self._negative_number_matcher = re.compile(r"-\.?\d")  # -8/255 is a value, which its range refuses

    @property
    def options(self) -> list[str]:
        """The names that an experiment may set."""
        return [action.dest for action in self._actions if action.dest not in ("help", "out")]

    def n_values(self, name: str) -> int | str | None:
        """Return how many values an option takes: a number, "+" for any, or None if it is not a list."""
        (nargs,) = (action.nargs for action in self._actions if action.dest == name)
        return nargs if nargs != "?" and nargs != 0 else None

    def words(self, name: str, value: Any) -> list[str]:
        """Return the part of the command line that gives an option this value of an experiment.

        Raises
        ------
        ValueError
            If the option is true or false and the value is not, or the other way round.
        """
        ((flags, nargs),) = ((a.option_strings, a.nargs) for a in self._actions if a.dest == name)
        if isinstance(value, bool) != (nargs == 0) and nargs != "?":
            kind = "be true or false" if nargs == 0 else "have a value"
            raise ValueError(f"{name} must {kind}, got {json.dumps(value, default=str)}")
        if value is True:
            return [flags[0]]
        if value is False:
            return [flag for flag in flags if flag.startswith("--no-")]
        return [flags[0], *map(str, value if isinstance(value, list) else [value])]

    def error(self, message: str) -> NoReturn:
        """Raise ValueError."""
        raise ValueError(f"{message}; see {self.prog} --help")


INTERRUPTED = 130  # exit status after Ctrl-C or SIGTERM, as in shells


class Names:
    """The names of a table, or of a function of one's own, as choices for argparse.

    Parameters
    ----------
    known
        The table.
    own
        What one's own is given as; the end of a sentence.
    """

    def __init__(self, known: Collection[str], own: str) -> None:
        self._known = known
        self._own = own

    def parse(self, name: str) -> str:
        """Return the name if it is one, for argparse."""
        try:
            is_known = name in self
        except ValueError as error:  # argparse would leave out the reason
            raise argparse.ArgumentTypeError(str(error)) from None
        if not is_known:
            raise argparse.ArgumentTypeError(unknown(name, list(self), self._own))
        return name

    def __contains__(self, name: object) -> bool:
        return is_own(str(name)) or name in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)


class _Models(Names):
    """The models, of which all are listed only in help and error messages.

    Listing torchvision's takes seconds, and fails if torchvision is missing.
    """

    def __init__(self) -> None:
        super().__init__((*MODELS, *ARCHITECTURES), OWN_MODEL)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in model_names()

    def __iter__(self) -> Iterator[str]:
        try:
            yield from model_names()
        except ValueError:
            yield from super().__iter__()
            yield "a classifier of torchvision, which cannot be imported here"


_OWN_DATASET = "a folder, in that of --data, which has one folder of images per class, or labels.csv"


def add_shared_options(
    parser: argparse.ArgumentParser, *, draws: bool = True, reads_dataset: bool = True
) -> None:
    """Add --dataset, --data, --download, --image-size, --model, --device and --seed.

    A command that draws nothing has no --seed, one that does not read the dataset no --download.
    """
    models = _Models()
    parser.add_argument(
        "--dataset",
        required=True,
        metavar="NAME",
        help=f"{', '.join(DATASETS)}, or {_OWN_DATASET}",
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="folder with the dataset; default for your own: this one"
    )
    if reads_dataset:
        parser.add_argument(
            "--download", action="store_true", help="download the dataset into DIR with torchvision"
        )
    parser.add_argument(
        "--image-size",
        type=positive_integer,
        metavar="N",
        help="height and width of images from picture files; default: that of the dataset, or of the images",
    )
    parser.add_argument(
        "--model",
        required=True,
        type=models.parse,
        choices=models,
        metavar="NAME",
        help=f"one of %(choices)s, or {OWN_MODEL}",
    )
    parser.add_argument(
        "--device",
        default="auto",
        choices=("auto", "cpu", "cuda"),
        help="auto (default): cuda if there is a GPU",
    )
    if draws:
        parser.add_argument("--seed", default=0, type=non_negative_integer, help="default: 0")


def find_dataset(values: dict[str, Any], *, is_read: bool = True) -> None:
    """Check that the dataset of a command's options can be one; set --data where it is one's own.

    A command that does not read the files of a known dataset needs no --data for it.

    Raises
    ------
    ValueError
        If it is neither in the table nor a folder, or --data is missing.
    """
    name = values["dataset"]
    if is_read and name in DATASETS and values["data"] is None:
        raise ValueError(f"--data must be given: the folder with {name}")
    values["data"] = values["data"] or Path()
    if name not in DATASETS and not (values["data"] / name).is_dir():
        raise ValueError(
            f"argument --dataset: {unknown(name, DATASETS, _OWN_DATASET)}; there is no folder "
            f"{values['data'] / name}"
        )
    if name not in DATASETS and values.get("download"):
        raise ValueError(f"--download has no effect with --dataset {name}, a folder; remove it")


def use_device(name: str) -> torch.device:
    """Return the device that --device names and make torch compute on it as every command needs.

    Raises
    ------
    ValueError
        If it is cuda and there is no GPU.
    """
    # The fast kernels of attention have no second derivative, which directed attacks and regimes need.
    torch.backends.cuda.enable_flash_sdp(False)
    torch.backends.cuda.enable_mem_efficient_sdp(False)
    torch.backends.cuda.enable_cudnn_sdp(False)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        if not torch.cuda.is_available():
            raise ValueError("--device cuda: torch finds no GPU; use --device cpu")
        # Convolutions would round to 10 bits of mantissa, and differ from run to run.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
    return torch.device(name)


@contextlib.contextmanager
def flushing() -> Iterator[None]:
    """Let the CPU take numbers too small for full precision (below 1.2e-38 in float32) as 0.

    The softplus of trained networks returns many of them, and on some processors each takes a hundred times
    as long as another number. Threads have the setting of the thread that started them, and torch starts its
    own in the first parallel computation: enter this before. It covers numpy and the metrics too.
    """
    before = sys.float_info.min / 2 == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def command_line(program: str, options: dict[str, Any], *arguments: object) -> str:
    """Return the command that makes this result again, with every value that matters, defaults included.

    None is left out, and flags are written only if they are set. The command is documentation; files
    are compared by their settings (see ``identity``).
    """
    words = ["python", "-m", program, *map(str, arguments)]
    for name, value in options.items():
        if value is None or value is False:
            continue
        words.append(flag(name))
        if isinstance(value, list | tuple):
            words.extend(map(str, value))
        elif value is not True:
            words.append(str(value))
    return shlex.join(words)


def versions(*more: str) -> str:
    """Return the versions of everything that affects the numbers, and of `more` packages, as one line."""
    found = {"python": platform.python_version(), "lensmetrics": lensmetrics.__version__}
    for name in ("torch", "torchvision", "zennit", "numpy", "scipy", "pillow", *more):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    return ", ".join(f"{name} {number}" for name, number in found.items())


# Set by a signal until the command ends.
_signalled = threading.Event()


def stop_if_interrupted() -> None:
    """Raise KeyboardInterrupt if a signal has come that was not heard.

    Python ignores what a signal raises while it destroys an object, and a file that is closed has many: a
    quarter of the signals that came in the moments after one was finished were lost. So work asks where it
    can stop.
    """
    if _signalled.is_set():
        raise KeyboardInterrupt


def run(work: Callable[[], None], *, continues: bool = True) -> int:
    """Run `work` and return the exit status: 0, 2 if the input is wrong, 130 on Ctrl-C.

    Subnormal numbers count as 0 (see ``flushing``). Wrong input is reported in one sentence on stderr.
    SIGTERM, which batch systems send shortly before SIGKILL, is treated like Ctrl-C. `continues` says whether
    the same command, run again after that, goes on where it was.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        _signalled.set()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with flushing():
            work()
        stop_if_interrupted()
    except (OSError, ValueError) as error:
        if os.environ.get("LENSMETRICS_TRACEBACK", "0") not in ("", "0"):
            traceback.print_exception(error)
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (RuntimeError, MemoryError) as error:
        if not is_memory(error):
            raise
        print("error: out of memory: reduce --batch-size or --chunk-size", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        remedy = "run the same command again to continue" if continues else "the same command begins anew"
        print(f"interrupted; {remedy}", file=sys.stderr)
        return INTERRUPTED
    finally:
        _signalled.clear()
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0
