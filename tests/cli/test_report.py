"""The command ``report``: which pairs it shows, and what it says on stderr."""

from pathlib import Path

import numpy as np
import pytest

import lensmetrics as lm
from tests.cli.command import Run
from tests.pages import Page

TABLE = "scores.parquet"


@pytest.fixture
def maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder with a table of scores, the file that was scored, and another one."""
    monkeypatch.chdir(tmp_path)
    pairs = np.random.default_rng(0).random((2, 3, 5, 5), np.float32)
    Path("maps").mkdir()
    for name in ("maps/a.h5", "b.h5"):
        with lm.PairWriter(name, n_samples=3, shape=(5, 5), attrs={"training": "pgd"}) as writer:
            writer.write(slice(0, 3), *pairs, sample=[7, 8, 9])
    lm.write_scores(lm.evaluate(["maps/a.h5"], "lens_recall(k=3,w=1)"), TABLE)
    return tmp_path


def figures() -> list[str]:
    section = Page(Path("report.html").read_text("utf-8")).section("examples")
    return [figure["id"] for figure in section.attributes("figure")]


def test_named_pairs_are_read_where_the_table_says(maps: Path, run: Run) -> None:
    assert run("report", "--show", "a.h5:8", "a:7", TABLE, "--examples", "0") == (
        0,
        "",
        "wrote report.html\n",
    )
    assert figures() == ["s-a-8", "s-a-7"]
    assert run("report", TABLE, "--examples", "2")[0] == 0
    assert len(figures()) == 2


def test_maps_that_are_not_there_are_asked_for(maps: Path, run: Run) -> None:
    Path("maps/a.h5").rename("moved.h5")
    status, _, err = run("report", TABLE, "--show", "a:8")
    assert status == 2
    assert "the files that the table names are not there: name their folder with --maps" in err
    assert not Path("report.html").exists()


def test_unknown_pair_is_an_error_of_usage(maps: Path, run: Run) -> None:
    status, _, err = run("report", TABLE, "--show", "a:1")
    assert (status, err) == (
        2,
        "lensmetrics: cannot show 'a:1': a.h5 has no sample 1 in the table; it has 7, 8, 9\n",
    )
    assert run("report", TABLE, "--examples", "-1")[0] == 2
    assert not Path("report.html").exists()


def test_maps_of_other_files_are_said(maps: Path, run: Run) -> None:
    status, _, err = run("report", TABLE, "--maps", "b.h5")
    assert status == 0
    assert err == (
        "lensmetrics: no given pair file is one of the table, so the page shows no pair of maps: the table "
        "has a.h5; given were b.h5\nwrote report.html\n"
    )
    assert figures() == []
