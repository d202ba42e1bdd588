"""Labels of conditions that are too long lose their name before their value."""

from typing import Any

import numpy as np
import pytest

from lensmetrics.figures.against import score_lines
from lensmetrics.figures.distributions import score_distributions
from lensmetrics.figures.measuring import fitted, text_width
from lensmetrics.figures.style import MAX_LABEL, SCREEN, cut_label, paper
from lensmetrics.tables.columns import parse_column
from lensmetrics.tables.view import View
from tests.scores import make_scores

NAME = "attacked_explanation"


@pytest.mark.parametrize("value", ["gradient", "its own", "integrated", "input_x_gradient", "1e-05"])
def test_a_narrow_label_keeps_its_value(value: str) -> None:
    text = f"{NAME} {value}"
    short = fitted(text, 0.7 * text_width(text, SCREEN), SCREEN)
    assert text_width(short, SCREEN) <= 0.7 * text_width(text, SCREEN)
    assert short.endswith(f"… {value}")
    assert NAME.startswith(short.partition("…")[0])


def test_every_name_of_a_label_is_shortened() -> None:
    text = f"topk · {NAME} gradient · output_weight 1000000"
    short = fitted(text, 0.7 * text_width(text, SCREEN), SCREEN)
    assert short.startswith("topk · atta")
    assert "… gradient · outp" in short
    assert short.endswith("… 1000000")


def test_a_name_may_be_cut_twice() -> None:
    text = cut_label(f"{NAME} guided_backprop")
    assert text == "attacked_expl… guided_backprop"
    assert fitted(text, 0.75 * text_width(text, SCREEN), SCREEN).endswith("… guided_backprop")


def test_a_value_that_does_not_fit_is_cut_in_the_middle() -> None:
    texts = [f"{NAME} integrated_gradients(n_points={n})" for n in (10, 100)]
    short = [cut_label(text) for text in texts]
    assert short == ["atta… integrated_gr…points=10)", "atta… integrated_gr…oints=100)"]
    assert max(map(len, short)) == MAX_LABEL
    assert fitted(texts[0], 1.0, SCREEN).endswith("=10)")


@pytest.mark.parametrize(
    "text", ["LENS recall (diverse), k = 100, w = 1", "95 % interval (some of n < 10)", 40 * "x"]
)
def test_other_texts_are_cut_in_the_middle(text: str) -> None:
    short = fitted(text, 0.7 * text_width(text, SCREEN), SCREEN)
    start, end = short.split("…")
    assert text.startswith(start)
    assert text.endswith(end)
    assert len(start) > len(end) > 3


def test_labels_of_a_narrow_figure_are_distinct() -> None:
    attacked: Any = [
        "gradient",
        None,
        "integrated_gradients(n_points=10)",
        "integrated_gradients(n_points=100)",
    ]
    n = len(attacked)
    table = make_scores(
        np.linspace(0, 1, 6 * n),
        np.tile(np.arange(3), 2 * n).tolist(),
        attacked_explanation=np.repeat(attacked, 6).tolist(),
        eps=np.tile(np.repeat([0.1, 0.2], 3), n).tolist(),
    )
    view = View.of(table)
    rows = score_distributions(view, parse_column("kendall"), paper(3.3))
    labels = [label.get_text() for label in rows.axes[0].get_yticklabels()]
    assert len(set(labels)) == len(labels) == 2 * n
    for part in ("… gradient · eps 0.2", "… its own · eps 0.2", "=10) · eps 0.2", "=100) · eps 0.2"):
        assert sum(label.endswith(part) for label in labels) == 1
    lines = score_lines(view, parse_column("kendall"), "eps", paper(3.3))
    shown = [text.get_text() for text in lines.legends[0].get_texts()]
    assert len(set(shown)) == len(shown) > n
