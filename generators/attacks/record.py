"""An attack with its options, its published values and what it needs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .. import published
from ..explanations import Explain
from ..networks.smoothness import check_not_linear, check_softened
from ..options import Option, positive_integer
from ..softening import Softening, as_attribute, softening
from .acceptance import ACCEPTANCE, check_fit
from .batch import Batch, Randoms
from .best import Found

# (dataset, model, explanation, the one that it smooths) -> published parameters by name
Published = Callable[[str, str, str, str | None], Mapping[str, Any]]


@dataclass(frozen=True)
class Attack:
    """An attack and what it needs; called, it perturbs images.

    Attributes
    ----------
    function
        Takes a ``Batch`` and its options by keyword, and returns perturbed images.
    options
        Its parameters, one for each keyword of the function other than ``targets``; those without a default
        there must be given if nothing is published.
    published
        Returns published values of its parameters; names that are not parameters are ignored.
    norm
        The norm of its ball.
    needs_map
        It looks at maps, so it needs the explanation.
    needs_gradient
        It needs the gradient of the maps.
    needs_targets
        It takes ``targets``, a map to aim at for each sample (sample, height, width).
    """

    function: Callable[..., tuple[Found, ...]]
    options: tuple[Option, ...]
    published: Published = published.linf_attack
    norm: str = "linf"
    needs_map: bool = True
    needs_gradient: bool = True
    needs_targets: bool = False

    @property
    def takes_starts(self) -> bool:
        """Whether it chooses among steps in a ball, so that it can start from images of a smaller one."""
        return {"eps", "steps", "acceptance"} <= {option.name for option in self.options}

    def __call__(
        self,
        model: nn.Module,
        images: torch.Tensor,
        labels: torch.Tensor,
        randoms: Randoms,
        *,
        explanation: Explain | None = None,
        starts: tuple[torch.Tensor, ...] = (),
        **parameters: Any,
    ) -> tuple[Found, ...]:
        """Return perturbed images in [0, 1], by each acceptance."""
        self.check(model, images, parameters)
        return self.function(Batch(model, images, labels, randoms, explanation, starts), **parameters)

    def check(self, model: nn.Module, images: torch.Tensor, parameters: Mapping[str, Any]) -> None:
        """Refuse a network that stays piecewise linear, unless the attack takes it as it is.

        Raises
        ------
        ValueError
            See ``networks.smoothness.check_softened``; or if the network is linear.
        """
        if self.needs_gradient and any(beta != math.inf for beta in parameters.get("softening", (1.0,))):
            check_softened(model, images)
            check_not_linear(model, images)


_DEFAULT = "default: as published for attack and dataset"
EPS = Option(
    "eps", f"radius of the ball around images in [0, 1]; 8/255 may be written; {_DEFAULT}", above=0, most=1
)
STEPS = Option("steps", f"number of steps; {_DEFAULT}", positive_integer)
STEP_SIZE = Option("step_size", f"length of a step; {_DEFAULT}", above=0)


def _fits(attack_k: int, shape: tuple[int, int]) -> None:
    n_pixels = shape[0] * shape[1]
    if attack_k > n_pixels:
        raise ValueError(f"--attack-k must be at most {n_pixels} (the number of pixels), got {attack_k}")


def _distinct(items: Sequence[Softening]) -> None:
    for item in items:
        if items.count(item) > 1:
            shown = as_attribute([item])
            raise ValueError(f"--softening has {shown} twice, for two equal runs; give each value once")


ATTACK_K = Option(
    "attack_k",
    f"number of pixels that topk, topk_lens and l2_topk attack; {_DEFAULT}",
    positive_integer,
    fits=_fits,
)
ACCEPTANCE_METRIC = Option(
    "acceptance",
    f"metric that chooses the best iterate: {', '.join(ACCEPTANCE)}, with parameters; default: kendall",
    str,
    fits=check_fit,
    arguments=(("nargs", "+"), ("metavar", "METRIC")),
)
RESTARTS = Option(
    "restarts",
    "number of runs: one with each softening starts at the image, others start at random points; default: "
    "one with each softening",
    positive_integer,
)
SOFTENING = Option(
    "softening",
    "beta of the softplus that stands for ReLU where attacks look for a direction: a number, 10:100 for one "
    "that grows with the steps, or inf for ReLU itself; several take a run each, of which the best image is "
    "kept, but target_map takes one; default: as published, which is 1 but for target_map",
    softening,
    check=_distinct,
    arguments=(("nargs", "+"), ("metavar", "BETA")),
)
WALK = (EPS, STEPS, STEP_SIZE, ACCEPTANCE_METRIC)
RUNS = (SOFTENING, RESTARTS)
