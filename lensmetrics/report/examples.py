"""The pairs that a page shows: found in their files, drawn and described."""

import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..errors import FormatError
from ..figures.overlay import pair_overlay
from ..figures.svg import inline_svg
from ..metrics.registry import parse_metric
from ..pairfile.store import PairStore
from ..pairs.mappair import MapPair
from ..tables.columns import AGAINST, Column
from ..tables.labels import labelled, metric_title, number_text
from ..tables.view import View
from .choosing import Pick, pick_by_score, pick_named, pick_of_conditions
from .leading import leading_score
from .matching import match_files
from .parts import Shown, slug

_NO_SCORE = "There are none, because the table has no score to choose by: lens_recall or topk_intersection."
_NO_PAIR = "There are none, because the given pair files contain no scored pair of the table."


class Examples(NamedTuple):
    """The example pairs of a page."""

    shown: list[Shown]
    how_chosen: str  # or why there are none
    ids: dict[int, str]  # row of the table -> id of its figure
    notes: list[str]  # what whoever writes the page should know


def draw_examples(
    view: View,
    stores: Sequence[PairStore],
    *,
    per_condition: int | None = None,
    named: Sequence[str] = (),
    also: Sequence[Pick] = (),
) -> Examples:
    """Draw the pairs that were named, then some chosen by score, then others.

    Parameters
    ----------
    view
        The table of scores.
    stores
        Pair files; those that the table does not name are not used.
    per_condition
        Number of pairs of every condition; None shows some of every training regime.
    named
        Pairs to show whatever their scores, such as ``topk.h5:12``.
    also
        Further pairs to show where their maps are at hand.

    Raises
    ------
    ValueError
        If a pair is named that the table does not have, or whose maps no given file has.
    """
    rule = leading_score(view.columns)
    files, notes = _match(view.scores, stores)
    held = np.zeros(len(view.scores), np.bool_)
    if files:
        held = view.scores["file"].astype(str).isin(list(files)).to_numpy()
    wanted = pick_named(view.scores, named)
    for pick in wanted:
        if not held[pick.row]:
            raise ValueError(
                f"cannot show {pick.title!r}: no given pair file is {view.scores['file'].iloc[pick.row]}"
            )
    how = _NO_SCORE
    if per_condition == 0:
        how = "None was chosen by score, as asked."
    elif rule is not None:
        if per_condition is None:
            picks, how = pick_by_score(view, rule, held)
        else:
            picks, how = pick_of_conditions(view, rule, held, per_condition)
        how = how if picks else _NO_PAIR
        wanted = [*wanted, *picks]
    if named:
        first = "The first pair was" if len(set(named)) == 1 else f"The first {len(set(named))} pairs were"
        how = f"{first} named. {how}"
    titles: dict[int, list[str]] = {}
    for pick in [*wanted, *(pick for pick in also if held[pick.row])]:
        titles.setdefault(pick.row, []).append(pick.title)
    drawer = _Drawer(view, rule, files, figure_id(view.scores))
    shown: list[Shown] = []
    ids: dict[int, str] = {}
    for row, of_row in titles.items():
        try:
            figure = drawer.draw(row, "; ".join(dict.fromkeys(of_row)))
        except OSError as error:  # the file has gone since it was opened
            figure = f"not shown: {error}"
        if isinstance(figure, str):
            notes.append(figure)
        else:
            shown.append(figure)
            ids[row] = figure.id
    return Examples(shown, how, ids, notes)


def figure_id(scores: pd.DataFrame) -> Callable[[str, object], str]:
    """Return the function that gives the id of the figure of a pair: ``s-topk-12`` for ``topk.h5:12``.

    It does not depend on which pairs are shown. That of a pair scored against the target ends in
    ``-target``. Where files of the table have names that lead to the
    same id, a checksum of the path tells them apart.
    """
    files = list(map(str, scores["file"].unique())) if "file" in scores else []
    names = {file: slug(Path(file).name.removesuffix(".h5")) for file in files}
    n_same = Counter(names.values())
    for file, name in names.items():
        if n_same[name] > 1:
            names[file] = f"{name}-{zlib.crc32(file.encode(errors='surrogateescape')):08x}"
    # A number below 0 keeps its sign.
    return lambda file, sample: f"s-{names[str(file)]}-" + re.sub(r"[^\w.-]+", "-", str(sample))


