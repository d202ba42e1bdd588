"""Checkpoints of trained networks, and weights from elsewhere, read without running code in them."""

import hashlib
import os
import re
import shlex
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..datasets import described
from ..disk import make_folder, part_path
from ..names import is_own
from ..options import flag
from . import models
from .activations import prepare
from .words import FACTORY, TORCHVISION, WORDS

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
# The settings that distinguish checkpoints; those of early versions do not have them.
IDENTITY = "identity"
# What early versions say in their command.
_SAID: Mapping[str, Callable[[str], Any]] = {
    "samples": int,
    "accuracy_samples": int,
    "image_size": int,
    "batch_size": int,
    "learning_rate": float,
}

State = dict[str, torch.Tensor]


def check_checkpoint_target(path: Path) -> None:
    """Make the folder of `path` and check that it can be written to, before hours of work.

    Raises
    ------
    OSError
        If no file can be written there.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file in it")
    make_folder(path)
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{path.parent} cannot be written to: choose another --out")


def save(path: Path, network: nn.Module, facts: dict[str, Any]) -> None:
    """Write `network` (as ``models.build`` returned it) and `facts`, completely or not at all.

    `facts` has a value for each of ``KEYS`` and may have more.
    """
    state = {name: value.cpu() for name, value in network.state_dict().items()}
    write(path, {**{key: facts[key] for key in KEYS}, **facts, "state_dict": state})
    part_path(path).unlink(missing_ok=True)


def write(path: Path, content: dict[str, Any]) -> None:
    """Replace the file at `path` by `content`, completely or not at all."""
    new = path.with_name(f".{path.name}.tmp")
    torch.save(content, new)
    new.replace(path)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def identity(path: Path) -> Mapping[str, Any]:
    """Return the settings that distinguish a checkpoint from others, as far as it names them."""
    content = _content(path)
    if IDENTITY in content:
        found: Mapping[str, Any] = content[IDENTITY]
        return found
    names = ("dataset", "model", "training", "seed", "epochs", "batch_size", "learning_rate")
    stored: dict[str, Any] = {name: content[name] for name in names if name in content}
    stored |= content.get("settings", {})
    # Early versions say only in their command whether a number of samples was given, and the image size;
    # the first ones also how they were trained.
    words = shlex.split(content.get("command", ""))
    said = {name: words[words.index(flag(name)) + 1] for name in _SAID if flag(name) in words}
    parsed: dict[str, Any] = {name: _SAID[name](text) for name, text in said.items()}
    return {**dict.fromkeys(("samples", "accuracy_samples", "image_size")), **parsed, **stored}


class _OtherClasses(ValueError):
    """Weights for another number of classes, `found`."""

    def __init__(self, message: str, found: int) -> None:
        super().__init__(message)
        self.found = found


def load(
    source: Path | str, *, dataset: str, model: str, data: Path = Path()
) -> tuple[nn.Module, dict[str, Any]]:
    """Return the network, prepared by ``activations.prepare``, and what is known of its training.

    Parameters
    ----------
    source
        A checkpoint of ``generators.train``; a state dict (.pt, .pth), also as arrays (.npz); a checkpoint of
        MadryLab/robustness, which contains its own normalization; or the word ``torchvision`` for its best
        weights, ``factory`` for those of one's own model. Weights from elsewhere name the layers as
        torchvision's model does, or one's own.
    dataset, model
        The dataset determines the number of classes; the model is a name for ``models.build``.
    data
        The folder of the data, of which the dataset is a folder if it is one's own.

    Returns
    -------
    network, facts
        The facts of a checkpoint with the ``sha256`` of the file. For weights from elsewhere ``training`` is
        None and nothing else is known; without a file the hash covers the weights in the order of names.

    Raises
    ------
    ValueError
        If the file has no weights, or those of another model or dataset.
    """
    classes = described(dataset, data)
    if str(source) in WORDS:
        network, digest = WORDS[str(source)](model, dataset, classes)
        return prepare(network), {"training": None, "sha256": digest}
    path = Path(source)
    if not path.is_file():
        word = FACTORY if is_own(model) else TORCHVISION
        raise FileNotFoundError(
            f"{path} does not exist; make it with generators.train, or give a file of weights, or the word "
            f"{word}"
        )
    try:
        return _load_file(path, dataset, model, classes.n_classes)
    except _OtherClasses as error:
        if not classes.fits(error.found):
            raise
        return _load_file(path, dataset, model, error.found)


def _load_file(path: Path, dataset: str, model: str, n_classes: int) -> tuple[nn.Module, dict[str, Any]]:
    content = _content(path)
    network = models.build(model, n_classes)
    facts: dict[str, Any] = {"training": None}
    if _is_checkpoint(content):
        _check_same(path, content, dataset=dataset, model=model)
        facts = {key: value for key, value in content.items() if key != "state_dict"}
        _fill(network, content["state_dict"], path, model)
    else:
        network = _with_weights(network, content, path, model)
    facts["sha256"] = sha256(path)
    return prepare(network), facts


def begin_from(path: Path, network: nn.Module, *, dataset: str, model: str) -> None:
    """Give `network`, as ``models.build`` returned it, the weights of a checkpoint of ``generators.train``.

    Raises
    ------
    ValueError
        If the file is none, or one of another model or dataset.
    """
    content = _content(path)
    if not _is_checkpoint(content):
        raise ValueError(
            f"{path} is not a checkpoint of generators.train, which --init needs; let a --model "
            "package.module:factory of your own load other weights, and remove --init"
        )
    _check_same(path, content, dataset=dataset, model=model)
    _fill(network, content["state_dict"], path, model)


def _is_checkpoint(content: Mapping[str, Any]) -> bool:
    return all(key in content for key in (*KEYS, "state_dict"))


def _check_same(path: Path, content: Mapping[str, Any], **asked: str) -> None:
    differs = [
        f"{name} {content[name]}, not {value}" for name, value in asked.items() if content[name] != value
    ]
    if differs:
        raise ValueError(f"{path} was trained with {' and '.join(differs)}")


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
    except Exception as error:  # on other bytes the unpickler fails in any way
        raise ValueError(
            f"{path} is not a checkpoint of generators.train, nor can it be read without running code in it; "
            "if you trust it, load it yourself and save its state dict with torch.save"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} contains a {type(content).__name__}, not a dictionary of weights")
    return content


def _with_weights(network: nn.Module, content: dict[str, Any], path: Path, model: str) -> nn.Module:
    """Return `network` with weights from elsewhere: plain, under a key, or of MadryLab/robustness."""
    wrapped = next((content[key] for key in ("state_dict", "model") if key in content), content)
    if not isinstance(wrapped, dict) or not wrapped:
        raise ValueError(f"{path} contains no weights")
    state = {str(name): value for name, value in wrapped.items()}
    if not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"{path} is neither a checkpoint of generators.train nor a dictionary of weights")
    inner = network if model in models.MODELS else network.get_submodule("network")
    if not state.keys() <= inner.state_dict().keys():  # DataParallel puts this before all names
        state = {name.removeprefix("module."): value for name, value in state.items()}
    if model.startswith("densenet"):  # early torchvision releases name layers norm.1, conv.2
        state = {re.sub(r"\.(norm|conv)\.([12])\.", r".\1\2.", name): value for name, value in state.items()}
    mean, std = (state.get(f"normalizer.new_{name}") for name in ("mean", "std"))
    if mean is None or std is None or is_own(model):
        _fill(inner, state, path, model)
        return network
    # The attacker in the file contains the model a second time.
    state = {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
    _fill(inner, state, path, model)
    normalize = models.Normalize(mean.flatten().tolist(), std.flatten().tolist())
    return models.normalized(normalize, inner)


def _fill(network: nn.Module, state: State, path: Path, model: str) -> None:
    """Load `state` if it has every weight and no other, or say in one sentence what does not fit."""
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    # BatchNorm's count of batches is not a weight, and older files do not have it.
    lacking = [name for name in expected if name not in state and not name.endswith("num_batches_tracked")]
    unknown = [name for name in state if name not in expected]
    differing = [name for name in state if name in expected and tuple(state[name].shape) != expected[name]]
    if not lacking and not unknown and differing:
        pairs = [(tuple(state[name].shape), expected[name]) for name in differing]
        classes = {(found[:1], wanted[:1]) for found, wanted in pairs}
        if len(classes) == 1 and all(found[1:] == wanted[1:] for found, wanted in pairs):
            ((found, wanted),) = classes
            message = f"its weights are for {found[0]} classes, but the dataset has {wanted[0]}"
            raise _OtherClasses(f"{path}: {message}; use weights trained on this dataset", found[0])
    kinds = {"missing": lacking, "unexpected": unknown, "shape mismatch": differing}
    faults = [f"{kind}: {_some(names)}" for kind, names in kinds.items() if names]
    if faults:
        raise ValueError(f"{path}: its weights do not fit {model} ({'; '.join(faults)})")
    network.load_state_dict(state)


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
