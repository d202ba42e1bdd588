"""Choose one of the arrays that a file holds."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import FormatError

_N_NAMED = 12


def chosen(path: Path, names: Sequence[str], role: str, wanted: str | None, *, has_each: bool = True) -> str:
    """Return the name asked for, else the only one, else the one that is called like the role.

    `has_each` says whether all arrays can be taken as the samples, with the name ``*``.
    """
    if not names:
        raise FormatError(f"{path} holds no array of numbers: save the maps in it")
    if wanted is None and len(names) == 1:
        return names[0]
    name = role if wanted is None else wanted
    if name in names:
        return name
    if names == [""]:
        raise ValueError(f"{path} holds one array without a name, not '{name}': leave the name out")
    listed = ", ".join(names[:_N_NAMED]) + (", ..." if len(names) > _N_NAMED else "")
    each = f"; if each is one sample, all of them: '{path}:*'" if has_each and wanted is None else ""
    raise ValueError(
        f"{path} has no array '{name}'; it has {len(names)}: {listed}; name one: {path}:NAME{each}"
    )
