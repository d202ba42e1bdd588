"""Names that options take: those of a table, and ``package.module:name`` for a function of one's own."""

import difflib
import importlib
import inspect
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from .calls import kind


def is_own(name: str) -> bool:
    """Return whether a name is that of a function of one's own, ``package.module:name``."""
    return ":" in name


def imported(name: str) -> Callable[..., Any]:
    """Return the function or class that ``package.module:name`` names.

    Raises
    ------
    ValueError
        If it cannot be imported, or is not callable.
    """
    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), attribute)):
        raise ValueError(
            f"{name!r} must have the form package.module:function, such as mine:{attribute or 'f'}"
        )
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the module's own code may fail in any way
        raise ValueError(f"{name}: {_why(module_name, error)}") from error
    found = getattr(module, attribute, None)
    if not callable(found):
        functions = [
            key
            for key, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) == module_name
        ]
        what = "nothing" if found is None else f"only {kind(found)}"
        raise ValueError(
            f"{module_name} has {what} called {attribute}; {_shown(attribute, functions or ['none'])}"
        )
    function: Callable[..., Any] = found
    return function


def _why(module_name: str, error: Exception) -> str:
    """Say why a module cannot be imported."""
    is_missing = isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}.")
    if not is_missing:
        return f"importing {module_name} fails with {type(error).__name__}: {error}"
    hint = f"; write {module_name[:-3]}, without .py" if module_name.endswith(".py") else ""
    return (
        f"there is no module {module_name}, neither in {Path.cwd()}, where the command runs, nor among the "
        f"installed packages{hint}"
    )


def check_call(
    name: str, function: Callable[..., Any], takes: Sequence[str], may_take: Sequence[str]
) -> set[str]:
    """Return which of the keywords `may_take` a function has.

    Parameters
    ----------
    name
        What the user calls it.
    function
        The function.
    takes
        Its positional parameters, which must be as many; their names do not matter, unless `may_take` has
        them.
    may_take
        Names of further parameters that it may have.

    Raises
    ------
    ValueError
        If it has fewer parameters, or one of `may_take` among them, or needs one that nobody gives.
    """
    parameters = list(inspect.signature(function).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = [p for p in parameters if p not in positional[: len(takes)]]
    starred = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    more = [p for p in rest if p.kind not in starred]
    needed = [p.name for p in more if p.default is p.empty and p.name not in may_take]
    has_all = len(positional) >= len(takes) or any(p.kind == p.VAR_POSITIONAL for p in rest)
    # Such a function has forgotten one, and would take the one before for another.
    moved = [(p.name, given) for p, given in zip(positional, takes, strict=False) if p.name in may_take]
    if needed or moved or not has_all:
        wanted = f"({', '.join(takes)})" if takes else "nothing"
        problem = f"has the parameters {inspect.signature(function)}"
        if moved:
            problem = f"has {moved[0][0]} where {moved[0][1]} is given"
        elif needed:
            problem = f"needs {', '.join(needed)}"
        raise ValueError(
            f"{name} {problem}; it must take {wanted}, may take {', '.join(may_take)} by keyword, and gets "
            "nothing else"
        )
    return {p.name for p in more} & set(may_take)


def unknown(name: str, known: Collection[str], own: str) -> str:
    """Return the sentence for an unknown name: those closest to it, and how to give one's own, `own`."""
    return f"{name!r} is no name; {_shown(name, known)}" + f"; for your own give {own}" * bool(own)


def _shown(name: str, known: Collection[str]) -> str:
    """Say which names are close to `name`, and all that are known if they are few."""
    close = difflib.get_close_matches(name, known, n=3)
    first = f"did you mean {' or '.join(close)}? " if close else ""
    return first + (f"known: {', '.join(known)}" if len(known) <= 20 else f"{len(known)} are known")
