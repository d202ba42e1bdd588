"""Run a study: make its files, score them, write its table and its picture beside its TOML.

What exists already is kept, so that the command can be interrupted and repeated.

Example: ``python -m benchmarks.studies.run benchmarks/studies/fashion_mnist.toml --jobs 2``
"""

import argparse
import datetime
import math
import os
import platform
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

import lensmetrics as lm
from generators import sweep

CONDITION = ("training", "explanation", "attack", "eps")
MOVED = "top-k intersection without those that resisted"


def summary(study: dict[str, Any], files: Sequence[Path]) -> pd.DataFrame:
    """One row per file: condition, facts, the mean of each metric and half of its 95 % interval."""
    metrics = [str(metric) for metric in lm.lens_suite(study["k"], study["windows"])]
    rows = []
    for path in files:
        store = lm.PairStore(path)
        table = lm.evaluate([path], metrics)
        scores = lm.summarize(table, by=[]).set_index("metric")
        resisted = store.to_xarray()["perturbation_linf"].values == 0
        row = {name: store.attrs[name] for name in CONDITION}
        row |= {"n": len(store), "resisted": int(resisted.sum()), "steps": store.attrs.get("steps", 0)}
        row |= {MOVED: table.loc[~resisted, metrics[0]].mean()}
        row |= {"accuracy": store.attrs["natural_accuracy"], "undefined": scores["n_undefined"].max()}
        row |= {name: scores.loc[name, "mean"] for name in metrics}
        half = (scores["ci_high"] - scores["ci_low"]) / 2
        rows.append(row | {f"{name} half": half[name] for name in metrics})
    return pd.DataFrame(rows)


def shown(study: dict[str, Any]) -> dict[str, str]:
    """The columns of the table: a short head and the metric's text."""
    k = study["k"]
    windows = {f"LENS recall w={w}": f"lens_recall(k={k},w={w})" for w in study["windows"]}
    return {"top-k": f"topk_intersection(k={k})", **windows, "Kendall": "kendall", "Spearman": "spearman"}


def eps_text(eps: float) -> str:
    """8/255 where eps is a whole number of grey levels, else the number."""
    if math.isnan(eps):
        return "none"
    levels = round(eps * 255)
    if levels and abs(eps * 255 - levels) < 1e-6:
        return f"{levels}/255"
    return f"{eps:g}"


def markdown(study: dict[str, Any], table: pd.DataFrame) -> str:
    """The table with what a reader has to know of the run."""
    columns = shown(study)
    heads = ["training", "explanation", "attack", "eps", "n", "resisted", *columns, "top-k of the others"]
    lines = [
        f"# {study['title']}",
        "",
        f"{study['made']}; {study['versions']}. k = {study['k']}; mean +- half of the 95 % bootstrap "
        "interval over samples.",
        "",
        "Of n correctly classified samples, for `resisted` no perturbed image kept the label and changed "
        "the map: their two maps are equal and count as such in all means but the last.",
        "",
        *study.get("notes", "").strip().splitlines(),
        "",
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * 4 + "--:|" * (len(heads) - 4),
    ]
    for row in table.to_dict("records"):
        cells = [row["training"], row["explanation"], row["attack"], eps_text(row["eps"])]
        cells += [str(row["n"]), str(row["resisted"])]
        cells += [f"{row[m]:.3f} +- {row[f'{m} half']:.3f}" for m in columns.values()]
        cells += [f"{row[MOVED]:.3f}"]
        lines.append("| " + " | ".join(cells) + " |")
    accuracies = table.groupby("training", sort=False)["accuracy"].first()
    lines += ["", "Natural accuracy: " + ", ".join(f"{t} {a:.3f}" for t, a in accuracies.items()) + "."]
    lines += ["", "All metrics: the CSV file of the same name."]
    return "\n".join(lines) + "\n"


def draw(study: dict[str, Any], table: pd.DataFrame, out: Path) -> None:
    """Top-k intersection and LENS recall over eps: a row per explanation, a column per attack."""
    columns = shown(study)
    explanations, attacks = table["explanation"].unique(), table["attack"].unique()
    figure, grid = plt.subplots(
        len(explanations),
        len(attacks),
        figsize=(3.1 * len(attacks), 2.7 * len(explanations)),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    heads = ["top-k", *(f"LENS recall w={w}" for w in study["windows"])]
    colours = plt.get_cmap("viridis")([0, 0.3, 0.6, 0.85])
    for axes_row, explanation in zip(grid, explanations, strict=True):
        for axes, attack in zip(axes_row, attacks, strict=True):
            rows = table[(table["explanation"] == explanation) & (table["attack"] == attack)].sort_values(
                "eps"
            )
            for head, colour in zip(heads, colours, strict=False):
                name = columns[head]
                axes.errorbar(
                    rows["eps"] * 255,
                    rows[name],
                    rows[f"{name} half"],
                    label=head.replace("top-k", "top-k intersection"),
                    color=colour,
                    marker="o",
                    markersize=3,
                    capsize=2,
                )
            axes.set_title(f"{explanation}\n{attack}", fontsize=9)
            axes.set_ylim(0, 1)
            axes.set_xscale("log", base=2)
            axes.set_xticks(rows["eps"] * 255, [eps_text(eps) for eps in rows["eps"]], fontsize=8)
            axes.grid(alpha=0.3)
    for axes in grid[-1]:
        axes.set_xlabel("eps")
    for axes in grid[:, 0]:
        axes.set_ylabel("mean share")
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    figure.savefig(out, dpi=110)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path, metavar="FILE.toml")
    parser.add_argument("--jobs", default="1")
    parser.add_argument("--data", help="instead of the data folder that the file names")
    parser.add_argument("--out", help="instead of the output folder that the file names")
    parser.add_argument("--results", type=Path, help="folder of the table; default: beside the TOML")
    options = parser.parse_args(argv)
    base = (options.results or options.study.parent) / options.study.stem
    if not base.parent.is_dir():
        parser.error(f"--results: {base.parent} is no folder")
    study = tomllib.loads(options.study.read_text(encoding="utf-8")).get("study", {})
    if study.keys() < {"title", "k", "windows"}:
        parser.error(f"{options.study} must say title, k and windows in [study]")
    items = sweep.read(options.study, data=options.data, out=options.out)
    files = [item.out for item in items if item.command == "generate"]
    more = [f"--{name}={value}" for name in ("data", "out") if (value := getattr(options, name))]
    status = sweep.main([str(options.study), "--jobs", options.jobs, *more])
    if status:
        return status
    table = summary(study, files)
    made = datetime.date.fromtimestamp(max(path.stat().st_mtime for path in files))
    study |= {"made": f"{made}, {platform.machine()} with {os.cpu_count()} cores"}
    study |= {"versions": lm.PairStore(files[0]).attrs["versions"]}
    table.to_csv(base.with_suffix(".csv"), index=False, float_format="%.6g")
    text = markdown(study, table)
    if table["eps"].nunique() > 1:
        draw(study, table, base.with_suffix(".png"))
        text += f"\n![Top-k intersection and LENS recall over eps]({base.name}.png)\n"
    base.with_suffix(".md").write_text(text, encoding="utf-8")
    print(base.with_suffix(".md").read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
