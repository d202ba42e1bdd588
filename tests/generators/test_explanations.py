"""Explanations: closed forms, captum and zennit as oracles, completeness, gradients by finite differences."""

import inspect
import sys
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import nn

import generators
import lensmetrics as lm
from generators.explanations import (
    BASES,
    EXPLANATIONS,
    abs_sum,
    attach_patterns,
    beta_smooth,
    deep_lift,
    fit_patterns,
    gradient,
    guided_backprop,
    input_x_gradient,
    integrated_gradients,
    lrp,
)
from generators.networks.activations import prepare, replaced, with_softplus
from generators.networks.checkpoints import load
from generators.networks.models import (
    MaxPool2x2,
    Normalize,
    build,
    normalized,
    small_cnn,
    small_resnet,
)
from tests.generators.networks import tiny_cnn

NATURAL = Path(generators.__file__).parent / "weights" / "fashion_mnist-small_cnn-natural.pt"
EMBEDDED = Path(lm.__file__).parent / "data" / "fashion_mnist-natural-gradient-random_sign.h5"

# Few points: every test compares like with like.
FEW: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"n_points": 5},
    "smooth_grad": {"n_draws": 5},
    "uniform_smooth": {"n_draws": 5, "radius": 2.0},
    "gradient_shap": {"n_draws": 5, "sigma": 0.1},
}
# Every method, and those that take another one with that one.
CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, FEW.get(name, {})) for name in EXPLANATIONS),
    ("uniform_smooth", {"base": "input_x_gradient", "n_draws": 3}),
    ("uniform_smooth", {"reduction": "sum", "n_draws": 3}),
    ("beta_smooth", {"base": "guided_backprop", "beta": 0.8}),
    ("beta_smooth", {"base": "integrated_gradients", "n_points": 3}),
]
CHUNKED = [case for case in CASES if case[0] in FEW]
LINEAR_LABELS = torch.tensor([0, 3, 9, 9, 1, 2])


@pytest.fixture(scope="module")
def network() -> Any:
    return tiny_cnn()


@pytest.fixture(scope="module")
def resnet() -> Any:
    """With random statistics, because fresh batch norm would hide errors of folding."""
    torch.manual_seed(5)
    network = with_random_statistics(prepare(small_resnet()).double())
    images = torch.rand((2, 3, 32, 32), dtype=torch.float64)
    attach_patterns(network, fit_patterns(network, [images]).values)
    return network


@pytest.fixture(scope="module")
def images() -> Any:
    return torch.rand((6, 1, 28, 28), generator=torch.Generator().manual_seed(4), dtype=torch.float64)


@pytest.fixture(scope="module")
def colour_images() -> Any:
    return torch.rand((3, 3, 32, 32), generator=torch.Generator().manual_seed(4), dtype=torch.float64)


@pytest.fixture(scope="module")
def trained() -> tuple[Any, Any, Any]:
    """The naturally trained network of the repository with six images and labels of an embedded file."""
    network, _ = load(NATURAL, dataset="fashion_mnist", model="small_cnn")
    with h5py.File(EMBEDDED) as file:
        images, labels = file["image"][:6], file["label"][:6]
    return network.double(), torch.from_numpy(images[:, None]).double() / 255, torch.from_numpy(labels)


@pytest.fixture(scope="module")
def linear() -> Any:
    torch.manual_seed(2)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).double().requires_grad_(False)


def with_random_statistics(network: Any) -> Any:
    norms: list[Any] = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    for part in norms:
        part.running_mean.normal_(0, 0.1)
        part.running_var.uniform_(0.5, 1.5)
        part.weight.uniform_(0.5, 1.5)
        part.bias.normal_(0, 0.1)
    return network


def labels_of(network: Any, images: Any) -> Any:
    return network(images).argmax(1)


def explain(name: str, model: Any, images: Any, labels: Any, **parameters: Any) -> Any:
    """Sample i takes the seed (7, i)."""
    if "seeds" in takes(name):
        parameters = {"seeds": [(7, sample) for sample in range(len(images))], **parameters}
    return EXPLANATIONS[name](model, images, labels, **parameters)


def takes(name: str) -> Any:
    return inspect.signature(EXPLANATIONS[name].function).parameters


