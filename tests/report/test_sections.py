"""The sections of a page that compare, list and shade: their numbers are those of the library."""

import itertools
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

import lensmetrics as lm
from lensmetrics.figures.curves import find_curves
from lensmetrics.report.comparisons import comparison
from lensmetrics.report.disagreement import disagreement
from lensmetrics.report.distributions import distributions
from lensmetrics.report.leading import contrasted, leading_score, leading_scores
from lensmetrics.report.page import write_report
from lensmetrics.report.parts import Ids
from lensmetrics.report.shades import shaded
from lensmetrics.tables.columns import parse_column
from lensmetrics.tables.known import BUILT_IN
from lensmetrics.tables.view import View
from tests.pages import Page

K = 9
RECALL, INTERSECTION = f"lens_recall(k={K},w=1)", f"topk_intersection(k={K})"


def study(
    trainings: int,
    explanations: int = 1,
    n: int = 12,
    *,
    metrics: tuple[str, ...] = (RECALL,),
    **columns: Any,
) -> pd.DataFrame:
    """Return a table with a file of n samples for every combination; t1 is higher than t0, t2 than t1."""
    rng = np.random.default_rng(1)
    of_sample = rng.random(n)
    rows = []
    for t, e in itertools.product(range(trainings), range(explanations)):
        part = pd.DataFrame({"file": f"t{t}-e{e}.h5", "training": f"t{t}", "explanation": f"e{e}"}, range(n))
        part["sample"] = np.arange(n) + 2 * t
        part["status"] = "ok"
        for metric in metrics:
            part[metric] = np.clip(0.1 + 0.2 * t + 0.1 * of_sample + 0.02 * rng.random(n), 0, 1)
        rows.append(part)
    return pd.concat(rows, ignore_index=True).assign(**columns)


def compared(table: pd.DataFrame, **options: Any) -> Any:
    view = View.of(table, **options)
    found = comparison(view, leading_scores(view.columns, BUILT_IN), Ids())
    assert found is not None
    return found


def test_differences_are_those_of_compare() -> None:
    table = study(3, 2, n=16, metrics=(RECALL, "kendall"))
    found = compared(table)
    expected = lm.compare(table, on="training")
    assert [part.title for part in found.tables] == [f"LENS recall, k = {K}, w = 1", "Kendall"]
    assert found.n_leading == 1
    for part, metric in zip(found.tables, (RECALL, "kendall"), strict=True):
        rows = expected[expected["metric"] == metric]
        assert len(part.rows) == len(rows) == 6
        for shown, row in zip(part.rows, rows.itertuples(), strict=True):
            assert shown.pair == f"{row.second} − {row.first}"
            assert shown.difference == f"{row.difference:+.3f}"
            assert shown.interval == f"[{row.ci_low:+.3f}, {row.ci_high:+.3f}]"
            assert (shown.n, shown.first, shown.second) == (
                str(row.n),
                f"{row.mean_first:.3f}",
                f"{row.mean_second:.3f}",
            )
            assert shown.verdict.startswith(f"{row.second} is more robust, p")
            only = [f"{row.n_only_first} only in the first", f"{row.n_only_second} only in the second"]
            assert shown.notes == only
    assert [figure.title for figure in found.shown] == ["Mean differences"]


def test_few_samples_and_undefined_scores_are_said() -> None:
    table = study(2, n=5, metrics=(RECALL, "kendall"))
    table.loc[table["training"] == "t1", "kendall"] = np.nan
    found = compared(table)
    assert len(found.tables) == 1
    assert "No sample has scores on both sides by Kendall." in found.text
    (row,) = found.tables[0].rows
    assert row.interval.endswith("] *")
    assert row.verdict == "no difference shown, p\u00a0=\u00a0.250"


def test_direction_of_a_distance_is_turned_round() -> None:
    (row,) = compared(study(2, metrics=("mse",))).tables[0].rows
    assert row.difference.startswith("+")
    assert row.verdict.startswith("t0 is more robust")
    (row,) = compared(study(2, metrics=("mine(level=3)",))).tables[0].rows
    assert row.verdict.startswith("t1 is higher")


def test_attacks_are_not_called_robust() -> None:
    table = study(2, metrics=("mse",)).rename(columns={"training": "attack"})
    (row,) = compared(table).tables[0].rows
    assert row.verdict.startswith("maps change less with t0, p")


def test_difference_that_chance_explains_is_marked() -> None:
    table = study(2, n=16, metrics=(RECALL, "kendall"))
    adjusted = RECALL.replace("recall", "recall_adjusted")
    verdict = {}
    for name, values in (("explains", 0.5), ("does not", table[RECALL])):
        verdict[name] = compared(table.assign(**{adjusted: values})).tables[0].rows[0].verdict
    assert verdict["explains"] == f"{verdict['does not']}; adjusted for chance, no difference is shown"


def test_tiny_differences_keep_their_digits() -> None:
    table = study(2, metrics=("mse",))
    table["mse"] *= 1e-6
    (row,) = compared(table).tables[0].rows
    assert re.fullmatch(r"\+\d\.\d\de−07", row.difference)


