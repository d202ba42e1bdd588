"""Patterns: closed forms, a slow twin, and what PatternAttribution does with them."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from generators.explanations import (
    attach_patterns,
    fit_patterns,
    gradient,
    pattern_attribution,
    pattern_sums,
    patterns,
)
from generators.networks.activations import prepare, with_softplus
from generators.networks.models import MaxPool2x2, Normalize, build, normalized
from tests.reference import patterns as twin

# The filter finds s in x = SIGNAL s + DISTRACTOR d, because it cancels d.
FILTER = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)
DISTRACTOR = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
SIGNAL = torch.tensor([2.0, 0.0, 3.0], dtype=torch.float64)
OPEN, SHUT = (torch.tensor(a, dtype=torch.float64) for a in ([1.0, 1.0, 1.0], [2.0, 0.0, -1.0]))


def design(sizes: tuple[float, ...], mean: float = 5.0) -> tuple[Any, Any]:
    """Every pair of a signal and a distractor of this mean, so that they are exactly uncorrelated."""
    distractors = (mean - 1, mean + 0.5, mean + 0.5)
    pairs = torch.tensor(list(itertools.product(sizes, distractors)), dtype=torch.float64)
    return pairs[:, :1], pairs[:, 1:]


def frozen(network: Any) -> Any:
    return network.double().eval().requires_grad_(False)


def linear_of(weight: Any, bias: float = 0.0) -> Any:
    layer = nn.Linear(weight.shape[-1], 1)
    layer.weight.data, layer.bias.data = weight[None].clone(), torch.tensor([bias], dtype=torch.float64)
    return layer


def fitted(network: Any, images: Any) -> Any:
    """The patterns, which the network gets."""
    found = fit_patterns(network, [images])
    attach_patterns(network, found.values)
    return found


@pytest.mark.parametrize("bias", [0.0, 700.0])
def test_the_pattern_of_two_signals_is_that_of_the_signal(bias: float) -> None:
    s, d = design((-2.0, 1.0, 7.0))
    network = frozen(nn.Sequential(nn.Flatten(), linear_of(FILTER, bias)))
    found = fitted(network, (s * SIGNAL + d * DISTRACTOR)[..., None, None])
    expected = SIGNAL / (FILTER @ SIGNAL)
    torch.testing.assert_close(found.values["1"][0], expected, rtol=1e-12, atol=1e-12)
    assert (found.estimators, found.undefined, found.n_samples) == ({"1": "linear"}, {"1": 0}, len(s))
    images = torch.rand((4, 3, 1, 1), dtype=torch.float64)
    maps = pattern_attribution(network, images, torch.zeros(4, dtype=torch.int64))
    torch.testing.assert_close(maps[:, :, 0, 0], (FILTER * expected).expand(4, 3))


def test_the_pattern_of_two_signals_in_patches() -> None:
    s, d = design((-2.0, 1.0, 7.0))
    kernel = torch.cat([FILTER, torch.tensor([0.5], dtype=torch.float64)]).reshape(1, 1, 2, 2)
    signal = torch.cat([SIGNAL, torch.tensor([4.0], dtype=torch.float64)])
    distractor = torch.cat([DISTRACTOR, torch.zeros(1, dtype=torch.float64)])
    tiles = (s * signal + d * distractor).reshape(3, 3, 2, 2)  # three rows and columns of patches
    images = tiles.permute(0, 2, 1, 3).reshape(1, 1, 6, 6)
    network = nn.Sequential(nn.Conv2d(1, 1, 2, stride=2), nn.Flatten(), nn.Linear(9, 2))
    network[0].weight.data = kernel
    found = fit_patterns(frozen(network), [images])
    expected = signal / (kernel.flatten() @ signal)
    torch.testing.assert_close(found.values["0"].flatten(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bias", [0.0, -1.5, 0.25])
def test_the_two_component_estimator_finds_the_signal_of_the_open_relu(bias: float) -> None:
    """The signal lies along OPEN where the neuron is open, along SHUT elsewhere; distractors cancel."""
    s, d = design((-3.0, -2.0, -0.5, 1.0, 2.0, 5.0), mean=0)
    x = torch.where(s + bias > 0, s * OPEN, s * SHUT) + d * DISTRACTOR
    network = frozen(nn.Sequential(nn.Flatten(), linear_of(FILTER, bias), nn.ReLU(), nn.Linear(1, 2)))
    found = fit_patterns(network, [x[..., None, None]])
    assert found.estimators == {"1": "two_component", "3": "linear"}
    torch.testing.assert_close(found.values["1"][0], OPEN, rtol=1e-12, atol=1e-12)
    ungated = fit_patterns(network[:2], [x[..., None, None]]).values["1"][0]
    assert float((ungated - OPEN).abs().max()) > 0.1


IMAGES = torch.rand((7, 2, 9, 8), generator=torch.Generator().manual_seed(8), dtype=torch.float64)


class Mixed(nn.Module):
    """Every kind of layer: groups, dilation, stride, batch norm, a pool before ReLU, a sum, a layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.grouped = nn.Conv2d(4, 6, 2, padding=2, dilation=2, groups=2)
        self.pool = nn.MaxPool2d(2, 1)
        self.twice = nn.Conv2d(6, 6, 1, bias=False)
        self.relu, self.again = nn.ReLU(), nn.ReLU()
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.last = nn.Linear(6, 3)

    def forward(self, values: Any) -> Any:
        values = self.relu(self.norm(self.first(values)))
        values = self.again(self.pool(self.grouped(values)))
        values = values + self.twice(self.twice(values))
        return self.last(self.mean(values).flatten(1))


