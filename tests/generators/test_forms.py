"""The form dombrowski of explanations, against a walk back through the layers one by one."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from generators.explanations import (
    EXPLANATIONS,
    gradient,
    guided_backprop,
    input_x_gradient,
    integrated_gradients,
    lrp,
)
from generators.explanations.forms import FORMS
from generators.networks.activations import with_softplus
from generators.networks.models import Normalize, normalized, small_cnn
from tests.generators.test_explanations import gradient_through, relative_error

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
FORMED: dict[str, Any] = {
    "gradient": gradient,
    "input_x_gradient": input_x_gradient,
    "integrated_gradients": integrated_gradients,
    "lrp": lrp,
    "guided_backprop": guided_backprop,
}
FEW: dict[str, dict[str, Any]] = {"integrated_gradients": {"n_points": 4}}
LABELS = torch.tensor([2, 0, 4])


@pytest.fixture(scope="module")
def network() -> Any:
    """A small VGG: convolutions, max pooling and linear layers, all with biases."""
    torch.manual_seed(3)
    layers = nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(128, 12), nn.ReLU(), nn.Linear(12, 5)),
    )
    return normalized(Normalize(MEAN, STD), layers).double().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images() -> Any:
    return torch.rand((3, 3, 12, 12), generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def back(function: Any, at: Any, upstream: Any) -> Any:
    at = at.detach().requires_grad_(True)
    return torch.autograd.grad(function(at), at, upstream)[0]


def linear(layer: Any, weight: Any) -> Any:
    """The layer with other weights and without its bias."""
    if isinstance(layer, nn.Linear):
        return lambda values: values @ weight.T
    return lambda values: torch.conv2d(values, weight, padding=layer.padding)


def by_rule(name: str, layer: Any, values: Any, upstream: Any, is_first: bool) -> Any:
    """The way back through a convolution or a linear layer."""
    whole = linear(layer, layer.weight)
    if name != "lrp":
        return back(whole, values, upstream)
    plus, minus = (linear(layer, part) for part in (layer.weight.clamp(min=0), layer.weight.clamp(max=0)))
    if not is_first:
        share = upstream / (plus(values) + 1e-9)
        return values * back(plus, values, share)
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    low = torch.full_like(values, float((-mean / std).min()))
    high = torch.full_like(values, float(((1 - mean) / std).max()))
    share = upstream / (whole(values) - plus(low) - minus(high) + 1e-9)
    return (
        values * back(whole, values, share)
        - low * back(plus, values, share)
        - high * back(minus, values, share)
    )


def walk_back(name: str, layers: Any, inputs: Any, label: int) -> Any:
    """What their code attributes to the normalized image of one sample, starting at its logit."""
    seen = [inputs]
    for layer in layers:
        seen.append(layer(seen[-1]))
    upstream = torch.zeros_like(seen[-1])
    upstream[0, label] = seen[-1][0, label]
    for i, layer in reversed(list(enumerate(layers))):
        values = seen[i]
        if isinstance(layer, nn.Conv2d | nn.Linear):
            upstream = by_rule(name, layer, values, upstream, is_first=i == 0)
        elif isinstance(layer, nn.MaxPool2d | nn.Flatten):
            upstream = back(layer, values, upstream)
        elif name != "lrp":
            is_soft = isinstance(layer, nn.Softplus)
            if name == "guided_backprop":
                upstream = softplus(upstream, layer.beta) if is_soft else upstream.clamp(min=0)
            upstream = upstream * (torch.sigmoid(layer.beta * values) if is_soft else (values > 0))
    return upstream


def path(layers: Any, inputs: Any, label: int, n_points: int) -> Any:
    """Integrated gradients of the softmax from 0 to the normalized image, a point at a time."""
    total = torch.zeros_like(inputs)
    for k in range(1, n_points + 1):
        point = (k / n_points * inputs).requires_grad_(True)
        total += torch.autograd.grad(layers(point).softmax(1)[0, label], point)[0]
    return inputs * total / n_points


@pytest.mark.parametrize("beta", [None, 3.0])
@pytest.mark.parametrize("name", FORMED)
def test_form_dombrowski_equals_a_walk_back_through_the_layers(
    network: Any, images: Any, name: str, beta: float | None
) -> None:
    if name == "lrp":
        pytest.importorskip("zennit")
    model: Any = network if beta is None else with_softplus(network, beta)
    found = FORMED[name](model, images, LABELS, form="dombrowski", **FEW.get(name, {}))
    for i, label in enumerate(LABELS.tolist()):
        inputs = model[0](images[i : i + 1])
        logit = model(images[i : i + 1])[0, label]
        if name == "integrated_gradients":
            expected = path(model[1], inputs, label, 4)
        elif name == "input_x_gradient":
            expected = inputs * walk_back("gradient", model[1], inputs, label) / logit
        else:
            expected = walk_back(name, model[1], inputs, label)
            expected = expected / logit if name == "gradient" else expected
        assert expected.abs().max() > 0
        torch.testing.assert_close(found[i : i + 1], expected, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("name", FORMED)
def test_form_changes_the_map_except_where_it_cannot(network: Any, images: Any, name: str) -> None:
    if name == "lrp":
        pytest.importorskip("zennit")
    model = with_softplus(network, 3.0)
    one, other = (FORMED[name](model, images, LABELS, form=form, **FEW.get(name, {})) for form in FORMS)
    assert (one / one.abs().sum() - other / other.abs().sum()).abs().sum() > 1e-3
    standard = FORMED[name](model, images, LABELS, **FEW.get(name, {}))
    assert torch.equal(one, standard)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        *((name, FEW.get(name, {})) for name in FORMED),
        ("integrated_gradients", {"n_points": 4, "chunk_size": 2}),
    ],
)
def test_gradient_through_the_form_dombrowski_matches_finite_differences(
    network: Any, images: Any, name: str, more: dict[str, Any]
) -> None:
    if name == "lrp":
        pytest.importorskip("zennit")
    smooth = with_softplus(network, 3.0)
    found, weighted = gradient_through(
        lambda at: FORMED[name](
            smooth, at, LABELS[: len(at)], form="dombrowski", differentiable=True, **more
        ),
        images[:2],
    )
    assert np.isfinite(float(found.abs().sum()))
    assert relative_error(weighted, found, images[:2]) < 1e-4


def test_guided_backprop_and_lrp_need_no_normalization(images: Any) -> None:
    pytest.importorskip("zennit")
    torch.manual_seed(1)
    network = small_cnn().double().eval().requires_grad_(False)
    gray = images[:, :1].repeat(1, 1, 3, 3)[:, :, :28, :28]
    labels = network(gray).argmax(1)
    logits = network(gray).gather(1, labels[:, None])[:, :, None, None]
    assert (logits > 0).all()
    found = guided_backprop(network, gray, labels, form="dombrowski")
    torch.testing.assert_close(found, guided_backprop(network, gray, labels) * logits)
    share = lrp(network, gray, labels, form="dombrowski").sum((1, 2, 3))
    torch.testing.assert_close(share, logits.flatten(), rtol=1e-4, atol=0)  # no bias takes a part of it


@pytest.mark.parametrize("name", ["gradient", "input_x_gradient", "integrated_gradients"])
def test_form_dombrowski_needs_a_network_that_normalizes(images: Any, name: str) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(432, 5)).double().requires_grad_(False)
    sentence = f"{name} in the form dombrowski needs a network that normalizes its images, and this one takes"
    with pytest.raises(ValueError, match=sentence):
        FORMED[name](network, images, LABELS, form="dombrowski")


def test_form_dombrowski_is_refused_where_it_has_no_meaning(network: Any, images: Any) -> None:
    with pytest.raises(ValueError, match="needs images of 3 channels for this network, got 1; use the form"):
        gradient(network, images[:, :1], LABELS, form="dombrowski")
    with pytest.raises(ValueError, match="form must be standard or dombrowski, got 'theirs'"):
        lrp(network, images, LABELS, form="theirs")
    other: Any = nn.Sequential(nn.Conv2d(3, 5, 12), nn.ReLU6(), nn.Flatten()).double().requires_grad_(False)
    with pytest.raises(ValueError, match="knows ReLU and softplus, but the network has ReLU6; use"):
        guided_backprop(other, images, LABELS, form="dombrowski")
    with pytest.raises(ValueError, match="knows ReLU and softplus, but the network has neither; use"):
        guided_backprop(other[::2], images, LABELS, form="dombrowski")

    class Functional(nn.Sequential):
        def forward(self, values: Any) -> Any:
            return self[2](self[1](self[0](values).relu()))

    half = Functional(other[0], nn.ReLU(), other[2])
    with pytest.raises(ValueError, match="guided_backprop has no rule for"):
        guided_backprop(half, images, LABELS, form="dombrowski")


def test_methods_with_a_form_take_the_option() -> None:
    assert {name for name, one in EXPLANATIONS.items() if "form" in [o.name for o in one.options]} == set(
        FORMED
    )
