"""Calls of functions that others wrote, which may fail in any way."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn


def calling(name: str, function: Callable[..., Any], *given: Any, **keywords: Any) -> Any:
    """Call a function of somebody's own; `name` is the option that names it.

    Raises
    ------
    ValueError
        If the function fails, with the line of its file, or leaves a network that it gets in training mode.
        Only a lack of memory is raised as it is.
    """
    try:
        found = function(*given, **keywords)
    except Exception as error:
        if is_memory(error):
            raise
        raise ValueError(
            f"{name} fails with {type(error).__name__}: {first_line(error)}{_place(error)}; set "
            "LENSMETRICS_TRACEBACK=1 to see the whole traceback"
        ) from error
    for network in given:
        if isinstance(network, nn.Module) and any(part.training for part in network.modules()):
            raise ValueError(
                f"{name} left the network in training mode, in which it would give other outputs; call "
                "model.eval() at its end, or work on a copy.deepcopy(model)"
            )
    return found


def _place(error: Exception) -> str:
    """Return the last line that was reached in the file of the function that was called."""
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first one is here
    if not frames:
        return ""
    last = [frame for frame in frames if frame.filename == frames[0].filename][-1]
    return f" ({Path(last.filename).name}, line {last.lineno})"


def first_line(error: Exception) -> str:
    """Return the first line of an error message."""
    return (str(error) or repr(error)).splitlines()[0]


def kind(value: object) -> str:
    """Say what a function returned instead of what it should: "a tensor (2, 3)", "an ndarray", "None"."""
    if isinstance(value, torch.Tensor):
        return f"a tensor {tuple(value.shape)}"
    name = type(value).__name__
    return "None" if value is None else f"a{'n' * (name[0] in 'aeiouAEIOU')} {name}"


def is_memory(error: Exception) -> bool:
    """Return whether an error says that memory is short."""
    # On the CPU torch's allocator raises a plain RuntimeError, which only its text tells from others.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)
