"""Generators: gradients by finite differences, attacks by what they promise, the commands on tiny data."""

import functools
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kendalltau

torch = pytest.importorskip("torch")

import lensmetrics as lm  # noqa: E402
from generators import generate, train  # noqa: E402
from generators.attacks import ATTACKS, random_sign, top_mask, topk, topk_loss, topk_loss_gradient  # noqa: E402
from generators.checkpoints import load  # noqa: E402
from generators.datasets import DATASETS  # noqa: E402
from generators.explanations import EXPLANATIONS, abs_sum, gradient, integrated_gradients  # noqa: E402
from generators.models import MODELS, MaxPool2x2, small_cnn, with_softplus  # noqa: E402
from generators.regimes import PGD, pgd_images  # noqa: E402

DEMO = Path(lm.__file__).parent / "data"
NATURAL = Path(generate.__file__).parent / "checkpoints" / "fashion_mnist-small_cnn-natural.pt"
EXPLAIN: dict[str, Any] = {
    "gradient": EXPLANATIONS["gradient"],
    "integrated_gradients": lambda *args, **kw: integrated_gradients(*args, n_points=4, **kw),
}


@pytest.fixture(scope="module")
def network() -> Any:
    torch.manual_seed(3)
    return small_cnn().double().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images() -> Any:
    return torch.rand((6, 1, 28, 28), generator=torch.Generator().manual_seed(4), dtype=torch.float64)


@pytest.fixture(scope="module")
def trained() -> tuple[Any, Any, Any]:
    """The naturally trained network of the repository with six images and labels of an embedded file."""
    network, _ = load(NATURAL, dataset="fashion_mnist", model="small_cnn")
    arrays, _ = read(DEMO / "fashion_mnist-natural-gradient-random_sign.h5")
    images = torch.from_numpy(arrays["image"][:6, None]).double() / 255
    return network.double(), images, torch.from_numpy(arrays["label"][:6])


def labels_of(network: Any, images: Any) -> Any:
    return network(images).argmax(1)


def randoms(n: int) -> list[np.random.Generator]:
    return [np.random.default_rng([0, sample]) for sample in range(n)]


def top_set(attributions: NDArray[Any], k: int) -> set[int]:
    return set(np.argsort(-attributions.ravel(), kind="stable")[:k].tolist())


def relative_error(function: Callable[[Any], Any], gradient_at: Any, x: Any) -> float:
    """Directional derivatives along random directions against central differences."""
    random = torch.Generator().manual_seed(5)
    step = 1e-6
    expected, found = [], []
    for _ in range(8):
        direction = torch.randn(x.shape, generator=random, dtype=x.dtype)
        difference = function(x + step * direction) - function(x - step * direction)
        expected.append(float(difference / (2 * step)))
        found.append(float((gradient_at * direction).sum()))
    return float(np.linalg.norm(np.subtract(found, expected)) / np.linalg.norm(expected))


# --- explanations


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_gradient_through_explanation_matches_finite_differences(
    network: Any, images: Any, name: str
) -> None:
    smooth = with_softplus(network)
    x, labels = images[:2], labels_of(network, images[:2])
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(6), dtype=x.dtype)

    def weighted(at: Any) -> Any:
        return (weights * EXPLAIN[name](smooth, at, labels, differentiable=True)).sum()

    at = x.clone().requires_grad_(True)
    (found,) = torch.autograd.grad(weighted(at), at)
    assert relative_error(lambda at: weighted(at).detach(), found, x) < 1e-4


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_topk_loss_gradient_matches_finite_differences(network: Any, images: Any, name: str) -> None:
    smooth = with_softplus(network)
    x, labels = images[:2], labels_of(network, images[:2])
    target = top_mask(abs_sum(EXPLAIN[name](network, x, labels)), 100)

    def loss(at: Any) -> Any:
        return topk_loss(smooth, EXPLAIN[name], at, labels, target).detach().sum()

    found = topk_loss_gradient(smooth, EXPLAIN[name], x, labels, target)
    assert relative_error(loss, found, x) < 1e-4


