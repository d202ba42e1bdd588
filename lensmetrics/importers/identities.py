"""Which samples of two files belong together: their identities tell, not their positions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError

# So many samples without a partner are named in a message.
_N_LISTED = 5


@dataclass(frozen=True)
class Identities:
    """What identifies the samples of one file: int64 numbers, or an object array of texts."""

    owner: str  # whose samples they identify, in messages
    what: str  # what they are, in messages
    values: NDArray[Any]
    unit: str = ""  # of numbers that measure something, such as days

    @property
    def are_texts(self) -> bool:
        """Whether they are names, not numbers."""
        return self.values.dtype == object


@dataclass(frozen=True)
class Match:
    """Rows of two files that belong together, None for all of them in their order."""

    rows: tuple[NDArray[np.intp] | None, NDArray[np.intp] | None]
    n_left_out: tuple[int, int] = (0, 0)
    listed: str = ""  # what was left out

    def taken(self, side: int, values: NDArray[Any]) -> NDArray[Any]:
        """Return the values of one file in the order of the pairs."""
        rows = self.rows[side]
        return values if rows is None else values[rows]


IN_ORDER = Match((None, None))


def match(first: Identities, second: Identities, unmatched: str) -> Match:
    """Pair the samples of two files, in the order of the first.

    `unmatched` says what becomes of samples without a partner: "refuse" or "skip".

    Raises
    ------
    FormatError
        If one identity belongs to several samples, or samples have no partner.
    """
    if np.array_equal(first.values, second.values):
        return IN_ORDER
    for side in (first, second):
        _refuse_repeated(side, (first, second))
    where = {value: row for row, value in enumerate(second.values.tolist())}
    partners = [where.pop(value, -1) for value in first.values.tolist()]
    found = np.array(partners, dtype=np.intp)
    has_partner = found >= 0
    alone = (first.values[~has_partner].tolist(), list(where))
    sentence = "; ".join(
        f"without a partner in {side.owner.removesuffix(',')}: {_listed(values)}"
        for side, values in zip((first, second), alone, strict=True)
        if values
    )
    if any(alone) and (unmatched == "refuse" or not has_partner.any()):
        n_common = int(has_partner.sum())
        remedy = "keep the same samples in both, or leave these out with unmatched='skip'"
        if not n_common:
            remedy = "give the same samples the same identities"
        raise FormatError(
            f"{first.owner} has {len(first.values)} samples and {second.owner} has {len(second.values)}, of "
            f"which {n_common} are in both by {first.what}; {sentence}: {remedy}"
        )
    rows = np.flatnonzero(has_partner)
    return Match(
        (None if has_partner.all() else rows, found[has_partner]),
        (len(alone[0]), len(alone[1])),
        sentence,
    )


def _refuse_repeated(side: Identities, both: tuple[Identities, Identities]) -> None:
    values, counts = np.unique(side.values, return_counts=True)
    if len(values) < len(side.values):
        raise FormatError(
            f"{side.owner} holds the sample {values[counts > 1][0]} twice by {side.what}, and "
            f"{both[side is both[0]].owner} has other samples or another order, so partners cannot be told: "
            "remove the duplicates, or bring both to the same order"
        )


def _listed(values: list[Any]) -> str:
    words = ", ".join(map(str, values[:_N_LISTED]))
    return f"{words}, ... ({len(values)})" if len(values) > _N_LISTED else words
