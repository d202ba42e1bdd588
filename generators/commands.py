"""What the commands share: options, the recorded command line, and errors in one sentence."""

import argparse
import inspect
import platform
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lensmetrics

from .datasets import DATASETS
from .models import MODELS


def add_shared_options(parser: argparse.ArgumentParser) -> None:
    """--dataset, --data, --model, --device and --seed."""
    parser.add_argument("--dataset", required=True, choices=DATASETS)
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="folder with DATASET.npz")
    parser.add_argument("--model", required=True, choices=MODELS)
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda"), help="auto: cuda where it is (default)"
    )
    parser.add_argument("--seed", default=0, type=whole_number, help="default: 0")


def whole_number(text: str) -> int:
    """An integer from 0 on, for argparse."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 on, got {text}")
    return value


def positive_number(text: str) -> int:
    """An integer from 1 on, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text}")
    return value


def device_of(name: str) -> torch.device:
    """The device that --device names."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: this torch sees no GPU; use --device cpu")
    return torch.device(name)


def accepted(function: Callable[..., object], parameters: dict[str, Any]) -> dict[str, Any]:
    """Those of `parameters` that `function` takes by name: only these shape the result and are recorded."""
    known = inspect.signature(function).parameters
    return {name: value for name, value in parameters.items() if name in known}


def command_line(program: str, options: dict[str, Any]) -> str:
    """The command that gives this result again: long names, every value that matters, defaults included.

    Values that are None are left out and flags are written only where they are set.
    """
    words = ["python", "-m", program]
    for name, value in options.items():
        if value is None or value is False:
            continue
        words.append("--" + name.replace("_", "-"))
        if value is not True:
            words.append(str(value))
    return shlex.join(words)


def versions() -> str:
    """Versions of what shapes the numbers, as one line."""
    return (
        f"python {platform.python_version()}, torch {torch.__version__}, "
        f"numpy {np.__version__}, lensmetrics {lensmetrics.__version__}"
    )


def run(work: Callable[[], None]) -> int:
    """Exit status of `work`: 0, 2 with one sentence on stderr where the input is at fault, 130 on Ctrl-C."""
    try:
        work()
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "interrupted; generate goes on where it was when the same command is run again", file=sys.stderr
        )
        return 130
    return 0
