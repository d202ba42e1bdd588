"""Captum's methods by name, ``captum:NAME``, for attacks that need no gradient of the map."""

import inspect
import warnings
from typing import Any

import torch
from torch import nn
from torch.nn.functional import interpolate

from ..calls import first_line, is_memory
from ..names import unknown
from .own import checked
from .record import Explanation

PREFIX = "captum:"


def captum_explanation(name: str) -> Explanation:
    """Return the explanation that the method ``captum:NAME`` gives of the label's logit.

    Every argument has captum's default, and baselines are black. A method that attributes to a layer takes
    the last convolution, and its maps are resized to the image (bilinear). Occlusion takes a black window of
    an eighth of the image's sides over all channels, moved by half of it.

    Raises
    ------
    ValueError
        If captum is missing or has no such method, or the method needs an argument without a default.
    """
    method = _method(name.removeprefix(PREFIX))
    windows = "sliding_window_shapes" in inspect.signature(method.attribute).parameters

    def explain(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        layers = (_last_convolution(model, name),) if "layer" in _needs(method) else ()
        inputs = images.detach().clone().requires_grad_(True)
        more = _window(images) if windows else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # captum announces what it does to its arguments
            try:
                found = method(model, *layers).attribute(inputs, target=labels, **more)
            except Exception as error:  # each method has its own conditions
                if is_memory(error):
                    raise
                raise ValueError(f"{name} cannot explain this network: {first_line(error)}") from error
        found = found[0] if isinstance(found, tuple) else found
        if layers and found.shape[2:] != images.shape[2:]:
            found = interpolate(found, images.shape[2:], mode="bilinear", align_corners=False)
        result: torch.Tensor = found.detach()
        return result

    return Explanation(checked(name, explain), differentiable=False)


def _method(name: str) -> Any:
    """Return captum's class of this name.

    Raises
    ------
    ValueError
        If there is none, or it needs more than a model, a layer and a window.
    """
    try:
        from captum import attr
    except ImportError as error:
        raise ValueError(f"{PREFIX}{name} needs captum, which cannot be imported: {error}") from error
    known: dict[str, Any] = {key: value for key, value in vars(attr).items() if _is_method(value, attr)}
    if name not in known:
        raise ValueError(f"--explanation: {unknown(PREFIX + name, [PREFIX + key for key in known], '')}")
    lacks = (_needs(known[name]) - {"layer"}) | (_needs(known[name].attribute) - {"sliding_window_shapes"})
    has_target = "target" in inspect.signature(known[name].attribute).parameters
    if lacks or not has_target:
        needed = " and ".join(sorted(lacks))
        problem = f"needs {needed}, which has no default" if needed else "explains no label"
        raise ValueError(
            f"--explanation {PREFIX}{name} {problem}; write a function of (model, images, labels) that calls "
            "it, and give package.module:function"
        )
    return known[name]


def _is_method(value: Any, attr: Any) -> bool:
    is_class = inspect.isclass(value) and issubclass(value, attr.Attribution)
    return is_class and hasattr(value, "attribute") and "LLM" not in value.__name__


def _needs(function: Any) -> set[str]:
    """Return the parameters without a default, but for the model and the inputs."""
    given = ("self", "model", "forward_func", "inputs")
    starred = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.items()
    return {k for k, p in parameters if p.default is p.empty and k not in given and p.kind not in starred}


def _last_convolution(model: nn.Module, name: str) -> nn.Module:
    convolutions = [part for part in model.modules() if isinstance(part, nn.Conv2d)]
    if not convolutions:
        raise ValueError(
            f"--explanation {name} attributes to the last convolution, and the network has none; write a "
            "function of (model, images, labels) that takes another layer, and give package.module:function"
        )
    return convolutions[-1]


def _window(images: torch.Tensor) -> dict[str, Any]:
    channels, *sides = images.shape[1:]
    window = [max(1, side // 8) for side in sides]
    steps = [max(1, side // 2) for side in window]
    return {"sliding_window_shapes": (channels, *window), "strides": (channels, *steps)}
