"""What parameters an explanation and an attack take."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from . import published
from .attacks import ATTACKS, Attack, attack_named
from .attacks.strong import STRONG
from .explanations import EXPLANATIONS, INDEPENDENT_DRAWS, Explanation, explanation_named
from .options import Option, flag

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


def with_defaults(explanation: str, given: Mapping[str, Any]) -> tuple[Explanation, dict[str, Any]]:
    """Return an explanation with the options of its base, and the defaults of all of them."""
    method, own = with_base(explanation, given.get("base"))
    by_form = published.BY_FORM.get(given.get("form"), {})
    return method, own | {name: value for name, value in by_form.items() if name in own}


def completed(
    options: Sequence[Option], known: Mapping[str, Any], defaults: Mapping[str, Any], name: str
) -> dict[str, Any]:
    """Return a value for each option: as given, or its default.

    Raises
    ------
    ValueError
        If it has neither; `name` is what takes the options.
    """
    values = {**defaults, **{o.name: known[o.name] for o in options if o.name in known}}
    if missing := [flag(option.name) for option in options if option.name not in values]:
        raise ValueError(f"{' and '.join(missing)} must be given for {name}")
    return {option.name: values[option.name] for option in options}


def check_signs(attack: str, perturb: Attack, reported: Mapping[str, Any]) -> None:
    """Refuse signed maps where an attack aims at maps without signs."""
    if perturb.needs_targets and reported.get("reduction", "abs_sum") != "abs_sum":
        raise ValueError(
            f"--attack {attack} makes a map without signs look like another one, so --reduction "
            f"{reported['reduction']} has no meaning for it; use --reduction abs_sum, or another --attack"
        )


def check_ranges(options: Sequence[Option], used: Mapping[str, Any]) -> None:
    """Refuse a value that is out of the range of its option."""
    for option in options:
        option.check_range(used[option.name])


def explanation_text(name: str, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Return an explanation with its parameters, in the one form that names files and is compared.

    Numbers are always written, a word such as the base or the form only where it is not the default.
    """
    shown = {
        key: value
        for key, value in values.items()
        if not isinstance(value, bool | str) or value != defaults.get(key, False)
    }
    inside = ",".join(f"{key}={_shown(value)}" for key, value in shown.items())
    return f"{name}({inside})" if inside else name


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() and value < 2**53 else str(value)