def draws_of(sample: int, n_draws: int, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """What the seed (7, sample) draws on the CPU: uniform numbers, and noise that fits into one block."""
    states = np.random.SeedSequence((7, sample)).generate_state(2, np.uint64).tolist()
    one, other = (torch.Generator().manual_seed(state) for state in states)
    return torch.rand(n_draws, generator=one), torch.randn((n_draws, *shape), generator=other).double()


def relative_error(function: Callable[[Any], Any], gradient_at: Any, x: Any, step: float = 1e-7) -> float:
    """Directional derivatives along random directions against central differences.

    A larger step reaches points where another pixel wins a pooling window.
    """
    random = torch.Generator().manual_seed(5)
    expected, found = [], []
    for _ in range(6):
        direction = torch.randn(x.shape, generator=random, dtype=x.dtype)
        difference = function(x + step * direction) - function(x - step * direction)
        expected.append(float(difference / (2 * step)))
        found.append(float((gradient_at * direction).sum()))
    return float(np.linalg.norm(np.subtract(found, expected)) / np.linalg.norm(expected))


def gradient_through(function: Callable[[Any], Any], x: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The gradient of a random linear function of what `function` returns, and that function itself."""
    weights = torch.randn(function(x).shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    at = x.clone().requires_grad_(True)
    (found,) = torch.autograd.grad((weights * function(at)).sum(), at)
    return found, lambda at: (weights * function(at)).sum().detach()


class Recorder(nn.Module):
    """Records the images that pass through it."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.seen: list[Any] = []

    def forward(self, images: Any) -> Any:
        self.seen.append(images.detach().clone())
        return self.network(images)


def captum_attributions(explainer: Any, *args: Any, **parameters: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # captum announces what it does to its arguments
        return explainer.attribute(*args, **parameters)


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_samples_do_not_influence_one_another(
    network: Any, images: Any, name: str, parameters: dict[str, Any]
) -> None:
    x, labels = images[:3], torch.tensor([1, 7, 7])
    found = explain(name, network, x, labels, **parameters)
    assert found.shape == (3, 1, 28, 28)
    assert found.abs().sum((1, 2, 3)).min() > 0
    for i in range(3):
        alone = {**parameters, "seeds": [(7, i)]} if "seeds" in takes(name) else parameters
        torch.testing.assert_close(
            EXPLANATIONS[name](network, x[i : i + 1], labels[i : i + 1], **alone),
            found[i : i + 1],
            rtol=1e-9,
            atol=1e-12,
        )


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_explanation_depends_on_the_label(
    network: Any, images: Any, name: str, parameters: dict[str, Any]
) -> None:
    one, other = (
        abs_sum(explain(name, network, images[:1], torch.tensor([c]), **parameters)) for c in (0, 1)
    )
    assert not torch.allclose(one, other, rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [*CASES, *((name, {**few, "chunk_size": size}) for name, few in CHUNKED for size in (1, 3))],
)
def test_gradient_through_explanation_matches_finite_differences(
    network: Any, images: Any, name: str, parameters: dict[str, Any]
) -> None:
    smooth = with_softplus(network)
    x, labels = images[:2], labels_of(network, images[:2])
    found, weighted = gradient_through(
        lambda at: explain(name, smooth, at, labels, differentiable=True, **parameters), x
    )
    assert relative_error(weighted, found, x) < 1e-4


@pytest.mark.parametrize("name", ["gradient", "deep_lift", "guided_backprop", "pattern_attribution"])
def test_gradient_through_explanation_of_a_residual_network(
    resnet: Any, colour_images: Any, name: str
) -> None:
    smooth = with_softplus(resnet)
    x, labels = colour_images[:1].clone(), torch.tensor([4])
    x[:, :, :16] = 0  # there, inputs of activations do not differ from those of the black reference
    found, weighted = gradient_through(lambda at: explain(name, smooth, at, labels, differentiable=True), x)
    assert relative_error(weighted, found, x) < 1e-4


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_value_has_a_graph_only_on_request(
    network: Any, images: Any, name: str, parameters: dict[str, Any]
) -> None:
    x, labels = images[:2].clone().requires_grad_(True), torch.tensor([1, 2])
    smooth = with_softplus(network)
    with_graph = explain(name, smooth, x, labels, differentiable=True, **parameters)
    assert with_graph.requires_grad
    with torch.no_grad():
        without = explain(name, smooth, x, labels, **parameters)
    assert not without.requires_grad
    torch.testing.assert_close(without, with_graph.detach(), rtol=1e-10, atol=1e-13)
    plain = explain(name, smooth, images[:2], labels, **parameters)
    assert not plain.requires_grad
    assert torch.equal(plain, without)


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_model_is_left_as_it_was(network: Any, images: Any, name: str, parameters: dict[str, Any]) -> None:
    before = gradient(network, images[:1], LINEAR_LABELS[:1])
    explain(name, network, images[:1], LINEAR_LABELS[:1], **parameters)
    assert torch.equal(gradient(network, images[:1], LINEAR_LABELS[:1]), before)
    for module in network.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_records_list_every_keyword_of_the_function(name: str) -> None:
    explanation = EXPLANATIONS[name]
    shared = {"differentiable": explanation.differentiable, "seeds": explanation.draws}
    shared["chunk_size"] = explanation.chunks
    expected = {option.name for option in explanation.options} | {key for key, has in shared.items() if has}
    parameters = inspect.signature(explanation.function).parameters.values()
    assert {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} == expected


def test_explanations_without_draws_or_base_can_be_smoothed() -> None:
    can = {
        name
        for name, explanation in EXPLANATIONS.items()
        if not explanation.draws and "base" not in {option.name for option in explanation.options}
    }
    assert set(BASES) == can


def test_abs_sum_reduces_channels() -> None:
    attributions = torch.tensor([1.0, -2.0, 3.0, -4.0]).reshape(1, 2, 1, 2)
    assert abs_sum(attributions).tolist() == [[[4, 6]]]


@pytest.mark.parametrize(("name", "parameters"), CHUNKED)
@pytest.mark.parametrize("chunk_size", [1, 2, 3, 7, 100])
def test_chunks_change_neither_value_nor_gradient(
    network: Any, images: Any, name: str, parameters: dict[str, Any], chunk_size: int
) -> None:
    smooth = with_softplus(network)
    x, labels = images[:3], torch.tensor([1, 2, 3])

    def function(at: Any, size: int | None) -> Any:
        return explain(name, smooth, at, labels, differentiable=True, chunk_size=size, **parameters)

    expected, _ = gradient_through(lambda at: function(at, None), x)
    found, _ = gradient_through(lambda at: function(at, chunk_size), x)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(function(x, chunk_size), function(x, None), rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [*CHUNKED, ("uniform_smooth", {"base": "integrated_gradients", "n_draws": 1})],
)
@pytest.mark.parametrize("chunk_size", [2, 6])
def test_no_pass_is_larger_than_a_chunk(
    network: Any, images: Any, name: str, parameters: dict[str, Any], chunk_size: int
) -> None:
    model: Any = Recorder(with_softplus(network))
    x = images[:3].clone().requires_grad_(True)
    labels = torch.tensor([1, 2, 3])
    result = explain(name, model, x, labels, differentiable=True, chunk_size=chunk_size, **parameters)
    n_forward = len(model.seen)
    result.square().sum().backward()
    assert len(model.seen) > n_forward  # the way back computes every chunk again
    assert max(len(points) for points in model.seen) <= chunk_size


def test_chunks_keep_no_graph_of_the_network(network: Any, images: Any) -> None:
    smooth = with_softplus(network)
    n_kept = {}
    for chunk_size in (None, 4):
        kept: weakref.WeakSet[Any] = weakref.WeakSet()

        class Kept:
            def __init__(self, tensor: Any, kept: Any = kept) -> None:
                self.tensor = tensor
                kept.add(self)

        x = images[:2].clone().requires_grad_(True)
        with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
            result = integrated_gradients(
                smooth, x, LINEAR_LABELS[:2], n_points=6, chunk_size=chunk_size, differentiable=True
            )
        assert result.requires_grad
        n_kept[chunk_size] = sum(one.tensor.numel() for one in kept)
    assert n_kept[4] < 4 * images[:2].numel()
    assert n_kept[None] > 50 * n_kept[4]


@pytest.mark.parametrize("name", ["smooth_grad", "uniform_smooth", "gradient_shap"])
def test_noise_depends_on_the_seeds_alone(network: Any, images: Any, name: str) -> None:
    x, labels = images[:2], torch.tensor([1, 1])
    function = EXPLANATIONS[name]
    first, again, other = (
        function(network, x, labels, seeds=seeds, n_draws=3)
        for seeds in ([[1, 2], [3, 4]], [[1, 2], [3, 4]], [[5, 6], [3, 4]])
    )
    assert torch.equal(first, again)
    assert torch.equal(first[1], other[1])
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("integrated_gradients", {"n_points": 0}, "number of points must be at least 1, got 0"),
        ("smooth_grad", {"n_draws": 0}, "number of points must be at least 1, got 0"),
        ("integrated_gradients", {"chunk_size": 0}, "chunk_size must be at least 1, or None, got 0"),
        ("smooth_grad", {"seeds": [[1]]}, "2 samples need as many seeds, got 1"),
        ("smooth_grad", {"sigma": -0.1}, "sigma must be at least 0, got -0.1"),
        ("gradient_shap", {"sigma": float("nan")}, "sigma must be at least 0, got nan"),
        ("uniform_smooth", {"radius": -1.0}, "radius must be at least 0, got -1.0"),
        ("uniform_smooth", {"reduction": "mean"}, "reduction must be abs_sum or sum, got 'mean'"),
        (
            "uniform_smooth",
            {"base": "smooth_grad"},
            "base 'smooth_grad' cannot be smoothed; use one of gradient,",
        ),
        ("beta_smooth", {"base": "beta_smooth"}, "base 'beta_smooth' cannot be smoothed"),
        ("beta_smooth", {"base": "nothing"}, "base 'nothing' cannot be smoothed"),
    ],
)
def test_parameters_out_of_range_are_refused(
    network: Any, images: Any, name: str, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        explain(name, network, images[:2], torch.tensor([1, 2]), **parameters)


@pytest.mark.parametrize("name", ["gradient", "smooth_grad", "beta_smooth"])
def test_gradients_of_a_linear_model_are_its_weights(images: Any, linear: Any, name: str) -> None:
    # A ReLU far in its linear part makes the softplus copy possible.
    model: Any = nn.Sequential(linear[0], nn.ReLU(), linear[1])
    weights = linear[1].weight[LINEAR_LABELS].reshape(images.shape)
    found = explain(name, model, images + 40, LINEAR_LABELS)
    torch.testing.assert_close(found, weights, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["input_x_gradient", "integrated_gradients", "gradient_shap", "deep_lift"])
def test_contributions_of_a_linear_model_are_weights_times_input(images: Any, linear: Any, name: str) -> None:
    weights = linear[1].weight[LINEAR_LABELS].reshape(images.shape)
    torch.testing.assert_close(explain(name, linear, images, LINEAR_LABELS), weights * images)


def test_gradients_agree_with_captum(trained: tuple[Any, Any, Any]) -> None:
    attr = pytest.importorskip("captum.attr")
    network, images, labels = trained
    close = torch.testing.assert_close
    expected = captum_attributions(attr.Saliency(network), images, labels, abs=False)
    close(gradient(network, images, labels), expected)
    expected = captum_attributions(attr.InputXGradient(network), images, labels)
    close(input_x_gradient(network, images, labels), expected)
    expected = captum_attributions(
        attr.IntegratedGradients(network), images, target=labels, n_steps=7, method="riemann_right"
    )
    close(integrated_gradients(network, images, labels, n_points=7), expected)


def test_integrated_gradients_sum_to_the_difference_of_logits(trained: tuple[Any, Any, Any]) -> None:
    network, images, labels = trained
    found = integrated_gradients(network, images, labels, n_points=100).sum((1, 2, 3))
    torch.testing.assert_close(found, difference_of_logits(network, images, labels), rtol=0.02, atol=0)


def difference_of_logits(network: Any, images: Any, labels: Any) -> Any:
    rows = torch.arange(len(images))
    return network(images)[rows, labels] - network(torch.zeros_like(images))[rows, labels]


def test_integrated_gradients_leave_out_the_baseline_and_include_the_image() -> None:
    def square(inputs: Any) -> Any:
        return inputs.flatten(1) ** 2

    model: Any = square
    x, label = torch.full((1, 1, 1, 1), 3.0), torch.tensor([0])
    # gradient 2x at x = 1, 2, 3
    assert integrated_gradients(model, x, label, n_points=3).item() == pytest.approx(3 * (2 + 4 + 6) / 3)


def test_smooth_grad_is_the_mean_gradient_under_noise(network: Any, images: Any) -> None:
    x, labels = images[:2], torch.tensor([5, 6])
    found = explain("smooth_grad", network, x, labels, n_draws=4, sigma=0.2)
    for i in range(2):
        _, noise = draws_of(i, 4, (1, 28, 28))
        expected = gradient(network, x[i] + 0.2 * noise, labels[[i] * 4]).mean(0)
        torch.testing.assert_close(found[i], expected)


def test_gradient_shap_agrees_with_captum(network: Any, images: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    attr = pytest.importorskip("captum.attr")
    x, labels = images[:2], torch.tensor([5, 6])
    found = explain("gradient_shap", network, x, labels, n_draws=4, sigma=0.2)
    drawn = [draws_of(i, 4, (1, 28, 28)) for i in range(2)]
    uniform, noise = (torch.cat([one[part] for one in drawn]) for part in (0, 1))
    monkeypatch.setattr(np.random, "uniform", lambda *args: uniform.numpy())
    monkeypatch.setattr(torch, "normal", lambda mean, deviation: mean + deviation * noise)
    expected = captum_attributions(
        attr.GradientShap(network), x, torch.zeros_like(x[:1]), n_samples=4, stdevs=0.2, target=labels
    )
    torch.testing.assert_close(found, expected)


def test_gradient_shap_sums_to_the_difference_of_logits_in_the_mean(trained: tuple[Any, Any, Any]) -> None:
    network, images, labels = trained
    n_draws = 400
    found = explain("gradient_shap", network, images, labels, n_draws=n_draws).sum((1, 2, 3))
    along = torch.stack(
        [input_x_gradient(network, images * k / 50, labels).sum((1, 2, 3)) * 50 / k for k in range(1, 51)]
    )
    deviations = (found - difference_of_logits(network, images, labels)) / along.std(0) * n_draws**0.5
    assert deviations.abs().max() < 4


@pytest.mark.parametrize("reduction", ["abs_sum", "sum"])
def test_uniform_smooth_averages_unit_maps(colour_images: Any, reduction: str) -> None:
    torch.manual_seed(1)
    model: Any = Recorder(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(3600, 5)).double()
    )
    x, labels = colour_images[:2], torch.tensor([3, 4])
    settings = {"n_draws": 6, "radius": 3.0, "base": "input_x_gradient", "reduction": reduction}
    found = explain("uniform_smooth", model, x, labels, **settings)
    assert found.shape == (2, 1, 32, 32)
    assert (found.min() < 0) == (reduction == "sum")
    for i in range(2):
        points = torch.stack([points[i] for points in model.seen])
        assert len(points) == 6
        attributions = input_x_gradient(model.network, points, labels[[i] * 6])
        maps = (attributions.abs() if reduction == "abs_sum" else attributions).sum(1)
        units = maps / maps.square().sum((1, 2), keepdim=True).sqrt()
        torch.testing.assert_close(found[i, 0], units.mean(0))


def test_uniform_smooth_draws_uniformly_from_the_ball() -> None:
    model: Any = Recorder(nn.Sequential(nn.Flatten(), nn.Linear(8, 2)).double())
    x = torch.full((2, 2, 2, 2), 0.5, dtype=torch.float64)
    explain("uniform_smooth", model, x, torch.tensor([0, 1]), n_draws=3000, radius=2.5)
    offsets = torch.stack(model.seen) - x
    assert not torch.equal(offsets[:, 0], offsets[:, 1])
    lengths = offsets.flatten(2).norm(dim=2).flatten() / 2.5
    assert lengths.max() <= 1
    assert kstest(lengths.numpy() ** 8, "uniform").pvalue > 0.01
    # In 8 dimensions a coordinate of a point in the unit ball has variance 1 / (8 + 2).
    coordinates = offsets.flatten(2).reshape(-1, 8) / 2.5
    torch.testing.assert_close(
        coordinates.T @ coordinates / 6000, torch.eye(8, dtype=torch.float64) / 10, rtol=0, atol=0.01
    )


def test_uniform_smooth_of_maps_of_zeros_is_zero_with_gradient_zero(images: Any) -> None:
    model: Any = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Softplus()).double().requires_grad_(False)
    model[1].weight.zero_()
    x = images[:2].clone().requires_grad_(True)
    found = explain("uniform_smooth", model, x, torch.tensor([0, 1]), n_draws=3, differentiable=True)
    (back,) = torch.autograd.grad(found.sum(), x)
    assert (found == 0).all()
    assert (back == 0).all()


def test_beta_smooth_explains_the_softplus_network(network: Any, images: Any) -> None:
    x, labels = images[:2], torch.tensor([5, 6])
    found = beta_smooth(network, x, labels, base="input_x_gradient", beta=0.8)
    assert torch.equal(found, input_x_gradient(with_softplus(network, 0.8), x, labels))
    assert not torch.allclose(found, input_x_gradient(network, x, labels))


def test_smoothing_passes_options_on_to_its_base(network: Any, images: Any) -> None:
    x, labels = images[:2], torch.tensor([5, 6])
    for n_points in (2, 3):
        found = beta_smooth(network, x, labels, base="integrated_gradients", n_points=n_points)
        expected = integrated_gradients(with_softplus(network), x, labels, n_points=n_points)
        assert torch.equal(found, expected)
    found = beta_smooth(network, x, labels, base="guided_backprop", form="dombrowski", beta=2.0)
    expected = guided_backprop(with_softplus(network, 2.0), x, labels, form="dombrowski")
    assert torch.equal(found, expected)


@pytest.mark.parametrize("of", ["small_cnn", "small_resnet"])
def test_guided_backprop_agrees_with_captum(
    network: Any, resnet: Any, images: Any, colour_images: Any, of: str
) -> None:
    attr = pytest.importorskip("captum.attr")
    model, x = {"small_cnn": (network, images[:3]), "small_resnet": (resnet, colour_images)}[of]
    model = replaced(model, lambda part: nn.MaxPool2d(2) if isinstance(part, MaxPool2x2) else None)
    labels = torch.tensor([1, 2, 3])
    expected = captum_attributions(attr.GuidedBackprop(model), x, target=labels)
    torch.testing.assert_close(guided_backprop(model, x, labels), expected)
    assert not torch.allclose(expected, gradient(model, x, labels))


def test_guided_backprop_of_softplus_by_hand() -> None:
    model: Any = nn.Sequential(nn.Flatten(), nn.Linear(3, 4), nn.Softplus(2.0), nn.Linear(4, 2)).double()
    x = torch.tensor([0.3, 0.9, 0.1], dtype=torch.float64)
    inner = model[1](x)
    upstream = model[3].weight[1].clamp_min(0)
    expected = (torch.sigmoid(2 * inner) * upstream) @ model[1].weight
    found = guided_backprop(model, x.reshape(1, 1, 1, 3), torch.tensor([1]))
    torch.testing.assert_close(found.flatten(), expected.detach())


def test_guided_backprop_needs_relus(linear: Any, images: Any) -> None:
    with pytest.raises(
        ValueError, match="Sequential has no ReLU, so guided_backprop would equal its gradient"
    ):
        guided_backprop(linear, images, LINEAR_LABELS)


def test_deep_lift_agrees_with_captum_without_max_pooling(resnet: Any, colour_images: Any) -> None:
    attr = pytest.importorskip("captum.attr")
    labels = torch.tensor([1, 2, 3])
    # captum knows softplus by its type alone
    smooth = replaced(
        with_softplus(resnet), lambda part: nn.Softplus(part.beta) if isinstance(part, nn.Softplus) else None
    )
    for model in (resnet, smooth):
        expected = captum_attributions(
            attr.DeepLift(model), colour_images, torch.zeros_like(colour_images), target=labels
        )
        torch.testing.assert_close(deep_lift(model, colour_images, labels), expected)


def test_deep_lift_sums_to_the_difference_of_logits(trained: tuple[Any, Any, Any]) -> None:
    network, images, labels = trained
    expected = difference_of_logits(network, images, labels)
    torch.testing.assert_close(deep_lift(network, images, labels).sum((1, 2, 3)), expected)
    single = network.float()
    found = deep_lift(single, images.float(), labels)
    network.double()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.sum((1, 2, 3)).double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Softplus, nn.GELU, nn.ReLU6, nn.LeakyReLU])