def _match(scores: pd.DataFrame, stores: Sequence[PairStore]) -> tuple[dict[str, PairStore], list[str]]:
    """Find the store of each file in the table: by its path, or by its name if that is unique."""
    if not stores:
        return {}, []
    if "file" not in scores or "sample" not in scores:
        return {}, ["the table does not name the files of its pairs, so the page shows none of them"]
    files = [str(file) for file in scores["file"].unique()]
    of_path = {store.path: store for store in stores}
    matched = {file: of_path[path] for file, path in match_files(files, list(of_path)).items()}
    if matched or not files:
        return matched, []
    return {}, [
        "no given pair file is one of the table, so the page shows no pair of maps: the table has "
        f"{_first([Path(file).name for file in files])}; given were {_first([s.path.name for s in stores])}"
    ]


def _first(names: Sequence[str]) -> str:
    rest = len(names) - 3
    return ", ".join(names[:3]) + (f" and {rest} more" if rest > 0 else "")


class _Drawer:
    """Draws pairs of one table."""

    def __init__(
        self,
        view: View,
        rule: Column | None,
        files: dict[str, PairStore],
        id_of: Callable[[str, object], str],
    ) -> None:
        self.view, self.rule, self.files, self.id_of = view, rule, files, id_of
        params = rule.params if rule else {}
        self.k = int(params["k"]) if "k" in params else None
        self.w = int(params.get("w", 0)) if rule else 1

    def draw(self, position: int, title: str) -> Shown | str:
        """Return the figure of the pair at a position of the table, or why there is none."""
        row = self.view.scores.iloc[position]
        file = str(row["file"])
        store = self.files[file]
        places = np.flatnonzero((store.sample == row["sample"]) & store.complete)
        n_pixels = math.prod(store.shape)
        # Without a score that says so, k is 2 % of the pixels.
        k = self.k if self.k is not None else max(1, round(0.02 * n_pixels))
        if not len(places):
            return f"sample {row['sample']} is not shown: {store.path} has no such sample that is complete"
        if k > n_pixels:
            return f"sample {row['sample']} is not shown: the maps of {store.path} have fewer than {k} pixels"
        against = str(row[AGAINST]) if AGAINST in row and not pd.isna(row[AGAINST]) else "unperturbed"
        try:
            pair = store.pair(int(places[0]), against=against)
        except FormatError as error:  # another file of that name
            return f"sample {row['sample']} is not shown: {error}"
        caption = self._caption(row, store, pair, k)
        name = self.id_of(file, row["sample"]) + "-target" * (against == "target")
        svg = inline_svg(
            pair_overlay(pair, k=k, w=self.w, image=store.read_image(int(places[0]))[0], first=against),
            prefix=name,
            description=f"Maps of one pair and their top-k sets, {title}. {caption}",
        )
        return Shown(name, svg, title, caption)

    def _caption(self, row: "pd.Series[Any]", store: PairStore, pair: MapPair, k: int) -> str:
        w = self.w
        sample = f"sample {row['sample']}"
        if "label" in row and not pd.isna(row["label"]):
            sample += f" (label {row['label']})"
        if "name" in row and not pd.isna(row["name"]):
            sample += f" named {row['name']}"
        of = [*(labelled(c, row[c]) for c in self.view.conditions), sample, f"file {store.path.name}"]
        fitting = [c for c in self.view.columns if c.params.get("w", w) == w and c.params.get("k", k) == k]
        values = ", ".join(f"{metric_title(c.name)} {number_text(float(row[c.text]))}" for c in fitting)
        caption = f"{', '.join(of)}. {_reading(pair, k, w)}"
        if values:
            caption += f"Scores at k = {k}, w = {w}: {values}."
        if "status" in row and row["status"] != "ok":
            caption += f" Status: {row['status']}."
        if self.rule and not _is_close(parse_metric(self.rule.text)(pair), float(row[self.rule.text])):
            caption += " The maps in the file no longer have the score in the table: score them again."
        return caption


def _is_close(now: float, then: float) -> bool:
    return (math.isnan(now) and math.isnan(then)) or math.isclose(now, then, abs_tol=1e-6)


def _reading(pair: MapPair, k: int, w: int) -> str:
    if not pair.finite or pair.constant:
        return ""
    found = pair.overlap(k, w)
    by_chance = k * found.near_unperturbed / math.prod(pair.shape)
    return (
        f"Of the top {k} pixels of the perturbed map, {found.recalled:.0f} are in N_w(S) and "
        f"{found.common:.0f} in S itself; of {k} random pixels, {by_chance:.0f} would be in N_w(S). "
    )
