"""The benchmarks' own code on made-up times; nothing here is timed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import cases
from benchmarks.cases import SAME_NUMBERS, SIZES
from benchmarks.run import main, slower, written
from benchmarks.table import OTHERS, OURS, speed_table

SIDES = [side for side, _, _ in SIZES]


def made_up(**changed: list[float]) -> dict[str, Any]:
    """Return results in which every case takes one to two seconds, but those that are given."""
    names = {case for _, case in (*OURS, *OTHERS)} | set(SAME_NUMBERS.values())
    times = {f"{name} {side}": [1.0, 1.2, 1.4, 1.6, 2.0] for name in sorted(names) for side in SIDES}
    return {
        "date": "2026-01-01",
        "machine": "here",
        "versions": {"lensmetrics": "1"},
        "seconds_per_pair": times | {name.replace("_", " "): value for name, value in changed.items()},
        "seconds": {"import lensmetrics": [1.0, 1.0, 1.0]},
    }


def test_a_case_is_slower_when_it_leaves_its_own_spread() -> None:
    before = made_up()
    assert slower(before, before) == []
    assert slower(before, made_up(score_suite_28=[1.3, 1.5, 1.7, 1.9, 2.3])) == []
    assert slower(before, made_up(score_suite_28=[2.6, 2.7, 2.8, 2.9, 3.0])) == [
        "score suite 28: 2.00 times as long as before"
    ]
    assert slower(made_up(score_suite_28=[2.6, 2.7, 2.8]), before) == []


def test_a_slower_machine_is_not_a_slower_case() -> None:
    before, now = made_up(), made_up()
    for part in ("seconds_per_pair", "seconds"):
        now[part] = {name: [3 * s for s in times] for name, times in now[part].items()}
    assert slower(before, now) == []
    now["seconds"]["import lensmetrics"] = [9.0, 9.0, 9.0]
    assert slower(before, now) == ["import lensmetrics: 3.00 times as long as before"]


def test_a_case_that_is_gone_is_said() -> None:
    now = made_up()
    del now["seconds_per_pair"]["torchmetrics spearman 28"]
    assert slower(made_up(), now) == ["torchmetrics spearman 28: not timed now"]


def test_results_are_read_as_they_were_written() -> None:
    results = made_up(score_suite_28=[1.23456e-5, 2.0])
    text = written(results)
    assert json.loads(text) == results | {
        "seconds_per_pair": results["seconds_per_pair"] | {"score suite 28": [1.235e-5, 2.0]}
    }
    assert all(len(line) < 200 for line in text.splitlines())


def test_the_table_says_where_lensmetrics_is_not_faster() -> None:
    results = made_up(numpy_topk_28=[0.5], kendalltau_28=[4.0], kendalltau_227=[4.0])
    for case in OTHERS:
        if case[1] != "numpy topk":
            results["seconds_per_pair"] |= {f"{case[1]} {side}": [4.0] for side in SIDES}
    results["seconds_per_pair"]["numpy topk 227"] = [2.0]
    text = speed_table(results)
    assert (
        "lensmetrics is not faster than: top-k intersection by `np.argpartition` and `np.isin` at 28x28."
        in text
    )
    assert "| top-k intersection by `np.argpartition` and `np.isin` | 2.00 s | 2 | 0.50 s | 0.5 |" in text
    results["seconds_per_pair"]["numpy topk 28"] = [2.0]
    assert "lensmetrics is faster in all rows." in speed_table(results)
    del results["seconds_per_pair"]["torchmetrics spearman 227"]
    assert "torchmetrics" not in speed_table(results)


def test_other_tools_give_the_numbers_that_they_are_timed_for() -> None:
    u, p = cases.random_pairs(1, 28)
    others = cases._others(u[0], p[0], 100)
    cases._check_agreement(u, p, 100, others)
    wrong = others | {"spearmanr": lambda: [0.5]}
    with pytest.raises(RuntimeError, match=r"spearmanr gives \[0.5\]"):
        cases._check_agreement(u, p, 100, wrong)
    assert np.isfinite(u).all()


def test_the_command_compares_and_says_so_by_its_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    older = tmp_path / "older.json"
    older.write_text(written(made_up()), encoding="utf-8")
    results = made_up(score_suite_28=[4.0, 4.0, 4.0]) | {"machine": "elsewhere"}
    monkeypatch.setattr("benchmarks.run.measured", lambda rounds: results)
    assert main(["--compare", str(older), "--out", str(tmp_path / "newer.json")]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "the older run is of another machine: here; this is elsewhere",
        "score suite 28: 2.86 times as long as before",
    ]
    assert main(["--compare", str(tmp_path / "newer.json")]) == 0
    assert capsys.readouterr().out == "no case became slower than its own spread\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "give --out FILE to write the times, --compare FILE to compare them, or both"),
        (["--out", "x.json", "--rounds", "2"], "--rounds must be at least 3, got 2"),
        (["--compare", "gone.json"], "gone.json"),
    ],
)
def test_the_command_says_what_it_needs(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert sentence in capsys.readouterr().err
