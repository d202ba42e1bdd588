"""Initial weights as published."""

from pathlib import Path
from typing import Any

import pytest
import torch

from generators.networks.initial import draw_rar_weights
from generators.networks.models import rar_cnn, small_cnn
from generators.train import Request


def layers(network: Any) -> list[Any]:
    return [part for part in network if hasattr(part, "weight")]


@pytest.fixture(scope="module")
def network() -> Any:
    """The network of RAR as it begins."""
    torch.manual_seed(0)
    found = rar_cnn()
    draw_rar_weights(found)
    return found.requires_grad_(False)


def test_weights_of_rar_are_normal_and_truncated_at_two_deviations(network: Any) -> None:
    assert len(layers(network)) == 4
    for layer in layers(network):
        assert (layer.bias == 0.1).all()
        assert 0.19 < layer.weight.abs().max().item() <= 0.2
        # A normal truncated at two deviations has .88 of its deviation.
        assert layer.weight.std().item() == pytest.approx(0.088, rel=0.05)
        assert layer.weight.mean().abs().item() < 0.01


def test_values_in_a_narrower_network_are_as_large(network: Any) -> None:
    image = torch.rand((4, 1, 28, 28), generator=torch.Generator().manual_seed(1))
    torch.manual_seed(0)
    narrow: Any = small_cnn().requires_grad_(False)
    by_torch, found = narrow[:8](image).std().item(), []
    for _ in range(10):
        draw_rar_weights(narrow)
        found.append(narrow[:8](image))
    hidden = network[:8](image).std().item()
    assert torch.cat(found).std().item() == pytest.approx(hidden, rel=0.2)
    assert hidden > 20 * by_torch


def request(*more: str) -> Request:
    words = ["--dataset", "fashion_mnist", "--data", "data", "--training", "natural", "--out", "x.pt"]
    return Request.parse([*words, *more])


def test_a_network_begins_as_it_was_published(tmp_path: Path) -> None:
    def of(*more: str) -> Any:
        return request(*more).identity()["initial_weights"]

    assert of("--model", "rar_cnn") == "rar"
    assert of("--model", "rar_cnn", "--initial-weights", "torch") == "torch"
    assert of("--model", "small_cnn") == "torch"
    assert of("--model", "small_cnn", "--initial-weights", "rar") == "rar"


def test_other_networks_have_no_weights_of_rar() -> None:
    with pytest.raises(
        ValueError, match="--initial-weights rar is for --model rar_cnn or small_cnn, not small_resnet"
    ):
        request("--model", "small_resnet", "--initial-weights", "rar")