def test_many_comparisons_are_pooled_and_say_so() -> None:
    table = study(5, 21, n=10, metrics=(RECALL, "kendall"))
    found = compared(table)
    expected = lm.compare(table, on="training", by=[], metrics=RECALL)
    assert "There would be 210 comparisons" in found.text
    assert "21 combinations of explanation" in found.text
    assert [row.difference for row in found.tables[0].rows] == [f"{d:+.3f}" for d in expected["difference"]]
    assert len(found.tables) == 1
    unbalanced = table[~((table["training"] == "t0") & (table["explanation"] == "e3"))]
    none = compared(unbalanced)
    assert not none.tables
    assert "lensmetrics compare TABLE --on training" in none.text


def test_very_many_samples_are_left_to_the_command() -> None:
    """The page of a large table takes seconds, too."""
    found = compared(study(3, n=200_000))
    assert not found.tables
    assert found.text.startswith("To compare 3 pairs of conditions with so many samples takes too long")


def test_nothing_in_common_is_said() -> None:
    table = study(2)
    table.loc[table["training"] == "t1", "sample"] += 1000
    found = compared(table)
    assert not found.tables
    assert "There are no differences to show: nothing to compare" in found.text


def test_excluded_rows_are_not_compared() -> None:
    table = study(2)
    table.loc[table["sample"] == 5, "status"] = "not_attacked"
    assert compared(table).tables[0].rows[0].n == "10"
    assert compared(table, exclude=["not_attacked"]).tables[0].rows[0].n == "9"


def test_one_condition_is_not_compared() -> None:
    assert comparison(View.of(study(1)), [parse_column(RECALL)], Ids()) is None


