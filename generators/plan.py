"""What an explanation and an attack need to run together: their parameters, completed and checked."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .attacks import ATTACKS, Attack, Found, attack_named
from .attacks.acceptance import distinct_metrics
from .attacks.directions import check_softening
from .attacks.iterate import n_runs
from .attacks.strong import STRONG, strong_values
from .explanations import (
    EXPLANATIONS,
    INDEPENDENT_DRAWS,
    REDUCTIONS,
    Explain,
    Explanation,
)
from .methods import (
    check_ranges,
    check_signs,
    completed,
    defaults_of,
    explanation_text,
    inside_names,
    meaningful,
    with_defaults,
)
from .options import flag

# The attribute of a file whose maps are not those that were attacked.
ATTACKED = "attacked_explanation"


@dataclass(frozen=True)
class Plan:
    """An explanation and an attack with all their parameters.

    Attributes
    ----------
    name, explanation, reported, inside
        The explanation, its parameters in the reported maps, and those inside the attack.
    attack, settings
        The attack and its parameters.
    defaults
        The values that `used` would have if no option had been given.
    seed
        Seeds all draws, together with the index of the sample in its dataset.
    chunk_size
        Largest number of images in one pass of the network, for explanations by many points.
    independent_draws
        The reported map of the perturbed image has other draws than that of the unperturbed one.
    attacked
        The explanation that was attacked, with its parameters, if it is not the one that is reported.
    also
        The plans of the further explanations of the same perturbed images.
    """

    name: str
    explanation: Explanation
    reported: Mapping[str, Any]
    inside: Mapping[str, Any]
    attack: Attack
    settings: Mapping[str, Any]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    chunk_size: int | None = None
    independent_draws: bool = False
    attacked: str | None = None
    also: tuple["Plan", ...] = ()

    @property
    def used(self) -> dict[str, Any]:
        """Every parameter in use, by the name under which it is recorded."""
        names = inside_names(self.explanation.options) if self.attack.needs_map and not self.attacked else {}
        inside = {names[name]: self.inside[name] for name in names}
        return {**self.reported, **self.settings, **inside, **self._flags, **self._origin}

    @property
    def _flags(self) -> dict[str, Any]:
        return {INDEPENDENT_DRAWS.name: True} if self.independent_draws else {}

    @property
    def _origin(self) -> dict[str, Any]:
        return {ATTACKED: self.attacked} if self.attacked else {}

    @property
    def text(self) -> str:
        """The explanation with the parameters of the reported maps."""
        return explanation_text(self.name, {**self.reported, **self._flags}, self.defaults)

    @property
    def needs_patterns(self) -> bool:
        """Whether the network needs patterns for any of the explanations."""
        return any(one.explanation.needs_patterns for one in (self, *self.also))

    @property
    def reduce(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """The reduction of attributions to the reported maps; inside attacks it is always abs_sum."""
        return REDUCTIONS[self.reported.get("reduction", "abs_sum")]

    @property
    def n_reported(self) -> int:
        """The number of points or draws for one reported map; 1 if the explanation takes none."""
        return math.prod(self.reported[name] for name in inside_names(self.explanation.options))

    @property
    def n_points(self) -> int:
        """The number of points or draws for one map inside the attack; 1 if the explanation takes none."""
        return math.prod(self.inside[name] for name in inside_names(self.explanation.options))

    @property
    def acceptances(self) -> Sequence[str]:
        """The metrics that choose the best image, each for a file of its own; none if the attack has none."""
        metrics: Sequence[str] = self.settings.get("acceptance", ())
        return metrics

    def accepting(self, *metrics: str) -> "Plan":
        """Return the plan with these of its metrics alone."""
        if not metrics:
            return self
        also = tuple(one.accepting(*metrics) for one in self.also)
        return replace(self, settings={**self.settings, "acceptance": metrics}, also=also)

    def check_shape(self, shape: tuple[int, int]) -> None:
        """Refuse parameters that do not fit maps of this shape (height, width).

        Raises
        ------
        ValueError
            If a region or a number of pixels exceeds the map.
        """
        for option in (*self.explanation.options, *self.attack.options):
            if option.fits is not None:
                option.fits(self.used[option.name], shape)

    def explain(self, samples: NDArray[np.int64]) -> Explain:
        """Return the explanation of the reported maps, bound to these samples."""
        return self._bound(self.reported, [(self.seed, sample, 1) for sample in samples.tolist()])

    def explain_perturbed(self, samples: NDArray[np.int64]) -> Explain:
        """Return the same for the perturbed images, which may have draws of their own."""
        if not self.independent_draws:
            return self.explain(samples)
        return self._bound(self.reported, [(self.seed, sample, 3) for sample in samples.tolist()])

    def explain_briefly(self, samples: NDArray[np.int64]) -> Explain:
        """Return the explanation of the reported maps with one point or draw, to try whether it works."""
        few = dict.fromkeys(inside_names(self.explanation.options), 1)
        return self._bound({**self.reported, **few}, [(self.seed, sample, 1) for sample in samples.tolist()])

    def check_softening(
        self, model: nn.Module, images: torch.Tensor, labels: torch.Tensor, samples: NDArray[np.int64]
    ) -> None:
        """Refuse a softening with which these images have maps without a gradient.

        Raises
        ------
        ValueError
            See ``attacks.directions.check_softening``.
        """
        if "softening" in self.settings:
            steps, explain = self.settings["steps"], self.explain_briefly(samples)
            check_softening(model, explain, images, labels, self.settings["softening"], steps)

    def explain_inside(self, samples: NDArray[np.int64]) -> Explain:
        """Return the explanation inside the attack, whose draws are not those of the reported maps."""
        return self._bound(self.inside, [(self.seed, sample, 2) for sample in samples.tolist()])

    def perturb(
        self,
        model: nn.Module,
        images: torch.Tensor,
        labels: torch.Tensor,
        *,
        samples: NDArray[np.int64],
        targets: torch.Tensor | None = None,
        starts: tuple[torch.Tensor, ...] = (),
    ) -> tuple[Found, ...]:
        """Return what the attack finds, by each acceptance; one random generator per sample makes it
        independent of batches.
        """
        given = dict(self.settings)
        if self.attack.needs_map:
            given["explanation"] = self.explain_inside(samples)
        if self.attack.needs_targets:
            given["targets"] = targets
        randoms = [np.random.default_rng([self.seed, sample]) for sample in samples]
        return self.attack(model, images, labels, randoms, starts=starts, **given)

    def _bound(self, parameters: Mapping[str, Any], seeds: Sequence[Sequence[int]]) -> Explain:
        later: dict[str, Any] = {}
        if self.explanation.draws:
            later["seeds"] = seeds
        if self.explanation.chunks:
            later["chunk_size"] = self.chunk_size
        return partial(self.explanation, **parameters, **later)


def plan(
    explanation: str,
    attack: str,
    *,
    dataset: str,
    model: str,
    given: Mapping[str, Any],
    seed: int = 0,
    chunk_size: int | None = None,
) -> Plan:
    """Complete the parameters in `given` (None where not given) by published and default values.

    Raises
    ------
    ValueError
        If the attack needs a gradient that the explanation does not have, or a parameter is missing, out of
        range, or has no effect here.
    """
    method, own = with_defaults(explanation, given)
    perturb = attack_named(attack)
    if perturb.needs_gradient and not method.differentiable:
        without = [name for name, other in ATTACKS.items() if not other.needs_gradient]
        with_gradient = [name for name, other in EXPLANATIONS.items() if other.differentiable]
        raise ValueError(
            f"--attack {attack} needs a gradient through the explanation, and {explanation} has none; "
            f"use {', '.join(without)}, or an explanation among {', '.join(with_gradient)}"
        )
    known = {name: value for name, value in given.items() if value is not None}
    idle = sorted(known.keys() - meaningful(explanation, attack, known.get("base")))
    if idle:
        of_base = f" --base {known.get('base', own['base'])}" if method.bases else ""
        raise ValueError(
            f"{flag(idle[0])} has no effect with --explanation {explanation}{of_base} and --attack {attack}; "
            "remove it"
        )
    from_paper = perturb.published(dataset, model, explanation, known.get("base", own.get("base")))
    if "acceptance" in known:
        known["acceptance"] = distinct_metrics(known["acceptance"])
    if known.pop(STRONG.name, False):
        taken = meaningful(explanation, attack)
        strong = strong_values(_attack_k(attack, dataset, {**from_paper, **known}))
        known = {name: value for name, value in strong.items() if name in taken} | known
    is_independent = known.pop(INDEPENDENT_DRAWS.name, False)
    public = defaults_of(perturb.function, perturb.options, from_paper)
    reported = completed(method.options, known, own, explanation)
    settings = completed(perturb.options, known, public, f"{attack} (none is published for {dataset})")
    settings, public = _with_runs(settings), _with_runs(public)
    names = inside_names(method.options)
    inside = reported | {name: known[second] for name, second in names.items() if second in known}
    defaults = {**own, **public, **{second: reported[name] for name, second in names.items()}}
    check_signs(attack, perturb, reported)
    result = Plan(
        *(explanation, method, reported, inside, perturb, settings, defaults, seed, chunk_size),
        independent_draws=is_independent,
    )
    check_ranges((*method.options, *perturb.options), result.used)
    return result


def _attack_k(attack: str, dataset: str, values: Mapping[str, Any]) -> int:
    """Return the number of pixels by whose intersection --strong accepts, whatever it is if it does not."""
    if "attack_k" not in values and "acceptance" not in values:
        takes_it = any(option.name == "attack_k" for option in attack_named(attack).options)
        remedy = "--attack-k" if takes_it else '--acceptance kendall "topk_intersection(k=...)"'
        raise ValueError(
            f"--strong accepts by the intersection of the top k pixels, and no k is published for {dataset}; "
            f"give {remedy}"
        )
    k: int = values.get("attack_k", 1)
    return k


def _with_runs(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with a number of runs, by default one for each softening."""
    if "restarts" not in settings:
        return dict(settings)
    return {**settings, "restarts": n_runs(settings["softening"], settings["restarts"])}
