"""``lensmetrics summarize``, ``report`` and ``demo``."""

import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lensmetrics as lm
from lensmetrics import demo
from lensmetrics.cli import main
from tests.cli.command import Run
from tests.pairfiles import write_file


@pytest.mark.usefixtures("files")
def test_summarize_by_columns_into_a_file(run: Run) -> None:
    run("score", "a.h5", "b.h5", "-m", "kendall", "--workers", "1", "-o", "s.parquet")
    status, out, err = run("summarize", "s.parquet", "--by", "training", "attack", "eps", "-o", "t.csv")
    assert (status, err) == (0, "")
    expected = lm.summarize(lm.read_scores("s.parquet"), by=["training", "attack", "eps"])
    pd.testing.assert_frame_equal(pd.read_csv("t.csv"), expected, check_dtype=False, rtol=1e-15)
    assert all(word in out for word in ("training", "attack", "eps", "pgd", "natural", "topk"))


@pytest.mark.parametrize(
    ("words", "expected", "message"),
    [
        (["none.parquet"], 2, "none.parquet does not exist"),
        (["none.csv"], 2, "none.csv does not exist"),
        (["a.h5"], 1, "a.h5 cannot be read as a table of scores"),
        (["text.csv"], 1, "text.csv has no column of scores"),
        (
            ["text.parquet"],
            1,
            "text.parquet cannot be read .*: it is not a Parquet file; a CSV file must be named",
        ),
        (["empty.parquet"], 1, "empty.parquet cannot be read as a table of scores: it is empty"),
        (["s.csv", "--by", "nope"], 2, "cannot summarize by 'nope': the table has .*training"),
        (["s.csv", "--exclude", "nope"], 2, "'nope': it is not a status of a sample; allowed: "),
        (["s.csv", "-o", "no/t.csv"], 2, "no/t.csv cannot be written"),
    ],
)
@pytest.mark.usefixtures("files")
def test_mistakes_of_summarize(run: Run, words: list[str], expected: int, message: str) -> None:
    for name in ("text.csv", "text.parquet"):
        Path(name).write_text("sample,status\n1,ok\n")
    Path("empty.parquet").touch()
    lm.write_scores(lm.evaluate("a.h5", "kendall").assign(training="x"), "s.csv")
    status, out, err = run("summarize", *words)
    assert (status, out) == (expected, "")
    assert re.fullmatch(f"lensmetrics: .*{message}.*\n", err)


def test_conditions_left_out_of_the_summary_are_named(run: Run) -> None:
    for name, training, eps, softening in (("a", "natural", 0.1, "1"), ("b", "pgd", 0.2, "1 10")):
        write_file(Path(f"{name}.h5"), attrs={"training": training, "eps": eps, "softening": softening})
    words = ("a.h5", "b.h5", "-m", "kendall", "--workers", "1", "-o", "s.parquet")
    note = "lensmetrics: eps, softening differ too, but they are decided by training: --by shows them"
    assert note in run("score", *words)[2].splitlines()
    assert run("summarize", "s.parquet")[2].splitlines() == [note]
    assert run("summarize", "s.parquet", "--by", "training")[2] == ""


def test_a_summary_holds_no_formula(run: Run) -> None:
    write_file(Path("a.h5"), attrs={"training": "=2+3"})
    assert run("score", "a.h5", "-m", "kendall", "--workers", "1", "-o", "s.parquet")[0] == 0
    assert run("summarize", "s.parquet", "--by", "training", "-o", "o.csv")[0] == 0
    assert Path("o.csv").read_text().splitlines()[1].startswith("'=2+3,kendall,")


@pytest.fixture
def attacked() -> None:
    """c.h5 has a sample that was not attacked, and one whose map is constant; d.h5 only such as these."""
    unperturbed, perturbed = np.random.default_rng(5).random((2, 4, 6, 7))
    perturbed[1] = unperturbed[1]
    perturbed[2] = 0
    for name, rows in (("c", [0, 1, 2, 3]), ("d", [1, 2])):
        n = len(rows)
        with lm.PairWriter(f"{name}.h5", n_samples=n, shape=(6, 7), attrs={"training": name}) as writer:
            chosen = unperturbed[rows], perturbed[rows]
            writer.write(slice(0, n), *chosen, sample=rows, n_accepted=[int(row != 1) for row in rows])