def test_deep_lift_is_complete_where_windows_overlap(colour_images: Any, activation: Any) -> None:
    torch.manual_seed(4)
    model: Any = nn.Sequential(
        *(nn.Conv2d(3, 8, 5), activation(), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(nn.Conv2d(8, 8, 3), activation(), nn.MaxPool2d(3, 2, padding=1), nn.AdaptiveMaxPool2d(3)),
        *(nn.Flatten(), nn.Linear(72, 5)),
    )
    model = model.double().requires_grad_(False)
    x, labels = 5 * colour_images, torch.tensor([1, 2, 3])
    expected = difference_of_logits(model, x, labels)
    torch.testing.assert_close(deep_lift(model, x, labels).sum((1, 2, 3)), expected)


def test_deep_lift_of_max_pooling_by_hand() -> None:
    # Three windows: black wins by its bias, the image wins, and both by the same pixel.
    model: Any = nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d((1, 2)), nn.Flatten(), nn.Linear(3, 1))
    model.double().requires_grad_(False)
    model[0].weight.fill_(-1.0)
    model[0].bias.fill_(0.5)
    model[3].weight.copy_(torch.tensor([[1.0, 10.0, 100.0]]))
    x = torch.tensor([0.2, 0.6, -0.4, -0.1, 0.0, 0.3], dtype=torch.float64).reshape(1, 1, 1, 6)
    # Before pooling: (.3, -.1), (.9, .6), (.5, .2), and black is .5 everywhere, where the first one wins.
    found = deep_lift(model, x, torch.tensor([0]))
    torch.testing.assert_close(
        found.flatten(), torch.tensor([-0.2, 0, 4.0, 0, 0, 0], dtype=torch.float64), rtol=0, atol=1e-12
    )


