"""Notes that help to read the summary of a table of scores."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..messages import say

if TYPE_CHECKING:
    import pandas as pd

    from ..pairfile.store import PairStore

# Number of pairs to read again where the scores do not determine the level of chance.
_N_READ_AGAIN = 20


def note_what_else_differs(scores: "pd.DataFrame", shown: Sequence[str]) -> None:
    """Name the conditions that differ and that a summary by the columns `shown` leaves out."""
    from ..tables.columns import unified
    from ..tables.differing import differing

    others = [name for name in differing(unified(scores)) if name not in shown]
    if others:
        one = len(others) == 1
        differs, them = ("differs too, but it is", "it") if one else ("differ too, but they are", "them")
        say(f"lensmetrics: {', '.join(others)} {differs} decided by {', '.join(shown)}: --by shows {them}")


def note_pooling(scores: "pd.DataFrame") -> None:
    """Print a note if files with the same conditions share a row of the summary."""
    from ..tables.sharing import pooling_text

    if text := pooling_text(scores):
        say(f"lensmetrics: {text}: tell them apart with lensmetrics set, or use summarize --by file")


def note_chance(
    scores: "pd.DataFrame",
    k: int,
    windows: Sequence[int],
    stores: "Mapping[str, PairStore]",
    against: str,
) -> None:
    """Print a note for every map size and window where random pixels reach a recall above one half.

    `stores` are the files of the table by their names in it, whose maps were scored `against` others.
    """
    shape_of = scores["file"].astype(str).map({file: store.shape for file, store in stores.items()})
    for shape in dict.fromkeys(shape_of):
        height, width = shape
        rows = scores[shape_of == shape]
        for w in dict.fromkeys(windows):
            level = _chance_level(rows, k, w, stores, against)
            if level > 0.5:
                say(
                    f"lensmetrics: k={k} is {100 * k / (height * width):.0f} % of {height}x{width}: at w={w} "
                    f"random pixels reach a recall of {f'{level:.2f}'.removeprefix('0')}"
                )


def _chance_level(
    scores: "pd.DataFrame", k: int, w: int, stores: "Mapping[str, PairStore]", against: str
) -> float:
    """Return the mean recall of random pixels; NaN where no pair has scores.

    It follows from raw and adjusted recall, except for pairs whose recall is 1: some of these are
    read again.
    """
    import numpy as np

    from ..metrics.chance import lens_recall_chance

    raw, adjusted = (scores[f"{name}(k={k},w={w})"] for name in ("lens_recall", "lens_recall_adjusted"))
    scored = raw.notna()
    # A saturated pair has no adjusted value: chance is 1 there.
    level = np.where(adjusted.isna(), 1.0, (raw - adjusted) / (1 - adjusted).where(adjusted < 1))[scored]
    perfect = scores[scored & (adjusted == 1)]
    if len(perfect):
        positions = scores.groupby("file", observed=True).cumcount()[perfect.index]
        some = np.linspace(0, len(perfect) - 1, min(len(perfect), _N_READ_AGAIN)).astype(int)
        found = [
            lens_recall_chance(
                stores[str(perfect["file"].iloc[i])].pair(int(positions.iloc[i]), against=against), k=k, w=w
            )
            for i in some.tolist()
        ]
        level[np.isnan(level)] = np.mean(found)
    return float(level.mean()) if len(level) else float("nan")
