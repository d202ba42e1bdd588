"""Files of patterns, which lie beside the checkpoint to which they belong."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from .explanations import Patterns
from .networks import checkpoints
from .networks.words import WORDS

ENDING = ".patterns.pt"
# What a file says of the images and the weights, beside the patterns themselves.
KEYS = ("dataset", "model", "split", "shape", "checkpoint_sha256", "command", "versions")


def beside(checkpoint: str) -> Path | None:
    """Return the file of the patterns of a checkpoint; None for the weights that a word stands for."""
    return None if checkpoint in WORDS else Path(checkpoint).with_suffix(ENDING)


def save_patterns(path: Path, patterns: Patterns, facts: Mapping[str, Any]) -> None:
    """Write patterns and `facts`, a value for each of ``KEYS``, completely or not at all."""
    values = {name: value.cpu() for name, value in patterns.values.items()}
    checkpoints.write(path, {**asdict(patterns), "values": values, **{key: facts[key] for key in KEYS}})


def load_patterns(path: Path, *, checkpoint: str, sha256: str, fitting: str) -> dict[str, torch.Tensor]:
    """Return the pattern of each layer by its name, float64, from a file of ``generators.fit_patterns``.

    Parameters
    ----------
    path
        The file.
    checkpoint, sha256
        The weights to which the patterns must belong, and their hash.
    fitting
        The command that makes the file, for messages.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    ValueError
        If it is no such file, or one of other weights.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist, and pattern_attribution needs it; make it: {fitting}"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on other bytes the unpickler fails in any way
        raise ValueError(f"{path} is not a file of patterns; make one: {fitting}") from error
    values = content.get("values") if isinstance(content, dict) else None
    if not isinstance(values, dict) or not all(isinstance(value, torch.Tensor) for value in values.values()):
        raise ValueError(f"{path} is not a file of patterns; make one: {fitting}")
    if content.get("checkpoint_sha256") != sha256:
        raise ValueError(
            f"{path} has the patterns of other weights than those of {checkpoint}; move it away and make it "
            f"again: {fitting}"
        )
    return values


def refuse_other_patterns(
    path: Path, stored: Mapping[str, Any], patterns: Path | None, *, remedy: str
) -> None:
    """Refuse a finished pair file whose attributes, `stored`, name other patterns than the file holds now.

    Raises
    ------
    ValueError
        If they do.
    """
    if "patterns_sha256" not in stored:
        return
    now = checkpoints.sha256(patterns) if patterns is not None and patterns.is_file() else None
    if now != stored["patterns_sha256"]:
        raise ValueError(f"{path} was made with other patterns than {patterns} holds now; {remedy}")
