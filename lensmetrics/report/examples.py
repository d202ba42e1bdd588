"""The example pairs of the page: how they are chosen, drawn and described."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..figures.overlay import pair_overlay
from ..figures.svg import Shown, inline_svg
from ..metrics.registry import parse_metric
from ..pairfile.store import PairStore
from ..pairs.mappair import MapPair
from ..tables.columns import Column
from ..tables.labels import labelled, metric_title, number_text
from ..tables.view import View

_MAX_EXAMPLES = 12


def draw_examples(view: View, stores: Sequence[PairStore]) -> tuple[list[Shown], str]:
    """Return some pairs of every training regime, and how they were chosen or why there are none."""
    rule = _rule(view.columns)
    if rule is None:
        return (
            [],
            "There are none, because the table has no score to choose by: lens_recall or topk_intersection.",
        )
    scores = view.kept
    files = _match(scores, stores)
    held = scores["file"].astype(str).isin(list(files)) if files else np.zeros(len(scores), np.bool_)
    usable = scores[held & scores[rule.text].notna()]
    if usable.empty:
        return [], "There are none, because the given pair files contain no scored pair of the table."
    picks, how = _pick(usable, rule)
    drawn: list[Shown] = []
    for title, row in picks:
        store = files[str(row["file"])]
        position = _position(store, row, rule)
        if position is not None:
            drawn.append(_draw(view, rule, row, store, position, title, f"pair-{len(drawn)}"))
    return drawn, how


def _rule(columns: Sequence[Column]) -> Column | None:
    """Return the score to choose by: LENS recall with the smallest window of w > 0 if there is one."""
    whole = [c for c in columns if all(isinstance(value, int) for value in c.params.values())]
    recall = [c for c in whole if c.name == "lens_recall" and {*c.params} == {"k", "w"}]
    plain = [c for c in whole if c.name == "topk_intersection" and {*c.params} == {"k"}]
    recall.sort(key=lambda c: (c.params["w"] == 0, c.params["w"], c.params["k"]))
    plain.sort(key=lambda c: c.params["k"])
    return next(iter(recall + plain), None)


def _match(scores: pd.DataFrame, stores: Sequence[PairStore]) -> dict[str, PairStore]:
    """Find the store of each file in the table: by its path, or by its name if that is unique."""
    if "file" not in scores:
        return {}
    files = [str(file) for file in scores["file"].unique()]
    by_path = {store.path.resolve(): store for store in stores}
    n_files = Counter(Path(file).name for file in files)
    n_stores = Counter(store.path.name for store in stores)
    by_name = {
        store.path.name: store
        for store in stores
        if n_files[store.path.name] == 1 and n_stores[store.path.name] == 1
    }
    found = {file: by_path.get(Path(file).resolve(), by_name.get(Path(file).name)) for file in files}
    return {file: store for file, store in found.items() if store is not None}


def _pick(usable: pd.DataFrame, rule: Column) -> tuple[list[tuple[str, "pd.Series[Any]"]], str]:
    """Choose rows by their score alone; return them with their titles, and how they were chosen."""
    regimes: list[tuple[str, pd.DataFrame]] = [("all pairs", usable)]
    if "training" in usable:
        grouped = usable.groupby("training", sort=True, observed=True, dropna=False)
        regimes = [(labelled("training", value), rows) for value, rows in grouped]
    three = 3 * len(regimes) <= _MAX_EXAMPLES
    picks = []
    for regime, rows in regimes[:_MAX_EXAMPLES]:
        ranked = rows.sort_values(rule.text, kind="stable")
        last = len(ranked) - 1
        places = {last: "highest", last // 2: "median", 0: "lowest"} if three else {last // 2: "median"}
        picks += [
            (f"{regime}: {places[i]} {metric_title(rule.name)}", ranked.iloc[i]) for i in sorted(places)
        ]
    which = "the pairs with the lowest, the median and the highest" if three else "the pair with the median"
    of_each = "of each training regime " if "training" in usable else ""
    if len(regimes) > _MAX_EXAMPLES:
        of_each = f"of each of the first {_MAX_EXAMPLES} of {len(regimes)} training regimes "
    how = f"Chosen by score, not by eye: {of_each}{which} {rule.text} in the given files"
    return picks, f"{how}. Among equal scores, the first in the table is shown."


def _position(store: PairStore, row: "pd.Series[Any]", rule: Column) -> int | None:
    """Return the position of the sample in the file, None if it is gone or its maps are now smaller."""
    positions = np.flatnonzero((store.sample == row["sample"]) & store.complete)
    if not len(positions) or rule.params["k"] > math.prod(store.shape):
        return None
    return int(positions[0])


def _draw(
    view: View,
    rule: Column,
    row: "pd.Series[Any]",
    store: PairStore,
    position: int,
    title: str,
    prefix: str,
) -> Shown:
    pair = store[position]
    k, w = int(rule.params["k"]), int(rule.params.get("w", 0))
    sample = f"sample {row['sample']}"
    if "label" in row and not pd.isna(row["label"]):
        sample += f" (label {row['label']})"
    where = ", ".join(
        [
            *(labelled(c, row[c]) for c in view.conditions if c != "training"),
            sample,
            f"file {store.path.name}",
        ]
    )
    fitting = [c for c in view.columns if c.params.get("w", w) == w and c.params.get("k", k) == k]
    values = ", ".join(f"{metric_title(c.name)} {number_text(float(row[c.text]))}" for c in fitting)
    caption = f"{where}. {_reading(pair, k, w)}Scores at k = {k}, w = {w}: {values}."
    if "status" in row and row["status"] != "ok":
        caption += f" Status: {row['status']}."
    if not math.isclose(parse_metric(rule.text)(pair), float(row[rule.text]), abs_tol=1e-6):
        caption += " The maps in the file no longer have the score in the table: score them again."
    svg = inline_svg(
        pair_overlay(pair, k=k, w=w, image=store.read_image(position)[0]),
        prefix=prefix,
        description=f"Maps of one pair and their top-k sets, {title}. {caption}",
    )
    return Shown(svg, title, caption)


def _reading(pair: MapPair, k: int, w: int) -> str:
    if not pair.finite:
        return ""
    found = pair.overlap(k, w)
    by_chance = k * found.near_unperturbed / math.prod(pair.shape)
    return (
        f"Of the top {k} pixels of the perturbed map, {found.recalled:.0f} are in N_w(S) and "
        f"{found.common:.0f} in S itself; of {k} random pixels, {by_chance:.0f} would be in N_w(S). "
    )
