"""Tables that fit a width: no line is longer, and no text is lost."""

import re

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from lensmetrics.cli.layout import Column, display_width, folded, sentence_lines, table_lines, terminal_width

WORDS = st.text("ab_(,=/ 雪é", min_size=1, max_size=40).map(str.strip).filter(bool)


def grid(names: list[str], rows: list[list[str]], n_labels: int, width: int | None) -> list[str]:
    cells = list(zip(*rows, strict=True))
    right = [all(re.fullmatch("[0-9.]+", cell) for cell in column) for column in cells]
    columns = [
        Column(name, column, right=is_right, foldable=not is_right)
        for name, column, is_right in zip(names, cells, right, strict=True)
    ]
    return table_lines(columns[:n_labels], columns[n_labels:], width)


NAMES = ["training", "attack", "metric", "mean", "n"]
ROWS = [
    ["natural", "topk", "kendall", "0.500", "64"],
    ["natural", "topk", "lens_recall(k=100,w=1)", "0.250", "64"],
    ["natural", "mass", "kendall", "0.125", "8"],
    ["pgd", "mass", "kendall", "0.125", "8"],
]


def test_labels_that_repeat_are_left_out() -> None:
    assert grid(NAMES, ROWS, 3, None) == [
        "                                           mean   n",
        "training  attack  metric",
        "natural   topk    kendall                 0.500  64",
        "                  lens_recall(k=100,w=1)  0.250  64",
        "          mass    kendall                 0.125   8",
        "pgd       mass    kendall                 0.125   8",
    ]
    assert grid(NAMES, ROWS, 3, 52) == grid(NAMES, ROWS, 3, None)


def test_labels_become_headings_where_lines_are_long() -> None:
    assert grid(NAMES, ROWS, 3, 40) == [
        "metric                   mean   n",
        "",
        "training natural, attack topk",
        "kendall                 0.500  64",
        "lens_recall(k=100,w=1)  0.250  64",
        "",
        "training natural, attack mass",
        "kendall                 0.125   8",
        "",
        "training pgd, attack mass",
        "kendall                 0.125   8",
    ]


def test_labels_that_never_change_stand_above() -> None:
    assert grid(NAMES, ROWS[:2], 3, 33) == [
        "In all rows: training natural,",
        "attack topk",
        "",
        "                         mean   n",
        "metric",
        "kendall                 0.500  64",
        "lens_recall(k=100,w=1)  0.250  64",
    ]


def test_columns_come_in_parts_where_even_so_lines_are_long() -> None:
    names = ["metric", *(f"statistic_{i}" for i in range(4))]
    rows = [["lens_recall(k=100,w=1)", "0.5", "0.25", "1", "2"]]
    assert grid(names, rows, 1, 46) == [
        "                      statistic_0  statistic_1",
        "metric",
        "lens_recall(k=100,            0.5         0.25",
        "w=1)",
        "",
        "                      statistic_2  statistic_3",
        "metric",
        "lens_recall(k=100,              1            2",
        "w=1)",
    ]


def test_table_without_rows_has_its_heads() -> None:
    columns = [Column("file", []), Column("value", [])]
    assert table_lines(columns[:1], columns[1:], 80) == ["      value", "file"]
    assert table_lines([], columns, 80) == ["file  value"]


@settings(max_examples=50)
@given(
    st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(WORDS, min_size=n, max_size=n), min_size=1)),
    st.integers(0, 2),
    st.integers(45, 100),
)
def test_no_line_is_too_long_and_no_text_is_lost(rows: list[list[str]], n_labels: int, width: int) -> None:
    names = [f"c{i}" for i in range(len(rows[0]))]
    lines = grid(names, rows, min(n_labels, len(names) - 1), width)
    assert max(map(display_width, lines)) <= width
    shown = "".join(lines)
    for cell in {cell for row in rows for cell in row}:
        assert set(cell) - {" "} <= set(shown)
    if len(names) == 1:
        assert "".join(shown.split()) == "".join("".join(["c0", *(row[0] for row in rows)]).split())


@given(WORDS, st.integers(2, 20))
def test_folding_keeps_every_character(text: str, width: int) -> None:
    lines = folded(text, width)
    assert max(map(display_width, lines)) <= width
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert folded(text, None) == [text]


def test_sentences_break_at_blanks() -> None:
    assert sentence_lines("n_undefined 0, metric mse", 14) == ["n_undefined 0,", "metric mse"]
    assert sentence_lines("abcdefgh ij", 3) == ["abc", "def", "gh", "ij"]


def test_columns_stay_if_all_of_them_never_change() -> None:
    lines = grid(["file", "mean", "n"], [["a/long-name-1", "1", "2"], ["a/long-name-2", "1", "2"]], 1, 12)
    assert not any("In all rows" in line for line in lines)
    assert grid(["file", "mean", "n"], [["a/long-name-1", "1", "2"], ["a/long-name-2", "3", "2"]], 1, 20) == [
        "In all rows: n 2",
        "",
        "               mean",
        "file",
        "a/long-name-1     1",
        "a/long-name-2     3",
    ]


def test_texts_break_after_separators() -> None:
    assert folded("maps/natural-topk.h5 and more", 12) == ["maps/", "natural-", "topk.h5 and", "more"]
    assert folded("abcdefgh", 3) == ["abc", "def", "gh"]
    assert folded("雪雪雪", 4) == ["雪雪", "雪"]


def test_width_is_that_of_columns_or_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert terminal_width() is None  # pytest captures the output, which is no terminal
    for text, width in (("72", 72), ("", None), ("wide", None), ("0", None)):
        monkeypatch.setenv("COLUMNS", text)
        assert terminal_width() == width