def test_gradient_through_deep_lift_where_an_activation_equals_the_reference() -> None:
    model: Any = nn.Sequential(nn.Flatten(), nn.Linear(2, 1), nn.Softplus()).double().requires_grad_(False)
    model[1].weight.copy_(torch.tensor([[1.0, -1.0]]))
    x = torch.full((1, 1, 1, 2), 0.5, dtype=torch.float64)
    found, weighted = gradient_through(
        lambda at: deep_lift(model, at, torch.tensor([0]), differentiable=True), x
    )
    # The step leaves the range where quotients of differences are replaced by slopes.
    assert relative_error(weighted, found, x, step=1e-4) < 1e-4


def test_deep_lift_of_a_black_image_is_zero(network: Any) -> None:
    black = torch.zeros((1, 1, 28, 28), dtype=torch.float64)
    assert (deep_lift(network, black, torch.tensor([1])) == 0).all()


def test_deep_lift_refuses_steps_without_a_rule(images: Any) -> None:
    class Product(nn.Module):
        def forward(self, values: Any) -> Any:
            return values * values

    model: Any = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), Product()).double().requires_grad_(False)
    with pytest.raises(ValueError, match="DeepLIFT has no rule for a step of Sequential"):
        deep_lift(model, images, LINEAR_LABELS)


