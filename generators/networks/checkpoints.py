"""Checkpoints: one dictionary per trained network, and weights from elsewhere, read without running code."""

import hashlib
import os
import re
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lensmetrics.locks import open_locked

from ..commands import make_folder, part_path
from ..datasets import DATASETS
from . import models

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
# Instead of a file: the best weights that torchvision has for the model, downloaded where they are missing.
TORCHVISION = "torchvision"

State = dict[str, torch.Tensor]


def reserve(path: Path) -> None:
    """Make the folder: a place that cannot be written shows before hours of work.

    Raises
    ------
    OSError
        If no file can be written there.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file in it")
    make_folder(path)
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{path.parent} may not be written: choose another --out")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from making `path`; the lock ends with the process, however that ends.

    Raises
    ------
    BlockingIOError
        If another process has it.
    """
    lock = path.with_name(f".{path.name}.lock")
    try:
        file, is_locked = open_locked(lock)
    except BlockingIOError as error:
        raise BlockingIOError(f"{path} is being made by another process") from error
    if not is_locked:
        print(f"{path} cannot be locked here: let no second process make it meanwhile", file=sys.stderr)
    with file:
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def save(path: Path, network: nn.Module, facts: dict[str, Any]) -> None:
    """Write `network` (as ``models.build`` made it) and `facts`, whole or not at all.

    `facts` holds one value for each of ``KEYS``, and may hold more.
    """
    state = {name: value.cpu() for name, value in network.state_dict().items()}
    write(path, {**{key: facts[key] for key in KEYS}, **facts, "state_dict": state})
    part_path(path).unlink(missing_ok=True)


def write(path: Path, content: dict[str, Any]) -> None:
    """Put `content` in place of what is at `path`, whole or not at all."""
    new = path.with_name(f".{path.name}.tmp")
    torch.save(content, new)
    new.replace(path)


