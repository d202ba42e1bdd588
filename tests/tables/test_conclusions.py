"""What a comparison is said to show."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

import lensmetrics as lm
from lensmetrics.tables.conclusions import conclusions
from lensmetrics.tables.labels import p_text
from tests.scores import make_scores

METRICS = ("lens_recall(k=5,w=1)", "mse", "lens_recall_published(k=5,w=2)", "kendall")


def scores(on: str, values: list[Any]) -> pd.DataFrame:
    """Return a table where the second value has .25 more of each metric but the last, which is the same."""
    n = 20
    condition: dict[str, Any] = {on: np.repeat(values, n)}
    table = make_scores(np.zeros(2 * n), [*range(n), *range(n)], **condition)
    rng = np.random.default_rng(0)
    for metric in METRICS:
        first = rng.random(n) / 2
        more = 0.25 if metric != "kendall" else 0
        table[metric] = np.concatenate([first, first + more * (0.5 + rng.random(n))])
    return table


@pytest.mark.parametrize("order", [["natural", "pgd"], ["pgd", "natural"]])
def test_sentences_follow_the_direction_of_the_metric(order: list[str]) -> None:
    table = lm.compare(scores("training", ["natural", "pgd"]), between=order)
    ((where, sentences),) = conclusions(table)
    assert where == f"{order[0]} and {order[1]}: 20 common samples"
    recall, mse, published, kendall = sentences
    assert recall.startswith("pgd is more robust than natural by lens_recall(k=5,w=1): higher by 0.2")
    assert mse.startswith("natural is more robust than pgd by mse: lower by 0.2")
    assert published.startswith("lens_recall_published(k=5,w=2) is higher for pgd than for natural: by 0.2")
    assert kendall == f"No difference between {order[0]} and {order[1]} is shown by kendall."
    for row in table.to_dict("records"):
        if row["p"] < 0.05:
            (sentence,) = (found for found in sentences if row["metric"] in found)
            low, high = sorted((abs(row["ci_low"]), abs(row["ci_high"])))
            assert sentence.endswith(f"by {abs(row['difference']):.3f} [{low:.3f}, {high:.3f}], p < 0.001.")


def test_many_metrics_without_a_difference_are_counted() -> None:
    table = scores("training", ["natural", "pgd"])
    names = [f"lens_recall(k={k},w=1)" for k in range(11, 18)]
    same = table.assign(**dict.fromkeys(names, 0.5))
    (found,) = conclusions(lm.compare(same, metrics=names))
    assert found.sentences == ["No difference between natural and pgd is shown by any of 7 metrics."]
    (found,) = conclusions(lm.compare(same, metrics=[METRICS[0], *names]))
    assert len(found.sentences) == 2
    assert found.sentences[1] == "No difference between natural and pgd is shown by the other 7 metrics."


def test_attacks_are_not_called_robust() -> None:
    table = lm.compare(scores("eps", [8 / 255, 2 / 255]), on="eps", metrics=METRICS[0])
    (found,) = conclusions(table)
    assert found.sentences[0].startswith("Maps change less with eps 2/255 than with eps 8/255 by lens_recall")


def test_groups_and_samples_are_named() -> None:
    table = scores("training", ["natural", "pgd"])
    other = table.assign(attack="mass")
    other.loc[[0, 1, 25], "mse"] = np.nan
    both = pd.concat([table.assign(attack="topk"), other.iloc[:38]], ignore_index=True)
    mass, topk = conclusions(lm.compare(both, metrics=["mse", "kendall"]))
    assert mass.where == (
        "mass, natural and pgd: 15 to 18 common samples (2 to 3 only in natural, 0 to 2 only in pgd)"
    )
    assert topk.where == "topk, natural and pgd: 20 common samples"
    assert ", adjusted p < 0.001." in topk.sentences[0]
    nothing = both.assign(kendall=both["kendall"].where(both["training"] == "pgd"))
    assert "No sample has both scores of kendall." in conclusions(lm.compare(nothing))[0].sentences


def test_interval_that_covers_zero_keeps_its_signs() -> None:
    table = lm.compare(scores("training", ["natural", "pgd"]), metrics=METRICS[0])
    for difference, low, high, text in (
        (
            0.1,
            -0.01,
            0.21,
            "pgd is more robust than natural by lens_recall(k=5,w=1): higher by 0.100 [-0.010, 0.210]",
        ),
        (
            -0.1,
            -0.21,
            0.01,
            "natural is more robust than pgd by lens_recall(k=5,w=1): higher by 0.100 [-0.010, 0.210]",
        ),
    ):
        changed = table.assign(difference=difference, ci_low=low, ci_high=high)
        assert conclusions(changed)[0].sentences[0].startswith(text)


def test_p_is_never_printed_as_zero_or_as_the_level_that_it_is_below() -> None:
    assert [p_text(p) for p in (1.0, 0.0123, 0.001, 0.00099, float("nan"))] == [
        *("1.000", "0.012", "0.001", "< 0.001", "–")
    ]
    assert [p_text(p) for p in (0.0494, 0.0496, 0.05, 0.0501)] == ["0.049", "< 0.050", "0.050", "0.050"]


def test_a_difference_that_chance_explains_is_marked() -> None:
    table = scores("training", ["natural", "pgd"])
    table["lens_recall_adjusted(k=5,w=1)"] = table["kendall"]
    recall = conclusions(lm.compare(table))[0].sentences[0]
    assert recall.endswith(", p < 0.001; adjusted for chance, no difference is shown.")
    table["lens_recall_adjusted(k=5,w=1)"] = table["lens_recall(k=5,w=1)"]
    assert conclusions(lm.compare(table))[0].sentences[0].endswith(", p < 0.001.")


def test_levels_of_chance_share_a_sentence() -> None:
    table = scores("training", ["natural", "pgd"])
    names = [f"lens_recall_chance(k=5,w={w})" for w in (1, 2, 3)]
    for name, sign in zip(names, (1, 1, -1), strict=True):
        table[name] = 0.5 + sign * table["mse"] / 2
    assert conclusions(lm.compare(table, metrics=names))[0].sentences == [
        f"Chance alone reaches more for natural than for pgd: {names[2]}.",
        f"Chance alone reaches more for pgd than for natural: {names[0]} and {names[1]}.",
    ]


def test_values_that_are_shown_alike_are_told_apart() -> None:
    table = pd.concat(
        [scores("training", ["natural", "pgd"]).assign(step=s) for s in (0.12345678, 0.12345679)]
    )
    found = conclusions(lm.compare(table, metrics="kendall", by="step"))
    assert [len(conclusion.sentences) for conclusion in found] == [1, 1]


@pytest.mark.parametrize("by", [None, []])
def test_only_scores_against_unperturbed_maps_are_of_robustness(by: list[str] | None) -> None:
    table = scores("training", ["natural", "pgd"])
    table["image_mse"] = table["mse"]
    metrics = ["mse", "image_mse"]
    (found,) = conclusions(lm.compare(table.assign(against="target"), by=by, metrics=metrics))
    maps, images = found.sentences
    assert maps.startswith(
        "Perturbed maps come closer to the target with natural than with pgd by mse: lower"
    )
    assert images.startswith("Images change less with natural than with pgd by image_mse: lower by")
    (found,) = conclusions(lm.compare(table.assign(against="unperturbed"), by=by, metrics="mse"))
    assert found.sentences[0].startswith("natural is more robust than pgd by mse: lower by")
    table = scores("against", ["target", "unperturbed"])
    (found,) = conclusions(lm.compare(table, on="against", metrics="mse"))
    assert found.sentences[0].startswith(
        "Perturbed maps score better against target than against unperturbed by mse: lower by"
    )