def test_lrp_of_a_linear_model_is_the_box_rule(images: Any, linear: Any) -> None:
    pytest.importorskip("zennit")
    mean, std = 0.3, 0.4
    model: Any = normalized(Normalize([mean], [std]), linear).double()
    weights = linear[1].weight[LINEAR_LABELS]
    inputs, low, high = (images.flatten(1) - mean) / std, -mean / std, (1 - mean) / std
    share = inputs * weights - low * weights.clamp_min(0) - high * weights.clamp_max(0)
    logits = model(images).gather(1, LINEAR_LABELS[:, None])
    expected = share / share.sum(1, keepdim=True) * logits  # the bias is in all three terms and drops out
    found = lrp(model, images, LINEAR_LABELS)
    torch.testing.assert_close(found.flatten(1), expected, rtol=1e-5, atol=1e-9)


def test_lrp_rules_by_hand() -> None:
    """z^B, z+ and epsilon where they belong; biases take their share."""
    pytest.importorskip("zennit")
    torch.manual_seed(8)
    model: Any = nn.Sequential(
        *(nn.Conv2d(2, 3, 1), nn.ReLU(), nn.Conv2d(3, 4, 1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)),
    )
    model.double().requires_grad_(False)
    for layer in (0, 2):
        model[layer].bias.fill_(1.5)  # nothing is near zero, where a stabiliser would count
    x = torch.rand((1, 2, 1, 1), dtype=torch.float64)
    first, second = (model[layer].weight[:, :, 0, 0] for layer in (0, 2))
    inner = (first @ x.flatten() + 1.5).relu()
    relevance = (second @ inner + 1.5).relu() * model[6].weight[1]  # the logit goes to its summands
    share = second.clamp_min(0) * inner
    relevance = (share / (share.sum(1, keepdim=True) + 1.5)).T @ relevance
    share = first * x.flatten() - first.clamp_max(0)  # what is above the lowest, from 0 to 1
    expected = (share / share.sum(1, keepdim=True)).T @ relevance  # its bias drops out
    torch.testing.assert_close(lrp(model, x, torch.tensor([1])).flatten(), expected, rtol=1e-3, atol=1e-7)


