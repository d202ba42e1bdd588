"""The command that fits patterns, its file, and the pair files that need it."""

import shlex
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import generators
import lensmetrics as lm
from generators import fit_patterns, generate, sweep, work
from generators.explanations import attach_patterns
from generators.explanations import fit_patterns as estimated
from generators.networks import checkpoints
from generators.plan import plan
from generators.request import Request

NATURAL = Path(generators.__file__).parent / "weights" / "fashion_mnist-small_cnn-natural.pt"
EMBEDDED = Path(lm.__file__).parent / "data" / "fashion_mnist-natural-gradient-random_sign.h5"


def shared(folder: Path, checkpoint: str) -> list[str]:
    return [
        *("--dataset", "fashion_mnist", "--data", str(folder), "--model", "small_cnn", "--device", "cpu"),
        *("--checkpoint", checkpoint),
    ]


def fit(folder: Path, *more: str, checkpoint: str = "natural.pt") -> int:
    return fit_patterns.main([*shared(folder, str(folder / checkpoint)), *more])


def arguments(folder: Path, *more: str, checkpoint: str = "natural.pt") -> list[str]:
    words = [*shared(folder, str(folder / checkpoint)), "--explanation", "pattern_attribution"]
    return [
        *words,
        "--attack",
        "topk",
        "--steps",
        "2",
        "--samples",
        "3",
        "--out",
        str(folder / "a.h5"),
        *more,
    ]


