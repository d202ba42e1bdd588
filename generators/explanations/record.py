"""An explanation with its options and the keywords that its function takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ..options import Option

# (model, images, labels, *, parameters by keyword) -> signed attributions
Explain = Callable[..., torch.Tensor]


@dataclass(frozen=True)
class Explanation:
    """An explanation and what it needs; called, it calls its function.

    Attributes
    ----------
    function
        Takes ``(model, images, labels)`` and the keywords named here.
    options
        Its parameters, one for each further keyword of the function.
    differentiable
        The function takes the keyword ``differentiable``: attacks can take its gradient.
    draws
        The function takes the keyword ``seeds``: it is an average over random points.
    chunks
        The function takes the keyword ``chunk_size``.
    ends_with_images
        The last pass through the network ends with the images themselves, so its logits are theirs.
    needs_patterns
        The network must have patterns (see ``patterns``).
    bases
        Explanations of which one, by its keyword ``base``, is smoothed: the function passes the options of
        that one on to it.
    """

    function: Explain
    options: tuple[Option, ...] = ()
    differentiable: bool = True
    draws: bool = False
    chunks: bool = False
    ends_with_images: bool = False
    needs_patterns: bool = False
    bases: Mapping[str, "Explanation"] = field(default_factory=dict)

    def __call__(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, **parameters: Any
    ) -> torch.Tensor:
        """Return signed attributions of the shape of `images`.

        Raises
        ------
        ValueError
            If they are to be differentiable, and cannot be.
        """
        if parameters.get("differentiable") and not self.differentiable:
            raise ValueError(
                "the attack asks for maps with a gradient (differentiable=True), which this explanation does "
                "not give; choose another --explanation, or another --attack"
            )
        return self.function(model, images, labels, **parameters)
