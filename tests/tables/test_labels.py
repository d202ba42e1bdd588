"""The text of conditions, metrics and numbers."""

import math

import numpy as np
import pytest

from lensmetrics.tables.labels import condition_text, labelled, metric_title, number_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (8 / 255, "8/255"),
        (np.float32(4 / 255), "4/255"),
        (0.0314, "0.0314"),
        (0.1, "0.1"),
        (0.3, "0.3"),
        (math.inf, "inf"),
        (math.nan, "not given"),
        ("8/255", "8/255"),
        (0.2, "0.2"),
        (1, "1"),
    ],
)
def test_eps_is_shown_in_steps_of_255(value: object, text: str) -> None:
    assert condition_text("eps", value) == text


def test_what_is_missing_has_words_where_it_means_something() -> None:
    """No attacked_explanation: the attack was on the explanation of the maps itself."""
    assert condition_text("attacked_explanation", None) == "its own"
    assert labelled("attacked_explanation", math.nan) == "attacked_explanation its own"
    assert labelled("attacked_explanation", "gradient") == "attacked_explanation gradient"
    assert labelled("severity", math.nan) == "severity not given"


def test_titles_of_metrics() -> None:
    assert metric_title("lens_recall_div") == "LENS recall (diverse)"
    assert metric_title("topk_div_intersection_published") == "Top-k intersection (diverse, as published)"
    assert metric_title("kendall") == "Kendall"
    assert metric_title("mass_center_shift") == "Mass center shift"


def test_numbers_keep_their_digits() -> None:
    texts = [number_text(value) for value in (0.0, 0.46651, -0.2, 1234.5, 1.25e-7, 2e6, math.nan)]
    assert texts == ["0.000", "0.467", "-0.200", "1234.500", "1.25e-07", "2.00e+06", "–"]


def test_numbers_beside_larger_ones_have_three_decimals() -> None:
    assert number_text(-9.26e-4, beside=(-9.26e-4, 0.093)) == "-0.001"
    assert number_text(1e-7, beside=(0.5, math.nan)) == "0.000"
    assert number_text(1e-7, beside=(0.002,)) == "1.00e-07"
    assert number_text(2e6, beside=(0.5,)) == "2.00e+06"
