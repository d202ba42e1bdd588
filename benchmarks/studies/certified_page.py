"""The page of a study of certificates: its sentences, tables and figure, from the table of its samples."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import lensmetrics as lm
from lensmetrics.certificates.draws import norm_error
from lensmetrics.figures.style import RULE, STYLE, line_look
from lensmetrics.tables.labels import number_text

Study = Mapping[str, Any]


def write_page(study: Study, table: pd.DataFrame, base: Path) -> str:
    """Write the page and its figure beside `base`, and return the text of the page."""
    rows = certified(study, table)
    text = "\n".join(_lines(study, rows)) + f"\n\n![Certified fraction over eps]({base.name}.png)\n"
    figure_over_eps(study, rows).savefig(base.with_suffix(".png"), dpi=110)
    base.with_suffix(".md").write_text(text, encoding="utf-8")
    return text


def certified(study: Study, table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with what is certified of each sample, and what two estimates are allowed to show.

    Norms are lowered by tau at confidence 1 - alpha / (number of maps), so that all statements of the page
    hold at once with confidence 1 - alpha.
    """
    alpha = study["alpha"] / (2 * len(table))  # both maps of each comparison are estimates
    found = table.assign(tau=np.nan, certified_eps=np.nan, certified_cosine=np.nan)
    place: Any
    for place, part in table.groupby(["radius", "dim", "bound", "nonnegative", "n_draws"]):
        radius, dim, bound, nonnegative, n_draws = place
        ball: Any = {"radius": radius, "dim": int(dim), "bound": bound, "nonnegative": bool(nonnegative)}
        tau = norm_error(n_draws, bound=bound, alpha=alpha)
        norms = (part["norm"] - tau).clip(lower=0).to_numpy()
        found.loc[part.index, "tau"] = tau
        found.loc[part.index, "certified_eps"] = lm.certified_eps(norms, cosine=study["cosine"], **ball)
        found.loc[part.index, "certified_cosine"] = lm.certified_cosine(
            norms, eps=part["perturbation_l2"].to_numpy(), **ball
        )
    # The true angle is at most that of the certificate, and each estimate is off by at most asin(tau / norm).
    off = sum(np.arcsin(np.minimum(found["tau"] / table[name], 1)) for name in ("norm", "norm_perturbed"))
    angle = np.arccos(found["certified_cosine"]) + off
    return found.assign(allowed=np.cos(np.minimum(angle, np.pi)))


def fraction(rows: pd.DataFrame, eps: float) -> float:
    """Return the share of samples whose wanted cosine is certified for every perturbation up to eps."""
    return float((rows["certified_eps"] >= eps).mean())


def remaining(study: Study, rows: pd.DataFrame) -> float:
    """Return the share of samples whose cosine is at least the wanted one after the attack."""
    return float((rows["cosine"] >= study["cosine"]).mean())


def _lines(study: Study, rows: pd.DataFrame) -> Iterator[str]:
    first, cosine = rows.iloc[0], study["cosine"]
    yield f"# {study['title']}"
    yield ""
    yield f"{first['made']}. Wanted cosine {cosine:g}, alpha {study['alpha']:g}, {first['dim']:.0f} pixels."
    yield ""
    yield from study["notes"].strip().splitlines()
    yield ""
    yield _check(study, rows)
    yield ""
    yield "## Norms and certified perturbations"
    yield ""
    yield (
        f"tau is what {first['n_draws']:,.0f} draws take from a norm. Certified eps is the l2 norm up to "
        f"which no perturbation brings the cosine of the smoothed maps below {cosine:g}."
    )
    yield ""
    yield "| training | radius | n | norm, median | lowest | tau | certified eps, median | lowest | highest |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    for (training, radius), part in rows.groupby(["training", "radius"], sort=False):
        one = part[part["eps"] == part["eps"].min()]
        eps = one["certified_eps"].fillna(0)
        numbers = [
            one["norm"].median(),
            one["norm"].min(),
            one["tau"].iloc[0],
            eps.median(),
            eps.min(),
            eps.max(),
        ]
        texts = [f"{radius:g}", str(len(one)), *(number_text(float(number)) for number in numbers)]
        yield f"| {training} | " + " | ".join(texts) + " |"
    yield ""
    yield "## Beside an attack"
    yield ""
    yield (
        f"`certified` is the share of samples whose cosine stays {cosine:g} or more under every perturbation "
        "up to eps, `attacked` the share whose cosine is so after this attack."
    )
    yield ""
    yield "| training | radius | eps | n | certified | attacked | mean cosine | lowest | mean change |"
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    condition: Any
    for condition, part in rows.groupby(["training", "radius", "eps"], sort=False):
        training, radius, eps = condition
        numbers = [
            fraction(part, eps),
            remaining(study, part),
            part["cosine"].mean(),
            part["cosine"].min(),
            part["perturbation_l2"].mean(),
        ]
        texts = [f"{radius:g}", f"{eps:g}", str(len(part)), *map(number_text, numbers)]
        yield f"| {training} | " + " | ".join(texts) + " |"


def _check(study: Study, rows: pd.DataFrame) -> str:
    """Return the sentences that hold the certificates against the attacked maps."""
    known = rows[rows["allowed"].notna()]
    margin = known["cosine"] - known["allowed"]
    below = int((margin < 0).sum())
    failed = int(rows["not_attacked"].sum())
    return (
        f"Cosines after the attack that are below the lowest that the certificate allows: {below} of "
        f"{len(known)}. The smallest margin is {number_text(float(margin.min()))}, the median of the lowest "
        f"allowed "
        f"{number_text(float(known['allowed'].median()))}. {len(rows) - len(known)} of {len(rows)} have no "
        f"certificate. Of {failed} no perturbed image kept the label: they count with two equal images."
    )


def figure_over_eps(study: Study, rows: pd.DataFrame) -> Figure:
    """Draw the certified fraction over eps as lines and that after the attack as marks, for each radius."""
    radii = rows["radius"].unique()
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(max(5.2, 3.6 * len(radii)), 3.4), layout="constrained", facecolor="white")
        panels = figure.subplots(1, len(radii), sharey=True, squeeze=False)[0]
        for axes, radius in zip(panels, radii, strict=True):
            here = rows[rows["radius"] == radius]
            grid = np.geomspace(here["eps"].min() / 4, here["eps"].max(), 400)
            for i, (training, part) in enumerate(here.groupby("training", sort=False)):
                look = line_look(i)
                one = part[part["eps"] == part["eps"].min()]
                axes.plot(
                    grid,
                    [fraction(one, eps) for eps in grid],
                    color=look["color"],
                    label=f"{training}, certified",
                )
                attacked = part.groupby("eps").apply(lambda group: remaining(study, group))
                axes.plot(
                    attacked.index,
                    attacked,
                    look["marker"],
                    markersize=9 - 4 * i,  # equal shares lie on one another
                    color=look["color"],
                    label=f"{training}, attacked",
                )
            axes.set_xscale("log")
            axes.set_ylim(-0.03, 1.03)
            axes.set_title(f"radius {radius:g}", loc="left")
            axes.grid(axis="y", color=RULE, linewidth=0.6)
        figure.supxlabel("eps, l2 norm of the perturbation", fontsize=9)
        figure.supylabel(f"share of samples, cosine ≥ {study['cosine']:g}", fontsize=9)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=2)
    return figure
