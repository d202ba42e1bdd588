"""The table that files are scored into."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import lensmetrics as lm
from tests.pairfiles import flip_byte, write_file
from tests.scoring.runs import METRICS


@pytest.mark.parametrize("channels", [None, 1, 3])
@pytest.mark.parametrize("rule", [None, "sum", "abs_max"])
def test_evaluate_equals_score(tmp_path: Path, channels: int | None, rule: str | None) -> None:
    attrs = {} if rule is None else {"reduction": rule}
    maps = write_file(tmp_path / "a.h5", channels=channels, attrs=attrs)
    reduced = maps
    if channels == 1:  # dropped, never reduced
        reduced = maps[0][:, 0], maps[1][:, 0]
    elif channels is not None:
        reduce: dict[str | None, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]] = {
            None: lambda a: np.abs(a).sum(1),
            "sum": lambda a: a.sum(1),
            "abs_max": lambda a: np.abs(a).max(1),
        }
        reduced = reduce[rule](maps[0]), reduce[rule](maps[1])
    scores = lm.evaluate(tmp_path / "a.h5", METRICS)
    expected = lm.score(*reduced, METRICS).assign(sample=10 + 2 * np.arange(6))
    pd.testing.assert_frame_equal(scores.drop(columns="file"), expected, check_exact=True)
    assert scores["file"].tolist() == [str(tmp_path / "a.h5")] * 6


def test_table_of_a_study(study: list[Path]) -> None:
    scores = lm.evaluate(study, METRICS)
    assert scores.columns.tolist() == [
        *("file", "dataset", "training", "attack", "eps", "attack_k", "steps"),
        *("sample", "label", "prediction", "status"),
        *map(str, METRICS),
    ]
    assert scores.index.tolist() == list(range(19))
    lengths = [7, 3, 5, 4]
    assert scores["file"].tolist() == [
        str(path) for path, n in zip(study, lengths, strict=True) for _ in range(n)
    ]
    conditions: dict[str, list[Any]] = {
        "dataset": ["toy"] * 4,
        "training": ["natural", "natural", None, "pgd"],
        "attack": ["topk", "topk", "random_sign", "topk"],
        "eps": [0.1, 8 / 255, None, 0.1],
        "attack_k": [9, 9, None, 9],
        "steps": [5, 5, None, 5],
    }
    for name, by_file in conditions.items():
        assert isinstance(scores[name].dtype, pd.CategoricalDtype)
        repeated = [value for value, n in zip(by_file, lengths, strict=True) for _ in range(n)]
        assert scores[name].astype(object).where(scores[name].notna(), None).tolist() == repeated
    assert scores["eps"].cat.categories.dtype == np.float64

    good = ~scores["status"].isin(["incomplete", "checksum"])
    assert scores["status"][~good].to_dict() == {
        2: "checksum",
        10: "incomplete",
        13: "incomplete",
        16: "incomplete",
    }
    assert set(scores["status"][good]) <= {"ok", "few_diverse", "saturated", "few_diverse;saturated"}
    values = scores[list(map(str, METRICS))]
    assert values[~good].isna().all(axis=None)
    always = [
        c
        for c in values
        if not str(c).startswith(("lens_recall_div", "lens_precision_div", "lens_recall_adj"))
    ]
    assert values.loc[good, always].notna().all(axis=None)

    assert scores["sample"].dtype == np.int64
    starts = np.concatenate([10 + 2 * np.arange(n) for n in lengths])
    assert scores["sample"][good].tolist() == starts[good].tolist()
    assert scores["sample"][2] == 14
    assert scores["label"].dtype == scores["prediction"].dtype == "Int64"
    assert scores["label"][7:15].isna().all()
    labelled = [0, 1, 2, 3, 4, 5, 6, 0, pd.NA, 2, 3]
    pd.testing.assert_series_equal(
        scores["label"].drop(range(7, 15)).reset_index(drop=True),
        pd.Series(labelled, dtype="Int64", name="label"),
    )


def test_damage_stays_in_its_sample(study: list[Path]) -> None:
    clean, damaged = study[0].with_name("clean.h5"), study[0]
    write_file(clean, 7, seed=1, labels=True)
    columns = list(map(str, METRICS))
    expected = lm.evaluate(clean, METRICS).drop(index=2)
    found = lm.evaluate(damaged, METRICS).drop(index=2)
    pd.testing.assert_frame_equal(found[columns], expected[columns], check_exact=True)
    # The label is under the checksum too.
    flip_byte(clean, "label", 8 * 4)
    assert lm.evaluate(clean, "kendall")["status"].tolist() == ["ok"] * 4 + ["checksum"] + ["ok"] * 2


def test_undefined_maps_keep_their_rows(tmp_path: Path) -> None:
    unperturbed, perturbed = np.random.default_rng(0).normal(size=(2, 4, 5, 5))
    unperturbed[1] = np.nan
    perturbed[2] = 0.0
    with lm.PairWriter(tmp_path / "a.h5", n_samples=4, shape=(5, 5), attrs={}) as writer:
        writer.write(slice(0, 4), unperturbed, perturbed)
    scores = lm.evaluate(tmp_path / "a.h5", ["kendall", "topk_intersection(k=3)"])
    assert scores["status"].tolist() == ["ok", "nan_map", "constant_map", "ok"]
    assert scores["kendall"].isna().tolist() == [False, True, True, False]
    assert scores["topk_intersection(k=3)"].isna().tolist() == [False, True, True, False]


def test_paths_come_in_any_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.h5", "b.h5"):
        write_file(tmp_path / name, 2)
    monkeypatch.chdir(tmp_path)
    expected = lm.evaluate(["a.h5", "b.h5"], "kendall")
    assert expected["file"].tolist() == ["a.h5", "a.h5", "b.h5", "b.h5"]
    for paths in ((Path("a.h5"), "b.h5"), (Path(name) for name in ("a.h5", "b.h5"))):
        pd.testing.assert_frame_equal(lm.evaluate(paths, "kendall"), expected, check_exact=True)
    pd.testing.assert_series_equal(lm.evaluate("a.h5", "kendall")["kendall"], expected["kendall"][:2])


def test_other_attributes_except_provenance_follow_the_fixed_ones(tmp_path: Path) -> None:
    attrs = {
        "dataset": "toy",
        "steps": 20,
        "severity": 3,
        "eps_norm": "linf",
        "command": "python -m this",
        "attack_k": 100,
        "attack_w": 1,
        "attacked_explanation": "gradient",
        "explanation": "lrp",
        "model": "cnn",
    }
    write_file(tmp_path / "a.h5", 2, attrs=attrs)
    assert lm.evaluate(tmp_path / "a.h5", "kendall").columns.tolist() == [
        *("file", "dataset", "model", "explanation", "attacked_explanation", "eps_norm", "severity"),
        *("attack_k", "attack_w", "steps"),
        *("sample", "status", "kendall"),
    ]


@pytest.mark.parametrize("other", ["8/255", [0.1, 0.2], 1])
def test_attributes_of_different_kinds_share_a_table(tmp_path: Path, other: Any) -> None:
    write_file(tmp_path / "a.h5", 2, attrs={"eps": 0.5})
    write_file(tmp_path / "b.h5", 2, attrs={"eps": other})
    scores = lm.evaluate([tmp_path / "a.h5", tmp_path / "b.h5"], "kendall")
    assert scores["eps"].nunique() == 2
    lm.write_scores(scores, tmp_path / "scores.parquet")
    pd.testing.assert_frame_equal(lm.read_scores(tmp_path / "scores.parquet"), scores)


def test_status_includes_what_files_record_about_their_samples(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    unperturbed, perturbed = rng.normal(size=(2, 6, 5, 5))
    perturbed[1] = unperturbed[1]
    perturbed[4] = np.nan
    columns: dict[str, Any] = {"prediction": [0, 1, 2, 3, 4], "prediction_perturbed": [0, 1, 9, 9, 9]}
    with lm.PairWriter(tmp_path / "a.h5", n_samples=6, shape=(5, 5), attrs={}) as writer:
        writer.write(slice(0, 5), unperturbed[:5], perturbed[:5], n_accepted=[1, 0, 0, 7, 7], **columns)
    norms: dict[str, Any] = {"perturbation_linf": [0.1, 0.0, 0.2], "perturbation_l2": [0.1, 0.3, 0.0]}
    with lm.PairWriter(tmp_path / "b.h5", n_samples=3, shape=(5, 5), attrs={}) as writer:
        writer.write(slice(0, 3), unperturbed[:3], perturbed[3:][::-1], **norms)
    flip_byte(tmp_path / "b.h5", "unperturbed", 1 * 25 * 8)
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    expected = [
        *("ok", "identical;not_attacked", "label_changed;not_attacked", "label_changed"),
        *("label_changed;nan_map", "incomplete"),
        *("ok", "checksum", "not_attacked"),
    ]
    output = tmp_path / "s.parquet"
    found = lm.evaluate(paths, "kendall", output=output)
    assert found["status"].tolist() == expected
    again = lm.evaluate(paths, "kendall", output=output, resume=True)
    pd.testing.assert_frame_equal(again, found, check_exact=True)
