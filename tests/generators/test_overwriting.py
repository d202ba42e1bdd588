"""Networks that overwrite values: prepared, they compute the same; kinks that must overwrite are refused."""

import re
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from generators.networks.activations import prepare, with_softplus
from generators.networks.kinks import SOFT
from generators.networks.smoothness import check_softened


def with_view(overwrite: Any) -> Any:
    """Overwrite three of six values through a view, and return all."""

    def forward(network: Any, values: Any) -> Any:
        values = values + 0
        overwrite(network, values[:, :3])
        return values

    return forward


def added_to_itself(network: Any, values: Any) -> Any:
    values = same = values + 0
    values += 1
    return same


def multiplied_view(network: Any, values: Any) -> Any:
    values = values + 0
    pairs = values.view(-1, 2, 3)
    pairs *= 2
    return values.relu()


def view_before(network: Any, values: Any) -> Any:
    values = values + 0
    half = values[:, :3]
    values.add_(1)
    return torch.cat([half, half], 1).relu()


def through_identity(network: Any, values: Any) -> Any:
    values = values + 0
    network.relu(network.dropout(values))
    return values


def twice(network: Any, values: Any) -> Any:
    """A module in place, where it may return a new value and where it must overwrite."""
    first = network.relu(values - 0.1)
    values = values + first
    network.relu(values[:, :3])
    return values


def residual(network: Any, values: Any) -> Any:
    inner = network.relu(values - 0.1)
    n = inner.shape[0]
    inner += values
    return functional.hardtanh(inner, inplace=True).view(n, -1)


def chain(network: Any, values: Any) -> Any:
    values = torch.exp_(values + 0)
    other = values.sub_(1)
    values **= 2
    return functional.silu(other.relu_(), inplace=True) + values


def buffer(network: Any, values: Any) -> Any:
    return (values + network.table.mul_(1)).relu()


def zeroed(network: Any, values: Any) -> Any:
    values = values + 0
    values[:, :3].zero_()
    return network.relu(values)


def renewed(network: Any, values: Any) -> Any:
    values = values + 0
    values.data = values.relu()
    return values


SOFTENED = {
    "values added to themselves": (added_to_itself, 0),
    "a view that is multiplied": (multiplied_view, 1),
    "a view of what is overwritten": (view_before, 1),
    "a residual block in place": (residual, 2),
    "a chain in place": (chain, 1),
    "a buffer": (buffer, 1),
    "a part that becomes 0": (zeroed, 1),
    "a view that nobody else reads": (lambda network, values: values.view(-1, 6).relu_(), 1),
}
REFUSED = {
    "method": (with_view(lambda network, view: view.relu_()), "relu in"),
    "function": (with_view(lambda network, view: torch.relu_(view)), "relu in"),
    "argument": (with_view(lambda network, view: functional.relu(view, inplace=True)), "relu in"),
    "bound": (with_view(lambda network, view: view.clamp_(min=0)), "clamp in"),
    "data": (with_view(lambda network, view: view.data.relu_()), "relu in"),
    "assignment": (lambda network, values: assigned(values + 0), "relu in"),
    "a function that may return a view": (
        lambda network, values: torch.einsum("ij->ij", values).relu_() + values,
        "relu in",
    ),
    "dropout": (through_identity, "with softplus does not approach itself with ReLU"),
    "a module twice": (twice, "with softplus does not approach itself with ReLU"),
}


def assigned(values: Any) -> Any:
    values[:, 0] = values[:, 1].relu()
    return values


class Network(nn.Module):
    """A function between two linear layers."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 3)
        self.relu, self.dropout, self.function = nn.ReLU(inplace=True), nn.Dropout(), function
        self.register_buffer("table", torch.linspace(-1, 1, 6))

    def forward(self, images: Any) -> Any:
        return self.last(self.function(self, self.first(images.flatten(1))).tanh())


def network_of(function: Any) -> Any:
    torch.manual_seed(5)
    return Network(function).double().eval().requires_grad_(False)


def images_of() -> Any:
    return torch.randn((5, 1, 2, 2), generator=torch.Generator().manual_seed(4), dtype=torch.float64)


FUNCTIONS = {name: function for name, (function, _) in (SOFTENED | REFUSED).items()} | {"new data": renewed}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_what_is_prepared_computes_what_the_network_computes(name: str) -> None:
    function = FUNCTIONS[name]
    network, images = network_of(function), images_of()
    expected = network(images)
    assert torch.equal(prepare(network)(images), expected)
    assert network.relu.inplace


@pytest.mark.parametrize("name", SOFTENED)
def test_softened_copies_compute_what_the_network_computes(name: str) -> None:
    function, n_softened = SOFTENED[name]
    network, images = network_of(function), images_of()
    expected = network(images)
    prepared = prepare(network)
    check_softened(prepared, images)
    steep = with_softplus(prepared, 1e7)
    assert sum(isinstance(part, SOFT) for part in steep.modules()) == n_softened
    torch.testing.assert_close(steep(images), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", REFUSED)
def test_activations_that_must_overwrite_are_refused(name: str) -> None:
    function, part = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(part)):
        check_softened(prepare(network_of(function)), images_of())
