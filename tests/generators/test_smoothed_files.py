"""Pair files of explanations that draw: what a certificate needs, signed maps, draws of the perturbed map."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import generators
import lensmetrics as lm
from generators import generate, sweep
from generators.disk import part_path
from generators.explanations import EXPLANATIONS, certificate_facts, uniform_smooth
from generators.networks.checkpoints import load
from generators.networks.models import build
from generators.request import Request

WEIGHTS = Path(generators.__file__).parent / "weights" / "fashion_mnist-small_cnn-natural.pt"
FEW = ("--n-draws", "5", "--radius", "2")
L2_TOPK = ("--attack", "l2_topk", "--steps", "2", "--step-size", "0.05", "--attack-k", "50")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embedded images, which the embedded network classifies correctly."""
    folder = tmp_path_factory.mktemp("smoothed")
    with h5py.File(
        Path(lm.__file__).parent / "data" / "fashion_mnist-natural-gradient-random_sign.h5"
    ) as file:
        arrays = {"x_test": file["image"][:4], "y_test": file["label"][:4].astype(np.uint8)}
    np.savez(folder / "fashion_mnist.npz", allow_pickle=False, **arrays)
    return folder


def arguments(folder: Path, out: str, *more: str) -> list[str]:
    return [
        *("--dataset", "fashion_mnist", "--data", str(folder), "--model", "small_cnn", "--device", "cpu"),
        *("--checkpoint", str(WEIGHTS), "--explanation", "uniform_smooth", "--attack", "random_sign"),
        *("--eps", "0.05", "--samples", "3", "--store-images", "all", "--out", str(folder / out), *more),
    ]


def run(folder: Path, out: str, *more: str) -> tuple[dict[str, Any], dict[str, Any]]:
    assert generate.main(arguments(folder, out, *more)) == 0
    store = lm.PairStore(folder / out)
    with h5py.File(folder / out) as file:
        return {name: dataset[()] for name, dataset in file.items()}, store.attrs


def explained(arrays: dict[str, Any], stream: int, images: Any, **parameters: Any) -> Any:
    """The maps of these images by the draws of a stream: 1 is that of reported maps, 3 that of its own."""
    network, _ = load(WEIGHTS, dataset="fashion_mnist", model="small_cnn")
    seeds = [(0, int(sample), stream) for sample in arrays["sample"]]
    labels = torch.from_numpy(arrays["label"])
    settings = {"n_draws": 5, "radius": 2.0, **parameters}
    return uniform_smooth(network, images, labels, seeds=seeds, **settings)[:, 0].numpy()


def inputs(arrays: dict[str, Any], name: str) -> Any:
    images = torch.from_numpy(arrays[name][:, None]).float()
    return images / 255 if name == "image" else images


def test_a_file_says_what_a_certificate_needs(folder: Path) -> None:
    arrays, attrs = run(folder, "plain.h5", *FEW)
    expected = {"radius": 2.0, "n_draws": 5, "dim": 784, "bound": 1.0, "nonnegative": 1, "base": "gradient"}
    assert {name: attrs[name] for name in expected} == expected
    assert attrs["reduction"] == "abs_sum"
    assert "independent_draws" not in attrs
    maps = arrays["unperturbed"]
    assert (maps >= 0).all()
    assert (np.linalg.norm(maps.astype(float), axis=(1, 2)) <= 1 + 1e-7).all()
    for name, image in (("unperturbed", "image"), ("perturbed", "image_perturbed")):
        np.testing.assert_allclose(arrays[name], explained(arrays, 1, inputs(arrays, image)), atol=1e-5)


def test_the_dimension_counts_channels(tmp_path: Path) -> None:
    assert certificate_facts((3, 227, 227), "sum") == {"dim": 154587, "bound": 1.0, "nonnegative": 0}
    torch.manual_seed(0)
    network = build("small_resnet", 43).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    labels = network(torch.from_numpy(images).movedim(3, 1).float() / 255).argmax(1).numpy()
    np.savez(tmp_path / "gtsrb.npz", x_test=images, y_test=labels, allow_pickle=False)
    words = ["--dataset", "gtsrb", "--model", "small_resnet", "--checkpoint", str(tmp_path / "weights.pt")]
    words += ["--eps", "0.01", "--samples", "1", "--on-label-change", "keep", "--n-draws", "1"]
    assert generate.main(arguments(tmp_path, "colour.h5", *words)) == 0
    store = lm.PairStore(tmp_path / "colour.h5")
    assert store.shape == (32, 32)
    assert store.attrs["dim"] == 3072


