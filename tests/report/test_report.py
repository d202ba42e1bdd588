"""The page shows what was scored, whatever the table or its texts contain."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lensmetrics.metrics.registry import get_metric
from lensmetrics.metrics.suites import lens_suite
from lensmetrics.pairfile.store import PairStore
from lensmetrics.pairfile.writer import PairWriter
from lensmetrics.report.page import write_report
from lensmetrics.scoring.arrays import score
from lensmetrics.scoring.files import evaluate
from lensmetrics.statuses import STATUSES
from lensmetrics.tables.summary import summarize
from tests.pages import Page

SIZE, N, K = 12, 6, 10
METRICS = [
    *lens_suite(K, windows=(1, 2)),
    *(get_metric("lens_recall_chance", k=K, w=w) for w in (0, 1, 2)),
    *(get_metric("lens_precision_adjusted", k=K, w=w) for w in (1, 2)),
]


def write(path: Path, seed: int, noise: float, **attrs: Any) -> PairStore:
    """Write six pairs: one with a NaN, one with a constant map, one that is never finished."""
    rng = np.random.default_rng(seed)
    unperturbed = rng.random((N, SIZE, SIZE))
    perturbed = unperturbed + noise * rng.normal(size=unperturbed.shape)
    perturbed[1, 3, 4] = np.nan
    unperturbed[2] = 0.25
    with PairWriter(path, n_samples=N, shape=(SIZE, SIZE), attrs=attrs) as writer:
        for i in range(N - 1):
            image = rng.integers(0, 256, (3, SIZE, SIZE), np.uint8)
            writer.write(i, unperturbed[i], perturbed[i], sample=10 + i, label=i % 2, image=image)
    return PairStore(path)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[PairStore]:
    folder = tmp_path_factory.mktemp("maps")
    return [
        write(
            folder / f"{training}-{attack}.h5",
            seed,
            noise,
            dataset="toy",
            training=training,
            attack=attack,
            eps=8 / 255,
            **({"attack_k": 7} if attack == "topk" else {}),
        )
        for seed, (training, attack, noise) in enumerate(
            [("natural", "topk", 0.6), ("natural", "none", 0.1), ("pgd", "topk", 0.3), ("pgd", "none", 0.05)]
        )
    ]


@pytest.fixture(scope="module")
def scores(stores: list[PairStore]) -> pd.DataFrame:
    return evaluate([store.path for store in stores], METRICS)


@pytest.fixture(scope="module")
def page(scores: pd.DataFrame, stores: list[PairStore], tmp_path_factory: pytest.TempPathFactory) -> Page:
    out = tmp_path_factory.mktemp("page") / "report.html"
    write_report(scores, out, stores=stores)
    html = out.read_text("utf-8")
    assert out.parent.joinpath("report.html").exists()
    assert list(out.parent.iterdir()) == [out]  # nothing temporary is left
    return Page(html)


RECALL = f"lens_recall(k={K},w=1)"


def lean(scores: pd.DataFrame) -> pd.DataFrame:
    """The table with one score, so that its page has few figures."""
    return scores[["file", "training", "attack", "sample", "status", RECALL]]


@pytest.fixture(scope="module")
def lean_page(scores: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of one score, without maps."""
    return report(lean(scores), tmp_path_factory.mktemp("lean"))


def report(scores: pd.DataFrame, tmp_path: Path, **options: Any) -> Page:
    write_report(scores, tmp_path / "r.html", **options)
    return Page((tmp_path / "r.html").read_text("utf-8"))