def sha256(path: Path) -> str:
    """The sum of a file's bytes, which tells weights apart."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def recorded_command(path: Path) -> str | None:
    """The command that trained a checkpoint, None for weights from elsewhere."""
    return _content(path).get("command")


def load(source: Path | str, *, dataset: str, model: str) -> tuple[nn.Module, dict[str, Any]]:
    """The network, as ``models.prepare`` makes it, and what is known of its training.

    Parameters
    ----------
    source
        A checkpoint of ``generators.train``; a state dict (.pt, .pth); the same as arrays (.npz); a
        checkpoint of MadryLab/robustness, which brings its own normalisation; or the word ``torchvision``
        for the best weights it has. Weights from elsewhere are those of the torchvision model itself.
    dataset, model
        The dataset gives the number of classes; the model is a name for ``models.build``.

    Returns
    -------
    network, facts
        A checkpoint's facts, with the file's ``sha256``; of weights from elsewhere ``training`` is None and
        nothing else is known. For ``torchvision`` the sum is over the weights' bytes in the order of names.

    Raises
    ------
    ValueError
        If the file holds no weights, or those of another model or dataset.
    """
    if str(source) == TORCHVISION:
        return _load_torchvision(dataset, model)
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist; make it with generators.train, or give a file of weights or the word "
            f"{TORCHVISION}"
        )
    content = _content(path)
    network = models.build(model, DATASETS[dataset].n_classes)
    facts: dict[str, Any] = {"training": None}
    if all(key in content for key in (*KEYS, "state_dict")):
        asked = {"dataset": dataset, "model": model}
        differs = [f"{k} {content[k]} and not {asked[k]}" for k in asked if content[k] != asked[k]]
        if differs:
            raise ValueError(f"{path} was trained with {', '.join(differs)}")
        facts = {key: value for key, value in content.items() if key != "state_dict"}
        _fill(network, content["state_dict"], path, model)
    else:
        network = _with_weights(network, content, path, model)
    facts["sha256"] = sha256(path)
    return models.prepare(network), facts


def _content(path: Path) -> dict[str, Any]:
    return _read_npz(path) if path.suffix == ".npz" else _read_torch(path)


def _read_npz(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    except (zipfile.BadZipFile, zlib.error, ValueError, TypeError, EOFError, AttributeError) as error:
        raise ValueError(f"{path} cannot be read as arrays: {error}") from error


def _read_torch(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on bytes that are no checkpoint the unpickler fails in any way
        raise ValueError(
            f"{path} is not a checkpoint written by generators.train, nor one that can be read without "
            "running code in it; if you trust it, load it yourself and save its state dict with torch.save"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__} and no dictionary of weights")
    return content


def _with_weights(network: nn.Module, content: dict[str, Any], path: Path, model: str) -> nn.Module:
    """`network` with weights from elsewhere: plain, under a key, or of MadryLab/robustness."""
    wrapped = next((content[key] for key in ("state_dict", "model") if key in content), content)
    if not isinstance(wrapped, dict) or not wrapped:
        raise ValueError(f"{path} holds no weights")
    state = {str(name).removeprefix("module."): value for name, value in wrapped.items()}
    if not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(
            f"{path} is not a checkpoint written by generators.train, nor a dictionary of weights"
        )
    is_own = model in models.MODELS
    inner = network if is_own else network.get_submodule("network")
    if model.startswith("densenet"):  # files of the first torchvision releases name layers norm.1, conv.2
        state = {re.sub(r"\.(norm|conv)\.([12])\.", r".\1\2.", name): value for name, value in state.items()}
    mean, std = (state.get(f"normalizer.new_{name}") for name in ("mean", "std"))
    if mean is None or std is None:
        _fill(inner, state, path, model)
        return network
    # The attacker beside the model holds all of it a second time.
    state = {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
    _fill(inner, state, path, model)
    normalize = models.Normalize(mean.flatten().tolist(), std.flatten().tolist())
    return models.normalized(normalize, inner)


def _fill(network: nn.Module, state: State, path: Path, model: str) -> None:
    """Load `state`, all of it and nothing else, or say in one sentence what does not fit."""
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    # BatchNorm's count of batches is no weight, and older files have none.
    lacking = [name for name in expected if name not in state and not name.endswith("num_batches_tracked")]
    unknown = [name for name in state if name not in expected]
    differing = [name for name in state if name in expected and tuple(state[name].shape) != expected[name]]
    if not lacking and not unknown and differing:
        pairs = [(tuple(state[name].shape), expected[name]) for name in differing]
        classes = {(found[:1], wanted[:1]) for found, wanted in pairs}
        if len(classes) == 1 and all(found[1:] == wanted[1:] for found, wanted in pairs):
            ((found, wanted),) = classes
            raise ValueError(
                f"{path}: its weights are for {found[0]} classes and the dataset has {wanted[0]}; "
                "use weights that were trained on this dataset"
            )
    kinds = {"lacks": lacking, "has besides": unknown, "has in another shape": differing}
    faults = [f"{kind} {_some(names)}" for kind, names in kinds.items() if names]
    if faults:
        raise ValueError(f"{path}: its weights do not fit {model}: it {', '.join(faults)}")
    network.load_state_dict(state)


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _load_torchvision(dataset: str, model: str) -> tuple[nn.Module, dict[str, Any]]:
    if model in models.MODELS:
        raise ValueError(f"torchvision has no weights for {model}; train it with generators.train")
    library = models.torchvision_models()
    weights = library.get_model_weights(model).DEFAULT
    n_classes = len(weights.meta["categories"])
    if n_classes != DATASETS[dataset].n_classes:
        raise ValueError(
            f"torchvision's weights of {model} are for {n_classes} classes and {dataset} has "
            f"{DATASETS[dataset].n_classes}; use them with imagenet"
        )
    network = library.get_model(model, weights=weights)
    preset = weights.transforms()
    digest = hashlib.sha256()
    for _, value in sorted(network.state_dict().items()):
        digest.update(value.cpu().numpy().tobytes())
    network = models.normalized(models.Normalize(preset.mean, preset.std), network)
    return models.prepare(network), {"training": None, "sha256": digest.hexdigest()}
