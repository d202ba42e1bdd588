"""One self-contained HTML page about a table of scores."""

import itertools
import math
import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import pandas as pd

from .. import __version__
from ..disk import check_writable, replacing
from ..figures.curves import Curve, curve, lens_curves, panels_and_lines
from ..figures.svg import Shown, inline_svg
from ..metrics.registry import entries
from ..pairfile.store import PairStore
from ..statuses import STATUS
from ..tables.columns import (
    CONDITIONS,
    Column,
    condition_columns,
    distinguishing,
    metric_columns,
    parse_column,
    unified,
)
from ..tables.labels import condition_text, labelled, metric_title, number_text
from ..tables.summary import summarize, undefined_reason
from .examples import draw_examples

# What still reads well: values named in the header, panels in a figure, conditions in tables that are open.
_MAX_VALUES = 12
_MAX_PANELS = 24
_MAX_OPEN = 24


class RowHead(NamedTuple):
    """The value of a condition beside the rows that share it; no rows: it stands further up."""

    text: str
    n_rows: int


class Cell(NamedTuple):
    """A mean, its interval, and notes where not every pair of the condition counts in it, or should."""

    mean: str
    interval: str
    notes: list[str]


class Table(NamedTuple):
    """One table of the page."""

    title: str
    code: str
    text: str
    heads: list[str]
    rows: list[list[Cell]]


def write_report(
    scores: pd.DataFrame, out: Path, *, stores: Sequence[PairStore] = (), exclude: Sequence[str] = ()
) -> None:
    """Write a page about a table of scores: one HTML file that needs no other.

    Parameters
    ----------
    scores
        A table of scores.
    out
        Where the page goes. It appears whole or not at all; an older one is replaced.
    stores
        The pair files that were scored, or some of them: example pairs are drawn from these.
    exclude
        Statuses of samples to leave out, as for :func:`summarize`; the page counts them.

    Raises
    ------
    ValueError
        If the table has no column of scores, or a status cannot be left out.
    OSError
        If the page cannot be written.
    """
    check_writable(out)
    page = _page(scores, stores, exclude)
    with replacing(out) as part:
        part.write_text(page, encoding="utf-8")


def _page(scores: pd.DataFrame, stores: Sequence[PairStore], exclude: Sequence[str]) -> str:
    scores = unified(scores)
    by = sorted(distinguishing(scores), key="training".__eq__)
    summary = summarize(scores, by=by, exclude=exclude)
    kept = _without(scores, exclude)
    columns = [parse_column(text) for text in metric_columns(scores)]
    groups = [summary.iloc[i : i + len(columns)] for i in range(0, len(summary), len(columns))]
    conditions = [[condition_text(c, group[c].iloc[0]) for c in by] or ["all pairs"] for group in groups]
    after = list(map(str, summary.columns[list(summary.columns).index("ci_high") + 1 :]))
    tokens = [c.removeprefix("n_") for c in after if c != "mean_attacked"]
    examples, how_chosen = draw_examples(kept, columns, stores)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = resources.files(__package__).joinpath("page.html.jinja").read_text("utf-8")
    return environment.from_string(source).render(
        title=_title(scores),
        version=__version__,
        facts=_facts(scores, columns, len(groups)),
        excluded=list(exclude),
        attacked="mean_attacked" in summary,
        by=by or [""],
        row_heads=_row_heads(conditions),
        n_pairs=[_count(group, "n") + _count(group, "n_undefined") for group in groups],
        n_excluded=[_count(group, "n_excluded") for group in groups],
        statuses={token: STATUS.get(token, "Not a status of this version.") for token in tokens},
        status_counts=[[_count(group, f"n_{token}") for token in tokens] for group in groups],
        tables=list(_tables(columns, groups)),
        few=len(groups) <= _MAX_OPEN,
        curves=list(_curves(kept, columns)) if len(kept) else [],
        examples=examples,
        how_chosen=how_chosen,
    )


def _count(group: pd.DataFrame, name: str) -> int:
    """Return a count of the first metric of a condition, 0 where the summary has no such column."""
    return int(group[name].iloc[0]) if name in group else 0