@pytest.mark.usefixtures("run", "attacked")
def test_failed_attacks_can_be_left_out(run: Run) -> None:
    words = ["score", "c.h5", "d.h5", "-m", "kendall", "-o", "s.csv", "--workers", "1"]
    status, out, _ = run(*words)
    assert status == 0
    whole = lm.read_scores("s.csv")
    assert whole["status"].tolist() == [
        *("ok", "identical;not_attacked", "constant_map", "ok"),
        *("identical;not_attacked", "constant_map"),
    ]
    (mean,) = whole["kendall"][[0, 1, 3]].to_frame().mean()
    (attacked,) = whole["kendall"][[0, 3]].to_frame().mean()
    lines = out.splitlines()
    assert lines[0].split() == ["mean", "mean_attacked", "95", "%", "interval", "sd", "n", "n_undefined"]
    assert lines[2].split()[:4] == ["c", "kendall", f"{mean:.3f}", f"{attacked:.3f}"]
    assert lines[3].split()[:4] == ["d", "kendall", "1.000", "nan"]
    assert "mean_attacked is the mean without the samples whose attack found nothing (not_attacked)." in out
    counts = ":\nIn all rows: n_constant_map 1, n_identical 1, n_not_attacked 1\n"
    assert out.endswith(counts)

    before = Path("s.csv").read_bytes()
    status, left, _ = run(*words, "--exclude", "not_attacked")
    assert status == 0
    assert Path("s.csv").read_bytes() == before  # the table has every sample
    assert run("summarize", "s.csv", "--exclude", "not_attacked")[:2] == (0, left)
    lines = left.splitlines()
    assert "mean_attacked" not in left
    assert lines[0].split()[-3:] == ["n", "n_undefined", "n_excluded"]
    assert lines[2].split()[:3] == ["c", "kendall", f"{attacked:.3f}"]
    assert lines[2].split()[-3:] == ["2", "1", "1"]
    assert re.fullmatch(r"d +kendall +nan +undefined: constant_map +nan +0 +1 +1", lines[3])
    assert left.endswith(counts)  # all are counted
    both = run("summarize", "s.csv", "--exclude", "not_attacked", "constant_map", "-o", "t.csv")
    assert both[0] == 0
    pd.testing.assert_series_equal(pd.read_csv("t.csv")["n_excluded"], pd.Series([2, 2], name="n_excluded"))


@pytest.mark.usefixtures("files")
def test_report_is_one_page(run: Run) -> None:
    run("score", "a.h5", "b.h5", "--k", "5", "--workers", "1", "-o", "s.parquet")
    Path("maps").mkdir()
    Path("maps/a.h5").symlink_to("../a.h5")
    for maps in ([], ["--maps", "maps", "b.h5"]):
        Path("r.html").unlink(missing_ok=True)
        status, out, err = run("report", "s.parquet", "-o", "r.html", *maps)
        assert (status, out, err) == (0, "", "wrote r.html\n")
        page = Path("r.html").read_text()
        assert page.rstrip().endswith("</html>")
        assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)
    assert run("report", "s.parquet", "-o", "no/r.html")[0] == 2
    assert run("report", "none.parquet", "-o", "q.html")[0] == 2
    assert not Path("q.html").exists()


@pytest.mark.large
def test_demo_replaces_nothing_but_its_own(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("out").mkdir()
    status, out, err = run("demo", "-o", "out")
    assert status == 0
    assert "training" in out
    assert "wrote out/scores.parquet and out/report.html" in err
    assert err.endswith(f": lensmetrics explore {demo.DATA} --scores out/scores.parquet\n")
    assert sorted(path.name for path in Path("out").iterdir()) == ["report.html", "scores.parquet"]
    scores = lm.read_scores("out/scores.parquet")
    assert set(scores.groupby("file", observed=True).size()) == {64}
    assert (scores["training"].nunique(), scores["explanation"].nunique(), scores["attack"].nunique()) == (
        2,
        2,
        2,
    )
    monkeypatch.setattr(demo, "evaluate", lambda *_: scores)
    monkeypatch.setattr(demo, "write_report", lambda *_, **__: None)
    assert run("demo", "-o", "out") == (0, out, err)  # its own files may be replaced
    page = Path("out/report.html").read_bytes()
    Path("out/report.html").write_text("mine")
    status, _, err = run("demo", "-o", "out")
    assert status == 2
    assert "out/report.html exists and is not a page of lensmetrics" in err
    assert Path("out/report.html").read_text() == "mine"
    Path("out/report.html").write_bytes(page)
    lm.write_scores(scores.assign(file="mine.h5"), "out/scores.parquet")
    status, _, err = run("demo", "-o", "out")
    assert status == 2
    assert "out/scores.parquet exists and is not the demo's" in err
    assert set(lm.read_scores("out/scores.parquet")["file"]) == {"mine.h5"}


def test_demo_shows_its_table_before_it_makes_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader of its output has all of the table when the page is begun, and is told what to wait for."""
    files = sorted(demo.DATA.glob("*-gradient-topk.h5"))
    scores = lm.evaluate(files, ["kendall", "lens_recall(k=100,w=1)"])
    seen: list[tuple[str, str]] = []

    def page(*_: object, **__: object) -> None:
        seen.append((Path("out").read_text(), Path("err").read_text()))

    monkeypatch.setattr(demo, "evaluate", lambda *_: scores)
    monkeypatch.setattr(demo, "write_report", page)
    monkeypatch.chdir(tmp_path)
    with Path("out").open("w") as out, Path("err").open("w") as err:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        assert main(["demo"]) == 0
    assert len(seen) == 1
    table, said = seen[0]
    assert "kendall" in table
    assert table == Path("out").read_text()
    first, last = said.splitlines()
    assert first == "scoring the embedded files; the first run compiles for about 10 seconds"
    assert last == "making the page, report.html, takes some seconds"