def test_lrp_without_biases_conserves_the_logit(images: Any) -> None:
    pytest.importorskip("zennit")
    torch.manual_seed(6)
    network = small_cnn().double()
    model = replaced(network, lambda part: None).requires_grad_(False)
    for part in model.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.bias = None
    labels = labels_of(model, images)
    expected = model(images).gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(lrp(model, images, labels).sum((1, 2, 3)), expected, rtol=1e-3, atol=0)


class Branches(nn.Module):
    """Two branches that read the image, as in SqueezeNet's modules, and a convolution that gives logits."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3, bias=False), nn.Conv2d(3, 4, 3, bias=False)
        self.middle, self.pool = nn.Softplus(), nn.AdaptiveAvgPool2d(1)
        self.last = nn.Conv2d(8, 5, 1, bias=False)

    def forward(self, values: Any) -> Any:
        inner = self.middle(torch.cat([self.left(values), self.right(values)], 1))
        return torch.flatten(self.last(self.pool(inner)), 1)


def test_lrp_of_branches(colour_images: Any) -> None:
    pytest.importorskip("zennit")
    torch.manual_seed(6)
    model = Branches().double().requires_grad_(False)
    x, labels = colour_images[:2], torch.tensor([3, 0])
    relevance = lrp(model, x, labels)
    expected = model(x).gather(1, labels[:, None])[:, 0]
    torch.testing.assert_close(relevance.sum((1, 2, 3)), expected, rtol=1e-4, atol=0)
    found, weighted = gradient_through(lambda at: lrp(model, at, labels, differentiable=True), x)
    assert relative_error(weighted, found, x) < 1e-4
    model.left, model.right = model.right, model.left
    model.last.weight.copy_(model.last.weight.roll(4, 1))
    torch.testing.assert_close(lrp(model, x, labels), relevance)


def test_lrp_of_a_residual_network_agrees_with_zennit(colour_images: Any) -> None:
    composites = pytest.importorskip("zennit.composites")
    canonizers = pytest.importorskip("zennit.torchvision")
    pytest.importorskip("torchvision")
    torch.manual_seed(7)
    model = with_random_statistics(prepare(build("resnet18", 10)).double())
    torch.manual_seed(7)
    plain = with_random_statistics(build("resnet18", 10).double().eval().requires_grad_(False))
    labels = torch.tensor([1, 2, 3])
    normalize = plain[0]
    torch.testing.assert_close(plain(colour_images), model(colour_images))
    composite = composites.EpsilonPlus(canonizers=[canonizers.ResNetCanonizer()])
    composite.layer_map = [
        ((nn.Conv2d,), composites.ZPlus()),
        *((types, rule) for types, rule in composite.layer_map),
    ]
    low, high = (normalize(value * torch.ones_like(colour_images)) for value in (0, 1))
    box = composites.NameMapComposite([(["conv1"], composites.ZBox(low, high))])
    both = composites.MixedComposite([box, composite])
    inputs = normalize(colour_images).requires_grad_(True)
    with both.context(plain[1]) as ruled:
        logits = ruled(inputs)
        start = torch.zeros_like(logits).scatter(
            1, labels[:, None], logits.detach().gather(1, labels[:, None])
        )
        (expected,) = torch.autograd.grad(logits, inputs, start)
    # Sums of two branches near zero make rounding visible.
    found = lrp(model, colour_images, labels)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_lrp_of_gray_images_that_are_repeated_for_three_channels(images: Any) -> None:
    pytest.importorskip("zennit")
    torch.manual_seed(9)
    layers: Any = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2704, 10)).double()
    model: Any = normalized(
        Normalize([0.4, 0.5, 0.6], [0.2, 0.3, 0.4]), layers.requires_grad_(False)
    ).double()
    found = lrp(model, images, LINEAR_LABELS)
    in_colour = lrp(model, images.expand(-1, 3, -1, -1), LINEAR_LABELS)
    torch.testing.assert_close(found, in_colour.sum(1, keepdim=True))


class TwoLayers(nn.Module):
    """Two convolutions and a linear layer, combined by a function."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.one, self.other = (nn.Conv2d(3, 3, 3, padding=1, bias=False) for _ in range(2))
        self.relu, self.pool, self.last = nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(2), nn.Linear(12, 5)
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.function = function

    def forward(self, values: Any) -> Any:
        return self.last(self.function(self, values))


