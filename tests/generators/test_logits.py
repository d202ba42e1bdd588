"""Logits that come with an explanation's own pass: the model's, and no pass more than needed."""

from functools import partial
from typing import Any

import pytest
import torch

from generators.explanations import EXPLANATIONS, gradient, with_logits
from tests.generators.networks import tiny_cnn

FEW: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"n_points": 5},
    "smooth_grad": {"n_draws": 2},
    "uniform_smooth": {"n_draws": 2},
    "gradient_shap": {"n_draws": 2},
}


@pytest.fixture(scope="module")
def network() -> Any:
    return tiny_cnn()


@pytest.fixture(scope="module")
def images() -> Any:
    return torch.rand((3, 1, 28, 28), generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def bound(name: str, **parameters: Any) -> Any:
    """The explanation as a plan binds it."""
    method = EXPLANATIONS[name]
    seeds: dict[str, Any] = {"seeds": [[0, sample] for sample in range(3)]} if method.draws else {}
    return partial(method, **FEW.get(name, {}), **seeds, **parameters)


def n_passes(network: Any, work: Any) -> int:
    """How often `work` calls the network."""
    calls: list[int] = []
    handle = network.register_forward_hook(lambda *_: calls.append(1))
    work()
    handle.remove()
    return len(calls)


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_logits_are_those_of_the_model(network: Any, images: Any, name: str) -> None:
    labels = torch.tensor([2, 7, 2])
    attributions, logits = with_logits(bound(name), network, images, labels)
    assert torch.equal(attributions, bound(name)(network, images, labels))
    assert not logits.requires_grad
    torch.testing.assert_close(logits, network(images), rtol=1e-12, atol=1e-12)
    assert not network._forward_hooks


@pytest.mark.parametrize("name", [name for name, method in EXPLANATIONS.items() if method.ends_with_images])
def test_no_pass_is_made_for_the_logits_alone(network: Any, images: Any, name: str) -> None:
    labels = torch.tensor([2, 7, 2])
    own = n_passes(network, lambda: bound(name)(network, images, labels))
    assert n_passes(network, lambda: with_logits(bound(name), network, images, labels)) == own


@pytest.mark.parametrize("chunk_size", [1, 2, 4, 7, 100])
def test_logits_do_not_depend_on_chunks(network: Any, images: Any, chunk_size: int) -> None:
    explain = bound("integrated_gradients", chunk_size=chunk_size)
    _, logits = with_logits(explain, network, images, torch.tensor([2, 7, 2]))
    torch.testing.assert_close(logits, network(images), rtol=1e-12, atol=1e-12)


def test_any_callable_is_an_explanation(network: Any, images: Any) -> None:
    labels = torch.tensor([2, 7, 2])
    for explain in (gradient, lambda model, images, labels: gradient(model, images, labels) + 1):
        attributions, logits = with_logits(explain, network, images, labels)
        assert torch.equal(attributions, explain(network, images, labels))
        assert torch.equal(logits, network(images))


def test_nothing_of_the_explanation_is_kept_after_an_error(network: Any, images: Any) -> None:
    explain = partial(EXPLANATIONS["integrated_gradients"], n_points=0)
    with pytest.raises(ValueError, match="at least 1"):
        with_logits(explain, network, images, torch.tensor([2, 7, 2]))
    assert not network._forward_hooks
