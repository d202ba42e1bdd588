"""The page of a study of certificates: what it computes from the table of its samples."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import betainc

import lensmetrics as lm
from benchmarks.studies.certified import measured, read_study
from benchmarks.studies.certified_page import certified, fraction, remaining, write_page

STUDIES = Path(__file__).parents[1] / "benchmarks" / "studies"
STUDY = {"title": "A small study", "notes": "Notes.", "cosine": 0.9, "alpha": 0.05}
SMOOTHING = {"n_draws": 10_000, "dim": 64, "bound": 1.0, "nonnegative": 1}


def files(folder: Path) -> list[Path]:
    """A file of each training, of three pairs whose second maps lean to another pixel by this much."""
    found = []
    for training, lean in (("natural", 0.9), ("pgd", 0.05)):
        maps = np.zeros((3, 8, 8), np.float32)
        maps[:, 0, 0] = (0.01, 0.5, 0.9)
        perturbed = maps.copy()
        perturbed[:, 0, 1] = lean * maps[:, 0, 0]
        path = folder / f"{training}.h5"
        attrs = {"training": training, "radius": 2.0, "eps": 0.05, "attack": "l2_topk", **SMOOTHING}
        with lm.PairWriter(path, n_samples=3, shape=(8, 8), attrs=attrs) as writer:
            change = np.full(3, 0.05, np.float32)
            writer.write(
                slice(0, 3),
                unperturbed=maps,
                perturbed=perturbed,
                perturbation_l2=change,
                n_accepted=[1, 1, 0],
            )
        found.append(path)
    return found


def test_table_has_what_the_files_say(tmp_path: Path) -> None:
    table = measured(files(tmp_path))
    assert table["training"].tolist() == ["natural"] * 3 + ["pgd"] * 3
    np.testing.assert_allclose(table["norm"][:3], [0.01, 0.5, 0.9], rtol=1e-6)
    np.testing.assert_allclose(table["cosine"], np.repeat(1 / np.hypot(1, [0.9, 0.05]), 3), rtol=1e-6)
    assert table["not_attacked"].tolist() == [False, False, True] * 2
    assert set(table["dim"]) == {64}


def test_certificates_are_those_of_the_lowered_norm(tmp_path: Path) -> None:
    rows: Any = certified(STUDY, measured(files(tmp_path)))
    tau = (1 + np.sqrt(2 * np.log(12 / 0.05))) / 100  # six pairs, so twelve estimates
    np.testing.assert_allclose(rows["tau"], tau)
    rho = betainc(0.5, 65 / 2, (0.05 / 4) ** 2)
    cosine = np.sqrt(1 - 2 * (rho / (0.5 - tau)) ** 2)
    np.testing.assert_allclose(rows["certified_cosine"][1], cosine, rtol=1e-6)
    angle = np.arccos(cosine) + np.arcsin(tau / 0.5) + np.arcsin(tau / (0.5 * np.hypot(1, 0.9)))
    np.testing.assert_allclose(rows["allowed"][1], np.cos(angle), rtol=1e-6)
    assert np.isnan(rows["certified_eps"][0])  # its norm is less than tau
    assert fraction(rows[:3], rows["certified_eps"][1]) == 2 / 3
    assert (remaining(STUDY, rows[:3]), remaining(STUDY, rows[3:])) == (0, 1)


def test_page_counts_what_contradicts_a_certificate(tmp_path: Path) -> None:
    text = write_page(STUDY, measured(files(tmp_path)), tmp_path / "small")
    assert text == (tmp_path / "small.md").read_text(encoding="utf-8")
    assert "below the lowest that the certificate allows: 2 of 4." in text
    assert "2 of 6 have no certificate. Of 2 no perturbed image kept the label" in text
    assert "| natural | 2 | 0.05 | 3 | 0.667 | 0.000 | 0.743 | 0.743 | 0.050 |" in text
    assert (tmp_path / "small.png").stat().st_size > 5_000


def test_the_stored_page_is_that_of_the_stored_table(tmp_path: Path) -> None:
    study = read_study(STUDIES / "certificates.toml")
    text = write_page(study, pd.read_csv(STUDIES / "certificates.csv"), tmp_path / "certificates")
    assert text == (STUDIES / "certificates.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("cosine = 0.9", "", "must set cosine in "),
        ("cosine = 0.9", "cosine = 1", "cosine in .study. must be between 0 and 1, got 1"),
        ("alpha = 0.05", "alpha = 0", "alpha in .study. must be between 0 and 1, got 0"),
    ],
)
def test_a_study_without_a_level_is_refused(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    path = tmp_path / "study.toml"
    path.write_text((STUDIES / "certificates.toml").read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=sentence):
        read_study(path)
