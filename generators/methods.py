"""What parameters an explanation and an attack take."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .attacks import ATTACKS, attack_named
from .attacks.strong import STRONG
from .explanations import EXPLANATIONS, INDEPENDENT_DRAWS, Explanation, explanation_named
from .options import Option

# The option that names a file of patterns; they belong to the network, not to a parameter.
PATTERNS = "patterns"


def inside_names(options: Iterable[Option]) -> dict[str, str]:
    """Return the parameters that may differ inside the attack, each with the name of its second option."""
    return {option.name: option.inside[0] for option in options if option.inside}


def meaningful(explanation: str, attack: str, base: str | None = None) -> set[str]:
    """Return the parameters that this explanation and this attack take, by the names of their options.

    If the explanation smooths another one, those of this `base` (None: the default one) are among them.
    """
    method, _ = with_base(explanation, base)
    perturb = attack_named(attack)
    names = {option.name for option in (*method.options, *perturb.options)}
    if "acceptance" in names:
        names.add(STRONG.name)
    if method.needs_patterns:
        names.add(PATTERNS)
    if method.draws:
        names.add(INDEPENDENT_DRAWS.name)
    return names | set(inside_names(method.options).values()) if perturb.needs_map else names


def parameters() -> dict[str, Option]:
    """Return every option of an explanation or an attack, by name, in the order of ``--help``."""
    of_explanations = [option for method in EXPLANATIONS.values() for option in method.options]
    of_attacks = [option for attack in ATTACKS.values() for option in attack.options]
    second = [
        Option(*option.inside, parse=option.parse) for option in of_explanations if option.inside is not None
    ]
    found: dict[str, Option] = {}
    for option in (*of_explanations, INDEPENDENT_DRAWS, *of_attacks, *second, STRONG):
        found.setdefault(option.name, option)
    return found


def with_base(name: str, base: str | None) -> tuple[Explanation, dict[str, Any]]:
    """Return an explanation with the options of the one that it smooths as well, and all their defaults."""
    method = explanation_named(name)
    own = defaults_of(method.function, method.options, {})
    smoothed = method.bases.get(base or own.get("base", ""))
    if smoothed is None:
        return method, own
    own |= defaults_of(smoothed.function, smoothed.options, {})
    options = (*method.options, *smoothed.options)
    return replace(method, options=options, needs_patterns=smoothed.needs_patterns), own


def defaults_of(
    function: Callable[..., object], options: Sequence[Option], published: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the published value of each option, or the default of the function, where there is one."""
    signature = inspect.signature(function).parameters
    found = {o.name: published.get(o.name, signature[o.name].default) for o in options}
    return {name: value for name, value in found.items() if value is not inspect.Parameter.empty}
