"""The page of a study: its table, its figure and what a reader must know about the run.

Write it again from the stored CSV file, without maps:

    python -m benchmarks.studies.page benchmarks/studies/imagenet.toml
"""

import argparse
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import lensmetrics as lm
from lensmetrics.figures.style import PALETTE, RULE, STYLE
from lensmetrics.tables.columns import parse_column
from lensmetrics.tables.labels import column_title, condition_text
from lensmetrics.tables.view import View

CONDITION = ("training", "explanation", "attack", "eps")
MOVED = "top-k intersection without those that resisted"


def study_table(study: dict[str, Any], files: Sequence[Path], made: str) -> pd.DataFrame:
    """Return a row per condition: the mean of each metric, half of its interval, and facts about the run."""
    metrics = [str(metric) for metric in lm.lens_suite(study["k"], study["windows"])]
    view = View.of(lm.evaluate(files, metrics))
    summary, scores = view.summary, view.scores
    first = np.unique(summary.row_group, return_index=True)[1]
    rows = []
    for group in np.argsort(first).tolist():
        sample = scores.iloc[first[group]]
        attrs = lm.PairStore(str(sample["file"])).attrs
        cells = {name: summary.row(group, name) for name in metrics}
        topk = cells[metrics[0]]
        row = {name: sample.get(name) for name in CONDITION}
        row |= {"n": summary.n_rows[group], "resisted": topk.get("n_not_attacked", 0)}
        row |= {"steps": attrs.get("steps", 0), MOVED: topk.get("mean_attacked", topk["mean"])}
        row |= {"accuracy": attrs["natural_accuracy"]}
        row |= {"undefined": max(cell["n_undefined"] for cell in cells.values())}
        row |= {name: cell["mean"] for name, cell in cells.items()}
        row |= {f"{name} half": (cell["ci_high"] - cell["ci_low"]) / 2 for name, cell in cells.items()}
        rows.append(row | {"made": made, "versions": attrs["versions"]})
    return pd.DataFrame(rows)


def shown(study: dict[str, Any]) -> list[str]:
    """Return the metrics in the table of the page."""
    k = study["k"]
    windows = [f"lens_recall(k={k},w={w})" for w in study["windows"]]
    return [f"topk_intersection(k={k})", *windows, "kendall", "spearman"]


def title(metric: str) -> str:
    """Return the title of a metric on the page, which states k once."""
    return column_title(parse_column(metric), without=["k"])


def markdown(study: dict[str, Any], table: pd.DataFrame) -> str:
    """Return the page without its figure."""
    metrics = shown(study)
    heads = [*CONDITION, "n", "resisted", *map(title, metrics), "Top-k intersection of the others"]
    lines = [
        f"# {study['title']}",
        "",
        f"{table['made'].iloc[0]}; {table['versions'].iloc[0]}. k = {study['k']}; mean ± half of the 95 % "
        "bootstrap interval over samples.",
        "",
        "n counts correctly classified samples. A sample `resisted` if no perturbed image kept the label and "
        "changed the map: its two maps are equal and count as such in all means except the last column.",
        "",
        *study.get("notes", "").strip().splitlines(),
        "",
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * len(CONDITION) + "--:|" * (len(heads) - len(CONDITION)),
    ]
    for row in table.to_dict("records"):
        cells = [condition_text(name, row[name]) for name in CONDITION]
        cells += [str(row["n"]), str(row["resisted"])]
        cells += [f"{row[m]:.3f} ± {row[f'{m} half']:.3f}" for m in metrics]
        lines.append("| " + " | ".join([*cells, f"{row[MOVED]:.3f}"]) + " |")
    accuracies = table.groupby("training", sort=False)["accuracy"].first()
    lines += ["", "Natural accuracy: " + ", ".join(f"{t} {a:.3f}" for t, a in accuracies.items()) + "."]
    lines += ["", "All metrics: the CSV file of the same name."]
    return "\n".join(lines) + "\n"


def figure_over_eps(study: dict[str, Any], table: pd.DataFrame) -> Figure:
    """Draw top-k intersection and LENS recall over eps: a row per explanation, a column per attack."""
    explanations, attacks = table["explanation"].unique(), table["attack"].unique()
    size = (2.8 * len(attacks), 2.3 * len(explanations) + 0.6)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained", facecolor="white")
        grid = figure.subplots(len(explanations), len(attacks), sharex=True, sharey=True, squeeze=False)
        for axes_row, explanation in zip(grid, explanations, strict=True):
            for axes, attack in zip(axes_row, attacks, strict=True):
                here = (table["explanation"] == explanation) & (table["attack"] == attack)
                axes.set_title(f"{condition_text('explanation', explanation)} · {attack}", loc="left")
                _draw_lines(axes, table[here].sort_values("eps"), shown(study)[:-2])
        figure.supxlabel("eps", fontsize=9)
        figure.supylabel(f"mean share of pixels, k = {study['k']}", fontsize=9)
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=len(labels))
    return figure


def _draw_lines(axes: Axes, rows: pd.DataFrame, metrics: Sequence[str]) -> None:
    for colour, metric in zip(PALETTE, metrics, strict=False):
        axes.errorbar(
            rows["eps"],
            rows[metric],
            rows[f"{metric} half"],
            label=title(metric),
            color=colour,
            marker="o",
            markersize=3,
            capsize=2,
        )
    axes.set_ylim(0, 1)
    axes.set_xscale("log", base=2)
    axes.set_xticks(rows["eps"], [condition_text("eps", eps) for eps in rows["eps"]])
    axes.minorticks_off()
    axes.grid(axis="y", color=RULE, linewidth=0.6)


def write_page(study: dict[str, Any], table: pd.DataFrame, base: Path) -> str:
    """Write the page and, if eps differs, its figure beside `base`; return the text of the page."""
    text = markdown(study, table)
    if table["eps"].nunique() > 1:
        figure_over_eps(study, table).savefig(base.with_suffix(".png"), dpi=110)
        text += f"\n![Top-k intersection and LENS recall over eps]({base.name}.png)\n"
    base.with_suffix(".md").write_text(text, encoding="utf-8")
    return text


def read_study(path: Path) -> dict[str, Any]:
    """Return what a TOML file says of the study itself: title, k, windows and notes."""
    study: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8")).get("study", {})
    return study


def main(argv: Sequence[str] | None = None) -> None:
    """Write the page of a study again from its stored table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, metavar="FILE.toml")
    options = parser.parse_args(argv)
    base = options.study.with_suffix("")
    write_page(read_study(options.study), pd.read_csv(base.with_suffix(".csv")), base)


if __name__ == "__main__":
    main()
