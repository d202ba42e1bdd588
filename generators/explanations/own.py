"""An explanation of one's own, from the function that ``--explanation package.module:function`` names."""

from typing import Any

import torch
from torch import nn

from ..calls import calling, kind
from ..names import check_call, imported
from .record import Explain, Explanation

OWN_EXPLANATION = "package.module:function, which takes (model, images, labels), or captum:METHOD"
_KEYWORDS = ("differentiable", "seeds", "chunk_size")


def own_explanation(name: str) -> Explanation:
    """Return the explanation that a function of one's own gives.

    It takes ``(model, images, labels)`` and returns attributions (sample, channel, height, width), of any
    number of channels; ``differentiable``, ``seeds`` and ``chunk_size`` mean what they mean here, if it has
    these keywords.

    Raises
    ------
    ValueError
        If there is no such function, or it needs other arguments.
    """
    function = imported(name)
    taken = check_call(f"--explanation {name}", function, ("model", "images", "labels"), _KEYWORDS)
    return Explanation(
        checked(name, function),
        differentiable="differentiable" in taken,
        draws="seeds" in taken,
        chunks="chunk_size" in taken,
    )


def checked(name: str, function: Explain) -> Explain:
    """Return the function; what it returns is refused if it is no attributions of the images."""

    def explain(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, **more: Any) -> torch.Tensor:
        with torch.enable_grad():
            found: Any = calling(f"--explanation {name}", function, model, images.clone(), labels, **more)
        n_samples, _, *sides = images.shape
        is_tensor = isinstance(found, torch.Tensor)
        if is_tensor and found.ndim == 4 and (len(found), *found.shape[2:]) == (n_samples, *sides):
            result: torch.Tensor = found
            return result
        raise ValueError(
            f"--explanation {name} returned {kind(found)} for images {tuple(images.shape)}; it must return "
            "attributions of these samples, height and width, a tensor with any number of channels"
        )

    return explain


def check_alone(alone: torch.Tensor, among: torch.Tensor) -> None:
    """Refuse attributions of an image that are no numbers, or others alone than among other images.

    Rounding may switch single ReLUs, and so change a small part of the attributions.

    Raises
    ------
    ValueError
        If they are not finite, or differ by more than that.
    """
    if not torch.isfinite(alone).all():
        raise ValueError(
            "the explanation of the first image has NaN or infinite values, so no map can be compared; give "
            "a function that returns finite attributions"
        )
    if float((alone - among).abs().sum()) > 0.02 * float(among.abs().sum()):
        raise ValueError(
            "the explanation gives another map for an image alone than for the same image among others, so "
            "every map would look fragile: it mixes the samples, or draws random numbers; give a function "
            "that draws them from the keyword seeds, which has one per sample"
        )
