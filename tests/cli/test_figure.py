"""``lensmetrics figure``."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lensmetrics as lm
from tests.cli.command import Run


@pytest.fixture
def scores(run: Run) -> pd.DataFrame:
    """s.parquet has two regimes and two eps, and a pair that was not attacked."""
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {
            "file": np.repeat(["a.h5", "b.h5", "c.h5", "d.h5"], 12),
            "training": np.repeat(["natural", "pgd"], 24),
            "eps": np.tile(np.repeat([4 / 255, 8 / 255], 12), 2),
            "sample": np.tile(np.arange(12), 4),
            "status": ["not_attacked"] + ["ok"] * 47,
        }
    )
    for metric in ("topk_intersection(k=5)", "lens_recall(k=5,w=1)", "lens_precision(k=5,w=1)", "kendall"):
        table[metric] = rng.random(48)
    lm.write_scores(table, "s.parquet")
    return table


@pytest.mark.usefixtures("scores")
@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["curves", "--k", "5"], ["LENS recall, k = 5", "eps 4/255", "natural"]),
        (
            ["curves", "--k", "5", "-m", "lens_precision", "--by", "eps"],
            ["LENS precision, k = 5", "eps 8/255"],
        ),
        (["scores", "-m", "kendall"], ["Kendall", "eps, in steps of 1/255", "pgd"]),
        (
            ["scores", "-m", "lens_recall(k=5, w=1)", "--x", "eps", "--by", "training"],
            ["LENS recall, k = 5, w = 1"],
        ),
        (["comparison"], ["difference: pgd − natural, 95 % interval", "eps 4/255", "Kendall"]),
        (
            ["comparison", "--on", "eps", "--between", "8/255", "4/255", "-m", "kendall"],
            ["natural", "Kendall"],
        ),
    ],
)
def test_figures_are_drawn_and_drawn_again(run: Run, words: list[str], shown: list[str]) -> None:
    command = ("figure", "s.parquet", "--kind", *words, "-o", "f.svg")
    assert run(*command) == (0, "", "wrote f.svg\n")
    drawn = Path("f.svg").read_bytes()
    texts = re.findall(r">([^<>]+)</text>", drawn.decode())
    assert set(shown) <= set(texts)
    assert run(*command)[0] == 0
    assert Path("f.svg").read_bytes() == drawn


@pytest.mark.usefixtures("scores")
def test_every_kind_of_file_has_its_width(run: Run) -> None:
    for suffix in ("pdf", "png"):
        words = ("--kind", "curves", "--k", "5", "--width", "4", "-o", f"f.{suffix}")
        assert run("figure", "s.parquet", *words) == (0, "", f"wrote f.{suffix}\n")
    assert Path("f.png").read_bytes()[16:20] == (1200).to_bytes(4)
    assert b"/MediaBox [ 0 0 288 " in Path("f.pdf").read_bytes()


def test_samples_can_be_left_out(run: Run, scores: pd.DataFrame) -> None:
    words = ("figure", "s.parquet", "--kind", "scores", "-m", "kendall", "-o")
    assert run(*words, "all.svg")[0] == 0
    assert run(*words, "some.svg", "--exclude", "not_attacked")[0] == 0
    lm.write_scores(scores[1:], "s.parquet")
    assert run(*words, "kept.svg")[0] == 0
    assert Path("some.svg").read_bytes() == Path("kept.svg").read_bytes() != Path("all.svg").read_bytes()


@pytest.mark.usefixtures("scores")
@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["none.parquet", "--kind", "curves"], 2, "none.parquet does not exist"),
        (["text.csv", "--kind", "curves"], 1, "text.csv has no column of scores"),
        (["s.parquet", "--kind", "curves"], 2, r"no column lens_recall\(k=100,w=...\); it has k = 5"),
        (["s.parquet", "--kind", "curves", "--x", "eps"], 2, "a figure of curves takes no --x"),
        (["s.parquet", "--kind", "scores", "--k", "5", "-m", "kendall"], 2, "of scores takes no --k"),
        (["s.parquet", "--kind", "scores"], 2, "a figure of scores shows one score: name it with -m"),
        (["s.parquet", "--kind", "scores", "-m", "mse"], 2, "the table has no scores of mse"),
        (
            ["s.parquet", "--kind", "scores", "-m", "kendall", "--x", "training"],
            2,
            "'natural', which is not a number",
        ),
        (["s.parquet", "--kind", "curves", "-m", "kendall", "lens_recall"], 2, "curves shows one metric"),
        (["s.parquet", "--kind", "comparison", "--on", "model"], 2, "cannot compare on 'model'"),
        (["s.parquet", "--kind", "comparison", "--by", "nope"], 2, "cannot group by 'nope'"),
        (["s.parquet", "--kind", "curves", "--k", "5", "--by", "nope"], 2, "cannot summarize by 'nope'"),
        (
            ["s.parquet", "--kind", "curves", "--k", "5", "--width", "40"],
            2,
            "width is in inches, from 2 to 20",
        ),
        (["s.parquet", "--kind", "curves", "-o", "f.jpg"], 2, "f.jpg: this command writes a figure"),
        (["s.parquet", "--kind", "curves", "-o", "no/f.pdf"], 2, "no/f.pdf cannot be written"),
        (
            ["s.parquet", "--kind", "curves", "-o", "mine.png"],
            2,
            "mine.png exists and is not a figure of lensm",
        ),
    ],
)
def test_mistakes(run: Run, words: list[str], status: int, message: str) -> None:
    Path("text.csv").write_text("sample,status\n1,ok\n")
    Path("mine.png").write_text("mine")
    before = sorted(Path().iterdir())
    output = [] if "-o" in words else ["-o", "f.pdf"]
    found, out, err = run("figure", *words, *output)
    assert (found, out) == (status, "")
    assert re.fullmatch(f"lensmetrics: .*{message}.*\n", err)
    assert sorted(Path().iterdir()) == before
    assert Path("mine.png").read_text() == "mine"
