"""The section of a page on the pairs about which two scores disagree most."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..tables.known import known_metrics
from ..tables.labels import column_title, labelled, metric_title, number_text
from ..tables.view import View
from .choosing import Pick
from .leading import contrasted

# Pairs listed in each direction, and those of them whose maps are shown.
_N_LISTED = 5
_N_SHOWN = 1
# Ranks of fewer pairs say little.
_FEWEST = 10


class Disagreeing(NamedTuple):
    """A pair about which two scores disagree."""

    row: int  # position in the table
    file: str
    sample: str
    condition: str
    values: list[str]  # of both scores, with their ranks


class Disagreement(NamedTuple):
    """Where two scores disagree most; a text says why there is nothing to list."""

    titles: list[str]
    text: str
    listed: list[Disagreeing]
    picks: list[Pick]


def disagreement(view: View) -> Disagreement | None:
    """Return the pairs whose ranks by two scores differ most, None if the table has no two such scores."""
    known = known_metrics(view.scores.attrs)
    pair = contrasted(view.columns, known)
    if pair is None:
        return None
    scores = [view.scores[column.text].to_numpy(dtype=np.float64) for column in pair]
    rows = np.flatnonzero(view.summary.row_counts & np.isfinite(scores[0]) & np.isfinite(scores[1]))
    titles = [column_title(column) for column in pair]
    if len(rows) < _FEWEST:
        text = f"Only {len(rows)} pairs have both scores: too few to rank."
        return Disagreement(titles, text, [], [])
    # The share of pairs whose maps agree less, with ties counted half; a distance is turned round.
    shares = []
    for column, values in zip(pair, scores, strict=True):
        rising = known[column.name].higher_is_better is not False
        ranks = pd.Series(values[rows] if rising else -values[rows]).rank().to_numpy()
        shares.append((ranks - 0.5) / len(rows))
    with np.errstate(invalid="ignore", divide="ignore"):
        agreement = float(np.corrcoef(shares[0], shares[1])[0, 1]) if np.ptp(shares, axis=1).all() else np.nan
    gap = shares[1] - shares[0]
    order = np.argsort(-gap, kind="stable")
    most = [i for i in order[:_N_LISTED].tolist() if gap[i] > 0]
    least = [i for i in np.argsort(gap, kind="stable")[:_N_LISTED].tolist() if gap[i] < 0]
    listed, picks = [], []
    for members, high, low in ((most, 1, 0), (least, 0, 1)):
        for n, i in enumerate(members):
            row = int(rows[i])
            texts = [f"{number_text(float(scores[j][row]))} ({100 * shares[j][i]:.0f} %)" for j in (0, 1)]
            listed.append(_listed(view, row, texts))
            if n < _N_SHOWN:
                title = f"{metric_title(pair[high].name)} high, {metric_title(pair[low].name)} low"
                picks.append(Pick(row, f"where scores disagree: {title}"))
    text = (
        f"The pairs are ranked by {titles[0]} and by {titles[1]}. Listed are those whose two ranks differ "
        "most, in both directions, with the share of pairs that agree less in brackets. "
    )
    if not np.isnan(agreement):
        text += f"Over all {len(rows):,} pairs, the rank correlation of the two scores is {agreement:.2f}. "
    if not listed:
        text += "Both rank every pair alike."
    return Disagreement(titles, text, listed, picks)


def _listed(view: View, row: int, values: list[str]) -> Disagreeing:
    found = view.scores.iloc[row]
    sample = str(found["sample"]) if "sample" in found else ""
    if "name" in found and not pd.isna(found["name"]):
        sample = f"{found['name']} ({sample})" if sample else str(found["name"])
    condition = ", ".join(labelled(c, found[c]) for c in view.by) or "all pairs"
    file = Path(str(found["file"])).name if "file" in found else ""
    return Disagreeing(row, file, sample, condition, values)