def test_topk_loss_is_the_share_of_the_target_times_pixels(network: Any, images: Any) -> None:
    labels = labels_of(network, images)
    maps = abs_sum(gradient(network, images, labels))
    target = top_mask(maps, 100)
    expected = [784 * float(m[t].sum() / m.sum()) for m, t in zip(maps, target, strict=True)]
    found = topk_loss(network, gradient, images, labels, target)
    assert found.tolist() == pytest.approx(expected)


def test_gradient_of_a_map_of_zeros_is_zero_not_nan(network: Any) -> None:
    black = torch.zeros((1, 1, 28, 28), dtype=torch.float64)
    label = labels_of(network, black)
    target = torch.ones((1, 28, 28), dtype=torch.bool)
    assert (
        topk_loss_gradient(with_softplus(network), EXPLAIN["integrated_gradients"], black, label, target) == 0
    ).all()


def test_explanations_of_a_linear_model_have_a_closed_form(images: Any) -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10)).double().requires_grad_(False)
    labels = torch.tensor([0, 3, 9, 9, 1, 2])
    weights = model[1].weight[labels].reshape(images.shape)
    torch.testing.assert_close(gradient(model, images, labels), weights)
    torch.testing.assert_close(integrated_gradients(model, images, labels, n_points=7), weights * images)


def test_integrated_gradients_sum_to_the_difference_of_logits(trained: tuple[Any, Any, Any]) -> None:
    network, images, labels = trained
    rows = torch.arange(len(images))
    expected = network(images)[rows, labels] - network(torch.zeros_like(images))[rows, labels]
    found = integrated_gradients(network, images, labels, n_points=100).sum((1, 2, 3))
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0)


def test_integrated_gradients_leave_out_the_baseline_and_include_the_image() -> None:
    def square(inputs: Any) -> Any:
        return inputs.flatten(1) ** 2

    model: Any = square
    x, label = torch.full((1, 1, 1, 1), 3.0), torch.tensor([0])
    # gradient 2x at x = 1, 2, 3
    assert integrated_gradients(model, x, label, n_points=3).item() == pytest.approx(3 * (2 + 4 + 6) / 3)


# --- networks


def test_max_pooling_is_max_pooling(images: Any) -> None:
    torch.testing.assert_close(MaxPool2x2()(images), torch.nn.MaxPool2d(2)(images))


@pytest.mark.parametrize("noise", [-1e-15, 0.0, 1e-15])
def test_rounding_does_not_move_the_gradient_of_pooling(noise: float) -> None:
    window = torch.tensor([[0.7, 0.7 + noise], [0.1, 0.7 - noise]], dtype=torch.float64)[None, None]
    window.requires_grad_(True)
    (found,) = torch.autograd.grad(MaxPool2x2()(window).sum(), window)
    assert found.flatten().tolist() == [1, 0, 0, 0]


def test_softplus_replaces_every_relu_of_a_copy(network: Any) -> None:
    smooth = with_softplus(network)
    assert not any(isinstance(part, torch.nn.ReLU) for part in smooth.modules())
    assert sum(isinstance(part, torch.nn.ReLU) for part in network.modules()) == 3


def test_softplus_refuses_a_model_without_relu_modules() -> None:
    with pytest.raises(ValueError, match="Flatten has no"):
        with_softplus(torch.nn.Flatten())


def test_published_widths() -> None:
    weights = [weight for name, weight in MODELS["rar_cnn"]().state_dict().items() if "weight" in name]
    assert [tuple(weight.shape) for weight in weights] == [
        (32, 1, 5, 5),
        (64, 32, 5, 5),
        (1024, 3136),
        (10, 1024),
    ]


def test_pgd_images_stay_in_the_ball_and_raise_the_loss(network: Any, images: Any) -> None:
    labels = labels_of(network, images)
    cross_entropy = torch.nn.functional.cross_entropy
    found = pgd_images(network, images, labels, PGD(0.1, 10, 0.02), torch.Generator().manual_seed(0))
    assert (found - images).abs().max() <= 0.1 + 1e-12
    assert found.min() >= 0
    assert found.max() <= 1
    assert cross_entropy(network(found), labels) > cross_entropy(network(images), labels)


