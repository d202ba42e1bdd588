"""The page of a study of manipulated explanations: what it measures, tests and says."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import lensmetrics as lm
from benchmarks.studies import manipulated
from benchmarks.studies.manipulated import measured, read_study
from benchmarks.studies.manipulated_claims import (
    CONFIRMED,
    CONTRADICTED,
    NOT_DECIDED,
    Mean,
    claims,
    mean_of,
    own_maps,
    read_conditions,
    smoothed,
)
from benchmarks.studies.manipulated_page import write_page
from generators import fit_patterns, sweep

STUDIES = Path(__file__).parents[1] / "benchmarks" / "studies"
STUDY = {"title": "A small study", "notes": "Notes.", "image_ssim": 0.9, "softmax": 0.05}
ATTACK = {"model": "small_cnn", "training": "natural", "attack": "target_map"}
SETTINGS = {"steps": 10, "learning_rate": 0.01, "map_weight": 1e11, "versions": "python 3"}
SIZE = (12, 12)


def written(path: Path, reach: float, *, n: int = 6, seed: int = 7, **attrs: Any) -> Path:
    """A file of maps that the attack has moved this far to their targets: 0 not at all, 1 onto them."""
    rng = np.random.default_rng(seed)
    before, target = rng.random((2, n, *SIZE)).astype(np.float32)
    perturbed = (1 - reach) * before + reach * target
    images = rng.integers(0, 256, (n, *SIZE), dtype=np.uint8)
    moved = (images / 255 + 0.3 * reach * rng.random((n, *SIZE))).clip(0, 1).astype(np.float32)
    moved[0] = images[0].astype(np.float32) / 255  # no better image was found
    outputs = rng.normal(size=(n, 3)).astype(np.float32)
    attrs = {**ATTACK, **SETTINGS, "explanation": "gradient", **attrs}
    with lm.PairWriter(path, n_samples=n, shape=SIZE, attrs=attrs) as writer:
        writer.write(
            slice(n),
            before,
            perturbed,
            sample=np.arange(n) + 10,
            label=np.arange(n) // 2,
            prediction=np.zeros(n, np.int64),
            prediction_perturbed=(np.arange(n) == n - 1).astype(np.int64),
            image=images,
            image_perturbed=moved,
            output=outputs,
            output_perturbed=outputs + np.array([reach, 0, 0], np.float32),
            n_accepted=[0] + [3] * (n - 1),
            target=target,
        )
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[Path, dict[str, Any]]:
    """An attack, its repetition with more steps, smoothed ones, two views of it, and one not made."""
    made: list[tuple[float, dict[str, Any]]] = [
        (0.8, {}),
        (0.9, {"steps": 90, "softening": 0.5}),
        (0.2, {"explanation": "beta_smooth", "base": "gradient", "beta": 0.8}),
        (0.6, {"explanation": "beta_smooth", "base": "gradient", "beta": 5.0}),
        (0.9, {"explanation": "smooth_grad", "sigma": 0.1}),
        (
            0.3,
            {
                "explanation": "beta_smooth",
                "base": "gradient",
                "beta": 0.8,
                "attacked_explanation": "gradient(form=standard)",
            },
        ),
    ]
    found: dict[Path, dict[str, Any]] = {
        written(tmp_path / f"{i}.h5", reach, **attrs): {} for i, (reach, attrs) in enumerate(made)
    }
    return found | {tmp_path / "lrp.h5": {**ATTACK, **SETTINGS, "explanation": "lrp"}}


def test_rows_have_the_numbers_of_the_pairs(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5", 0.5)
    table: Any = measured({path: {}})
    with lm.PairStore(path).to_xarray() as file:
        target, before, after = (file[name].to_numpy() for name in ("target", "unperturbed", "perturbed"))
        image, moved = file["image"].to_numpy() / 255, file["image_perturbed"].to_numpy()
        logits = file["output"].to_numpy()[1].astype(np.float64)

    def pcc(a: Any, b: Any) -> float:
        return float(np.corrcoef(a[1].ravel(), b[1].ravel())[0, 1])

    row = table.iloc[1]
    assert row["sample"] == 11
    np.testing.assert_allclose(row["pearson"], pcc(after, target), rtol=1e-5)
    np.testing.assert_allclose(row["pearson before"], pcc(before, target), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(row["pearson kept"], pcc(before, after), rtol=1e-5)
    own = before[np.array([2, 2, 4, 4, 0, 0])]  # the next of another label
    np.testing.assert_allclose(row["pearson own before"], pcc(own, before), rtol=1e-5)
    np.testing.assert_allclose(row["pearson own"], pcc(own, after), rtol=1e-5)
    shares = [a / a.sum() for a in (before[1], target[1])]
    np.testing.assert_allclose(row["mse_normalized before"], ((shares[0] - shares[1]) ** 2).mean(), rtol=1e-4)
    np.testing.assert_allclose(row["image_mse"], ((moved[1] - image[1]) ** 2).mean(), rtol=1e-4)
    np.testing.assert_allclose(row["logits"], 0.5, rtol=1e-5)
    chances = [np.exp(z) / np.exp(z).sum() for z in (logits, logits + np.array([0.5, 0, 0]))]
    np.testing.assert_allclose(row["softmax"], np.abs(chances[0] - chances[1]).max(), rtol=1e-5)
    assert (table["image_mse"] == 0).tolist() == [True] + [False] * 5
    assert table["not_attacked"].tolist() == [True] + [False] * 5
    assert table["label_changed"].tolist() == [False] * 5 + [True]
    assert table["made"].notna().tolist() == [True] + [False] * 5


def test_smoothed_maps_are_held_beside_unsmoothed_ones(tmp_path: Path) -> None:
    views: list[dict[str, Any]] = [
        {"explanation": "beta_smooth", "base": "gradient"},
        {"explanation": "smooth_grad"},
        {"explanation": "beta_smooth", "base": "lrp"},  # whose own file does not exist
        {"explanation": "gradient"},
    ]
    paths = [written(tmp_path / f"{i}.h5", 0.5, seed=i, **attrs) for i, attrs in enumerate(views)]
    table: Any = measured({path: {} for path in paths})
    maps = [lm.PairStore(path).read_block(0, 6)[0] for path in paths]
    for i in (0, 1):
        expected = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(maps[i], maps[3], strict=True)]
        np.testing.assert_allclose(table["pearson unsmoothed"][6 * i : 6 * i + 6], expected, atol=1e-6)
    assert table["pearson unsmoothed"][12:].isna().all()


def test_intervals_are_those_of_comparisons() -> None:
    first, second = np.random.default_rng(1).random((2, 12))
    rows = pd.DataFrame({"sample": [*range(12)] * 2, "side": ["a"] * 12 + ["b"] * 12})
    found: Any = lm.compare(rows.assign(pearson=[*first, *second]), on="side").iloc[0]
    difference: Any = pd.Series(second - first, dtype=float)
    mean = mean_of(difference)
    np.testing.assert_allclose(mean, [found["difference"], found["ci_low"], found["ci_high"]], rtol=1e-9)
    empty: Any = []
    assert mean_of(pd.Series(empty)).above(0) == NOT_DECIDED


@pytest.mark.parametrize(
    ("mean", "limit", "above", "below"),
    [
        (Mean(0.2, 0.1, 0.3), 0, CONFIRMED, CONTRADICTED),
        (Mean(-0.2, -0.3, -0.1), 0, CONTRADICTED, CONFIRMED),
        (Mean(0.2, -0.1, 0.5), 0, NOT_DECIDED, NOT_DECIDED),
        (Mean(0.93, 0.91, 0.95), 0.9, CONFIRMED, CONTRADICTED),
        (Mean(0.5, math.nan, math.nan), 0, NOT_DECIDED, NOT_DECIDED),
    ],
)
def test_verdict_is_that_of_the_interval(mean: Mean, limit: float, above: str, below: str) -> None:
    assert (mean.above(limit), mean.below(limit)) == (above, below)


def test_conditions_are_what_was_attacked_and_how_it_is_seen(files: dict[Path, Any]) -> None:
    conditions = read_conditions(measured(files))
    assert [(one.explanation, one.view, one.looked_at, one.n) for one in conditions] == [
        ("gradient", "", False, 6),
        ("gradient", "", False, 6),
        ("gradient", "beta 0.8", False, 6),
        ("gradient", "beta 5", False, 6),
        ("gradient", "SmoothGrad, sigma 0.1", False, 6),
        ("gradient", "beta 0.8", True, 6),
        ("LRP", "", False, 0),
    ]
    assert {one.network for one in conditions} == {"small_cnn, natural"}
    assert [one.explanation for one in own_maps(conditions)] == ["gradient", "LRP"]
    assert conditions[1].settings == "90 steps at rate 0.01, weight 1e+11, softening 0.5"
    assert [one.view for one, _ in smoothed(conditions, looked_at=True)] == ["beta 0.8"]
    assert [conditions[i].name for i in (0, 1, 2, 5)] == [
        "gradient",
        "gradient (90 steps at rate 0.01, weight 1e+11, softening 0.5)",
        "beta 0.8 of gradient",
        "gradient seen through beta 0.8",
    ]


def test_claims_are_decided_by_paired_differences(files: dict[Path, Any]) -> None:
    table: Any = measured(files)
    found = {claim.text: claim for claim in claims(STUDY, read_conditions(table))}
    again = found["A smoothed explanation that is attacked itself resists more."]
    assert [test.verdict for test in again.tests] == [CONFIRMED, CONFIRMED, CONTRADICTED]
    gain = (table["pearson"] - table["pearson before"]).to_numpy().reshape(-1)[:36].reshape(6, 6)
    np.testing.assert_allclose([test.mean.value for test in again.tests], (gain[2:5] - gain[0]).mean(axis=1))
    (order,) = found["The smaller beta, the more an attacked smoothed explanation resists."].tests
    np.testing.assert_allclose(order.mean.value, (gain[2] - gain[3]).mean())
    assert order.verdict == CONFIRMED
    (own,) = found["So it does beside the smoothed map of the target sample."].tests
    own_gain = (table["pearson own"] - table["pearson own before"]).to_numpy()[:36].reshape(6, 6)
    np.testing.assert_allclose(own.mean.value, (own_gain[5] - gain[0]).mean())
    (image,) = found["The image hardly changes."].tests
    np.testing.assert_allclose(image.mean.value, table["image_ssim"][:6].mean())
    assert image.verdict == CONFIRMED  # .98


def test_page_counts_verdicts_and_says_what_was_not_run(files: dict[Path, Any], tmp_path: Path) -> None:
    text = write_page(STUDY, measured(files), tmp_path / "small")
    assert text == (tmp_path / "small.md").read_text(encoding="utf-8")
    assert "**Not finished:** 1 of 7 files were not made. small_cnn, natural: LRP." in text
    lines = text.splitlines()
    (row,) = [
        line
        for line in lines
        if line.startswith("| A smoothed explanation that is attacked itself resists more. |")
    ]
    assert "| 3 | 2 | 1 | 0 |" in row
    (note,) = [
        line
        for line in lines
        if line.startswith("* A smoothed explanation that is attacked itself resists more. ")
    ]
    assert "Contradicted: small_cnn, natural: SmoothGrad, sigma 0.1 of gradient 0.0" in note
    assert re.search(r"where images changed by an RMS of 0\.[01]\d\d, unsmoothed by 0\.[01]\d\d", note)
    assert "| small_cnn, natural | LRP | not run |" in text
    assert "fewer than 10 samples are unreliable: those of small_cnn, natural, with 6." in text
    assert "| 5 of 6 |" in text
    assert "| small_cnn, natural | gradient | beta 0.8 | 6 | 1 | 1.000 |" in text
    (row,) = [line for line in lines if "| 90 steps at rate 0.01, weight 1e+11, softening 0.5 |" in line]
    assert re.search(r"softening 0.5 \| 0\.\d+ \[0\.\d+, 0\.\d+\] \| 6 \| 1 \| 1 \|", row)
    assert (tmp_path / "small.png").stat().st_size > 10_000


def test_a_study_of_which_nothing_exists_has_a_page(tmp_path: Path) -> None:
    table = measured({tmp_path / "lrp.h5": {**ATTACK, **SETTINGS, "explanation": "lrp"}})
    text = write_page(STUDY, table, tmp_path / "none")
    assert "1 of 1 files were not made" in text


def test_the_stored_page_is_that_of_the_stored_table(tmp_path: Path) -> None:
    study = read_study(STUDIES / "manipulated.toml")
    text = write_page(study, pd.read_csv(STUDIES / "manipulated.csv"), tmp_path / "manipulated")
    assert text == (STUDIES / "manipulated.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("softmax = 0.05", "", "must set softmax in "),
        ("image_ssim = 0.9", "image_ssim = 90", "image_ssim in .study. must be between 0 and 1, got 90"),
        (
            "pattern_samples = 5000",
            "pattern_samples = 0.5",
            "pattern_samples in .study. must be an integer above 0, got 0.5",
        ),
    ],
)
def test_a_study_without_a_limit_is_refused(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    path = tmp_path / "study.toml"
    path.write_text((STUDIES / "manipulated.toml").read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=sentence):
        read_study(path)


def test_patterns_are_fitted_once_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "study.toml"
    patterns = tmp_path / "new" / "natural.patterns.pt"
    needing = ("pattern_attribution", f'patterns = "{patterns}"\neps = [0.1, 0.2]\n')
    blocks = "".join(
        f'[[generate]]\nexplanation = "{name}"\n{more}' for name, more in (("gradient", ""), needing)
    )
    path.write_text(
        (STUDIES / "manipulated.toml").read_text().split("[common]")[0].replace("maps/studies", str(tmp_path))
        + '[common]\ndataset = "fashion_mnist"\nmodel = "small_cnn"\ndata = "d"\nattack = "random_sign"\n'
        + f'checkpoint = "c.pt"\neps = 0.1\n{blocks}'
    )
    calls: list[Any] = []

    def fit(words: list[str]) -> int:
        calls.append(words)
        patterns.touch()
        return 0

    def make(words: list[str]) -> int:
        calls.append(words)
        return 1

    monkeypatch.setattr(fit_patterns, "main", fit)
    monkeypatch.setattr(sweep, "main", make)
    assert manipulated.main([str(path)]) == manipulated.main([str(path), "--out", "elsewhere"]) == 1
    of_network = ["--dataset=fashion_mnist", "--data=d", "--model=small_cnn", "--checkpoint=c.pt"]
    assert calls == [
        [*of_network, "--device=auto", "--samples=5000", f"--out={patterns}"],
        [str(path), "--jobs", "1"],
        [str(path), "--jobs", "1", "--out=elsewhere"],
    ]
