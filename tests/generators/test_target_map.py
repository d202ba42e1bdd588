"""Files of target_map: the map aimed at, the outputs, and what the page says to do with them."""

import shlex
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import generators
import lensmetrics as lm
from generators import fit_patterns, generate, sweep
from generators.explanations import abs_sum, integrated_gradients
from generators.identity import differences
from generators.networks.checkpoints import load
from generators.request import Request
from lensmetrics.cli import main

NATURAL = Path(generators.__file__).parent / "weights" / "fashion_mnist-small_cnn-natural.pt"
PAGE = (Path(generators.__file__).parent / "README.md").read_text(encoding="utf-8")
EMBEDDED = Path(lm.__file__).parent / "data" / "fashion_mnist-natural-gradient-random_sign.h5"


@pytest.fixture(scope="module")
def network() -> Any:
    return load(NATURAL, dataset="fashion_mnist", model="small_cnn")[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of an embedded file as a data set, and the file that an attack on their maps made."""
    folder = tmp_path_factory.mktemp("target")
    with h5py.File(EMBEDDED) as file:
        images, labels = file["image"][:12], file["label"][:12]
    arrays = {
        f"{kind}_{split}": value
        for split in ("train", "test")
        for kind, value in (("x", images), ("y", labels))
    }
    np.savez(folder / "fashion_mnist.npz", allow_pickle=False, **arrays)
    status = generate.main(
        [
            *("--dataset", "fashion_mnist", "--data", str(folder), "--model", "small_cnn", "--device", "cpu"),
            *("--checkpoint", str(NATURAL), "--samples", "6", "--store-images", "all"),
            *("--explanation", "integrated_gradients", "--n-points", "6", "--attack-n-points", "3"),
            *("--attack", "target_map", "--steps", "15", "--learning-rate", "0.01", "--output-weight", "1e4"),
            *("--out", str(folder / "maps" / "target.h5"), "--batch-size", "4"),
        ]
    )
    assert status == 0
    return folder


def read(path: Path) -> dict[str, Any]:
    with h5py.File(path) as file:
        return {name: dataset[()] for name, dataset in file.items()}


def test_the_file_has_the_map_aimed_at_and_the_outputs(folder: Path, network: Any) -> None:
    arrays = read(folder / "maps" / "target.h5")
    labels = arrays["label"].tolist()
    others = [
        next(j for step in range(1, 7) if labels[j := (i + step) % 6] != label)
        for i, label in enumerate(labels)
    ]
    images = torch.from_numpy(arrays["image"][:, None]).float() / 255
    for i, other in enumerate(others):
        target = abs_sum(
            integrated_gradients(
                network, images[other : other + 1], torch.tensor([labels[other]]), n_points=3
            )
        )[0]
        np.testing.assert_allclose(arrays["target"][i], target.numpy(), rtol=1e-3, atol=1e-6)
    perturbed = torch.from_numpy(arrays["image_perturbed"][:, None])
    for name, inputs in (("output", images), ("output_perturbed", perturbed)):
        np.testing.assert_allclose(arrays[name], network(inputs).numpy(), rtol=1e-3, atol=1e-4)
    assert (arrays["output"].argmax(1) == labels).all()


def test_perturbed_maps_are_scored_against_the_target_as_the_page_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = PAGE.replace("\\\n", " ").splitlines()
    (line,) = [line for line in lines if line.startswith("    lensmetrics score ")]
    monkeypatch.chdir(folder)
    assert main([*shlex.split(line)[1:], "-o", "scores.csv"]) == 0
    scores = lm.read_scores("scores.csv")
    arrays = read(folder / "maps" / "target.h5")
    target, before, after = (
        maps / maps.sum((1, 2), keepdims=True)
        for maps in (arrays[name].astype(np.float64) for name in ("target", "unperturbed", "perturbed"))
    )
    errors = ((after - target) ** 2).mean((1, 2))
    np.testing.assert_allclose(scores["mse_normalized"], errors, rtol=1e-4)
    assert (errors < ((before - target) ** 2).mean((1, 2))).all()
    correlation = np.array(
        [np.corrcoef(t.ravel(), p.ravel())[0, 1] for t, p in zip(target, after, strict=True)]
    )
    np.testing.assert_allclose(scores["pearson"], correlation, rtol=1e-4)
    change = arrays["image"] / 255 - arrays["image_perturbed"].astype(np.float64)
    np.testing.assert_allclose(scores["image_mse"], (change**2).mean((1, 2)), rtol=1e-6)


@pytest.mark.parametrize(
    ("stored", "wanted", "clauses"),
    [
        ({"beta_start": 10.0, "beta_end": 100.0}, "10:100", []),
        ({"beta_start": np.inf, "beta_end": np.inf}, np.inf, []),
        (
            {"beta_start": 10.0, "beta_end": 100.0},
            "30:300",
            ["softening is 10:100 in the file, 30:300 given"],
        ),
        ({"beta_start": 2.5, "beta_end": 100.0}, np.inf, ["softening is 2.5:100 in the file, inf given"]),
        ({"softening": "10:100"}, 3.0, ["softening is 10:100 in the file, 3.0 given"]),
        ({}, "10:100", []),
    ],
)
def test_files_with_beta_start_and_beta_end_are_recognized(
    stored: dict[str, Any], wanted: Any, clauses: list[str]
) -> None:
    assert differences(stored, {"softening": wanted}, {"softening": "10:100"}) == clauses


def test_an_experiment_passes_options_to_the_explanation_that_is_smoothed(tmp_path: Path) -> None:
    path = tmp_path / "experiment.toml"
    path.write_text(
        """
        out = "maps"
        [[generate]]
        dataset = "fashion_mnist"
        data = "."
        model = "small_cnn"
        training = "natural"
        explanation = "beta_smooth"
        base = ["gradient", "integrated_gradients"]
        attack = "target_map"
        n_points = 5
        """,
        encoding="utf-8",
    )
    arguments = [list(item.arguments) for item in sweep.read(path)]
    assert ["--n-points" in words for words in arguments] == [False, True]
    plans = [Request.parse(words).plan() for words in arguments]
    assert [plan.settings["steps"] for plan in plans] == [500, 200]
    assert plans[1].reported == {
        "base": "integrated_gradients",
        "beta": 1.0,
        "n_points": 5,
        "form": "standard",
    }


def test_the_form_dombrowski_takes_the_points_of_its_code() -> None:
    words = [
        "--dataset",
        "imagenet",
        "--data",
        ".",
        "--model",
        "squeezenet1_1",
        "--checkpoint",
        "x",
        "--out",
        "x",
    ]
    words += ["--attack", "target_map", "--form", "dombrowski", "--explanation"]
    ig = ["integrated_gradients"]
    assert Request.parse([*words, *ig]).plan().reported == {"n_points": 30, "form": "dombrowski"}
    assert Request.parse([*words, *ig, "--n-points", "7"]).plan().reported["n_points"] == 7
    assert Request.parse([*words, "lrp"]).plan().reported == {"form": "dombrowski"}
    smoothed = Request.parse([*words, "beta_smooth", "--base", *ig]).plan()
    assert (smoothed.reported["n_points"], smoothed.inside["n_points"]) == (30, 30)


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("gradient", (500, 2.5e-4, "10:100")),
        ("input_x_gradient", (500, 2.5e-4, "10:100")),
        ("integrated_gradients", (200, 2.5e-3, "10:100")),
        ("guided_backprop", (500, 5e-4, "10:100")),
        ("lrp", (1500, 2e-4, np.inf)),
        ("pattern_attribution", (1500, 2e-3, "10:100")),
    ],
)
def test_smoothed_maps_of_every_base_are_attacked_with_its_published_settings(
    folder: Path, base: str, expected: tuple[int, float, Any]
) -> None:
    if base == "pattern_attribution" and not (folder / "x.patterns.pt").exists():
        words = ["--dataset", "fashion_mnist", "--data", str(folder), "--model", "small_cnn"]
        more = ["--checkpoint", str(NATURAL), "--out", str(folder / "x.patterns.pt")]
        assert fit_patterns.main([*words, "--device", "cpu", *more]) == 0
    words = [
        *("--dataset", "fashion_mnist", "--data", str(folder), "--model", "small_cnn", "--device", "cpu"),
        *("--checkpoint", str(NATURAL), "--samples", "4", "--out", str(folder / f"smooth-{base}.h5")),
        *("--explanation", "beta_smooth", "--base", base, "--beta", "0.8", "--attack", "target_map"),
        *(("--n-points", "4") if base == "integrated_gradients" else ()),
        *(("--patterns", str(folder / "x.patterns.pt")) if base == "pattern_attribution" else ()),
    ]
    settings = Request.parse(words).plan().settings
    steps, rate, softening = expected
    assert (settings["steps"], str(settings["softening"][0])) == (steps, str(softening))
    np.testing.assert_allclose(settings["learning_rate"], rate * 0.226)
    # So few steps need longer ones.
    assert generate.main([*words, "--steps", "10", "--learning-rate", "0.01", "--output-weight", "1e4"]) == 0
    arrays = read(folder / f"smooth-{base}.h5")
    target, before, after = (
        arrays[name] / arrays[name].sum((1, 2), keepdims=True)
        for name in ("target", "unperturbed", "perturbed")
    )
    assert (arrays["n_accepted"] > 0).all()
    assert ((after - target) ** 2).mean() < 0.97 * ((before - target) ** 2).mean()