def error_of(status: int, capsys: pytest.CaptureFixture[str]) -> str:
    assert status == 2
    return capsys.readouterr().err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images of an embedded file as a data set, and the checkpoint of the repository."""
    with h5py.File(EMBEDDED) as file:
        images, labels = file["image"][:12], file["label"][:12]
    arrays = {
        f"{kind}_{split}": v for split in ("train", "test") for kind, v in (("x", images), ("y", labels))
    }
    np.savez(tmp_path / "fashion_mnist.npz", allow_pickle=False, **arrays)
    shutil.copy(NATURAL, tmp_path / "natural.pt")
    return tmp_path


def test_patterns_are_written_beside_the_checkpoint_and_found_there(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(folder, "--batch-size", "5") == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{folder}/natural.patterns.pt: patterns of 4 layers from 12 images; ")
    content = torch.load(folder / "natural.patterns.pt", weights_only=True)
    network, facts = checkpoints.load(NATURAL, dataset="fashion_mnist", model="small_cnn")
    with np.load(folder / "fashion_mnist.npz") as file:
        images = torch.from_numpy(file["x_train"][:, None]).double() / 255
    expected = estimated(network.double(), [images])
    assert content["values"].keys() == {"0", "3", "7", "9"}
    for name, value in expected.values.items():
        torch.testing.assert_close(content["values"][name], value, rtol=1e-9, atol=1e-12)
    assert content["estimators"] == {**dict.fromkeys("037", "two_component"), "9": "linear"}
    assert content["undefined"] == expected.undefined
    assert f"; {sum(expected.undefined.values())} of 122 neurons never vary or open their ReLU" in said
    assert (content["checkpoint_sha256"], content["n_samples"]) == (facts["sha256"], 12)
    again = fit_patterns.Request.parse(shlex.split(content["command"])[3:])
    assert (again.out, again.split) == (folder / "natural.patterns.pt", "train")
    assert "natural.patterns.pt exists already: delete it" in error_of(fit(folder), capsys)

    assert generate.main(arguments(folder)) == 0
    with h5py.File(folder / "a.h5") as file:
        assert file.attrs["patterns_sha256"] == checkpoints.sha256(folder / "natural.patterns.pt")
        assert (file["unperturbed"][:] != file["perturbed"][:]).any()
    assert "patterns_sha256" not in lm.evaluate([folder / "a.h5"], ["cosine"]).columns


def test_other_patterns_do_not_continue_a_file(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fit(folder, "--samples", "8") == 0
    columns = work.Work.columns

    def interrupted(self: Any, positions: Any) -> Any:
        if positions[0] == 1:
            raise KeyboardInterrupt
        return columns(self, positions)

    with monkeypatch.context() as patch:
        patch.setattr(work.Work, "columns", interrupted)
        assert generate.main(arguments(folder, "--batch-size", "1")) == 130
    patterns = folder / "natural.patterns.pt"
    patterns.rename(folder / "first.pt")
    assert fit(folder) == 0
    capsys.readouterr()
    assert "patterns_sha256 is" in error_of(generate.main(arguments(folder)), capsys)
    elsewhere = arguments(folder, "--patterns", str(folder / "first.pt"))
    assert generate.main(elsewhere) == 0
    for words in (elsewhere, arguments(folder)):
        request = Request.parse(words)
        if words == elsewhere:
            assert not request.missing(request.plan(), remedy="remedy")
            continue
        with pytest.raises(ValueError, match=r"made with other patterns than .*natural\.patterns\.pt holds"):
            request.missing(request.plan(), remedy="remedy")


def test_patterns_that_are_missing_or_wrong_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = error_of(generate.main(arguments(folder)), capsys)
    command = missing.partition("make it: ")[2]
    assert f"{folder}/natural.patterns.pt does not exist, and pattern_attribution needs it" in missing
    assert fit_patterns.main([*shlex.split(command)[3:], "--samples", "2", "--device", "cpu"]) == 0
    content = torch.load(folder / "natural.pt", weights_only=True)["state_dict"]
    content["9.bias"] += 1e-3
    torch.save(content, folder / "other.pt")
    capsys.readouterr()
    given = arguments(
        folder, "--patterns", str(folder / "natural.patterns.pt"), "--seed", "1", checkpoint="other.pt"
    )
    assert "has the patterns of other weights than those of" in error_of(generate.main(given), capsys)
    for name in ("fashion_mnist.npz", "natural.pt"):
        given = arguments(folder, "--patterns", str(folder / name))
        assert f"{name} is not a file of patterns; make one: " in error_of(generate.main(given), capsys)
    given = arguments(folder, "--explanation", "gradient", "--patterns", "x")
    assert "--patterns has no effect with --explanation gradient" in error_of(generate.main(given), capsys)
    given = arguments(folder, "--checkpoint", "torchvision")
    assert "--patterns must be given with --checkpoint torchvision" in error_of(generate.main(given), capsys)
    word = fit_patterns.main(shared(folder, "factory"))
    assert "--out must be given with --checkpoint factory" in error_of(word, capsys)
    assert "--samples must be at most 12" in error_of(
        fit(folder, "--samples", "13", "--out", str(folder / "b.pt")), capsys
    )
    given = shared(folder, str(folder / "nowhere" / "x.pt"))
    assert "x.pt does not exist; make it with generators.train" in error_of(fit_patterns.main(given), capsys)
    assert not (folder / "nowhere").exists()
    assert not (folder / "a.h5").exists()
    assert not (folder / "b.pt").exists()
    smoothed = arguments(folder, "--explanation", "beta_smooth", "--base", "pattern_attribution")
    assert Request.parse(smoothed).plan().explanation.needs_patterns


def test_an_experiment_passes_patterns_to_explanations_that_need_them(tmp_path: Path) -> None:
    path = tmp_path / "experiment.toml"
    path.write_text(
        """
        out = "maps"
        [[generate]]
        dataset = "fashion_mnist"
        data = "."
        model = "small_cnn"
        training = "natural"
        explanation = ["gradient", "pattern_attribution"]
        attack = "topk"
        patterns = "mine.pt"
        """,
        encoding="utf-8",
    )
    assert ["--patterns" in item.arguments for item in sweep.read(path)] == [False, True]


@pytest.mark.parametrize(
    "explanation",
    [
        *("gradient", "input_x_gradient", "integrated_gradients", "guided_backprop", "lrp"),
        "pattern_attribution",
    ],
)
def test_the_six_explanations_of_dombrowski_are_drawn_to_their_targets(explanation: str) -> None:
    """With beta growing as published, apart from lrp, which needs no softplus."""
    if explanation == "lrp":
        pytest.importorskip("zennit")
    network, _ = checkpoints.load(NATURAL, dataset="fashion_mnist", model="small_cnn")
    with h5py.File(EMBEDDED) as file:
        images = torch.from_numpy(file["image"][:3][:, None]).float() / 255
    attach_patterns(network, estimated(network, [images]).values)
    labels, samples = network(images).argmax(1), np.arange(3)
    given: dict[str, Any] = {"steps": 20, "learning_rate": 0.005, "output_weight": 1e2}
    given |= {"n_points": 3} if explanation == "integrated_gradients" else {}
    found = plan(explanation, "target_map", dataset="imagenet", model="vgg16", given=given)
    assert str(found.settings["softening"][0]) == ("inf" if explanation == "lrp" else "10:100")
    explain = found.explain_inside(samples)

    def maps(at: torch.Tensor) -> torch.Tensor:
        attributions = explain(network, at, labels).abs().sum(1)
        return attributions / attributions.sum((1, 2), keepdim=True)

    targets = maps(images.flip(0))
    (best,) = found.perturb(network, images, labels, samples=samples, targets=targets)
    before, after = ((maps(at) - targets).square().mean((1, 2)) for at in (images, best.images))
    moved = before > 0  # the image in the middle is its own target
    assert moved.tolist() == [True, False, True]
    assert (after < 0.95 * before)[moved].all()