def test_signed_maps_are_stored_with_their_signs(folder: Path) -> None:
    arrays, attrs = run(folder, "signed.h5", *FEW, "--reduction", "sum", *L2_TOPK)
    assert (attrs["reduction"], attrs["nonnegative"]) == ("sum", 0)
    assert (arrays["unperturbed"].min((1, 2)) < 0).all()
    for name, image in (("unperturbed", "image"), ("perturbed", "image_perturbed")):
        expected = explained(arrays, 1, inputs(arrays, image), reduction="sum")
        np.testing.assert_allclose(arrays[name], expected, atol=1e-5)


def test_the_perturbed_map_has_draws_of_its_own_if_it_is_to_have(folder: Path) -> None:
    arrays, attrs = run(folder, "own.h5", *FEW, "--independent-draws")
    assert attrs["independent_draws"] == 1
    assert "--independent-draws" in str(attrs["command"])
    np.testing.assert_allclose(
        arrays["unperturbed"], explained(arrays, 1, inputs(arrays, "image")), atol=1e-5
    )
    perturbed = inputs(arrays, "image_perturbed")
    np.testing.assert_allclose(arrays["perturbed"], explained(arrays, 3, perturbed), atol=1e-5)
    assert np.abs(arrays["perturbed"] - explained(arrays, 1, perturbed)).max() > 1e-3


@pytest.mark.parametrize("kept", [(), ("--independent-draws",)])
def test_files_of_other_draws_are_other_files(
    folder: Path, kept: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    out = f"kept{len(kept)}.h5"
    other = () if kept else ("--independent-draws",)
    run(folder, out, *FEW, *kept)
    for words, is_wanted in ((kept, True), (other, False)):
        request = Request.parse(arguments(folder, out, *FEW, *words))
        if is_wanted:
            assert request.missing(request.plan(), remedy="") == []
        else:
            with pytest.raises(
                ValueError, match=r"independent_draws is (1|not set) in the file, (1|not set)"
            ):
                request.missing(request.plan(), remedy="")
    (folder / out).rename(part_path(folder / out))
    assert generate.main(arguments(folder, out, *FEW, *other)) == 2
    assert "independent_draws is" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ("--explanation", "gradient", "--independent-draws"),
            "--independent-draws has no effect with --explanation gradient",
        ),
        (
            ("--explanation", "smooth_grad", "--reduction", "sum"),
            "--reduction has no effect with --explanation smooth_grad",
        ),
        (("--reduction", "mean"), "argument --reduction: invalid choice: 'mean'"),
        (
            ("--attack", "target_map", "--reduction", "sum"),
            "--attack target_map makes a map without signs look like another one, so --reduction sum has no "
            "meaning for it; use --reduction abs_sum, or another --attack",
        ),
    ],
)
def test_options_without_a_meaning_are_refused(
    folder: Path, more: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = arguments(folder, "bad.h5", *more)
    if "target_map" in more:  # which takes no eps
        del words[words.index("--eps") : words.index("--eps") + 2]
    assert generate.main(words) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "bad.h5").exists()


def test_every_explanation_that_draws_can_have_draws_of_its_own(folder: Path) -> None:
    drawing = [name for name, one in EXPLANATIONS.items() if one.draws]
    assert drawing == ["smooth_grad", "uniform_smooth", "gradient_shap"]
    for name in drawing:
        words = ("--explanation", name, "--independent-draws")
        assert Request.parse(arguments(folder, "x.h5", *words)).plan().independent_draws


def test_experiments_span_draws_and_reductions(folder: Path) -> None:
    text = f"""
out = "maps"
[[generate]]
dataset = "fashion_mnist"
data = "{folder}"
model = "small_cnn"
checkpoint = "{WEIGHTS}"
explanation = ["gradient", "uniform_smooth"]
attack = "random_sign"
eps = 0.1
reduction = ["abs_sum", "sum"]
independent_draws = [false, true]
"""
    (folder / "experiment.toml").write_text(text, encoding="utf-8")
    items = sweep.read(folder / "experiment.toml")
    assert len(items) == 5  # gradient takes neither option
    assert ["--independent-draws" in item.arguments for item in items] == [False, False, True, False, True]
    assert len({item.out for item in items}) == 5
