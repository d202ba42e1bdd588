"""Checkpoints: one dictionary per trained network, readable without running any code it holds."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .models import MODELS

KEYS = (
    "dataset",
    "model",
    "training",
    "seed",
    "epochs",
    "natural_accuracy",
    "pgd_accuracy",
    "command",
    "versions",
)


def reserve(path: Path) -> None:
    """Make the folder and an empty ``.part``: a place that cannot be written shows before hours of work.

    Raises
    ------
    OSError
        If no file can be written there.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    _partial(path).touch()


def save(path: Path, network: nn.Module, facts: dict[str, Any]) -> None:
    """Write `network` and `facts` (one value for each of ``KEYS``), whole or not at all."""
    state = {name: value.cpu() for name, value in network.state_dict().items()}
    torch.save({**{key: facts[key] for key in KEYS}, "state_dict": state}, _partial(path))
    _partial(path).replace(path)


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def load(path: Path, *, dataset: str, model: str) -> tuple[nn.Module, dict[str, Any]]:
    """The network in evaluation mode with fixed weights, and its facts with the file's ``sha256``.

    Raises
    ------
    ValueError
        If the file is no checkpoint, or was trained as another model or on another dataset.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; make it with generators.train")
    content = path.read_bytes()
    not_one = f"{path} is not a checkpoint written by generators.train"
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on bytes that are no checkpoint the unpickler fails in any way
        raise ValueError(not_one) from error
    missing = [k for k in (*KEYS, "state_dict") if not isinstance(checkpoint, dict) or k not in checkpoint]
    if missing:
        raise ValueError(f"{not_one}: it lacks {', '.join(missing)}")
    asked = {"dataset": dataset, "model": model}
    differs = [f"{k} {checkpoint[k]} and not {asked[k]}" for k in asked if checkpoint[k] != asked[k]]
    if differs:
        raise ValueError(f"{path} was trained with {', '.join(differs)}")
    network = MODELS[model]()
    try:
        network.load_state_dict(checkpoint.pop("state_dict"))
    except RuntimeError as error:
        raise ValueError(f"{path}: its weights do not fit {model} ({str(error).splitlines()[0]})") from error
    network.eval().requires_grad_(False)
    return network, {**checkpoint, "sha256": hashlib.sha256(content).hexdigest()}