def _without(scores: pd.DataFrame, exclude: Sequence[str]) -> pd.DataFrame:
    """Return the rows that have none of these statuses."""
    if not exclude:
        return scores
    return scores[[not set(str(status).split(";")) & set(exclude) for status in scores["status"]]]


def _title(scores: pd.DataFrame) -> str:
    if "dataset" not in scores or scores["dataset"].isna().all():
        return "Robustness of attribution maps"
    return f"Robustness of attribution maps: {_listed(scores, 'dataset')}"


def _listed(scores: pd.DataFrame, name: str) -> str:
    """Name the values of a condition in the table, not more than fit on a line or two."""
    values = scores[name].astype("category").cat.remove_unused_categories()
    texts = [condition_text(name, value) for value in values.cat.categories]
    # Parameters belong to some methods only: others lack them.
    if values.isna().any() and name in CONDITIONS and name not in ("attack_k", "attack_w"):
        texts.append(condition_text(name, None))
    rest = len(texts) - _MAX_VALUES
    return ", ".join(texts[:_MAX_VALUES]) + (f" and {rest} more" if rest > 0 else "")


def _facts(scores: pd.DataFrame, columns: Sequence[Column], n_conditions: int) -> dict[str, str]:
    def values(key: str) -> str:
        found = sorted({column.params[key] for column in columns if key in column.params})
        return ", ".join(map(str, found)) or "none"

    facts = {}
    if "file" in scores:
        facts["files"] = f"{scores['file'].nunique():,}"
    facts |= {"pairs": f"{len(scores):,}", "conditions": f"{n_conditions:,}"}
    facts["k (size of the top sets, pixels)"] = values("k")
    facts["w (half-width of the window, pixels)"] = values("w")
    return facts | {name: _listed(scores, name) for name in condition_columns(scores)}


def _row_heads(conditions: Sequence[Sequence[str]]) -> list[list[RowHead]]:
    """Join the heads of rows that follow each other and share a value and all values before it."""
    heads: list[list[RowHead]] = [[] for _ in conditions]
    for j in range(len(conditions[0])):
        rows = iter(heads)
        for shared, same in itertools.groupby(conditions, key=operator.itemgetter(slice(j + 1))):
            n_rows = len(list(same))
            for i in range(n_rows):
                next(rows).append(RowHead(shared[j], 0 if i else n_rows))
    return heads


def _tables(columns: Sequence[Column], groups: Sequence[pd.DataFrame]) -> Iterator[Table]:
    """Yield a table of all metrics without w, then one along w for every other metric."""
    known = entries()
    plain = [column for column in columns if "w" not in column.params]
    if plain:
        heads = [_with_params(metric_title(c.name), c.family[1]) for c in plain]
        text = " ".join(f"{metric_title(c.name)}: {known[c.name].summary}" for c in plain if c.name in known)
        yield Table("Metrics without a window", "", text, heads, _cells(columns, plain, groups))
    families = dict.fromkeys(column.family for column in columns if "w" in column.params)
    for name, params in families:
        members = [c for c in columns if c.family == (name, params) and "w" in c.params]
        members.sort(key=lambda column: column.params["w"])
        if name in ("lens_recall", "lens_precision") and members[0].params["w"] > 0:
            members = [c for c in columns if c.family == ("topk_intersection", params)] + members
        heads = [f"w = {c.params['w']}" if "w" in c.params else "w = 0 (top-k intersection)" for c in members]
        inside = ", ".join(f"{key}={value}" for key, value in (*params, ("w", "…")))
        yield Table(
            _with_params(metric_title(name), params),
            f"{name}({inside})",
            known[name].summary if name in known else "",
            heads,
            _cells(columns, members, groups),
        )


def _with_params(title: str, params: Sequence[tuple[str, int | float]]) -> str:
    return ", ".join([title, *(f"{key} = {value}" for key, value in params)])


def _cells(
    columns: Sequence[Column], members: Sequence[Column], groups: Sequence[pd.DataFrame]
) -> list[list[Cell]]:
    positions = [columns.index(member) for member in members]
    return [[_cell(group.iloc[position]) for position in positions] for group in groups]


