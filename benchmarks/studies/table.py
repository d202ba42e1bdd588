"""The table of a study: a row for each pair file, made or not, with its scores and facts about its run.

The columns before ``n`` say what the file is; the acceptance among them if files differ in it alone.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import lensmetrics as lm
from lensmetrics.tables.columns import PROVENANCE, one_kind, skipped_attributes, unified
from lensmetrics.tables.differing import distinguishing

CONDITION = ("training", "explanation", "attack", "eps")
ACCEPTANCE = "acceptance"
# Columns about the run that a page shows.
FACTS = ("n", "not_attacked", "made", "versions", "accuracy")

Study = Mapping[str, Any]


def study_scores(study: Study, files: Iterable[Path]) -> pd.DataFrame:
    """Return the scores of those files that exist."""
    return lm.evaluate([path for path in files if path.exists()], _metrics(study))


def study_table(
    study: Study,
    files: Mapping[Path, Mapping[str, Any]],
    scores: pd.DataFrame,
    made: str,
    networks: Mapping[Path, Mapping[str, Any]] | None = None,
) -> pd.DataFrame:
    """Return a row per pair file: mean, half interval and mean without not_attacked of each metric.

    `files` gives the condition of each file; n is 0 where the file does not exist. A file's own attributes
    come before that condition. `networks` gives facts about the network of a file. Differences are those of a
    condition from the first one of the same training, explanation, attack and eps, paired by sample; the
    files compared are those of `worst_case`.
    """
    metrics = _metrics(study)
    stores = {path: lm.PairStore(path) for path in files if path.exists()}
    attrs = {path: stores[path].attrs if path in stores else dict(files[path]) for path in files}
    summary = lm.summarize(scores, by="file").set_index(["file", "metric"])
    settings = _settings(attrs)
    rows = []
    for path, setting in zip(files, settings.to_dict("records"), strict=True):
        row = setting | {"n": 0, "start_eps": attrs[path].get("start_eps"), "made": made}
        row |= (networks or {}).get(path, {})
        if path in stores:
            cells = {metric: summary.loc[(str(path), metric)] for metric in metrics}
            row |= _facts(stores[path], cells)
            row |= _statistics(cells)
        rows.append(row)
    table = pd.DataFrame(rows)
    return table.join(_differences(table, scores, list(map(str, files)), shown(study)))


def _metrics(study: Study) -> list[str]:
    return [str(metric) for metric in lm.lens_suite(study["k"], study["windows"])]


def shown(study: Study) -> list[str]:
    """Return the metrics in the table of the page."""
    k = study["k"]
    windows = [f"lens_recall(k={k},w={w})" for w in study["windows"]]
    return [f"topk_intersection(k={k})", *windows, "kendall", "spearman"]


def main_metrics(study: Study) -> list[str]:
    """Return the metrics of which the page shows differences: the first and the first of ranks."""
    return [metric for metric in shown(study) if "w=" not in metric][:2]


def setting_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns by which conditions of the same training, explanation, attack and eps differ."""
    before = table.columns[: table.columns.get_loc("n")]
    return [name for name in before if name not in (*CONDITION, ACCEPTANCE)]


def conditions(table: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Yield the rows of each condition, one for each acceptance."""
    for _, rows in table.groupby([*CONDITION, *setting_columns(table)], sort=False, dropna=False):
        yield rows


def worst_case(rows: pd.DataFrame, metric: str) -> Any:
    """Return the label of the row of a condition whose acceptance left the least of a metric."""
    means = rows[metric] if metric in rows else pd.Series(np.nan, rows.index)
    return rows.index[0] if means.isna().all() else means.idxmin()


def _settings(attrs: Mapping[Path, Mapping[str, Any]]) -> pd.DataFrame:
    """Return a row per file: the condition, and every other setting without which two files would agree."""
    names = dict.fromkeys(name for found in attrs.values() for name in found)
    names = dict.fromkeys([*CONDITION, *names])
    left_out = {*PROVENANCE, *skipped_attributes(names)}
    columns = {n: one_kind([found.get(n) for found in attrs.values()]) for n in names if n not in left_out}
    frame = unified(pd.DataFrame({"file": list(map(str, attrs)), **columns}))
    more = [name for name in distinguishing(frame) if name not in CONDITION]
    return frame[[*CONDITION, *more]].astype(object)


def _facts(store: lm.PairStore, cells: Mapping[str, Any]) -> dict[str, Any]:
    """Return what happened in the run that made a file."""
    any_cell = next(iter(cells.values()))
    stored = store.header.columns
    change = stored.perturbation_l2 if store.attrs.get("eps_norm") == "l2" else stored.perturbation_linf
    counts = {name: int(any_cell.get(f"n_{name}", 0)) for name in ("not_attacked", "label_changed")}
    return {
        "n": len(store),
        **counts,
        "identical": int(any_cell.get("n_identical", 0)),
        "undefined": max(int(cell["n_undefined"]) for cell in cells.values()),
        "steps": store.attrs.get("steps", 0),
        "perturbation": np.nan if change is None else float(change.mean()),
        "accuracy": store.attrs.get("natural_accuracy", np.nan),
        "pgd_accuracy": store.attrs.get("pgd_accuracy", np.nan),
        "versions": store.attrs.get("versions"),
    }


def _statistics(cells: Mapping[str, Any]) -> dict[str, float]:
    found = {metric: cell["mean"] for metric, cell in cells.items()}
    found |= {f"{metric} half": (cell["ci_high"] - cell["ci_low"]) / 2 for metric, cell in cells.items()}
    return found | {f"{m} attacked": cell.get("mean_attacked", cell["mean"]) for m, cell in cells.items()}


def _differences(
    table: pd.DataFrame, scores: pd.DataFrame, files: Sequence[str], metrics: Sequence[str]
) -> pd.DataFrame:
    """Return, for each row of a condition but the first of its place, the difference from that one."""
    found: dict[Any, dict[str, float]] = {}
    for _, place in table[table["n"] > 0].groupby(list(CONDITION), sort=False, dropna=False):
        first, *others = conditions(place)
        for rows in others:
            for metric in metrics:
                pair = [files[worst_case(part, metric)] for part in (first, rows)]
                (row,) = lm.compare(
                    scores[scores["file"].isin(pair)], "file", pair, by=[], metrics=metric
                ).to_dict("records")
                half = (row["ci_high"] - row["ci_low"]) / 2
                for label in rows.index:
                    found.setdefault(label, {}).update(
                        {f"{metric} difference": row["difference"], f"{metric} difference half": half}
                    )
    return pd.DataFrame.from_dict(found, orient="index", dtype=np.float64)
