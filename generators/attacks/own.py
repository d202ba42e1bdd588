"""An attack of one's own, from the function that ``--attack package.module:function`` names."""

import functools
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ..calls import calling, kind
from ..names import check_call, imported
from ..published import linf_attack
from .batch import Batch, select
from .best import Found
from .record import ATTACK_K, EPS, STEP_SIZE, STEPS, Attack

OWN_ATTACK = "package.module:function, which takes (model, images, labels, randoms)"
_OPTIONS = {option.name: option for option in (EPS, STEPS, STEP_SIZE, ATTACK_K)}
# By how much float32 may round a pixel out of the ball.
_ROUNDING = 1e-6


def own_attack(name: str) -> Attack:
    """Return the attack that a function of one's own is.

    It takes ``(model, images, labels, randoms)`` and returns perturbed images in [0, 1], inside the l_inf
    ball if it takes ``eps``; those that change the label do not count. If it has the keyword ``explanation``,
    it gets the explanation under attack, a function of (model, images, labels) that takes
    ``differentiable=True`` where that has a gradient. Keywords of ``_OPTIONS`` are options of the command.

    Raises
    ------
    ValueError
        If there is no such function, or it needs other arguments.
    """
    function = imported(name)
    may_take = ("explanation", *_OPTIONS)
    taken = check_call(f"--attack {name}", function, ("model", "images", "labels", "randoms"), may_take)
    needs_map = "explanation" in taken

    @functools.wraps(function)  # the signature gives the defaults
    def attack(batch: Batch, **parameters: Any) -> tuple[Found, ...]:
        given = {**parameters, "explanation": batch.explain} if needs_map else parameters
        with torch.enable_grad():
            inputs = (batch.model, batch.images.clone(), batch.labels, batch.randoms)
            found = calling(f"--attack {name}", function, *inputs, **given)
        perturbed = _checked(name, found, batch.images, parameters)
        keeps = batch.keeps_label(perturbed) & batch.is_perturbed(perturbed)
        counts = keeps.cpu().numpy().astype(np.int32)
        return (Found(select(keeps, perturbed, batch.images), counts, counts),)

    def published(*condition: Any) -> Mapping[str, Any]:
        """Return what papers have for the dataset; a default of the function itself counts more."""
        signature = inspect.signature(function).parameters
        needed = {key for key in taken if signature[key].default is inspect.Parameter.empty}
        return {key: value for key, value in linf_attack(*condition).items() if key in needed}

    options = tuple(option for key, option in _OPTIONS.items() if key in taken)
    return Attack(attack, options, published, needs_map=needs_map, needs_gradient=False)


def _checked(name: str, found: Any, images: torch.Tensor, parameters: Mapping[str, Any]) -> torch.Tensor:
    """Return what the function returned; refuse it if it is no images of the ball."""
    if problem := _problem(found, images, parameters.get("eps", 1.0)):
        raise ValueError(f"--attack {name} returned {problem}")
    result: torch.Tensor = found.detach().to(images)
    return result.clamp(0, 1)


def _problem(found: Any, images: torch.Tensor, eps: float) -> str:
    """Return "", or what is wrong with images that an attack found, as the end of a sentence."""
    if not isinstance(found, torch.Tensor) or found.shape != images.shape:
        return f"{kind(found)}; it must return perturbed images, a tensor {tuple(images.shape)}"
    if not torch.isfinite(found).all():
        return "images with NaN or infinite pixels"
    least, most = float(found.min()), float(found.max())
    if least < -_ROUNDING or most > 1 + _ROUNDING:
        return f"pixels from {least:.4g} to {most:.4g}; they must be in [0, 1]"
    distance = float((found.to(images) - images).abs().max())
    if distance > eps + _ROUNDING:
        return f"an image that is {distance:.4g} away from its own in a pixel; --eps allows {eps:.4g}"
    return ""