def assert_self_contained(page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "img", "iframe", "object", "base"), tag
        assert not {"src", "srcset", "action"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("href", "#").startswith(("#", "data:image/png;base64,"))
        assert all(
            value.startswith("#") for value in re.findall(r"url\(([^)]*)", attributes.get("style", ""))
        )


def test_page_is_self_contained(page: Page) -> None:
    assert_self_contained(page)
    assert page.attributes("svg")


def test_page_contains_no_address(lean_page: Page) -> None:
    assert "://" not in lean_page.html
    assert "@import" not in lean_page.html
    assert re.findall(r"url\((?!#)", lean_page.html) == []


def test_ids_are_unique_and_references_resolve(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = [a["href"] for _, a in page.tags if a.get("href", "").startswith("#")]
    clips = [clip for _, a in page.tags for clip in re.findall(r"url\((#[^)]*)", a.get("clip-path", ""))]
    assert clips
    assert {name[1:] for name in used + clips} <= set(ids)


def test_every_figure_has_caption_and_text_alternative(page: Page) -> None:
    figures = page.attributes("figure")
    assert len(figures) == 2 + 1 + 2 + 6  # recall, precision; differences; distributions; examples
    assert len({figure["id"] for figure in figures}) == len(figures)
    alternatives = [svg["aria-label"] for svg in page.attributes("svg") if svg.get("role") == "img"]
    assert len(alternatives) == len(figures)
    captions = page.text("figcaption")
    assert len(captions) == len(figures)
    assert all(caption in text for caption, text in zip(captions, alternatives, strict=True))


def test_tables_show_the_numbers_of_summarize(scores: pd.DataFrame, page: Page) -> None:
    summary = summarize(scores, by=["attack", "training"])
    section = page.section("scores")
    means, rest = section.text("b"), section.text("span")
    for row in summary.itertuples():
        assert f"{row.mean:.3f}" in means
        assert f"[{row.ci_low:.3f}, {row.ci_high:.3f}] *" in rest  # of fewer than ten samples
    notes = set(section.text("small")) - {"the same in all pairs"}
    assert (summary["n"] > 0).all()
    assert notes == {f"n = {row.n}, {row.n_undefined} undefined" for row in summary.itertuples()}


def test_cells_are_in_the_right_row_and_column(scores: pd.DataFrame, tmp_path: Path) -> None:
    """The means of one metric, in the order of the rows."""
    page = report(scores[["file", "attack", "training", "sample", "status", "kendall"]], tmp_path)
    summary = summarize(scores, by=["attack", "training"])
    expected = summary[summary["metric"] == "kendall"]["mean"]
    assert page.section("scores").text("b")[1:] == [f"{mean:.3f}" for mean in expected]
    counts = ["pairs", "constant_map", "incomplete", "nan_map"]
    rows = ["none", "natural", "pgd", "topk", "natural", "pgd"]
    assert page.section("conditions").text("th") == ["attack", "training", *counts, *rows]
    assert page.section("scores").text("th") == ["attack", "training", "Kendall", *rows]


def test_windows_are_sorted_after_the_intersection(scores: pd.DataFrame, tmp_path: Path) -> None:
    names = [f"lens_recall_div(k={K},w=2)", f"lens_recall_div(k={K},w=1)", f"lens_precision(k={K},w=1)"]
    page = report(scores[["sample", *names, f"topk_intersection(k={K})"]], tmp_path)
    section = page.section("scores")
    heads = [text for text in section.text("th") if text.startswith("w =")]
    assert heads == ["w = 1", "w = 2", "w = 0 (top-k intersection)", "w = 1"]
    means = [scores[name].mean() for name in (f"topk_intersection(k={K})", names[1], names[0])]
    means += [scores[name].mean() for name in (f"topk_intersection(k={K})", names[2])]
    assert section.text("b")[1:] == [f"{mean:.3f}" for mean in means]


def test_statuses_are_counted_and_explained(scores: pd.DataFrame, page: Page) -> None:
    tokens = {token for status in scores["status"] for token in status.split(";")} - {"ok"}
    assert tokens == {"nan_map", "constant_map", "incomplete"}
    assert set(page.text("dt")) >= {"files", "pairs", "conditions"}
    for token in tokens:
        assert token in page.text("code")
        assert STATUSES[token].meaning in page.text("dd")
    assert STATUSES["checksum"].meaning not in page.text("dd")
    section = page.section("conditions")
    heads = [text for text in section.text("th") if text == "pairs" or text in tokens]
    assert heads == ["pairs", *sorted(tokens)]
    counts = [text for text in section.text("td") if text.isdigit()]
    by_row = [counts[i : i + len(heads)] for i in range(0, len(counts), len(heads))]
    assert len(by_row) == 4
    assert [row[0] for row in by_row] == ["6"] * 4
    assert all(row[heads.index("incomplete")] == "1" for row in by_row)


@pytest.fixture
def attacked(scores: pd.DataFrame) -> pd.DataFrame:
    """A table in which the attack on some pairs has failed, and one metric is undefined in a condition."""
    table = scores[["file", "attack", "training", "sample", "status", "kendall", RECALL]].copy()
    failed = (table["sample"] == 10) | ((table["attack"] == "topk") & (table["sample"] == 13))
    table.loc[failed & (table["training"] == "natural"), "status"] = "identical;not_attacked"
    gone = (table["attack"] == "topk") & (table["training"] == "pgd")
    table.loc[gone, ["kendall", RECALL]] = np.nan
    table.loc[gone, "status"] = "constant_map"
    return table


def test_mean_without_failed_attacks_is_shown_below_the_mean(attacked: pd.DataFrame, tmp_path: Path) -> None:
    page = report(attacked, tmp_path)
    summary = summarize(attacked, by=["attack", "training"])
    by_row = {(row.attack, row.training, row.metric): row for row in summary.itertuples()}
    for attack in ("none", "topk"):
        for metric in ("kendall", RECALL):
            row: Any = by_row[attack, "natural", metric]
            assert metric == RECALL or row.mean_attacked != pytest.approx(row.mean, abs=1e-3)
            assert f"{row.mean_attacked:.3f} without not_attacked" in page.text("small")
    assert len([text for text in page.text("small") if "without not_attacked" in text]) == 4
    assert any(text.startswith("Where the attack accepted no image") for text in page.text("p"))
    assert STATUSES["not_attacked"].meaning in page.text("dd")
    assert STATUSES["identical"].meaning in page.text("dd")
    section = page.section("conditions")
    heads = section.text("th")
    start = heads.index("pairs")
    counts = ["constant_map", "identical", "incomplete", "nan_map", "not_attacked"]
    assert heads[start + 1 : start + 6] == counts
    cells = [text for text in section.text("td") if text.isdigit()]
    # rows: none natural, none pgd, topk natural, topk pgd
    assert [cells[i : i + 6] for i in range(0, 24, 6)] == [
        ["6", "1", "1", "1", "1", "1"],
        ["6", "1", "0", "1", "1", "0"],
        ["6", "1", "2", "1", "1", "2"],
        ["6", "6", "0", "0", "0", "0"],
    ]


def test_metric_without_any_score_is_explained(attacked: pd.DataFrame, tmp_path: Path) -> None:
    page = report(attacked, tmp_path)
    assert page.text("small").count("n = 0, 6 undefined: constant_map") == 2
    caption = page.text("figcaption")[0]
    assert "Not drawn, because no score is defined: topk, pgd (constant_map). " in caption


def test_statuses_can_be_excluded(attacked: pd.DataFrame, stores: list[PairStore], tmp_path: Path) -> None:
    exclude = ["not_attacked", "constant_map"]
    page = report(attacked, tmp_path, exclude=exclude, stores=stores[:2])  # of natural training
    summary = summarize(attacked, by=["attack", "training"], exclude=exclude)
    assert {f"{mean:.3f}" for mean in summary["mean"].dropna()} <= set(page.text("b"))
    cells = [text for text in page.section("conditions").text("td") if text.isdigit()]
    assert [cells[i : i + 2] for i in range(0, 28, 7)] == [["4", "2"], ["5", "1"], ["3", "3"], ["0", "6"]]
    assert cells[2:7] == ["1", "1", "1", "1", "1"]  # statuses of all pairs
    assert "left out" in page.text("th")
    assert not any("without not_attacked" in text for text in page.text("small"))
    sentence = "Left out everywhere on this page: pairs with the status not_attacked or constant_map."
    assert sentence in page.text("p")
    examples = page.section("examples").text("figcaption")
    assert examples
    assert not any("sample 10 " in text for text in examples)
    with pytest.raises(ValueError, match="cannot exclude 'saturated'"):
        report(attacked, tmp_path, exclude=["saturated"])
    everything = report(attacked.assign(status="not_attacked"), tmp_path, exclude=["not_attacked"])
    assert not everything.attributes("figure")


def test_unknown_metric_has_a_table(scores: pd.DataFrame, tmp_path: Path) -> None:
    """It was registered where the pairs were scored."""
    table = scores[["sample", "status", "kendall"]].assign(**{"mine(k=3,w=1)": 0.25, "other(level=2)": 0.75})
    page = report(table, tmp_path)
    assert "Mine, k = 3" in page.text("h3")
    assert "Other, level = 2" in page.text("th")
    assert page.section("scores").text("b")[1:] == [f"{scores['kendall'].mean():.3f}", "0.750", "0.250"]


def test_condition_named_like_a_count_is_a_condition(scores: pd.DataFrame, tmp_path: Path) -> None:
    table = scores[["file", "sample", "status", "kendall"]].assign(
        n_points=[10 if "pgd" in file else 20 for file in scores["file"]],
        attack=["topk" if "topk" in file else "none" for file in scores["file"]],
    )
    page = report(table, tmp_path)
    assert "n_points" in page.text("th")
    assert "points" not in page.text("th")
    assert "This version does not know this status." not in page.text("dd")


def test_header_describes_what_was_scored(page: Page) -> None:
    facts = dict(zip(page.text("dt"), page.text("dd"), strict=False))
    assert facts["files"] == "4"
    assert facts["pairs"] == "24"
    assert facts["conditions"] == "4"
    assert facts["eps"] == "8/255"
    assert facts["training"] == "natural, pgd"
    assert facts["attack_k"] == "7"
    assert any(value == "10" for name, value in facts.items() if name.startswith("k "))
    assert any(value == "0, 1, 2" for name, value in facts.items() if name.startswith("w "))


def test_examples_are_lowest_median_and_highest(scores: pd.DataFrame, page: Page) -> None:
    column = RECALL
    section = page.section("examples")
    captions, titles = section.text("figcaption"), section.text("h3")
    # The pairs about which scores disagree most are among these six.
    assert [title.split("; where scores disagree: ")[0] for title in titles] == [
        f"{t}: {p} LENS recall" for t in ("natural", "pgd") for p in ("lowest", "median", "highest")
    ]
    for i, training in enumerate(("natural", "pgd")):
        rows = scores[(scores["training"] == training) & scores[column].notna()]
        ranked = rows.sort_values(column, kind="stable")
        for j, position in enumerate((0, (len(ranked) - 1) // 2, len(ranked) - 1)):
            row, caption = ranked.iloc[position], captions[3 * i + j]
            assert f"sample {row['sample']} (label {row['label']})" in caption
            assert Path(row["file"]).name in caption
            assert f"LENS recall {row[column]:.3f}" in caption
            assert f"{round(row[column] * K)} are in N_w(S)" in caption
            assert "no longer" not in caption
    assert any(column in text for text in page.text("p"))


def test_page_without_maps_explains_how_to_get_examples(lean_page: Page) -> None:
    page = lean_page.section("examples")
    assert not page.attributes("figure")
    assert any("--maps" in text for text in page.text("p"))


def test_moved_files_are_found_by_name_and_changed_maps_are_detected(
    scores: pd.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "moved").mkdir()
    store = write(tmp_path / "moved" / "pgd-none.h5", 99, 0.9, training="pgd", attack="none")
    captions = report(lean(scores), tmp_path, stores=[store]).section("examples").text("figcaption")
    assert len(captions) == 3
    assert all("no longer have the score in the table" in caption for caption in captions)
    ambiguous = lean(scores)[["sample", RECALL]].assign(
        file=[f"{i % 2}/pgd-none.h5" for i in range(len(scores))]
    )
    page = report(ambiguous, tmp_path, stores=[store])
    assert any("no scored pair of the table" in text for text in page.text("p"))


def test_file_with_smaller_maps_or_other_samples_has_no_example(scores: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "pgd-none.h5"
    with PairWriter(path, n_samples=N, shape=(2, 2), attrs={}) as writer:
        writer.write(slice(0, N), np.ones((N, 2, 2)), np.ones((N, 2, 2)), sample=np.arange(10, 10 + N))
    notes = write_report(lean(scores), tmp_path / "r.html", stores=[PairStore(path)])
    page = Page((tmp_path / "r.html").read_text("utf-8"))
    assert not page.section("examples").attributes("figure")
    assert all("have fewer than 10 pixels" in note for note in notes)
    assert notes


def test_page_is_the_same_every_time(scores: pd.DataFrame, stores: list[PairStore], tmp_path: Path) -> None:
    part = lean(scores)[scores["file"] == str(stores[3].path)].iloc[:1]
    for name in ("a.html", "b.html"):
        write_report(part, tmp_path / name, stores=stores[3:])
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_failure_keeps_the_old_page(
    scores: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "r.html"
    out.write_text("old")
    with pytest.raises(ValueError, match="no column of scores"):
        write_report(scores[["file", "sample"]], out)

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space"):
        write_report(scores[["file", "sample", "kendall"]], out)
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]
    with pytest.raises(FileNotFoundError, match="no directory"):
        write_report(scores, tmp_path / "absent" / "r.html")


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "$\\frac{1}$ {{ 7 * 7 }}",
    "_hidden",
    "two\nlines\x00\x1b",
    "广义",
    "]]></svg><b>" + 500 * "x",
    " ",
]


def test_texts_from_files_are_escaped(scores: pd.DataFrame, stores: list[PairStore], tmp_path: Path) -> None:
    hostile = lean(scores).copy()
    files = list(scores["file"].unique())
    for shift, name in enumerate(("training", "attack", "explanation")):
        chosen = {file: HOSTILE[(i + 3 * shift) % len(HOSTILE)] for i, file in enumerate(files)}
        hostile[name] = [chosen[file] for file in hostile["file"]]
    page = report(hostile, tmp_path, stores=stores[1:2])
    assert_self_contained(page)
    assert HOSTILE[0] in page.text("th")
    assert HOSTILE[1] in page.text("th")
    assert not page.attributes("img")
    assert not any(text == "49" for text in page.text())
    svg_texts = page.text("text")
    assert HOSTILE[0] in svg_texts
    assert any("$\\frac{1}$" in text for text in svg_texts)
    assert any("hidden" in text for text in svg_texts)


def degenerate(scores: pd.DataFrame) -> dict[str, pd.DataFrame]:
    identity = ["file", "sample", "status"]
    rng = np.random.default_rng(5)
    maps = rng.random((2, 3, 5, 6))
    return {
        "no conditions": score(maps[0], maps[1], lens_suite(4)),
        "no status": score(maps[0], maps[1], "kendall").drop(columns="status"),
        "one file": lean(scores)[scores["file"] == scores["file"].iloc[0]],
        "no chance": lean(scores),
        "no windows": scores[[*identity, "training", "kendall"]],
        "only a chance level": scores[[*identity, f"lens_recall_chance(k={K},w=1)"]],
        "one row": lean(scores).iloc[:1],
        "no rows": scores.iloc[:0],
        "nothing defined": scores[scores["status"].str.contains("nan_map|incomplete")],
        "another program's metric": scores[[*identity, "kendall"]].assign(**{"mine(z=<3>)": 0.5}),
        "two k": score(maps[0], maps[1], [f"lens_recall(k={k},w={w})" for k in (2, 5) for w in (0, 3)]),
        "missing conditions": lean(scores).assign(
            training=None, eps=np.nan, attack_w=[1, *[np.nan] * (4 * N - 1)]
        ),
        "text conditions": lean(scores).assign(eps=["big", *[0.1] * (4 * N - 1)]),
    }


@pytest.mark.parametrize(
    "name",
    [
        "no conditions",
        "no status",
        "one file",
        "no chance",
        "no windows",
        "only a chance level",
        "one row",
        "no rows",
        "nothing defined",
        "another program's metric",
        "two k",
        "missing conditions",
        "text conditions",
    ],
)
def test_every_table_has_a_page(
    name: str, scores: pd.DataFrame, stores: list[PairStore], tmp_path: Path
) -> None:
    table = degenerate(scores)[name]
    # The examples of these two would be those of "missing conditions".
    page = report(table, tmp_path, stores=[] if name in ("no chance", "text conditions") else stores[:1])
    assert_self_contained(page)
    assert dict(zip(page.text("dt"), page.text("dd"), strict=False))["pairs"] == str(len(table))
    assert len(page.attributes("table")) >= 2
    assert any(text.startswith(("Chosen by score", "There are none")) for text in page.text("p"))


def test_page_of_many_conditions_is_short(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n_conditions = 144
    table = pd.DataFrame(
        {
            "file": np.repeat([f"{i}.h5" for i in range(n_conditions)], 4),
            "training": np.repeat([f"t{i % 16}" for i in range(n_conditions)], 4),
            "explanation": np.repeat([f"e{i // 16}" for i in range(n_conditions)], 4),
            "sample": np.tile(np.arange(4), n_conditions),
            "status": "ok",
        }
    )
    for metric in (
        "kendall",
        *(f"{name}(k=5,w=1)" for name in ("lens_distance", "n_diverse", "lens_recall_div")),
    ):
        table[metric] = rng.random(len(table))
    page = report(table, tmp_path)
    assert (tmp_path / "r.html").stat().st_size < 300_000
    opened = ["open" in attributes for attributes in page.section("scores").attributes("details")]
    assert opened == [True, True, True, False]


def test_metrics_of_another_process_are_shown(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"sample": np.arange(5), "status": "ok", "mine(k=3,w=1)": rng.random(5)})
    table = table.assign(theirs=rng.random(5))
    table.attrs["metrics"] = ["mine(k=3,w=1)", "theirs"]
    write_report(table, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    for title in ("Mine, k = 3", "Theirs"):
        assert title in page
    for column in ("mine(k=3,w=1)", "theirs"):
        assert f"{table[column].mean():.3f}" in page


def test_every_condition_is_named(tmp_path: Path) -> None:
    table = pd.DataFrame({"file": ["a", "b"], "seed": pd.Categorical([3, 4]), "sample": 0, "status": "ok"})
    write_report(table.assign(kendall=[0.1, 0.2]), tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert re.search(r"<dt>seed</dt>\s*<dd>3, 4</dd>", page)


def test_metrics_without_their_parameters_have_a_page(tmp_path: Path) -> None:
    names = [
        "lens_recall",
        "lens_recall(k=3)",
        "lens_recall(w=1)",
        "topk_intersection",
        "lens_recall(k=nan,w=1)",
    ]
    table = pd.DataFrame({"sample": [0, 1], "status": "ok", **dict.fromkeys(names, 0.5)})
    assert report(table, tmp_path).text("b")
