"""Tables for readers: their texts, and the files with them."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import lensmetrics as lm
from lensmetrics.tables.outputs import check_table_output
from lensmetrics.tables.wide import wide_table
from lensmetrics.tables.writing import (
    FEW_NOTE,
    INTERVAL,
    check_table_suffix,
    is_number_column,
    text_table,
    wide_texts,
    write_table,
)
from tests.scores import make_scores

HOSTILE = ["a_b%c&d", "[x](y)", "{$~^\\#}", "*|<i>`", "naïve 雪"]


def latex_rows(path: Path) -> list[list[str]]:
    """Read a tabular as LaTeX does: the cells of each row, with the characters that the escapes stand for."""
    body = path.read_text(encoding="utf-8")
    inside = re.search(r"\\toprule\n(.*)\\bottomrule", body, re.DOTALL)
    assert inside is not None
    rows = []
    for line in inside[1].replace("\\midrule\n", "").splitlines():
        assert line.endswith(r" \\")
        cells = re.split(r"(?<!\\)&", line.removesuffix(r" \\"))
        rows.append([unescaped(cell.strip()) for cell in cells])
    return rows


def unescaped(text: str) -> str:
    words = {"backslash": "\\", "asciitilde": "~", "asciicircum": "^"}
    text = re.sub(r"\\text(\w+)\s?(\{\})?", lambda match: words[match[1]], text)
    text = re.sub(r"^\{([\[*])\}", r"\1", text)
    assert not re.search(r"(?<!\$)[<>|]", text)  # other characters in the usual fonts
    text = re.sub(r"\$([<>|])\$", r"\1", text)
    return re.sub(r"\\([_%&#${} ])", r"\1", text)


def test_comparison_in_latex_fits_a_page_and_has_minus_signs(tmp_path: Path) -> None:
    scores = make_scores(np.arange(24) / 24, [0, 1] * 12, training=["natural", "pgd"] * 12)
    scores["sample"] = np.arange(24) // 2
    table = lm.compare(scores)
    table[["difference", "ci_low", "ci_high"]] = -0.25, -0.5, 0.125
    write_table(table, tmp_path / "t.tex")
    rows = latex_rows(tmp_path / "t.tex")
    columns = [
        "metric",
        "first",
        "second",
        "n",
        "mean_first",
        "mean_second",
        "difference",
        INTERVAL,
        "p_holm",
    ]
    assert rows[0] == columns
    assert {(row[6], row[7]) for row in rows[1:]} == {("$-$0.250", "[$-$0.500, 0.125]")}
    assert all(row[1:3] == ["natural", "pgd"] for row in rows[1:])


def test_latex_holds_what_is_shown(tmp_path: Path) -> None:
    table = make_scores(np.linspace(0, 1, 20), training=HOSTILE * 4)
    summary = lm.summarize(table, by="training")
    write_table(summary, tmp_path / "t.tex")
    texts = text_table(summary, missing="–")
    rows = latex_rows(tmp_path / "t.tex")
    assert rows[0] == texts.columns.tolist()
    assert rows[1:] == texts.to_numpy().tolist()
    text = (tmp_path / "t.tex").read_text(encoding="utf-8")
    assert text.count("\\begin{tabular}{llrlrrr}") == text.count("\\end{tabular}") == 1
    assert r"\multicolumn{7}{l}{\footnotesize * fewer than 10 samples" in text
    assert not re.search(r"^[\[*]", text, re.MULTILINE)  # would be an argument of the \\ before it


def test_notes_are_escaped_in_latex(tmp_path: Path) -> None:
    status = ["ok", "not_attacked"] * 10
    write_table(lm.summarize(make_scores(np.arange(20), status=status)), tmp_path / "t.tex")
    note = re.search(r"footnotesize (.*)\} ", (tmp_path / "t.tex").read_text(encoding="utf-8"))
    assert note is not None
    assert note[1].startswith(r"mean\_attacked is the mean without")
    assert re.search(r"(?<!\\)_", note[1]) is None


def test_markdown_holds_what_is_shown(tmp_path: Path) -> None:
    summary = lm.summarize(make_scores(np.arange(20), training=HOSTILE * 4), by="training")
    write_table(summary, tmp_path / "t.md")
    _, head, rule, *rows, blank, note = (tmp_path / "t.md").read_text(encoding="utf-8").splitlines()
    assert (blank, note) == ("", f"\\{FEW_NOTE}")
    cells = [[c.strip() for c in re.split(r"(?<!\\)\|", row)[1:-1]] for row in (head, *rows)]
    found = [[re.sub(r"\\(\W|_)", r"\1", c).replace("&amp;", "&") for c in row] for row in cells]
    texts = text_table(summary)
    assert found == [texts.columns.tolist(), *texts.to_numpy().tolist()]
    assert [c.strip()[-1] for c in rule.split("|")[1:-1]] == ["-", "-", ":", "-", ":", ":", ":"]
    assert "[x]\\(y)" in "".join(rows)  # no link
    assert "<i>" not in "".join(rows)


@pytest.mark.parametrize("values", [np.linspace(0, 1, 24), [0.1234567890123456, math.nan] * 12])
def test_csv_holds_all_digits(tmp_path: Path, values: Any) -> None:
    summary = lm.summarize(make_scores(values, attack=list("ab") * 12))
    write_table(summary, tmp_path / "t.csv")
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "t.csv"), summary, check_dtype=False, rtol=1e-15, atol=0
    )


def test_interval_of_few_source_samples_is_marked() -> None:
    def marks(table: pd.DataFrame) -> list[bool]:
        texts = text_table(lm.summarize(table))
        assert texts.attrs["notes"] == [FEW_NOTE] * any(cell[-1] == "*" for cell in texts[INTERVAL])
        return [cell.endswith("*") for cell in texts[INTERVAL]]

    assert marks(make_scores(np.arange(9))) == [True]
    assert marks(make_scores(np.arange(10))) == [False]
    assert marks(make_scores([*range(9), np.nan])) == [True]
    assert marks(make_scores(np.arange(20), list(range(5)) * 4)) == [True]  # 20 scores of 5 samples
    assert marks(make_scores(np.arange(14), attack=["a"] * 12 + ["b"] * 2)) == [False, True]
    assert marks(make_scores([1])) == [False]  # there is no interval


def test_comparisons_have_one_column_for_an_interval() -> None:
    table = pd.DataFrame(
        {"attack": ["topk"] * 2, "metric": ["kendall", "mse"], "first": 4 / 255, "second": 8 / 255}
        | {"n": [9, 64], "difference": [-0.5, 2e-5], "ci_low": [-0.75, 1e-5], "ci_high": [-0.25, 3e-5]}
        | {"p_holm": [0.02, 1e-4]}
    )
    texts = text_table(table)
    assert texts.columns.tolist() == [*table.columns[:6], INTERVAL, "p_holm"]
    assert texts.iloc[0].tolist()[4:] == ["9", "-0.500", "[-0.750, -0.250]*", "0.020"]
    assert texts.iloc[1].tolist()[4:] == ["64", "2.00e-05", "[1.00e-05, 3.00e-05]", "< 0.001"]
    assert is_number_column(texts["p_holm"])


def test_comparisons_are_narrow_but_in_csv(tmp_path: Path) -> None:
    scores = make_scores(np.arange(40), [*range(20)] * 2, attack=["topk"] * 20 + ["mass"] * 20)
    table = lm.compare(scores, on="attack")
    for suffix in (".csv", ".tex"):
        write_table(table, tmp_path / f"t{suffix}")
    assert pd.read_csv(tmp_path / "t.csv").columns.tolist() == table.columns.tolist()
    head, row = latex_rows(tmp_path / "t.tex")
    means = ["mean_first", "mean_second", "difference"]
    assert head == ["metric", "first", "second", "n", *means, INTERVAL, "p_holm"]
    assert row == [
        "kendall",
        "mass",
        "topk",
        "20",
        "29.500",
        "9.500",
        "$-$20.000",
        "[$-$20.000, $-$20.000]",
        "< 0.001",
    ]


def test_numbers_of_a_row_have_one_format() -> None:
    columns = ["metric", "mean", "sd", "n", "n_undefined", "ci_low", "ci_high"]
    rows = [["kendall", 4e-4, 0.5, 64, 0, -0.02, 9e-4], ["mse", 4e-7, 1e-7, 64, 0, 2e-7, 6e-7]]
    texts = text_table(pd.DataFrame(rows, columns=columns))
    assert texts.iloc[0].tolist()[1:4] == ["0.000", "[-0.020, 0.001]", "0.500"]
    assert texts.iloc[1].tolist()[1:4] == ["4.00e-07", "[2.00e-07, 6.00e-07]", "1.00e-07"]


def test_values_of_a_condition_stand_side_by_side() -> None:
    rng = np.random.default_rng(0)
    attack, training = ["topk"] * 20 + ["mass"] * 40, ["natural"] * 40 + ["pgd"] * 20
    table = make_scores(rng.random(60), list(range(20)) * 3, attack=attack, training=training)
    table.loc[50, "kendall"] = np.nan
    summary = lm.summarize(table, ["training", "attack"])
    wide = wide_table(summary, "training")
    statistics = ["mean", "ci_low", "ci_high", "n"]
    columns = [f"{regime} {name}" for regime in ("natural", "pgd") for name in statistics]
    assert wide.columns.tolist() == ["attack", "metric", *columns]
    assert wide["attack"].tolist() == ["mass", "topk"]
    for _, row in summary.iterrows():
        found = wide[wide["attack"] == row["attack"]].iloc[0]
        assert [found[f"{row['training']} {name}"] for name in statistics] == row[statistics].tolist()
    assert wide.iloc[1].tolist()[-4:-1] == pytest.approx([math.nan] * 3, nan_ok=True)
    assert wide["pgd n"].tolist() == [19, 0]
    texts = wide_texts(summary, "training")
    long = text_table(summary)
    assert texts["natural"].tolist() == (long["mean"] + " " + long[INTERVAL]).tolist()[:2]
    assert texts["pgd"].tolist() == [f"{long['mean'][2]} {long[INTERVAL][2]} (1 undefined)", ""]


def test_wide_form_tells_values_apart_that_are_shown_alike() -> None:
    table = make_scores([1, 2, 3], eps=[0.12345678, 0.12345679123, np.nan])
    wide = wide_texts(lm.summarize(table, by="eps"), "eps")
    assert wide.columns.tolist() == ["metric", "eps 0.12345678", "eps 0.12345679123", "eps not given"]
    with pytest.raises(ValueError, match="cannot spread 'attack': the summary is by eps"):
        wide_texts(lm.summarize(table, by="eps"), "attack")


def test_wide_form_of_many_values_and_of_one_named_like_a_column() -> None:
    names = ["metric", *(f"m{i}" for i in range(120))]
    summary = lm.summarize(make_scores(np.arange(121), training=names))
    quoted = ["m0", "m1", "m2"]
    for table in (wide_texts(summary, "training"), wide_table(summary, "training")):
        assert table["metric"].tolist() == ["kendall"]
        texts = list(dict.fromkeys(name.removesuffix(" mean") for name in table.columns))
        assert [text for text in texts if text in quoted] == quoted
    assert wide_texts(summary, "training")["training 'metric'"].tolist() == ["0.000"]


def test_wide_form_says_what_is_undefined_and_left_out() -> None:
    status = ["constant_map"] * 2 + ["ok", "ok", "identical"]
    values = [np.nan, np.nan, 1, 2, 1]
    table = make_scores(values, attack=list("aabbb"), status=status)
    texts = wide_texts(lm.summarize(table, exclude="identical"), "attack")
    assert texts["a"].tolist() == ["undefined: constant_map"]
    assert texts.attrs["notes"] == [FEW_NOTE, "1 sample is left out."]


@pytest.mark.parametrize("name", ["t.xlsx", "t", "t.csv.gz", ".tex", "t.TEX"])
def test_other_kinds_of_tables_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    message = f"{re.escape(str(path))}: unknown kind of table; choose a name that ends in .csv, .tex or .md"
    for check in (check_table_suffix, lambda path: write_table(pd.DataFrame({"metric": []}), path)):
        with pytest.raises(ValueError, match=message):
            check(path)
    assert not path.exists()


@pytest.mark.parametrize("suffix", [".csv", ".tex", ".md"])
def test_only_tables_for_readers_are_replaced(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"t{suffix}"
    summary = lm.summarize(make_scores([1, 2], attack=["a", "b"]))
    check_table_output(path, [], "summary")
    for wide in (None, "attack"):
        write_table(summary, path, wide=wide)
        check_table_output(path, [], "summary")
    with pytest.raises(ValueError, match="is the file being read"):
        check_table_output(path, [path], "summary")
    for content in (b"sample,status,kendall\n1,ok,1\n", b"\\begin{tabular}\n", b"| mine |\n"):
        path.write_bytes(content)
        with pytest.raises(FileExistsError, match="exists and is not a summary: choose another output"):
            check_table_output(path, [], "summary")
        assert path.read_bytes() == content
    path.write_bytes(b"")
    check_table_output(path, [], "summary")
