"""The command generate on tiny data, and the embedded files from their recorded commands."""

import dataclasses
import functools
import itertools
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import lensmetrics as lm
from generators import batches, fit_patterns, generate, pairfiles, selection, train
from generators.attacks import ATTACKS, Found
from generators.datasets import DATASETS
from generators.explanations import EXPLANATIONS, Explanation, abs_sum, gradient, integrated_gradients
from generators.networks.activations import with_softplus
from generators.networks.checkpoints import load
from generators.networks.models import MODELS
from generators.plan import Plan
from generators.regimes import REGIMES
from generators.request import Request
from generators.softening import Growth, softening

DEMO = Path(lm.__file__).parent / "data"


@pytest.mark.parametrize("path", sorted(DEMO.glob("fashion_mnist-*.h5")), ids=lambda path: path.stem)
def test_embedded_pairs_are_reproduced_from_their_recorded_settings(path: Path) -> None:
    """The first sample of each file, from the stored image and the checkpoint that the command names."""
    arrays, attrs = read(path)
    request = Request.parse(shlex.split(str(attrs["command"]))[3:])
    plan = request.plan()
    checkpoint = Path(generate.__file__).parents[1] / request.checkpoint
    network, facts = load(checkpoint, dataset="fashion_mnist", model="small_cnn")
    assert facts["sha256"] == attrs["checkpoint_sha256"]
    images = torch.from_numpy(arrays["image"][:1, None]).double() / 255
    labels = torch.from_numpy(arrays["label"][:1])
    samples = arrays["sample"][:1]
    network.double()
    (perturbed,) = plan.perturb(network, images, labels, samples=samples)
    explain = plan.explain(samples)
    for name, inputs in (("unperturbed", images), ("perturbed", perturbed.images)):
        found = abs_sum(explain(network, inputs, labels)).numpy()
        largest = arrays[name][:1].max((1, 2), keepdims=True)
        np.testing.assert_allclose(found / largest, arrays[name][:1] / largest, atol=1e-4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two classes, bright left or bright right, and a checkpoint trained on it."""
    folder = tmp_path_factory.mktemp("generators")
    random = np.random.default_rng(0)
    arrays: dict[str, NDArray[Any]] = {}
    for split, n in (("train", 120), ("test", 24)):
        labels = random.integers(0, 2, n)
        images = random.integers(0, 120, (n, 28, 28))
        for image, label in zip(images, labels, strict=True):
            image[:, 14 * label : 14 * label + 14] += 100
        arrays |= {f"x_{split}": images.astype(np.uint8), f"y_{split}": labels.astype(np.uint8)}
    np.savez(folder / "fashion_mnist.npz", allow_pickle=False, **arrays)
    assert run_train(folder, "natural.pt", "--training", "natural") == 0
    return folder


def run_train(folder: Path, out: str, *more: str) -> int:
    return train.main(
        [
            *("--dataset", "fashion_mnist", "--data", str(folder), "--model", "small_cnn"),
            *("--epochs", "1", "--batch-size", "10", "--learning-rate", "0.005", "--device", "cpu"),
            *("--out", str(folder / out), *more),
        ]
    )


def run_generate(folder: Path, out: str, *more: str) -> int:
    """Gradient under random_sign, unless `more` says otherwise."""
    return generate.main(generate_arguments(folder, out, "--eps", "0.1", *more))


def run_generate_without_eps(folder: Path, out: str, *more: str) -> int:
    return generate.main(generate_arguments(folder, out, *more))


def generate_arguments(folder: Path, out: str, *more: str) -> list[str]:
    return [
        *("--dataset", "fashion_mnist", "--data", str(folder), "--model", "small_cnn", "--device", "cpu"),
        *("--checkpoint", str(folder / "natural.pt"), "--samples", "7"),
        *("--explanation", "gradient", "--attack", "random_sign"),
        *("--out", str(folder / out), *more),
    ]


def read(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    with h5py.File(path) as file:
        arrays = {name: dataset[()] for name, dataset in file.items()}
        return arrays, dict(file.attrs)


TOPK_IG = (
    *("--explanation", "integrated_gradients", "--n-points", "6", "--attack-n-points", "3"),
    *("--attack", "topk", "--steps", "5", "--step-size", "0.03"),
)


def test_generate_takes_the_first_correct_samples_and_records_the_condition(folder: Path) -> None:
    assert run_generate(folder, "maps/one.h5", "--store-images") == 0
    arrays, attrs = read(folder / "maps/one.h5")
    network, facts = load(folder / "natural.pt", dataset="fashion_mnist", model="small_cnn")
    with np.load(folder / "fashion_mnist.npz") as data:
        images, labels = data["x_test"], data["y_test"]
    predictions = network(torch.from_numpy(images)[:, None] / 255).argmax(1).numpy()
    first = np.flatnonzero(predictions == labels)[:7]
    assert arrays["sample"].tolist() == first.tolist()
    assert (arrays["label"] == labels[first]).all()
    assert (arrays["prediction"] == labels[first]).all()
    assert (arrays["prediction_perturbed"] == labels[first]).all()
    assert (arrays["image"] == images[first]).all()
    assert arrays["image"].dtype == np.uint8
    assert "image_perturbed" not in arrays
    expected = {"dataset": "fashion_mnist", "model": "small_cnn", "training": "natural", "eps_norm": "linf"}
    expected |= {"explanation": "gradient", "attack": "random_sign", "dtype": "float32"}
    assert {name: attrs[name] for name in expected} == expected
    assert (attrs["eps"], attrs["seed"]) == (0.1, 0)
    assert attrs["checkpoint_sha256"] == facts["sha256"]
    assert attrs["natural_accuracy"] == facts["natural_accuracy"]
    assert not {"steps", "step_size", "attack_k", "n_points", "attack_n_points"} & set(attrs)


def test_directed_attack_records_its_parameters(folder: Path) -> None:
    assert run_generate(folder, "topk.h5", *TOPK_IG) == 0
    _, attrs = read(folder / "topk.h5")
    expected = {"steps": 5, "step_size": 0.03, "attack_k": 100, "n_points": 6, "attack_n_points": 3}
    assert {name: attrs[name] for name in expected} == expected


@pytest.mark.parametrize("more", [(), TOPK_IG])
def test_recorded_command_reproduces_the_file_with_any_batch_size(
    folder: Path, more: tuple[str, ...]
) -> None:
    name = f"again-{len(more)}"
    assert run_generate(folder, f"{name}.h5", *more, "--dtype", "float64", "--batch-size", "5") == 0
    first, attrs = read(folder / f"{name}.h5")
    words = shlex.split(str(attrs["command"]))
    assert words[:3] == ["python", "-m", "generators.generate"]
    for batch_size in ("1", "7"):
        out = folder / f"{name}-{batch_size}.h5"
        assert generate.main([*words[3:], "--batch-size", batch_size, "--out", str(out)]) == 0
        second, _ = read(out)
        assert (first["sample"] == second["sample"]).all()
        for name_of_map in ("unperturbed", "perturbed"):
            np.testing.assert_allclose(first[name_of_map], second[name_of_map], rtol=1e-5, atol=1e-9)


def test_stored_map_is_the_map_of_the_stored_image(folder: Path) -> None:
    assert run_generate(folder, "images.h5", *TOPK_IG, "--store-images", "all") == 0
    arrays, _ = read(folder / "images.h5")
    network, _ = load(folder / "natural.pt", dataset="fashion_mnist", model="small_cnn")
    labels = torch.from_numpy(arrays["label"])
    image = torch.from_numpy(arrays["image"]) / 255
    perturbed = torch.from_numpy(arrays["image_perturbed"])
    for name, inputs in (("unperturbed", image), ("perturbed", perturbed)):
        expected = abs_sum(integrated_gradients(network, inputs[:, None], labels, n_points=6)).numpy()
        np.testing.assert_allclose(arrays[name], expected, rtol=1e-4, atol=1e-7)
    change = (perturbed - image).abs().flatten(1)
    np.testing.assert_allclose(arrays["perturbation_linf"], change.amax(1), atol=1e-6)
    np.testing.assert_allclose(arrays["perturbation_l2"], change.norm(dim=1), rtol=1e-5)
    assert 0 < arrays["perturbation_linf"].max() <= 0.1 + 1e-6


def test_interrupted_run_is_continued_with_the_same_settings_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []

    attack = ATTACKS["random_sign"]

    @functools.wraps(attack.function)  # the signature gives the defaults
    def interrupted(*args: Any, **parameters: Any) -> Any:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return attack.function(*args, **parameters)

    with monkeypatch.context() as patch:
        patch.setitem(ATTACKS, "random_sign", dataclasses.replace(attack, function=interrupted))
        assert run_generate(folder, "half.h5", "--batch-size", "2") == 130
    assert "interrupted" in capsys.readouterr().err
    assert (folder / "half.h5.part").exists()
    assert run_generate(folder, "half.h5", "--batch-size", "2", "--seed", "5") == 2
    error = capsys.readouterr().err
    assert "half.h5.part was made with other settings: seed is 0 in the file, 5 given" in error
    assert run_generate(folder, "half.h5", "--batch-size", "2") == 0
    assert "half.h5: 7 samples" in capsys.readouterr().out
    assert run_generate(folder, "whole.h5", "--batch-size", "2") == 0
    half, whole = read(folder / "half.h5")[0], read(folder / "whole.h5")[0]
    assert all((half[name] == whole[name]).all() for name in ("unperturbed", "perturbed", "sample"))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--data", "nowhere"), "nowhere has no fashion_mnist"),
        (("--dataset", "mnist"), "was trained with dataset fashion_mnist, not mnist"),
        (("--model", "rar_cnn"), "was trained with model small_cnn, not rar_cnn"),
        (("--samples", "25"), "--samples 25: only "),
        (
            ("--steps", "5"),
            "--steps has no effect with --explanation gradient and --attack random_sign; remove",
        ),
        (("--attack", "topk", "--n-points", "5"), "--n-points has no effect with --explanation gradient"),
        (("--attack", "topk", "--attack-k", "785"), "--attack-k must be at most 784"),
        (("--attack", "topk", "--step-size", "0"), "--step-size must be above 0 and finite, got 0.0"),
        (("--attack", "topk", "--softening", "3", "3.0"), "--softening has 3.0 twice, for two equal runs"),
        (
            ("--attack", "topk", "--restarts", str(2**63)),
            "--restarts: must be below 2**63, got 9223",
        ),
        (("--attack", "topk", "--step-size", "1e39"), "--step-size must be a number that float32 holds"),
        (("--attack", "topk", "--softening", "1:1e40"), "in what float32 holds, from 1.2e-38 to 3.4e38, got"),
        (("--attack", "topk", "--softening", "1", "inf"), "--softening inf: maps of this explanation then"),
        (("--explanation", "beta_smooth", "--beta", "1e-46"), "--beta must be a number that float32 holds"),
        (("--eps", "8"), "--eps must be at most 1 (images are in [0, 1]), got 8.0"),
        (("--eps", "-8/255"), "--eps must be above 0 and finite, got -0.03137"),
        (("--eps", "0/255"), "--eps must be above 0 and finite, got 0.0"),
        (("--training", "pgd"), "--training pgd: the checkpoint says natural"),
        (("--explanation", "lrp", "--n-draws", "3"), "--n-draws has no effect with --explanation lrp"),
        (("--attack", "target_region"), "--region must be given for target_region"),
        (("--attack", "target_region", "--region", "20", "0", "9", "5"), "region"),
        (("--attack", "topk", "--acceptance", "ssim"), "acceptance must be one of kendall"),
        (("--attack", "l2_topk", "--step-size", "-1"), "--step-size must be above 0 and finite, got -1.0"),
        (("--checkpoint", "absent.pt"), "absent.pt"),
        (("--explanation", "beta_smooth", "--beta", "nan"), "--beta must be above 0 and finite, got nan"),
        (
            ("--explanation", "smooth_grad", "--sigma", "inf"),
            "--sigma must be at least 0 and finite",
        ),
        (
            ("--explanation", "uniform_smooth", "--radius", "-1"),
            "--radius must be above 0 and finite, got -1.0",
        ),
        (("--attack", "topq"), "'topq' is no name; did you mean topk"),
        (("--batch-size", "0"), "must be an integer >= 1, or auto, got 0"),
    ],
)
def test_bad_input_gets_one_sentence_and_status_2(
    folder: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], sentence: str
) -> None:
    assert run_generate(folder, "bad.h5", *more) == 2
    output = capsys.readouterr()
    assert sentence in output.err
    assert output.err.startswith("error: ")
    assert output.err.count("\n") == 1
    assert not list(folder.glob("bad.h5*"))


def test_training_of_a_checkpoint_may_be_told_from_others_of_its_regime(folder: Path) -> None:
    """Otherwise files of two networks of one regime would be one condition."""
    assert run_generate(folder, "fine.h5", "--training", "natural-weight=0.1") == 0
    assert read(folder / "fine.h5")[1]["training"] == "natural-weight=0.1"
    assert run_generate(folder, "naturally.h5", "--training", "naturally") == 2


def test_softening_of_target_map_is_recorded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ("--attack", "target_map", "--steps", "1", "--samples", "4", "--softening")
    assert run_generate_without_eps(folder, "two.h5", *more, "1", "10:100") == 2
    assert "of target_map must be one value, such as 10:100 or inf, got 1.0 10:100" in capsys.readouterr().err
    assert run_generate_without_eps(folder, "two.h5", *more, "0:1") == 2
    assert "must be a number above 0, inf, or two numbers" in capsys.readouterr().err
    assert not list(folder.glob("two.h5*"))
    for given, stored in (("inf", np.inf), ("2:20", "2:20"), ("3", 3.0)):
        explanation = ("--explanation", "input_x_gradient")  # with a direction also at inf
        assert run_generate_without_eps(folder, f"beta-{stored}.h5", *more, given, *explanation) == 0
        attrs = read(folder / f"beta-{stored}.h5")[1]
        assert attrs["softening"] == stored
        request = Request.parse(shlex.split(str(attrs["command"]))[3:])
        assert request.plan().settings["softening"] == [softening(given)]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (
            ("--form", "dombrowski"),
            "gradient in the form dombrowski needs a network that normalizes its images, and this one takes",
        ),
        (
            ("--explanation", "beta_smooth", "--base", "input_x_gradient", "--form", "dombrowski"),
            "input_x_gradient in the form dombrowski needs a network that normalizes its images",
        ),
        (("--form", "theirs"), "invalid choice: 'theirs'"),
        (("--explanation", "deep_lift", "--form", "dombrowski"), "--form has no effect with --explanation"),
    ],
)
def test_form_without_a_meaning_is_refused_before_a_file_is_begun(
    folder: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], sentence: str
) -> None:
    assert run_generate(folder, "form.h5", *more) == 2
    output = capsys.readouterr()
    assert sentence in output.err
    assert output.err.count("\n") == 1
    assert not list(folder.glob("form.h5*"))


def test_target_map_of_one_class_is_refused_before_a_file_is_begun(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_generate_without_eps(folder, "one.h5", "--attack", "target_map", "--samples", "1") == 2
    assert "target_map needs samples of two classes: ask for more --samples" in capsys.readouterr().err
    assert not list(folder.glob("one.h5*"))


def test_options_of_a_smoothed_explanation(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points = ("--n-points", "4", "--attack-n-points", "2")
    more = ("--explanation", "beta_smooth", "--attack", "topk", "--steps", "2", "--samples", "2")
    assert run_generate(folder, "base.h5", *more, "--base", "integrated_gradients", *points) == 0
    arrays, attrs = read(folder / "base.h5")
    assert (attrs["n_points"], attrs["attack_n_points"], attrs["form"]) == (4, 2, "standard")
    network, _ = load(folder / "natural.pt", dataset="fashion_mnist", model="small_cnn")
    with np.load(folder / "fashion_mnist.npz") as data:
        images = torch.from_numpy(data["x_test"][arrays["sample"], None]).float() / 255
    labels = torch.from_numpy(arrays["label"])
    expected = abs_sum(integrated_gradients(with_softplus(network), images, labels, n_points=4))
    np.testing.assert_allclose(arrays["unperturbed"], expected.numpy(), rtol=1e-4, atol=1e-7)
    assert run_generate(folder, "refused.h5", *more, *points) == 2
    sentence = "has no effect with --explanation beta_smooth --base gradient and --attack topk; remove it"
    assert sentence in capsys.readouterr().err
    assert run_generate(folder, "refused.h5", *more, "--base", "smooth_grad") == 2
    assert "invalid choice: 'smooth_grad'" in capsys.readouterr().err


def test_attack_without_a_gradient_is_refused_before_any_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def opaque(model: Any, images: Any, labels: Any) -> Any:
        return gradient(model, images, labels)

    monkeypatch.setitem(EXPLANATIONS, "lrp", Explanation(opaque, differentiable=False))
    more = ("--explanation", "lrp", "--data", "nowhere", "--attack")
    assert run_generate(folder, "opaque.h5", *more, "topk") == 2
    assert "topk needs a gradient through the explanation, and lrp has none" in capsys.readouterr().err
    assert run_generate(folder, "opaque.h5", *more[:2], "--attack", "random_walk", "--steps", "2") == 0


def test_file_other_than_a_checkpoint_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = folder / "other.pt"
    for content in (b"", b"text", (folder / "fashion_mnist.npz").read_bytes()):
        other.write_bytes(content)
        assert run_generate(folder, "bad.h5", "--checkpoint", str(other)) == 2
        assert f"{other} is not a checkpoint of generators.train" in capsys.readouterr().err
    torch.save({"state_dict": {}}, other)
    assert run_generate(folder, "bad.h5", "--checkpoint", str(other)) == 2
    assert f"{other} contains no weights" in capsys.readouterr().err


def test_existing_output_is_not_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "taken.h5").write_bytes(b"something")
    assert run_generate(folder, "taken.h5") == 2
    assert "taken.h5 exists already" in capsys.readouterr().err
    assert (folder / "taken.h5").read_bytes() == b"something"


def test_lack_of_memory_gives_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of each kind: torch's own error on a GPU, its allocator's on a CPU, and Python's."""
    attack = ATTACKS["random_sign"]
    for shortage in (
        lambda: torch.empty(2**50),
        lambda: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory")),
        lambda: (_ for _ in ()).throw(MemoryError()),
    ):

        @functools.wraps(attack.function)
        def greedy(*args: Any, shortage: Any = shortage, **parameters: Any) -> Any:
            return next(iter(shortage()))

        monkeypatch.setitem(ATTACKS, "random_sign", dataclasses.replace(attack, function=greedy))
        assert run_generate(folder, "large.h5") == 2
        assert capsys.readouterr().err.endswith("error: out of memory: reduce --batch-size or --chunk-size\n")
        (folder / "large.h5.part").unlink(missing_ok=True)


@pytest.mark.parametrize("command", [train, generate])
def test_help_lists_every_choice(capsys: pytest.CaptureFixture[str], command: Any) -> None:
    with pytest.raises(SystemExit) as stop:
        command.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    choices = [*DATASETS, *MODELS, "squeezenet1_1", "densenet121"]
    choices += REGIMES if command is train else [*EXPLANATIONS, *ATTACKS]
    assert all(choice in text for choice in choices)


def test_unknown_option_ends_with_status_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_generate(folder, "bad.h5", "--sample", "3") == 2
    assert "unrecognized arguments: --sample 3" in capsys.readouterr().err


def test_perturbations_of_l2_topk_are_in_the_l2_ball(folder: Path) -> None:
    more = ("--attack", "l2_topk", "--eps", "1.5", "--steps", "5", "--step-size", "0.5", "--attack-k", "50")
    assert run_generate(folder, "l2.h5", *more) == 0
    arrays, attrs = read(folder / "l2.h5")
    assert (attrs["eps"], attrs["eps_norm"]) == (1.5, "l2")
    assert 0.5 < arrays["perturbation_l2"].max() <= 1.5 + 1e-5


def test_target_map_has_no_eps_and_approaches_the_next_map_of_another_class(folder: Path) -> None:
    more = ("--attack", "target_map", "--steps", "15", "--learning-rate", "0.01", "--output-weight", "1e4")
    assert run_generate_without_eps(folder, "target.h5", *more) == 0
    arrays, attrs = read(folder / "target.h5")
    assert np.isnan(attrs["eps"])
    assert attrs["on_logits"] == 0
    labels, before, after = arrays["label"], arrays["unperturbed"], arrays["perturbed"]
    nearer = []
    for i, label in enumerate(labels):
        others = [(i + step) % 7 for step in range(1, 7) if labels[(i + step) % 7] != label]
        target = before[others[0]] / before[others[0]].sum()
        errors = [((maps[i] / maps[i].sum() - target) ** 2).sum() for maps in (before, after)]
        nearer.append(errors[1] < errors[0])
    assert all(nearer)
    assert generate.main([*shlex.split(str(attrs["command"]))[3:], "--out", str(folder / "again.h5")]) == 0
    np.testing.assert_allclose(read(folder / "again.h5")[0]["perturbed"], after, rtol=1e-4, atol=1e-7)


def test_eps_may_be_a_fraction(folder: Path) -> None:
    assert run_generate(folder, "fraction.h5", "--eps", "8/255") == 0
    assert read(folder / "fraction.h5")[1]["eps"] == 8 / 255


def test_noise_inside_the_attack_is_not_that_of_the_maps(folder: Path) -> None:
    """The two maps of a sample share their noise, which would otherwise look like fragility."""
    plan = Request.parse(
        [
            *("--dataset", "fashion_mnist", "--data", "x", "--model", "small_cnn", "--checkpoint", "x"),
            *("--explanation", "smooth_grad", "--n-draws", "3", "--attack", "topk", "--out", "x"),
        ]
    ).plan()
    network, _ = load(folder / "natural.pt", dataset="fashion_mnist", model="small_cnn")
    images, labels = torch.rand((2, 1, 28, 28)), torch.tensor([0, 1])
    reported, again = (plan.explain(np.array([4, 9]))(network, images, labels) for _ in "12")
    inside = plan.explain_inside(np.array([4, 9]))(network, images, labels)
    assert (reported == again).all()
    assert (reported != inside).any(1).any(1).any(1).all()
    alone = plan.explain(np.array([9]))(network, images[1:], labels[1:])
    torch.testing.assert_close(alone[0], reported[1])


@pytest.mark.parametrize("attack", ["random_sign", "random_walk"])
@pytest.mark.parametrize("explanation", EXPLANATIONS)
def test_every_explanation_is_written(folder: Path, explanation: str, attack: str) -> None:
    more = ["--explanation", explanation, "--attack", attack, "--samples", "2"]
    more += ["--steps", "2"] if attack == "random_walk" else []
    options = {option.name for option in EXPLANATIONS[explanation].options}
    more += ["--n-draws", "3"] * ("n_draws" in options) + ["--n-points", "3"] * ("n_points" in options)
    if EXPLANATIONS[explanation].needs_patterns and not (folder / "natural.patterns.pt").exists():
        words = [
            "--dataset",
            "fashion_mnist",
            "--data",
            str(folder),
            "--model",
            "small_cnn",
            "--samples",
            "9",
        ]
        assert fit_patterns.main([*words, "--checkpoint", str(folder / "natural.pt")]) == 0
    out = f"{explanation}-{attack}.h5"
    assert run_generate(folder, out, *more) == 0
    assert np.isfinite(read(folder / out)[0]["unperturbed"]).all()
    assert (read(folder / out)[0]["unperturbed"] > 0).any()


def test_accuracy_of_foreign_weights_is_measured_on_the_examined_samples(folder: Path) -> None:
    checkpoint = torch.load(folder / "natural.pt", weights_only=True)
    torch.save(checkpoint["state_dict"], folder / "weights.pth")
    more = ("--checkpoint", str(folder / "weights.pth"), "--training", "pgd")
    assert run_generate(folder, "foreign.h5", *more) == 0
    arrays, attrs = read(folder / "foreign.h5")
    assert attrs["training"] == "pgd"
    n_seen = attrs["accuracy_samples"]
    assert n_seen == arrays["sample"][-1] + 1
    assert attrs["natural_accuracy"] == 7 / n_seen
    assert "pgd_accuracy" not in attrs
    assert run_generate(folder, "own.h5") == 0
    np.testing.assert_array_equal(arrays["unperturbed"], read(folder / "own.h5")[0]["unperturbed"])


def test_automatic_batch_size_gives_the_same_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_generate(folder, "auto.h5", "--dtype", "float64", "--batch-size", "auto", *TOPK_IG) == 0
    assert "--batch-size auto: " in capsys.readouterr().err
    assert run_generate(folder, "fixed.h5", "--dtype", "float64", "--batch-size", "3", *TOPK_IG) == 0
    auto, fixed = read(folder / "auto.h5"), read(folder / "fixed.h5")
    np.testing.assert_allclose(auto[0]["perturbed"], fixed[0]["perturbed"], rtol=1e-5, atol=1e-9)
    assert auto[1]["command"].replace("auto.h5", "fixed.h5") == fixed[1]["command"]


@pytest.mark.parametrize(("costs", "best"), [((8, 4, 2, 1), 8), ((8, 8, 8, 8), 1), ((8, 4, 4, 4), 2)])
def test_the_fastest_batch_size_is_chosen(
    monkeypatch: pytest.MonkeyPatch, costs: tuple[int, ...], best: int
) -> None:
    """With a clock that runs `costs` per sample at sizes 1, 2, 4 and 8."""
    now = 0.0
    monkeypatch.setattr("generators.batches.time.perf_counter", lambda: now)

    def work(size: int) -> None:
        nonlocal now
        now += size * costs[size.bit_length() - 1]

    assert batches.fitting_batch_size(work, 8, batches.Memory(torch.device("cpu"))) == best


def test_a_batch_stays_within_half_of_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("generators.batches.time.perf_counter", lambda: now)

    class Memory(batches.Memory):
        def free(self) -> int:
            return 100

        def peak(self, work: Any) -> int:
            nonlocal now
            now += 1
            return 10 * int(work.args[0])

    assert batches.fitting_batch_size(lambda size: None, 64, Memory(torch.device("cpu"))) == 4


def test_a_split_sorted_by_class_gives_one_of_each_class_in_turn() -> None:
    labels = np.array([0, 0, 0, 1, 4, 4])
    assert selection.visiting_order(labels).tolist() == [0, 3, 4, 1, 5, 2]
    assert selection.visiting_order(labels[::-1]).tolist() == [0, 1, 2, 3, 4, 5]


def test_positions_left_in_an_unfinished_file_are_written_in_runs(folder: Path) -> None:
    """Also where the positions that are missing are not next to one another."""
    assert run_generate(folder, "all.h5", "--dtype", "float64") == 0
    arrays, attrs = read(folder / "all.h5")
    part = lm.PairWriter(
        folder / "gaps.h5", n_samples=7, shape=(28, 28), attrs=dict(lm.PairStore(folder / "all.h5").attrs)
    )
    optional = (
        "sample",
        "label",
        "prediction",
        "prediction_perturbed",
        "perturbation_linf",
        "perturbation_l2",
    )
    for position in (1, 4):
        row = {name: arrays[name][position] for name in ("unperturbed", "perturbed", *optional)}
        part.write(position, **row)
    with pytest.raises(KeyboardInterrupt), part:
        raise KeyboardInterrupt
    assert (folder / "gaps.h5.part").exists()
    assert run_generate(folder, "gaps.h5", "--dtype", "float64", "--batch-size", "3") == 0
    found, found_attrs = read(folder / "gaps.h5")
    assert found_attrs["command"] == attrs["command"]
    assert found["complete"].all()
    for name in ("unperturbed", "perturbed", *optional):
        np.testing.assert_allclose(found[name], arrays[name], rtol=1e-5)
    assert not {"n_accepted", "best_step", "output", "output_perturbed"} & found.keys()


def test_unfinished_file_of_other_samples_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same number of other images under the name of the dataset."""
    assert run_generate(folder, "other.h5") == 0
    (folder / "other.h5").rename(folder / "other.h5.part")
    with np.load(folder / "fashion_mnist.npz") as data:
        arrays = dict(data)
    arrays["x_test"], arrays["y_test"] = arrays["x_test"][::-1], arrays["y_test"][::-1]
    arrays["y_test"][0] = 9  # the first is not classified correctly, so that other samples are chosen
    np.savez(tmp_path / "fashion_mnist.npz", allow_pickle=False, **arrays)
    assert run_generate(folder, "other.h5", "--data", str(tmp_path)) == 2
    assert "other.h5.part has other samples than --data now gives" in capsys.readouterr().err
    (folder / "other.h5.part").unlink()


SLOW = ("--batch-size", "1", "--attack", "topk", "--steps", "20")


@pytest.fixture(scope="module")
def unkilled(folder: Path) -> dict[str, NDArray[Any]]:
    """What a slow run writes."""
    assert run_generate(folder, "unkilled.h5", *SLOW) == 0
    return read(folder / "unkilled.h5")[0]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_run_is_continued_to_the_same_file(
    folder: Path, unkilled: dict[str, NDArray[Any]], number: signal.Signals
) -> None:
    """Killed in the middle: what is complete verifies, and the same command finishes the file."""
    out = f"killed-{number}.h5"
    arguments = [sys.executable, "-m", "generators.generate", *generate_arguments(folder, out, *SLOW)]
    with subprocess.Popen(
        arguments, cwd=Path(generate.__file__).parents[1], stderr=subprocess.DEVNULL
    ) as run:
        part = folder / f"{out}.part"
        while n_complete(part) < 2:
            assert run.poll() is None, "the run ended before it could be killed"
            time.sleep(0.01)
        run.send_signal(number)
    assert run.returncode == (-9 if number == signal.SIGKILL else 130)
    n_done = n_complete(part)
    assert 2 <= n_done < 7
    assert set(lm.evaluate(part, "pearson")["status"]) <= {"ok", "incomplete"}
    assert run_generate(folder, out, *SLOW) == 0
    killed = read(folder / out)[0]
    assert killed.keys() == unkilled.keys()
    assert all((killed[name] == unkilled[name]).all() for name in ("sample", "unperturbed", "perturbed"))


def n_complete(part: Path) -> int:
    """Samples marked complete in a file that another process is writing."""
    if not part.exists():
        return 0
    with h5py.File(part, locking=False) as file:
        return int(file["complete"][()].sum())


BOTH = ("--acceptance", "kendall", "topk_intersection(k=20)")
WALK = (*("--attack", "random_walk", "--steps", "4", "--step-size", "0.04", "--batch-size", "2"), *BOTH)
SECOND = "-topk_intersection(k=20).h5"


def test_each_acceptance_has_the_file_that_it_alone_would_give(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--attack", "topk", "--steps", "5", "--step-size", "0.03", "--store-images", "all")
    assert run_generate(folder, "two.h5", *more, *BOTH) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(": 7 samples")[0] for line in printed] == [
        str(folder / name) for name in ("two.h5", f"two{SECOND}")
    ]
    perturbed = []
    for metric, name in (("kendall", "two.h5"), ("topk_intersection(k=20)", f"two{SECOND}")):
        assert run_generate(folder, "one.h5", *more, "--acceptance", metric) == 0
        assert list(folder.glob("one*")) == [folder / "one.h5"]
        (alone, alone_attrs), (found, attrs) = read(folder / "one.h5"), read(folder / name)
        (folder / "one.h5").unlink()
        assert attrs["acceptance"] == metric
        assert alone.keys() == found.keys()
        assert all(np.array_equal(alone[column], found[column]) for column in found)
        commands = [shlex.split(str(both["command"])) for both in (attrs, alone_attrs)]
        commands[0][commands[0].index(str(folder / name))] = str(folder / "one.h5")
        assert commands[0] == commands[1]
        assert {k: str(v) for k, v in attrs.items() if k not in ("command", "checksum_metadata")} == {
            k: str(v) for k, v in alone_attrs.items() if k not in ("command", "checksum_metadata")
        }
        request = Request.parse(shlex.split(str(attrs["command"]))[3:])
        assert request.missing(request.plan(), remedy="") == []
        perturbed.append(found["perturbed"])
    assert (perturbed[0] != perturbed[1]).any()


def test_a_file_tells_what_happened_to_each_sample(folder: Path) -> None:
    more = ("--attack", "topk", "--steps", "5", "--step-size", "0.03", "--store-images", "all")
    assert run_generate(folder, "counts.h5", *more) == 0
    arrays, _ = read(folder / "counts.h5")
    assert arrays["n_accepted"].dtype == arrays["best_step"].dtype == np.int32
    assert ((arrays["n_accepted"] >= 0) & (arrays["n_accepted"] <= 5)).all()
    assert ((arrays["best_step"] > 0) == (arrays["perturbation_linf"] > 0)).all()
    assert (arrays["best_step"] <= 5).all()
    network, _ = load(folder / "natural.pt", dataset="fashion_mnist", model="small_cnn")
    for image, output, prediction in (
        (arrays["image"] / np.float32(255), "output", "prediction"),
        (arrays["image_perturbed"], "output_perturbed", "prediction_perturbed"),
    ):
        logits = network(torch.from_numpy(image)[:, None])
        np.testing.assert_allclose(arrays[output], logits, rtol=1e-4, atol=1e-5)
        assert (arrays[prediction] == arrays[output].argmax(1)).all()


def with_result(name: str, change: Any) -> Any:
    """Return the attack with `change` applied to what it finds."""
    attack = ATTACKS[name]

    @functools.wraps(attack.function)
    def function(batch: Any, **parameters: Any) -> tuple[Found, ...]:
        return tuple(change(batch, found) for found in attack.function(batch, **parameters))

    return dataclasses.replace(attack, function=function)


def test_failed_attacks_are_told_from_maps_that_nothing_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the file, in what is printed, and in the tables of lensmetrics."""

    def scripted(batch: Any, found: Found) -> Found:
        images = found.images.clone()
        images[:3] = batch.images[:3]
        images[3:] = batch.images[3:] + 0.05 * (found.images[3:] - batch.images[3:]).sign()
        n_accepted, best_step = np.array([[0, 0, 4, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1]], np.int32)
        return Found(images, n_accepted, best_step)

    monkeypatch.setitem(ATTACKS, "random_sign", with_result("random_sign", scripted))
    assert run_generate(folder, "failed.h5") == 0
    line = capsys.readouterr().out
    assert "7 samples, 2 not attacked (no perturbed image was accepted), 1 unchanged (images kept" in line
    assert "mean perturbation_linf 0.04 at eps 0.1" in line
    scores = lm.evaluate(folder / "failed.h5", "topk_intersection(k=20)")
    attacked = [0, 0, 1, 1, 1, 1, 1]
    assert [int("not_attacked" not in status) for status in scores["status"]] == attacked
    assert scores["status"][2] == "identical"
    values = scores["topk_intersection(k=20)"].to_numpy()
    summary = lm.summarize(scores)
    np.testing.assert_allclose(summary["mean"], values.mean())
    np.testing.assert_allclose(summary["mean_attacked"], values[2:].mean())


def interrupted_after(n_writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the writing of batches stop with Ctrl-C after this number of them, in whichever file."""
    write, calls = pairfiles.Unfinished.write, itertools.count()

    def stopping(*arguments: Any) -> None:
        if next(calls) == n_writes:
            raise KeyboardInterrupt
        write(*arguments)

    monkeypatch.setattr(pairfiles.Unfinished, "write", stopping)


def samples_attacked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that will hold the samples that are attacked from now on."""
    seen: list[int] = []
    perturb = Plan.perturb

    def seeing(self: Plan, *arguments: Any, samples: NDArray[np.int64], **more: Any) -> tuple[Found, ...]:
        seen.extend(samples.tolist())
        return perturb(self, *arguments, samples=samples, **more)

    monkeypatch.setattr(Plan, "perturb", seeing)
    return seen


@pytest.mark.parametrize("n_writes", [0, 1, 2, 3, 8])
def test_files_of_several_acceptances_are_continued(
    folder: Path, monkeypatch: pytest.MonkeyPatch, n_writes: int
) -> None:
    """Stopped anywhere: before the first batch, between two files, and before they have their names."""
    assert (folder / "unbroken.h5").exists() or run_generate(folder, "unbroken.h5", *WALK) == 0
    out = f"stopped-{n_writes}"
    with monkeypatch.context() as patch:
        interrupted_after(n_writes, patch)
        assert run_generate(folder, f"{out}.h5", *WALK) == (130 if n_writes < 8 else 0)
    names = [f"{out}.h5", f"{out}{SECOND}"]
    if n_writes == 8:  # killed when the first of the two had its name
        (folder / names[0]).rename(folder / f"{names[0]}.part")
    n_left = sum((folder / f"{name}.part").exists() for name in names)
    assert n_left == min(n_writes, 2) if n_writes < 8 else n_left == 1
    with monkeypatch.context() as patch:
        attacked = samples_attacked(patch)
        assert run_generate(folder, f"{out}.h5", *WALK) == 0
    assert len(attacked) == len(set(attacked)) == (0 if n_writes == 8 else 7 - 2 * (n_writes // 2))
    for name, whole in zip(names, ("unbroken.h5", f"unbroken{SECOND}"), strict=True):
        found, expected = read(folder / name)[0], read(folder / whole)[0]
        assert found["complete"].all()
        assert all((found[column] == expected[column]).all() for column in expected)


def test_files_that_exist_are_kept_if_they_are_those_that_are_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_generate(folder, "kept.h5", *WALK[:-1]) == 0
    before = (folder / "kept.h5").read_bytes()
    for more, sentence in (
        (("--seed", "5"), "kept.h5 was made with other settings: seed is 0 in the file, 5 given; move it"),
        (("--samples", "6"), "kept.h5 was made with other settings: samples is 7 in the file, 6 given"),
    ):
        assert run_generate(folder, "kept.h5", *WALK, *more) == 2
        assert sentence in capsys.readouterr().err
        assert not list(folder.glob("kept-*"))
    assert run_generate(folder, "kept.h5", *WALK) == 0
    assert (folder / "kept.h5").read_bytes() == before
    assert read(folder / f"kept{SECOND}")[1]["acceptance"] == "topk_intersection(k=20)"
    assert run_generate(folder, "kept.h5", *WALK) == 2
    error = capsys.readouterr().err
    assert f"kept.h5 exists already, and so does {folder / f'kept{SECOND}'}: delete it" in error


def test_impossible_names_are_refused_before_any_work(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "folder.h5").mkdir()
    (folder / "file").write_bytes(b"")
    for out, sentence in (
        ("a" * 230 + ".h5", "cannot be written (its name is too long): choose another --out"),
        ("folder.h5", "folder.h5 is a directory"),
        ("file/a.h5", "cannot be written (Not a directory): choose another --out"),
    ):
        assert run_generate(folder, out, *WALK, "--data", "nowhere", "--checkpoint", "nowhere.pt") == 2
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("metrics", "sentence"),
    [
        (("kendall", "kendall"), "--acceptance has kendall twice"),
        (("lens_recall(k=5)", "lens_recall(w=1, k=5)"), "--acceptance has lens_recall(k=5,w=1) twice"),
        (
            ("kendall", "topk_intersection(k=785)"),
            "topk_intersection(k=785): k must be at most 784",
        ),
        (("topk_intersection(k=784)",), "topk_intersection(k=784) is 1 for any two maps of 28x28"),
        (("kendall", "lens_recall(k=5,w=27)"), "lens_recall(k=5,w=27) is 1 for any two maps of 28x28"),
    ],
)
def test_acceptances_that_make_no_sense_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], metrics: tuple[str, ...], sentence: str
) -> None:
    assert run_generate(folder, "bad.h5", *WALK[:-3], "--acceptance", *metrics) == 2
    assert sentence in capsys.readouterr().err
    assert not list(folder.glob("bad*"))


def test_a_file_without_the_later_attributes_counts_as_having_their_defaults(folder: Path) -> None:
    """As older releases wrote them, also in the spelling of the command line."""
    more = ("--attack", "topk", "--steps", "2", "--acceptance", "lens_recall(k=5)")
    assert run_generate(folder, "now.h5", *more) == 0
    arrays, attrs = read(folder / "now.h5")
    for name in ("softening", "restarts", "format", "format_version", "checksum_metadata"):
        attrs.pop(name, None)
    attrs = {name: getattr(value, "item", lambda value=value: value)() for name, value in attrs.items()}
    with lm.PairWriter(
        folder / "then.h5", n_samples=7, shape=(28, 28), attrs={**attrs, "acceptance": "lens_recall( k=5 )"}
    ) as writer:
        writer.write(slice(0, 7), arrays["unperturbed"], arrays["perturbed"], sample=arrays["sample"])
    request = Request.parse(generate_arguments(folder, "then.h5", "--eps", "0.1", *more))
    assert request.missing(request.plan(), remedy="") == []


@pytest.mark.parametrize("attack", ["topk", "topk_lens", "l2_topk", "mass_center", "random_walk"])
def test_strong_stands_for_options_that_those_given_override(attack: str) -> None:
    """The recorded command has the options themselves."""

    def settings(*more: str) -> dict[str, Any]:
        eps = ("--eps", "1", "--step-size", "0.1") if attack == "l2_topk" else ()
        return dict(
            Request.parse(generate_arguments(Path("x"), "x", "--attack", attack, *eps, *more)).plan().settings
        )

    strong, published = settings("--strong"), settings()
    assert list(strong["acceptance"]) == ["kendall", "topk_intersection(k=100)"]
    changed = {name for name in strong if strong[name] != published[name]}
    if attack == "random_walk":
        assert changed == {"acceptance"}
        return
    assert changed == {"acceptance", "softening", "restarts"}
    assert (list(strong["softening"]), strong["restarts"]) == ([0.3, 10, Growth(1, 100)], 3)
    fewer = settings("--strong", "--softening", "1", "30", "--acceptance", "spearman")
    assert (list(fewer["softening"]), fewer["restarts"]) == ([1, 30], 2)
    assert list(fewer["acceptance"]) == ["spearman"]
    assert settings("--strong", "--restarts", "9")["restarts"] == 9
    if attack == "topk":
        assert "topk_intersection(k=7)" in settings("--strong", "--attack-k", "7")["acceptance"]


@pytest.mark.parametrize("attack", ["random_sign", "target_map"])
def test_strong_is_refused_where_it_means_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], attack: str
) -> None:
    assert run_generate_without_eps(folder, "bad.h5", "--attack", attack, "--strong") == 2
    assert "--strong has no effect with --explanation gradient and --attack" in capsys.readouterr().err