# --- attacks

SETTINGS: dict[str, Any] = {"eps": 0.1, "steps": 12, "step_size": 0.02, "attack_k": 100}


def test_top_mask_gives_ties_to_the_lower_index() -> None:
    maps = torch.tensor([[[1.0, 3.0, 1.0], [1.0, 0.0, 2.0]], [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])
    assert top_mask(maps, 3).int().tolist() == [[[1, 1, 0], [0, 0, 1]], [[1, 1, 1], [0, 0, 0]]]


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_topk_keeps_its_promises(network: Any, images: Any, name: str) -> None:
    labels = labels_of(network, images)
    found = topk(network, images, labels, randoms(6), explanation=EXPLAIN[name], **SETTINGS)
    assert (found - images).abs().max() <= 0.1 + 1e-12
    assert found.min() >= 0
    assert found.max() <= 1
    assert (labels_of(network, found) == labels).all()


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_topk_lowers_its_target_more_than_random_sign(trained: tuple[Any, Any, Any], name: str) -> None:
    network, images, labels = trained

    def intersection(perturbed: Any) -> float:
        before, after = (abs_sum(EXPLAIN[name](network, x, labels)).numpy() for x in (images, perturbed))
        common = [len(top_set(a, 100) & top_set(b, 100)) for a, b in zip(before, after, strict=True)]
        return float(np.mean(common))

    directed = topk(network, images, labels, randoms(6), explanation=EXPLAIN[name], **SETTINGS)
    random = random_sign(network, images, labels, randoms(6), eps=0.1)
    assert intersection(directed) < intersection(random) - 5


def test_topk_returns_the_best_iterate_that_keeps_its_label(network: Any, images: Any) -> None:
    """One sample at a time, every iterate kept, chosen afterwards."""
    labels = labels_of(network, images)
    settings = {**SETTINGS, "eps": 0.4, "step_size": 0.1}
    found = topk(network, images, labels, randoms(6), explanation=gradient, **settings)
    smooth = with_softplus(network)
    n_refused = 0
    for image, label, result in zip(images.split(1), labels.split(1), torch.split(found, 1), strict=True):
        before = abs_sum(gradient(network, image, label))
        target = top_mask(before, 100)
        candidates = [(1.0, image)]
        current = image
        for _ in range(12):
            step = topk_loss_gradient(smooth, gradient, current, label, target).sign()
            current = torch.minimum(torch.maximum(current - 0.1 * step, image - 0.4), image + 0.4).clamp(0, 1)
            tau = kendalltau(before.numpy(), abs_sum(gradient(network, current, label)).numpy()).statistic
            if labels_of(network, current) == label:
                candidates.append((tau, current))
            else:
                n_refused += 1
        torch.testing.assert_close(result, min(candidates, key=lambda pair: pair[0])[1])
    assert n_refused > 0, "no iterate changed its label, so nothing was tested"


def test_random_sign_moves_every_pixel_by_eps_where_it_can(network: Any, images: Any) -> None:
    labels = labels_of(network, images)
    found = random_sign(network, images, labels, randoms(6), eps=0.01)
    inside = (images > 0.01) & (images < 0.99)
    torch.testing.assert_close((found - images).abs()[inside], torch.full_like(images, 0.01)[inside])
    assert 0.4 < float(((found > images)[inside]).double().mean()) < 0.6
    again = random_sign(network, images[2:3], labels[2:3], randoms(6)[2:3], eps=0.01)
    assert (again == found[2:3]).all()


@pytest.mark.parametrize("name", ATTACKS)
def test_without_an_accepted_image_samples_come_back_unperturbed(
    network: Any, images: Any, name: str
) -> None:
    other_labels = (labels_of(network, images) + 1) % 10
    settings = {"eps": 0.1} if name == "random_sign" else {"explanation": gradient, **SETTINGS}
    assert (ATTACKS[name](network, images, other_labels, randoms(6), **settings) == images).all()


# --- what is embedded


@pytest.mark.parametrize("path", sorted(DEMO.glob("fashion_mnist-*.h5")), ids=lambda path: path.stem)
def test_embedded_pairs_come_again_from_their_recorded_settings(path: Path) -> None:
    """The first sample of each file, from the stored image and the checkpoint that the command names."""
    arrays, attrs = read(path)
    options = generate.parser().parse_args(shlex.split(str(attrs["command"]))[3:])
    explain, perturb, _ = generate.plan(options)
    checkpoint = Path(generate.__file__).parents[1] / options.checkpoint
    network, facts = load(checkpoint, dataset="fashion_mnist", model="small_cnn")
    assert facts["sha256"] == attrs["checkpoint_sha256"]
    images = torch.from_numpy(arrays["image"][:1, None]).double() / 255
    labels = torch.from_numpy(arrays["label"][:1])
    random = [np.random.default_rng([options.seed, sample]) for sample in arrays["sample"][:1]]
    perturbed = perturb(network.double(), images, labels, random)
    for name, inputs in (("unperturbed", images), ("perturbed", perturbed)):
        found = abs_sum(explain(network, inputs, labels)).numpy()
        largest = arrays[name][:1].max((1, 2), keepdims=True)
        np.testing.assert_allclose(found / largest, arrays[name][:1] / largest, atol=1e-4)


# --- commands


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
    return generate.main(
        [
            *("--dataset", "fashion_mnist", "--data", str(folder), "--model", "small_cnn", "--device", "cpu"),
            *("--checkpoint", str(folder / "natural.pt"), "--eps", "0.1", "--samples", "7"),
            *("--explanation", "gradient", "--attack", "random_sign"),
            *("--out", str(folder / out), *more),
        ]
    )


def read(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    with h5py.File(path) as file:
        arrays = {name: dataset[()] for name, dataset in file.items()}
        return arrays, dict(file.attrs)


TOPK_IG = (
    *("--explanation", "integrated_gradients", "--n-points", "6", "--attack-n-points", "3"),
    *("--attack", "topk", "--steps", "5", "--step-size", "0.03"),
)


@pytest.mark.parametrize("training", ["natural", "pgd"])
def test_train_writes_a_checkpoint_that_loads(
    folder: Path, capsys: pytest.CaptureFixture[str], training: str
) -> None:
    assert run_train(folder, f"{training}-again.pt", "--training", training, "--seed", "1") == 0
    _, facts = load(folder / f"{training}-again.pt", dataset="fashion_mnist", model="small_cnn")
    assert (facts["training"], facts["seed"], facts["epochs"]) == (training, 1, 1)
    assert facts["natural_accuracy"] > 0.8
    assert facts["pgd_accuracy"] <= facts["natural_accuracy"]
    assert f"natural accuracy {facts['natural_accuracy']:.4f}" in capsys.readouterr().out
    assert not list(folder.glob("*.pt.part"))


def test_training_again_gives_the_same_weights(folder: Path) -> None:
    assert run_train(folder, "twice.pt", "--training", "natural") == 0
    first, _ = load(folder / "natural.pt", dataset="fashion_mnist", model="small_cnn")
    second, _ = load(folder / "twice.pt", dataset="fashion_mnist", model="small_cnn")
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


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
def test_recorded_command_gives_the_file_again_whatever_the_batch_size(
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


def test_interrupted_run_is_continued_by_the_same_command_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []

    @functools.wraps(random_sign)  # the signature decides which parameters are handed over
    def interrupted(*args: Any, **parameters: Any) -> Any:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return random_sign(*args, **parameters)

    with monkeypatch.context() as patch:
        patch.setitem(ATTACKS, "random_sign", interrupted)
        assert run_generate(folder, "half.h5", "--batch-size", "2") == 130
    assert "interrupted" in capsys.readouterr().err
    assert (folder / "half.h5.part").exists()
    assert run_generate(folder, "half.h5", "--batch-size", "2", "--seed", "5") == 2
    assert "seed" in capsys.readouterr().err
    assert run_generate(folder, "half.h5", "--batch-size", "2") == 0
    assert "half.h5: 3 samples" in capsys.readouterr().out
    assert run_generate(folder, "whole.h5", "--batch-size", "2") == 0
    half, whole = read(folder / "half.h5")[0], read(folder / "whole.h5")[0]
    assert all((half[name] == whole[name]).all() for name in ("unperturbed", "perturbed", "sample"))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--data", "nowhere"), "nowhere/fashion_mnist.npz does not exist"),
        (("--dataset", "mnist"), "was trained with dataset fashion_mnist and not mnist"),
        (("--model", "rar_cnn"), "was trained with model small_cnn and not rar_cnn"),
        (("--samples", "25"), "--samples 25: only "),
        (("--steps", "5"), "--steps means nothing for explanation gradient with attack random_sign"),
        (("--attack", "topk", "--n-points", "5"), "--n-points means nothing for explanation gradient"),
        (("--attack", "topk", "--attack-k", "785"), "--attack-k must be at most 784"),
        (("--attack", "topk", "--step-size", "0"), "--step-size must be above 0 and at most 1, got 0.0"),
        (("--eps", "8"), "--eps must be above 0 and at most 1, got 8.0"),
        (("--checkpoint", "absent.pt"), "absent.pt"),
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


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--data", "nowhere"), "nowhere/fashion_mnist.npz does not exist"),
        (("--learning-rate", "0"), "--learning-rate must be above 0, got 0.0"),
        (("--out", "."), ". is a folder"),
    ],
)
def test_training_refuses_bad_input_before_it_starts(
    folder: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], sentence: str
) -> None:
    assert run_train(folder, "bad.pt", "--training", "natural", *more) == 2
    assert sentence in capsys.readouterr().err
    assert not list(folder.glob("bad.pt*"))


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"x_test": np.zeros((2, 28, 28), np.uint8)}, "y_test"),
        ({"x_test": np.zeros((2, 28, 28)), "y_test": np.zeros(2)}, "float64 (2, 28, 28)"),
        ({"x_test": np.zeros((2, 28, 28), np.uint8), "y_test": np.zeros(3)}, "and (3,)"),
        (b"PK\x03\x04 cut off", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_damaged_data_is_refused(
    tmp_path: Path, arrays: dict[str, NDArray[Any]] | bytes, sentence: str
) -> None:
    path = tmp_path / "mnist.npz"
    if isinstance(arrays, bytes):
        path.write_bytes(arrays)
    else:
        np.savez(path, allow_pickle=False, **arrays)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        DATASETS["mnist"](tmp_path, "test")


def test_file_that_is_no_checkpoint_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = folder / "other.pt"
    for content in (b"", b"text", (folder / "fashion_mnist.npz").read_bytes()):
        other.write_bytes(content)
        assert run_generate(folder, "bad.h5", "--checkpoint", str(other)) == 2
        assert f"{other} is not a checkpoint written by generators.train" in capsys.readouterr().err
    torch.save({"state_dict": {}}, other)
    assert run_generate(folder, "bad.h5", "--checkpoint", str(other)) == 2
    assert "it lacks dataset, model" in capsys.readouterr().err


def test_existing_output_is_not_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "taken.h5").write_bytes(b"something")
    assert run_generate(folder, "taken.h5") == 2
    assert "taken.h5 exists already" in capsys.readouterr().err
    assert (folder / "taken.h5").read_bytes() == b"something"


@pytest.mark.parametrize("command", [train, generate])
def test_help_lists_every_choice(capsys: pytest.CaptureFixture[str], command: Any) -> None:
    with pytest.raises(SystemExit) as stop:
        command.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    choices = ["fashion_mnist", "mnist", *MODELS]
    choices += ["natural", "pgd"] if command is train else [*EXPLANATIONS, *ATTACKS]
    assert all(choice in text for choice in choices)


def test_unknown_choice_ends_with_status_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run_generate(folder, "bad.h5", "--attack", "topq")
    assert stop.value.code == 2
    assert "random_sign" in capsys.readouterr().err