def _cell(row: "pd.Series[Any]") -> Cell:
    interval = f"[{number_text(row['ci_low'])}, {number_text(row['ci_high'])}]"
    if math.isnan(row["ci_low"]):
        interval = "(no interval)" if row["n"] else ""
    notes = []
    if row["n_undefined"]:
        reason = undefined_reason(row)
        notes.append(f"n = {row['n']}, {row['n_undefined']} undefined" + (f": {reason}" if reason else ""))
    if row["n"] and row.get("n_not_attacked", 0) and "mean_attacked" in row:
        notes.append(f"{number_text(row['mean_attacked'])} without not_attacked")
    return Cell(number_text(row["mean"]), interval, notes)


def _curves(scores: pd.DataFrame, columns: Sequence[Column]) -> Iterator[Shown]:
    """Yield the curves of LENS recall and precision for every k, in figures of a readable size."""
    names = [name for name in ("lens_recall", "lens_precision") if any(c.name == name for c in columns)]
    given = [c.params.get("k") for c in columns if c.name in names]
    sizes = sorted({k for k in given if isinstance(k, int)})
    for i, (where, part) in enumerate(_parts(scores)):
        for k, name in itertools.product(sizes, names):
            found = curve(part, name, k)
            if not found.score:
                continue
            title = ", ".join([f"{metric_title(name)} against w", f"k = {k}", *where])
            caption = _curve_caption(part, found, name)
            svg = inline_svg(
                lens_curves(part, k=k, metric=name),
                prefix=f"curve-{i}-{name}-{k}",
                description=f"Line chart: {title}. {caption} The tables hold all its values.",
            )
            yield Shown(svg, title, caption)


def _parts(scores: pd.DataFrame) -> Iterator[tuple[list[str], pd.DataFrame]]:
    """Split the table by dataset and model, by explanation too where panels would be too many."""
    panels, _ = panels_and_lines(scores)
    split = [c for c in panels if c in ("dataset", "model")]
    rest = [c for c in panels if c not in split]
    if "explanation" in rest and len(scores[rest].drop_duplicates()) > _MAX_PANELS:
        split.append("explanation")
    if not split:
        yield [], scores
        return
    for key, part in scores.groupby(split, sort=True, observed=True, dropna=False):
        yield [labelled(c, value) for c, value in zip(split, key, strict=True)], part


def _curve_caption(scores: pd.DataFrame, found: Curve, name: str) -> str:
    first, second = ("perturbed", "unperturbed") if name == "lens_recall" else ("unperturbed", "perturbed")
    text = f"Each point is the mean share of {first} top-k pixels that have {second} ones within w pixels"
    text += "; at w = 0 both sets must hold the pixel (top-k intersection). " if 0 in found.score else ". "
    text += (
        "Higher is more robust; lines whose bands are apart differ by more than the choice of samples does. "
    )
    text += _left_out(scores, found)
    if not found.chance:
        return f"{text}Score {name}_chance too, and the level that a random set reaches is drawn in."
    w = max(found.chance)
    level = number_text(scores[found.chance[w]].mean())
    return (
        f"{text}Only the height above the dashed line of the same colour counts, which a random set of k "
        f"pixels would reach: {level} on average at w = {w}."
    )


def _left_out(scores: pd.DataFrame, found: Curve) -> str:
    """Name the points that are missing because a condition has no defined score there, and why."""
    by = sorted(distinguishing(scores), key="training".__eq__)
    groups: Any = scores.groupby(by, sort=True, observed=True, dropna=False) if by else [((), scores)]
    missing = []
    for key, group in groups:
        undefined = {w: text for w, text in found.score.items() if group[text].isna().all()}
        if undefined:
            where = ", ".join(labelled(c, value) for c, value in zip(by, key, strict=True)) or "all pairs"
            windows = (
                "" if len(undefined) == len(found.score) else f" at w = {', '.join(map(str, undefined))}"
            )
            statuses = group.get("status", pd.Series(dtype=str))
            counts = Counter(token for status in statuses for token in str(status).split(";"))
            row = {"metric": next(iter(undefined.values())), "n": 0}
            reason = undefined_reason(row | {f"n_{token}": n for token, n in counts.items()})
            missing.append(f"{where}{windows}" + (f" ({reason})" if reason else ""))
    return f"Not drawn, because no score is defined: {'; '.join(missing)}. " if missing else ""