def two_layers(function: Any) -> Any:
    torch.manual_seed(6)
    return TwoLayers(function).double().eval().requires_grad_(False)


def features(network: Any, values: Any) -> Any:
    return network.pool(network.relu(network.other(network.relu(network.one(values)))))


@pytest.mark.parametrize(
    "flatten",
    [
        lambda values: values.view(values.size(0), -1),
        lambda values: values.reshape(values.shape[0], values.shape[1] * values.shape[2] * values.shape[3]),
        lambda values: torch.reshape(values, (values.size()[0], -1)),
    ],
)
def test_lrp_of_a_network_that_reads_sizes(colour_images: Any, flatten: Any) -> None:
    pytest.importorskip("zennit")
    labels = torch.tensor([1, 2, 3])
    expected = lrp(two_layers(lambda *given: features(*given).flatten(1)), colour_images, labels)
    found = lrp(two_layers(lambda *given: flatten(features(*given))), colour_images, labels)
    torch.testing.assert_close(found, expected)


def test_lrp_of_a_layer_that_is_used_twice(colour_images: Any) -> None:
    pytest.importorskip("zennit")
    labels = torch.tensor([1, 2, 3])
    apart = two_layers(lambda *given: features(*given).flatten(1))
    apart.other.weight.copy_(apart.one.weight)
    shared = two_layers(lambda *given: features(*given).flatten(1))
    shared.other = shared.one
    torch.testing.assert_close(lrp(shared, colour_images, labels), lrp(apart, colour_images, labels))


