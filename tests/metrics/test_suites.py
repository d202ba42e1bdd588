"""Named sets of metrics."""

import pytest

import lensmetrics as lm


def test_suite_is_what_the_paper_reports() -> None:
    assert list(map(str, lm.lens_suite(k=1000, windows=(1, 2, 3)))) == [
        "topk_intersection(k=1000)",
        "kendall",
        "spearman",
        "lens_recall(k=1000,w=1)",
        "lens_precision(k=1000,w=1)",
        "topk_div_intersection(k=1000,w=1)",
        "lens_recall_div(k=1000,w=1)",
        "lens_precision_div(k=1000,w=1)",
        "lens_recall(k=1000,w=2)",
        "lens_precision(k=1000,w=2)",
        "topk_div_intersection(k=1000,w=2)",
        "lens_recall_div(k=1000,w=2)",
        "lens_precision_div(k=1000,w=2)",
        "lens_recall(k=1000,w=3)",
        "lens_precision(k=1000,w=3)",
        "topk_div_intersection(k=1000,w=3)",
        "lens_recall_div(k=1000,w=3)",
        "lens_precision_div(k=1000,w=3)",
    ]
    assert lm.lens_suite(k=1000) == lm.lens_suite(k=1000, windows=(1, 2, 3))
    assert len(lm.lens_suite(k=5, windows=())) == 3
    with pytest.raises(ValueError, match=">= 1, got 0"):
        lm.lens_suite(k=0)
    with pytest.raises(ValueError, match=">= 0, got -1"):
        lm.lens_suite(k=5, windows=[1, -1])


def test_several_sizes_give_the_metrics_of_each() -> None:
    found = lm.lens_suite(k=[5, 9, 5], windows=(1, 2), adjusted=True)
    assert len(found) == len(set(found)) == 2 * (1 + 2 * 7) + 2
    assert {*found} == {*lm.lens_suite(5, (1, 2), True), *lm.lens_suite(9, (1, 2), True)}
    assert lm.lens_suite(k=range(7, 8)) == lm.lens_suite(k=7)
    with pytest.raises(ValueError, match=r"k must be an integer >= 1, got 2\.5"):
        lm.lens_suite(k=[5, 2.5])  # type: ignore[list-item]


def test_adjusted_suite_adds_the_scores_adjusted_for_chance() -> None:
    plain = [str(metric) for metric in lm.lens_suite(k=1000)]
    adjusted = [str(metric) for metric in lm.lens_suite(k=1000, adjusted=True)]
    assert len(adjusted) == 24
    assert [text for text in adjusted if text in plain] == plain
    assert set(adjusted) - set(plain) == {
        f"lens_{name}_adjusted(k=1000,w={w})" for name in ("recall", "precision") for w in (1, 2, 3)
    }