@pytest.fixture(scope="module")
def mixed() -> Any:
    torch.manual_seed(3)
    network: Any = Mixed()
    network.norm.weight.data = torch.tensor([1.0, -2.0, 0.5, 3.0])
    frozen(network)
    outputs = network.first(IMAGES)
    network.norm.running_mean[:] = outputs.mean((0, 2, 3))  # so that each neuron opens for some patches
    network.norm.bias[:] = 0.1 * network.norm.weight * outputs.std((0, 2, 3))
    network.grouped.bias[:] = 0
    return network


def observed(network: Any, images: Any) -> dict[str, list[tuple[Any, Any]]]:
    """Inputs and outputs of every module at each use."""
    seen: dict[str, list[tuple[Any, Any]]] = {}

    def watch(name: str) -> Any:
        def keep(module: Any, args: Any, output: Any) -> None:
            seen.setdefault(name, []).append((args[0].numpy(), output.numpy()))

        return keep

    handles = [part.register_forward_hook(watch(name)) for name, part in network.named_modules()]
    network(images)
    for handle in handles:
        handle.remove()
    return seen


def test_streamed_patterns_are_those_of_stored_activations(
    mixed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = observed(mixed, IMAGES)
    first, grouped, last = (seen[name][0] for name in ("first", "grouped", "last"))
    both_uses = [np.concatenate(parts) for parts in zip(*seen["twice"], strict=True)]
    weights = {name: value.numpy() for name, value in mixed.named_parameters()}
    expected = {
        "first": twin.convolution_patterns(
            *first, seen["norm"][0][1] > 0, weights["first.weight"], stride=2, padding=1
        ),
        "grouped": twin.convolution_patterns(
            *grouped, grouped[1] > 0, weights["grouped.weight"], padding=2, dilation=2, groups=2
        ),
        "twice": twin.convolution_patterns(both_uses[0], both_uses[1], None, weights["twice.weight"]),
        "last": np.array(
            [
                twin.pattern_of(last[0], last[1][:, neuron], None, weights["last.weight"][neuron])
                for neuron in range(3)
            ]
        ),
    }
    batches: Any = IMAGES
    for size, chunk in ((7, 2**22), (3, 2**22), (1, 1), (7, 1)):
        monkeypatch.setattr(pattern_sums, "_CHUNK", chunk)
        found = fit_patterns(mixed, batches.split(size))
        assert found.values.keys() == expected.keys()
        for name, value in expected.items():
            assert found.values[name].dtype == torch.float64
            np.testing.assert_allclose(found.values[name].numpy(), value, rtol=1e-9, atol=1e-11)
    assert list(found.estimators.values()) == ["two_component", "two_component", "linear", "linear"]
    assert not mixed._forward_hooks


def test_a_large_mean_costs_no_digits() -> None:
    """By E[x y] - E[x] E[y] in float32, and with 12 lost digits in float64, nothing would be left."""
    s, d = design((-2.0, 1.0, 7.0))
    network = frozen(nn.Sequential(nn.Flatten(), linear_of(FILTER)))
    images = (s * SIGNAL + d * DISTRACTOR + 1e6 * OPEN)[..., None, None]
    found = fit_patterns(network, images.split(2))
    torch.testing.assert_close(found.values["1"][0], SIGNAL / 5, rtol=1e-8, atol=1e-8)


def test_neurons_that_never_vary_or_open_have_no_pattern_and_pass_nothing_back() -> None:
    network: Any = nn.Sequential(nn.Flatten(), nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))
    frozen(network)
    network[1].weight[0], network[1].bias[1] = 0, -100
    network[1].weight[2:], network[1].bias[2:] = 1, 3
    network[3].weight[1, 3] = 0
    images = torch.rand((50, 2, 1, 1), dtype=torch.float64)
    images[:, 1] = 0.1  # is constant, so has no part in any pattern
    found = fitted(network, images)
    assert found.undefined == {"1": 2, "3": 0}
    assert not found.values["1"][:2].any()
    torch.testing.assert_close(found.values["1"][2:], torch.tensor([[1.0, 0]] * 2, dtype=torch.float64))
    maps = pattern_attribution(network, images[:1], torch.tensor([0]))
    assert maps[0, 0] > 0
    assert maps[0, 1].abs() < 1e-9


