"""Labels that are too long: the names of conditions are cut before anything else is."""

import re
from collections.abc import Callable, Iterator
from functools import partial

# The name before the value of a condition, as in "attacked_explanation gradient · eps 0.1". It may have been
# cut before. Metrics begin with a capital letter, and other texts with shorter words.
_NAME = re.compile(r"(?:^|(?<= · ))[a-z_](?:\w{7,}|\w{3,}…)(?= \S)")
# Characters that stay of a name.
_LEAST = 4


def shortened(text: str, fits: Callable[[str], bool], cut: Callable[[str], str]) -> str:
    """Return a text that fits, if it can be made to.

    Parameters
    ----------
    text
        The text. It may have several parts with " · " between them.
    fits
        Whether a text is short enough.
    cut
        Cuts the middle out of a text whose names are as short as they may be. Values tell the labels of
        a figure apart, names do not.
    """
    if fits(text):
        return text
    short = text
    for short in _with_shorter_names(text):
        if fits(short):
            return short
    return cut(short)


def _with_shorter_names(text: str) -> Iterator[str]:
    """Yield the text with ever shorter names, the longest ones first."""
    longest = max(map(len, _NAME.findall(text)), default=0)
    for kept in range(longest - 2, _LEAST - 1, -1):
        yield _NAME.sub(partial(_cut, kept=kept), text)


def _cut(name: re.Match[str], kept: int) -> str:
    return name[0] if len(name[0]) <= kept + 1 else f"{name[0][:kept]}…"
