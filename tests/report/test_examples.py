"""The pairs that a page shows: named by the reader, or chosen from every condition."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import lensmetrics as lm
from lensmetrics.pairfile.store import PairStore
from lensmetrics.report.choosing import Pick, pick_by_score, pick_named, pick_of_conditions
from lensmetrics.report.examples import Examples, draw_examples, figure_id
from lensmetrics.report.leading import leading_score
from lensmetrics.report.page import write_report
from lensmetrics.tables.view import View
from tests.pages import Page

N = 5
RECALL = "lens_recall(k=4,w=1)"


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[PairStore]:
    folder = tmp_path_factory.mktemp("maps")
    rng = np.random.default_rng(0)
    found = []
    for training in ("natural", "pgd"):
        maps = rng.random((2, N, 6, 6), np.float32)
        path = folder / f"{training} ü.h5"
        with lm.PairWriter(path, n_samples=N, shape=(6, 6), attrs={"training": training}) as writer:
            names = [f"img:{i}" for i in range(N)]
            writer.write(slice(0, N), *maps, sample=10 + np.arange(N), name=names)
        found.append(PairStore(path))
    return found


@pytest.fixture(scope="module")
def scores(stores: list[PairStore]) -> pd.DataFrame:
    return lm.evaluate([store.path for store in stores], [RECALL])


def drawn(scores: pd.DataFrame, stores: list[PairStore], **options: Any) -> Examples:
    return draw_examples(View.of(scores), stores, **options)


def test_named_pairs_are_shown_first(scores: pd.DataFrame, stores: list[PairStore], tmp_path: Path) -> None:
    notes = write_report(
        scores, tmp_path / "r.html", stores=stores, show=["pgd ü.h5:13", "natural ü:img:2"], examples=0
    )
    assert notes == []
    section = Page((tmp_path / "r.html").read_text("utf-8")).section("examples")
    assert [figure["id"] for figure in section.attributes("figure")] == ["s-pgd-ü-13", "s-natural-ü-12"]
    assert section.text("h3") == ["pgd ü.h5:13", "natural ü:img:2"]
    assert "pgd, sample 13 named img:3, file pgd ü.h5." in section.text("figcaption")[0]
    assert section.text("p")[0] == "The first 2 pairs were named. None was chosen by score, as asked."


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("natural ü.h5:12", 2),
        ("natural ü:12", 2),
        ("pgd ü.h5:img:4", 9),  # both halves of a text may contain colons
    ],
)
def test_pair_is_found_by_file_and_sample(text: str, row: int, scores: pd.DataFrame) -> None:
    assert pick_named(scores, [text, text]) == [Pick(row, text)]
    path = str(scores["file"].iloc[row])
    assert pick_named(scores, [f"{path}:{scores['sample'].iloc[row]}"])[0].row == row


def test_name_of_a_sample_comes_before_its_number(scores: pd.DataFrame) -> None:
    names = ["14", "x", "x", "x", "x"] * 2
    assert pick_named(scores.assign(name=names), ["pgd ü:14"])[0].row == 5
    assert pick_named(scores.assign(name=None), ["pgd ü:14"])[0].row == 9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pgd.h5", "cannot show 'pgd.h5': write FILE:SAMPLE, as in natural ü.h5:0"),
        ("pgd.h5:3", "the table has no file pgd.h5; it has natural ü.h5, pgd ü.h5"),
        ("pgd ü.h5:3", "pgd ü.h5 has no sample 3 in the table; it has img:0, img:1, img:2, img:3, img:4"),
        ("", "cannot show '': write FILE:SAMPLE"),
        (":", "the table has no file"),
    ],
)
def test_unknown_pair_is_refused_in_a_sentence(text: str, message: str, scores: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=message):
        pick_named(scores, [text])


def test_ambiguous_file_is_refused(scores: pd.DataFrame) -> None:
    two = scores.assign(file=[f"{'a' if 'natural' in file else 'b'}/x.h5" for file in scores["file"]])
    with pytest.raises(
        ValueError, match=r"2 files of the table have the name x.h5; write the path .* a/x.h5:12"
    ):
        pick_named(two, ["x.h5:12"])
    assert pick_named(two, ["b/x.h5:12"])[0].row == 7
    ids = figure_id(two)
    assert ids("a/x.h5", 1) != ids("b/x.h5", 1)
    assert ids("a/x.h5", 1).startswith("s-x-")


def test_table_without_files_shows_no_pair(scores: pd.DataFrame, stores: list[PairStore]) -> None:
    table = scores.drop(columns="file")
    with pytest.raises(ValueError, match="does not name the files and samples"):
        drawn(table, stores, named=["a.h5:1"])
    assert drawn(table, stores).notes == [
        "the table does not name the files of its pairs, so the page shows none of them"
    ]


def test_named_pair_needs_its_maps(scores: pd.DataFrame, stores: list[PairStore]) -> None:
    with pytest.raises(ValueError, match=r"cannot show 'pgd ü:13': no given pair file is .*pgd ü.h5"):
        drawn(scores, stores[:1], named=["pgd ü:13"])


def test_pairs_of_every_condition_are_evenly_spaced(scores: pd.DataFrame) -> None:
    view = View.of(scores)
    rule = leading_score(view.columns)
    assert rule is not None
    held = np.ones(len(scores), np.bool_)
    for n in (1, 2, 3, 4, N, 9):
        picks, how = pick_of_conditions(view, rule, held, n)
        places = [(N - 1) // 2] if n == 1 else [i * (N - 1) // (n - 1) for i in range(n)]
        expected = []
        for training in ("natural", "pgd"):
            ranked = scores[scores["training"] == training].sort_values(RECALL, kind="stable")
            expected += [int(ranked.index[place]) for place in dict.fromkeys(places)]
        assert [pick.row for pick in picks] == expected
        assert "of each condition" in how
    assert picks[0].title == "natural: lowest LENS recall"
    assert picks[1].title == "natural: rank 2 of 5 by LENS recall"
    assert [
        pick.row for pick in pick_of_conditions(view, rule, held & (scores["sample"] < 12).to_numpy(), 1)[0]
    ] == [
        int(scores[(scores["training"] == training) & (scores["sample"] < 12)].nsmallest(1, RECALL).index[0])
        for training in ("natural", "pgd")
    ]


def test_pairs_left_out_or_undefined_are_not_chosen(scores: pd.DataFrame) -> None:
    table = scores.copy()
    table.loc[:2, RECALL] = np.nan
    table.loc[3, "status"] = "identical"
    view = View.of(table, exclude=["identical"])
    rule = leading_score(view.columns)
    assert rule is not None
    picks, _ = pick_by_score(view, rule, np.ones(len(table), np.bool_))
    assert {pick.row for pick in picks} & {0, 1, 2, 3} == set()
    assert picks[0] == Pick(4, "natural: lowest LENS recall")


def test_foreign_files_are_noted(scores: pd.DataFrame, stores: list[PairStore]) -> None:
    elsewhere = scores.assign(file=[f"{i // N}.h5" for i in range(2 * N)])
    found = drawn(elsewhere, stores)
    assert found.shown == []
    assert found.notes == [
        "no given pair file is one of the table, so the page shows no pair of maps: the table has 0.h5, "
        "1.h5; given were natural ü.h5, pgd ü.h5"
    ]


def test_file_that_has_gone_is_noted(scores: pd.DataFrame, stores: list[PairStore], tmp_path: Path) -> None:
    copy = tmp_path / stores[0].path.name
    copy.write_bytes(stores[0].path.read_bytes())
    store = PairStore(copy)
    copy.unlink()
    found = drawn(scores, [store])
    assert found.shown == []
    assert len(found.notes) == 3
    assert all(note.startswith("not shown: ") and copy.name in note for note in found.notes)


def test_pair_chosen_twice_is_shown_once(scores: pd.DataFrame, stores: list[PairStore]) -> None:
    lowest = scores[scores["training"] == "natural"].sort_values(RECALL, kind="stable").index[0]
    text = f"natural ü.h5:{scores['sample'].iloc[lowest]}"
    found = drawn(scores, stores[:1], named=[text], also=[Pick(int(lowest), "mine"), Pick(N, "no maps")])
    assert len(found.shown) == 3
    assert found.shown[0].title == f"{text}; natural: lowest LENS recall; mine"
    assert found.ids[int(lowest)] == found.shown[0].id


def test_table_without_a_set_score_shows_named_pairs(stores: list[PairStore]) -> None:
    table = lm.evaluate([store.path for store in stores], "kendall")
    found = drawn(table, stores, named=["pgd ü:10"])
    assert len(found.shown) == 1
    assert "Of the top 1 pixels" in found.shown[0].caption  # 2 % of 36
    assert found.how_chosen.endswith("no score to choose by: lens_recall or topk_intersection.")


def test_ids_do_not_depend_on_what_is_shown(scores: pd.DataFrame) -> None:
    ids = figure_id(scores)
    assert ids(scores["file"].iloc[0], 3) == "s-natural-ü-3"
    assert ids(scores["file"].iloc[0], -1) == "s-natural-ü--1"
    assert (
        figure_id(scores.iloc[N:])(scores["file"].iloc[N], 3) == ids(scores["file"].iloc[N], 3) == "s-pgd-ü-3"
    )


def test_a_pair_scored_against_the_target_is_drawn_with_it(tmp_path: Path) -> None:
    maps = np.random.default_rng(4).random((3, N, 6, 6), np.float32)
    path = tmp_path / "a.h5"
    with lm.PairWriter(path, n_samples=N, shape=(6, 6), attrs={"attack": "target_map"}) as writer:
        writer.write(slice(0, N), maps[0], maps[1], target=maps[2])
    plain, against = (lm.evaluate(path, RECALL, against=word) for word in ("unperturbed", "target"))
    page = tmp_path / "r.html"
    assert write_report(against, page, stores=[PairStore(path)], show=["a:2"], examples=0) == []
    text = page.read_text("utf-8")
    (figure,) = Page(text).section("examples").attributes("figure")
    assert figure["id"] == "s-a-2-target"
    assert "the target map" in text
    assert "unperturbed" not in Page(text).section("examples").text("figcaption")[0]
    assert "no longer have the score" not in text
    assert "How close attribution maps come to the target" in text
    both = pd.concat([plain, against], ignore_index=True)
    shown = drawn(both, [PairStore(path)], per_condition=1).shown
    assert {figure.id.endswith("-target") for figure in shown} == {True, False}
    write_report(both, page, stores=[PairStore(path)])
    assert "the condition against says which" in page.read_text("utf-8")