def test_numbers_that_are_not_finite_are_refused() -> None:
    network = frozen(nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)))
    images = torch.tensor([[1.0, 2.0], [3.0, torch.inf]], dtype=torch.float64)[..., None, None]
    with pytest.raises(ValueError, match="1 of Sequential gives numbers that are not finite for these"):
        fit_patterns(network, [images])


def test_layers_that_no_image_passes_need_no_pattern() -> None:
    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(2, 2), nn.Linear(3, 3)

        def forward(self, values: Any) -> Any:
            values = values.flatten(1)
            return self.used(values) if not self.training else self.unused(values)

    network = frozen(Auxiliary())
    images = torch.rand((9, 2, 1, 1), dtype=torch.float64)
    assert fitted(network, images).values.keys() == {"used"}
    assert pattern_attribution(network, images[:1], torch.tensor([1])).all()


def test_no_images_and_steps_without_a_rule_are_refused(mixed: Any) -> None:
    with pytest.raises(ValueError, match="patterns are estimated from images, and there are none"):
        fit_patterns(mixed, [IMAGES[:0]])
    assert fit_patterns(mixed, [IMAGES[:0], IMAGES]).n_samples == 7
    mirrored = nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect")
    for part, name in (
        (nn.GELU(), r"_1 \(GELU\)"),
        (nn.Sequential(mirrored), r"_1_0 \(Conv2d\)"),
        (nn.LeakyReLU(), r"_1 \(LeakyReLU\)"),
        (nn.InstanceNorm2d(2), r"_1 \(InstanceNorm2d\)"),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 3, 1)), r"_1 \(ParametrizedConv2d\)"),
    ):
        network = frozen(nn.Sequential(nn.Conv2d(2, 2, 1), part, nn.Flatten()))
        with pytest.raises(ValueError, match=f"pattern_attribution has no rule for {name} of Sequential: it"):
            fit_patterns(network, [IMAGES])

    class Deciding(nn.Module):
        def forward(self, values: Any) -> Any:
            return values if values.sum() > 0 else -values

    with pytest.raises(ValueError, match="pattern_attribution cannot trace Deciding"):
        pattern_attribution(Deciding(), IMAGES, torch.zeros(7, dtype=torch.int64))


def test_patterns_of_another_network_are_refused(mixed: Any) -> None:
    found = dict(fit_patterns(mixed, [IMAGES]).values)
    network = Mixed()
    with pytest.raises(ValueError, match="first of Mixed has no pattern, which pattern_attribution needs"):
        pattern_attribution(frozen(network), IMAGES, torch.zeros(7, dtype=torch.int64))
    last = found.pop("last")
    with pytest.raises(ValueError, match="patterns do not fit Mixed: last has no pattern; fit them"):
        attach_patterns(network, found)
    with pytest.raises(ValueError, match="there is no layer lost; fit"):
        attach_patterns(network, {**found, "last": last, "lost": last})
    with pytest.raises(
        ValueError, match=r"last has weights \(3, 6\) and a pattern \(6, 3\) \(and 1 more\); fit"
    ):
        attach_patterns(network, {**found, "last": last.T, "lost": last})