def test_disagreement_ranks_pairs_by_both_scores() -> None:
    rng = np.random.default_rng(0)
    n = 40
    table = study(2, n=n // 2, metrics=(RECALL, INTERSECTION))
    table[RECALL], table[INTERSECTION] = rng.random(n), rng.random(n)
    table.loc[7, RECALL] = np.nan
    found = disagreement(View.of(table))
    assert found is not None
    kept = table.drop(index=7)
    first, second = (kept[name].rank() for name in (INTERSECTION, RECALL))
    gap = (second - first).to_numpy()
    rows = kept.index.to_numpy()
    expected = [*rows[np.argsort(-gap, kind="stable")[:5]], *rows[np.argsort(gap, kind="stable")[:5]]]
    assert [pair.row for pair in found.listed] == expected
    assert f"{np.corrcoef(first, second)[0, 1]:.2f}" in found.text
    top = found.listed[0]
    assert top.sample == str(table["sample"][top.row])
    assert top.file == table["file"][top.row]
    assert top.values[1].startswith(f"{table[RECALL][top.row]:.3f} (")
    assert [pick.row for pick in found.picks] == [expected[0], expected[5]]


def test_distance_is_turned_round_where_scores_disagree() -> None:
    """A small distance is good, so equal orders by 1 - distance agree everywhere."""
    values = np.arange(12) / 12
    table = pd.DataFrame({"sample": range(12), "status": "ok", "kendall": values, "mse": 1 - values})
    found = disagreement(View.of(table))
    assert found is not None
    assert not found.listed
    assert "Both rank every pair alike." in found.text
    assert "1.00" in found.text


@pytest.mark.parametrize("n", [0, 9])
def test_few_pairs_are_not_ranked(n: int) -> None:
    table = study(1, n=20, metrics=(RECALL, INTERSECTION))
    table.loc[n:, RECALL] = np.nan
    found = disagreement(View.of(table))
    assert found is not None
    assert found.text == f"Only {n} pairs have both scores: too few to rank."


@pytest.mark.parametrize("value", [0.5, 1.0])
def test_scores_that_are_all_equal_do_not_disagree(value: float) -> None:
    found = disagreement(View.of(study(1, n=20, metrics=(RECALL, INTERSECTION)).assign(**{RECALL: value})))
    assert found is not None
    assert "rank correlation" not in found.text


def test_quantiles_are_those_of_the_defined_scores() -> None:
    table = study(3, n=15)
    table.loc[3, RECALL] = np.nan
    table.loc[table["training"] == "t2", RECALL] = np.nan
    shown, tables = distributions(View.of(table), [parse_column(RECALL)], Ids())
    assert len(shown) == 1
    rows = {row[0]: row[1:] for row in tables[0].rows}
    of_first = table.loc[table["training"] == "t0", RECALL].dropna()
    assert rows["14"] == [f"{of_first.quantile(q):.3f}" for q in (0, 0.25, 0.5, 0.75, 1)]
    assert rows["0"] == ["–"] * 5


def test_shades_show_every_mean_once() -> None:
    metrics = (INTERSECTION, RECALL, f"lens_recall(k={K},w=2)")
    table = study(3, 4, metrics=metrics)
    table.loc[(table["training"] == "t1") & (table["explanation"] == "e2"), RECALL] = np.nan
    table = table[~((table["training"] == "t2") & (table["explanation"] == "e3"))]
    view = View.of(table)
    found = shaded(view, find_curves(view.columns)[0], Ids())
    assert (found.windows, found.levels, found.by) == (
        ["w = 0", "w = 1", "w = 2"],
        ["t0", "t1", "t2"],
        ["explanation"],
    )
    assert [head[0].text for head in found.heads] == ["e0", "e1", "e2", "e3"]
    means = table.groupby(["explanation", "training"])[list(metrics)].mean()
    for e, row in enumerate(found.rows):
        for (metric, t), cell in zip(itertools.product(metrics, range(3)), row, strict=True):
            mean = means[metric].get((f"e{e}", f"t{t}"), np.nan)
            if np.isnan(mean):
                assert cell is None
            else:
                assert cell is not None
                assert cell.text == f"{mean:.2f}".removeprefix("0")
                assert cell.level == int(10 * mean)


def test_page_of_very_many_conditions_shades_instead_of_drawing(tmp_path: Path) -> None:
    table = study(2, 61, n=3)
    write_report(table, tmp_path / "r.html")
    html = (tmp_path / "r.html").read_text("utf-8")
    page = Page(html)
    assert not page.section("curves").attributes("figure")
    assert len(re.findall(r'<td class="s\d">', html)) == 2 * 61
    assert len(html) < 200_000


def test_scores_are_drawn_against_a_number(tmp_path: Path) -> None:
    parts = [study(2).assign(eps=eps, file=f"{eps}.h5") for eps in (1 / 255, 2 / 255, 4 / 255)]
    write_report(pd.concat(parts, ignore_index=True), tmp_path / "r.html")
    page = Page((tmp_path / "r.html").read_text("utf-8"))
    section = page.section("against")
    assert section.text("h2") == ["Scores against eps"]
    assert section.attributes("figure")[0]["id"] == f"lens_recall-k-{K}-w-1-against-eps"
    write_report(study(2), tmp_path / "s.html")
    assert 'id="against"' not in (tmp_path / "s.html").read_text("utf-8")


def test_every_link_on_the_page_leads_somewhere(tmp_path: Path) -> None:
    metrics = ("kendall", RECALL, INTERSECTION, f"lens_precision(k={K},w=1)", "mine(a b=1)", "mine(a_b=1)")
    write_report(study(2, 2, n=11, metrics=metrics), tmp_path / "r.html")
    page = Page((tmp_path / "r.html").read_text("utf-8"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert not [name for name in ids if re.search(r"\s", name)]
    links = [unquote(a["href"]).removeprefix("#") for a in page.attributes("a")]
    assert {"curves", "differences", "distributions", "disagreement", "scores", "examples"} <= set(links)
    assert set(links) <= set(ids)
    assert all(
        "id" in attributes for tag in ("figure", "details", "section") for attributes in page.attributes(tag)
    )


def test_pooled_files_and_shared_samples_are_said(tmp_path: Path) -> None:
    table = study(2, n=11)
    table.loc[table["sample"] % 2 == 0, "file"] += "-too"
    write_report(table, tmp_path / "r.html")
    notes = Page((tmp_path / "r.html").read_text("utf-8")).text("li")
    assert notes[0].startswith(
        "4 files have 2 different sets of attributes; files with the same attributes are"
    )
    assert notes[1].startswith("There are 11 samples in each of 2 conditions, 9 in all of them.")


def test_leading_scores_stand_for_the_others() -> None:
    def of(*texts: str) -> list[Any]:
        return [parse_column(text) for text in texts]

    full = of(
        "kendall",
        "topk_intersection(k=9)",
        "lens_recall(k=9,w=2)",
        "lens_recall(k=9,w=0)",
        "lens_recall(k=5,w=2)",
    )
    score = leading_score(full)
    assert score is not None
    assert score.text == "lens_recall(k=5,w=2)"
    assert [c.text for c in leading_scores(full[:4], BUILT_IN)] == [
        "lens_recall(k=9,w=2)",
        "topk_intersection(k=9)",
    ]
    assert [c.text for c in leading_scores(of("mine(a=1)", "mse", "kendall"), BUILT_IN)] == ["mse"]
    assert [c.text for c in leading_scores(of("mine(a=1)"), BUILT_IN)] == ["mine(a=1)"]
    assert leading_scores([], BUILT_IN) == []
    assert contrasted(of("mine(a=1)", "mse"), BUILT_IN) is None
    pair = contrasted(of("mse", "lens_recall_chance(k=9,w=1)", "kendall"), BUILT_IN)
    assert pair is not None
    assert [c.text for c in pair] == ["mse", "kendall"]


def test_a_page_of_certificates_says_that_no_attack_has_a_part_in_them(tmp_path: Path) -> None:
    scores = pd.DataFrame(
        {
            "training": np.repeat(["natural", "pgd"], 12),
            "attack": "topk",
            "sample": [*range(12), *range(12)],
            "status": "ok",
            "smoothed_norm": np.linspace(0.8, 0.9, 24),
            "certified_cosine(eps=0.1)": np.linspace(0.1, 0.3, 24),
        }
    )
    page = tmp_path / "r.html"
    write_report(scores, page)
    text = page.read_text("utf-8")
    assert "is proved to survive any perturbation" in text
    assert "compare each unperturbed map with its perturbed one" not in text
