"""Further explanations of perturbed images: the texts of ``--also``, such as ``beta_smooth(beta=0.8)``."""

import argparse
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from .explanations import EXPLANATIONS, INDEPENDENT_DRAWS, OWN_EXPLANATION, Explanation
from .methods import (
    PATTERNS,
    check_ranges,
    check_signs,
    completed,
    explanation_text,
    parameters,
    with_base,
    with_defaults,
)
from .names import is_own, unknown
from .options import Option, flag
from .plan import Plan

# How a yes or no is written.
_SWITCH = {"true": True, "false": False, "True": True, "False": False}


def parsed(text: str) -> tuple[str, dict[str, Any]]:
    """Return the explanation that a text such as ``beta_smooth(beta=0.8)`` names, and what it sets.

    The parameters are the options of the explanation, and of its base, with _ for -.

    Raises
    ------
    ValueError
        If the text has another form, the explanation does not exist or does not take a parameter, or a value
        cannot be read.
    """
    match = re.fullmatch(r"\s*([^\s()]+)\s*(?:\((.*)\)\s*)?", text, re.DOTALL)
    if match is None:
        raise ValueError(
            f"--also {text!r} cannot be read; write a name, or for example smooth_grad(n_draws=50,sigma=0.1)"
        )
    name, inside = match.groups()
    if not is_own(name) and name not in EXPLANATIONS:
        raise ValueError(f"--also: {unknown(name, EXPLANATIONS, OWN_EXPLANATION)}")
    given: dict[str, str] = {}
    for part in inside.split(",") if inside and inside.strip() else []:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value or key in given:
            raise ValueError(
                f"--also {text!r}: {part.strip()!r} cannot be read; write each parameter once, as name=value"
            )
        given[key] = value
    with in_words_of(text):
        method, _ = with_base(name, given.get("base"))
    allowed = {option.name: option for option in (*method.options, *_switches(method))}
    for key in given:
        if key == PATTERNS and method.needs_patterns:
            raise ValueError(
                f"--also {text!r}: {key} is no parameter: --patterns FILE on the command line gives them to "
                "every explanation; remove it here"
            )
        if key not in allowed:
            takes = ", ".join(allowed) or "no parameters"
            of_base = f" of base {given.get('base', 'gradient')}" if method.bases else ""
            raise ValueError(f"--also {text!r}: {name}{of_base} has no parameter {key!r}; it takes {takes}")
    return name, {key: _value(text, allowed[key], value) for key, value in given.items()}


def needs_patterns(text: str) -> bool:
    """Return whether the explanation that a text of ``--also`` names needs patterns."""
    name, given = parsed(text)
    return with_base(name, given.get("base"))[0].needs_patterns


def _switches(method: Explanation) -> list[Option]:
    return [INDEPENDENT_DRAWS] if method.draws else []


def _value(text: str, option: Option, value: str) -> Any:
    """Return the value of a parameter, read as on the command line."""
    choices: Collection[str] | None = dict(option.arguments).get("choices")
    if dict(option.arguments).get("action") == "store_true":
        choices = _SWITCH
    if choices is not None:
        if value not in choices:
            raise ValueError(
                f"--also {text!r}: {option.name} must be one of {', '.join(choices)}, got {value!r}"
            )
        return _SWITCH.get(value, value)
    try:
        return option.parse(value) if option.parse is not None else value
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"--also {text!r}: {option.name} {error}") from None


@contextmanager
def in_words_of(text: str) -> Iterator[None]:
    """Raise an error about an explanation, or its options, as one about a text of ``--also``."""
    try:
        yield
    except ValueError as error:
        name = text.partition("(")[0].strip()
        message = str(error).replace(f"--explanation {name}", f"--also {text}")
        message = message.replace("--explanation: ", "--also ").replace("--explanation", "--also")
        for parameter in parameters():
            message = re.sub(rf"{flag(parameter)}\b", parameter, message)
        if not message.startswith("--also"):
            message = f"--also {text!r}: {message.removeprefix(f'{name}: ')}"
        raise ValueError(message) from error


def with_also(found: Plan, texts: Sequence[str], attack: str) -> Plan:
    """Return the plan with those of further explanations, each with its parameters completed and checked."""
    # An attack that looks at no map is through none: the file is that of its explanation alone.
    attacked = explanation_text(found.name, found.inside, found.defaults) if found.attack.needs_map else None
    plans: dict[str, Plan] = {}
    for text in texts:
        name, known = parsed(text)
        with in_words_of(text):
            one = replace(_explained(found, name, known, attack), attacked=attacked)
        if one.text in plans:
            raise ValueError(f"--also has {one.text} twice; give each explanation once")
        if one.text == found.text:
            raise ValueError(f"--also {text!r} is the --explanation itself, which has its file; remove it")
        plans[one.text] = one
    return replace(found, also=tuple(plans.values()))


def _explained(found: Plan, name: str, known: Mapping[str, Any], attack: str) -> Plan:
    """Return the plan with another explanation of the reported maps."""
    method, own = with_defaults(name, known)
    reported = completed(method.options, known, own, name)
    check_signs(attack, found.attack, reported)
    check_ranges(method.options, reported)
    return replace(
        found,
        name=name,
        explanation=method,
        reported=reported,
        inside=reported,
        defaults={**found.defaults, **own},
        independent_draws=known.get(INDEPENDENT_DRAWS.name, False),
    )