def residual_in_place(network: Any, values: Any) -> Any:
    inner = network.one(values)
    inner += network.other(values)
    return network.pool(network.relu(inner)).flatten(1)


@pytest.mark.parametrize(
    "function",
    [
        residual_in_place,
        lambda network, values: network.pool(network.one(values).add(network.other(values))).flatten(1),
        lambda network, values: torch.flatten(network.pool(network.one(values) + network.one(values)), 1),
        lambda network, values: (
            network.pool(network.one(values)) + network.mean(network.other(values))
        ).flatten(1),
    ],
)
def test_lrp_of_sums_conserves_the_logit(colour_images: Any, function: Any) -> None:
    pytest.importorskip("zennit")
    network, labels = two_layers(function), torch.tensor([1, 2, 3])
    network.last.bias = None
    expected = network(colour_images).gather(1, labels[:, None])[:, 0]
    relevance = lrp(network, colour_images, labels).sum((1, 2, 3))
    torch.testing.assert_close(relevance, expected, rtol=1e-3, atol=1e-7)
    assert network.relu.inplace


@pytest.mark.parametrize(
    "compute", [torch.nn.utils.parametrizations.weight_norm, torch.nn.utils.parametrizations.spectral_norm]
)
def test_lrp_refuses_weights_that_are_computed(colour_images: Any, compute: Any) -> None:
    pytest.importorskip("zennit")
    network = two_layers(lambda *given: features(*given).flatten(1))
    compute(network.other)
    with pytest.raises(
        ValueError, match="lrp has no rule for other of TwoLayers, because its weights are comp"
    ):
        lrp(network, colour_images, torch.tensor([1, 2, 3]))


def test_lrp_refuses_a_module_that_must_overwrite(colour_images: Any) -> None:
    pytest.importorskip("zennit")

    def through_a_view(network: Any, values: Any) -> Any:
        inner = network.one(values)
        network.relu(inner.flatten(1))
        return network.pool(inner).flatten(1)

    with pytest.raises(ValueError, match="lrp has no rule for relu of TwoLayers"):
        lrp(two_layers(through_a_view), colour_images, torch.tensor([1, 2, 3]))


@pytest.mark.parametrize("kind", ["alone", "shared", "product", "constant"])
def test_lrp_refuses_steps_without_a_rule(colour_images: Any, kind: str) -> None:
    pytest.importorskip("zennit")

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn, self.end = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.Flatten()

        def forward(self, values: Any) -> Any:
            if kind == "alone":
                return self.end(self.conv(self.bn(values)))
            inner = self.conv(values)
            if kind == "constant":
                return self.end(inner + 1)
            normal = self.bn(inner)
            return self.end(inner + normal if kind == "shared" else normal * values)

    name = {"product": "mul", "constant": "add"}.get(kind, "bn")
    with pytest.raises(ValueError, match=f"lrp has no rule for {name} of Network: it knows"):
        lrp(Network().double().eval(), colour_images, torch.tensor([1, 2, 3]))


def test_lrp_without_zennit_says_what_to_install(
    network: Any, images: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zennit.core", None)
    with pytest.raises(ValueError, match=r"lrp needs zennit: pip install 'lensmetrics\[generators\]'"):
        lrp(network, images, LINEAR_LABELS)
