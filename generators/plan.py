"""What an explanation and an attack need to run together: their parameters, completed and checked."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .attacks import ATTACKS, Attack, published
from .commands import option
from .explanations import EXPLANATIONS, Explanation, is_differentiable

# Parameters that do not come from an option: the batch or the attack gives them.
_BOUND_LATER = ("explanation", "seeds", "differentiable", "chunk_size", "targets")
_WITHOUT_GRADIENT = ("random_sign", "random_walk")
# Options that give the explanation inside an attack fewer points or draws than the reported maps have.
INSIDE = ("n_points", "n_draws")


@dataclass(frozen=True)
class Plan:
    """An explanation and an attack with all their parameters."""

    explanation: Explanation
    reported: Mapping[str, Any]
    inside: Mapping[str, Any]
    attack: Attack
    settings: Mapping[str, Any]

    @property
    def directed(self) -> bool:
        """Whether the attack looks at maps."""
        return takes(self.attack, "explanation")

    @property
    def used(self) -> dict[str, Any]:
        """Every parameter in use, by the name it is recorded under."""
        inside = {f"attack_{name}": self.inside[name] for name in INSIDE if name in self.inside}
        return {**self.reported, **self.settings, **(inside if self.directed else {})}

    def explain(self, samples: NDArray[np.int64], *, seed: int, chunk_size: int | None) -> Explanation:
        """The explanation as it is reported, bound for these samples."""
        return self._bound(self.reported, [(seed, sample, 1) for sample in samples.tolist()], chunk_size)

    def explain_inside(self, samples: NDArray[np.int64], *, seed: int, chunk_size: int | None) -> Explanation:
        """The explanation as the attack sees it: its draws are not those of the reported maps."""
        return self._bound(self.inside, [(seed, sample, 2) for sample in samples.tolist()], chunk_size)

    def perturb(
        self,
        model: nn.Module,
        images: torch.Tensor,
        labels: torch.Tensor,
        *,
        samples: NDArray[np.int64],
        seed: int,
        chunk_size: int | None = None,
        targets: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Perturbed images; a random generator for each sample makes them independent of batches."""
        given = dict(self.settings)
        if self.directed:
            given["explanation"] = self.explain_inside(samples, seed=seed, chunk_size=chunk_size)
        if targets is not None:
            given["targets"] = targets
        randoms = [np.random.default_rng([seed, sample]) for sample in samples]
        return self.attack(model, images, labels, randoms, **given)

    def _bound(
        self, parameters: Mapping[str, Any], seeds: Sequence[Sequence[int]], chunk_size: int | None
    ) -> Explanation:
        later = {"seeds": seeds, "chunk_size": chunk_size}
        return partial(
            self.explanation,
            **parameters,
            **{name: value for name, value in later.items() if takes(self.explanation, name)},
        )


def takes(function: Callable[..., object], name: str) -> bool:
    """Whether `function` has a parameter of this name."""
    return name in inspect.signature(function).parameters


def plan(explanation: str, attack: str, *, dataset: str, model: str, given: Mapping[str, Any]) -> Plan:
    """Complete what is `given` (by parameter name, None where it is not) by published and default values.

    Raises
    ------
    ValueError
        If the attack needs a gradient that the explanation does not have, a parameter is missing, or
        one is given that means nothing here.
    """
    explain, perturb = EXPLANATIONS[explanation], ATTACKS[attack]
    if attack not in _WITHOUT_GRADIENT and not is_differentiable(explain):
        with_gradient = [name for name, function in EXPLANATIONS.items() if is_differentiable(function)]
        raise ValueError(
            f"--attack {attack} needs a gradient through the explanation, and {explanation} has none; "
            f"use random_sign or random_walk, or one of {', '.join(with_gradient)}"
        )
    known = {name: value for name, value in given.items() if value is not None}
    idle = sorted(known.keys() - meaningful(explanation, attack))
    if idle:
        raise ValueError(
            f"{option(idle[0])} means nothing for explanation {explanation} with attack {attack}; "
            "leave it out"
        )
    reported = _completed(explain, explanation, known, {})
    inside = reported | {name: known[f"attack_{name}"] for name in INSIDE if f"attack_{name}" in known}
    settings = _completed(perturb, attack, known, published(attack, dataset, model, explanation))
    return Plan(explain, reported, inside, perturb, settings)


def meaningful(explanation: str, attack: str) -> set[str]:
    """The parameters that this explanation and this attack know, by the names of their options."""
    explain, perturb = EXPLANATIONS[explanation], ATTACKS[attack]
    names = {*_parameters(explain), *_parameters(perturb)}
    if takes(perturb, "explanation"):
        names |= {f"attack_{name}" for name in INSIDE if takes(explain, name)}
    return names


def _parameters(function: Callable[..., object]) -> dict[str, inspect.Parameter]:
    found = inspect.signature(function).parameters
    return {name: p for name, p in found.items() if p.kind is p.KEYWORD_ONLY and name not in _BOUND_LATER}


def _completed(
    function: Callable[..., object], name: str, known: Mapping[str, Any], published: Mapping[str, Any]
) -> dict[str, Any]:
    """A value for each keyword of `function`: as given, as published, or its default."""
    values: dict[str, Any] = {}
    for key, parameter in _parameters(function).items():
        value = known.get(key, published.get(key, parameter.default))
        if value is parameter.empty:
            raise ValueError(f"{option(key)} must be given for {name}")
        values[key] = value
    return values


_ABOVE_ZERO = ("eps", "step_size", "beta", "beta_start", "beta_end", "learning_rate", "radius")
_FROM_ZERO = ("sigma", "map_weight", "output_weight")


def check_ranges(used: Mapping[str, Any], *, l2: bool) -> None:
    """Refuse numbers that would run for hours and give nothing, or NaN.

    Raises
    ------
    ValueError
        If a number is not finite, or not in its range.
    """
    endless = used.get("beta_start") == used.get("beta_end") == math.inf  # the network itself, no softplus
    for name in (*_ABOVE_ZERO, *_FROM_ZERO):
        value = used.get(name, 1)
        is_in_range = value > 0 if name in _ABOVE_ZERO else value >= 0
        if not is_in_range or (math.isinf(value) and not (endless and name.startswith("beta_"))):
            least = "above 0" if name in _ABOVE_ZERO else "0 or more"
            raise ValueError(f"{option(name)} must be {least} and finite, got {value}")
    if used.get("eps", 0) > 1 and not l2:
        raise ValueError(f"--eps must be at most 1, inputs being in [0, 1], got {used['eps']}")