@pytest.mark.parametrize("beta", [None, 2.0])
def test_attribution_multiplies_weights_by_patterns_and_slopes_of_activations(beta: float | None) -> None:
    torch.manual_seed(4)
    network: Any = nn.Sequential(
        *(nn.Flatten(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU()),
        nn.Linear(5, 3),
    )
    frozen(network)
    images = torch.rand((40, 2, 2, 2), dtype=torch.float64)
    network[1].bias[:] = -network[1](images.flatten(1)).median(0).values
    network[4].running_mean[:] = network[:4](images).median(0).values
    network[4].weight[:] = torch.tensor([1.0, -3.0, 0.0, 2.0, 1.0])
    found = fitted(network, images)
    assert found.undefined["3"] == 1  # a scale of 0
    model, labels = (network if beta is None else with_softplus(network, beta)), torch.tensor([2, 0, 1])
    maps = pattern_attribution(model, images[:3], labels).flatten(1)
    seen = observed(model, images[:3])
    weights = [(network[i].weight.numpy(), found.values[str(i)].numpy()) for i in (1, 3, 6)]
    for sample, label in enumerate(labels.tolist()):
        before = [seen[name][0][0][sample] for name in ("2", "5")]
        slopes = [(z > 0) * 1.0 if beta is None else 1 / (1 + np.exp(-beta * z)) for z in before]
        expected = twin.attribution(weights, slopes, label)
        np.testing.assert_allclose(maps[sample].numpy(), expected, rtol=1e-10, atol=1e-12)


def test_attribution_of_linear_layers_shares_out_exactly_one() -> None:
    torch.manual_seed(5)
    network = frozen(nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.Linear(5, 4), nn.Linear(4, 2)))
    images = torch.rand((30, 6, 1, 1), dtype=torch.float64)
    fitted(network, images)
    maps = pattern_attribution(network, images[:2], torch.tensor([0, 1]))
    torch.testing.assert_close(maps.sum((1, 2, 3)), torch.ones(2, dtype=torch.float64))


def test_patterns_of_ones_give_the_gradient_by_the_normalized_image() -> None:
    """Through max pooling, branches, strides and gray images that are repeated."""
    torch.manual_seed(6)
    network = nn.Sequential(
        *(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), MaxPool2x2(), nn.Conv2d(4, 6, 2, groups=2)),
        *(nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(6, 3)),
    )
    model = frozen(normalized(Normalize([0.1, 0.2, 0.3], [0.5, 0.25, 0.125]), frozen(network)))
    layers = {n: p for n, p in model.named_modules() if isinstance(p, nn.Conv2d | nn.Linear)}
    attach_patterns(model, {name: torch.ones_like(part.weight) for name, part in layers.items()})
    labels = torch.tensor([0, 2])
    for channels in (3, 1):
        images = torch.rand((2, channels, 13, 14), dtype=torch.float64)
        shown = images.expand(-1, 3, -1, -1)
        expected = gradient(network, model[0](shown), labels).sum_to_size(images.shape)
        torch.testing.assert_close(pattern_attribution(model, images, labels), expected)


@pytest.mark.parametrize(
    ("name", "n_linear", "n_two_component"),
    [("alexnet", 1, 7), ("vgg16", 1, 15), ("resnet18", 12, 9), ("densenet121", 62, 59)],
)
def test_networks_of_torchvision_have_patterns(name: str, n_linear: int, n_two_component: int) -> None:
    """Also DenseNet, whose batch norm comes before convolutions. Large layers have patterns of ones here."""
    pytest.importorskip("torchvision")
    torch.manual_seed(7)
    model: Any = prepare(build(name, 10))
    found = list(patterns.gates(patterns.trace(model)).values())
    assert (found.count(None), len(found) - found.count(None)) == (n_linear, n_two_component)
    size = 64 if name == "alexnet" else 32
    images, labels = torch.rand((2, 3, size, size)), torch.tensor([3, 4])
    if name == "resnet18":
        assert list(fitted(model, images).estimators.values()).count("linear") == n_linear
        maps = pattern_attribution(model, images, labels)
        assert maps.isfinite().all()
        assert (maps.abs().sum((1, 2, 3)) > 0).all()
        return
    layers = {n: p for n, p in model.named_modules() if isinstance(p, nn.Conv2d | nn.Linear)}
    attach_patterns(model, {n: torch.ones(1).expand(p.weight.shape) for n, p in layers.items()})
    maps, slope = pattern_attribution(model, images, labels), gradient(model, images, labels)
    # Fresh batch norm divides by the root of 1.00001.
    torch.testing.assert_close(maps / model[0].std, slope, rtol=2e-3, atol=1e-4 * float(slope.abs().max()))
