"""A softening with which an attack would not move is refused."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from generators.attacks.directions import check_softening
from generators.networks.activations import prepare
from generators.plan import plan
from generators.softening import Growth, Softening

IMAGES = torch.rand((3, 1, 8, 8), generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(3)


def network(activation: type[nn.Module] = nn.ReLU) -> Any:
    torch.manual_seed(2)
    layers = nn.Conv2d(1, 4, 3), activation(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 9), activation()
    return prepare(nn.Sequential(*layers, nn.Linear(9, 3)).eval().requires_grad_(False))


def check(explanation: str, *softening: Softening, model: Any = None, images: Any = IMAGES) -> None:
    found = plan(explanation, "topk", dataset="mnist", model="small_cnn", given={})
    explain = found.explain_briefly(np.arange(3))
    check_softening(model or network(), explain, images, LABELS, softening, steps=10)


@pytest.mark.parametrize("explanation", ["gradient", "smooth_grad", "uniform_smooth", "guided_backprop"])
def test_without_softening_a_gradient_of_relu_has_no_direction(explanation: str) -> None:
    check(explanation, 1.0, 10.0)
    for softening in (math.inf, 1e30):
        with pytest.raises(ValueError, match="change with the image only in jumps, so that no direction"):
            check(explanation, 1.0, softening)
    with pytest.raises(ValueError, match=r"--softening 1:1e\+30, which is 1e\+27 at a step: maps of this"):
        check(explanation, Growth(1.0, 1e30))


@pytest.mark.parametrize(
    "explanation", ["input_x_gradient", "integrated_gradients", "gradient_shap", "deep_lift", "beta_smooth"]
)
def test_products_with_the_input_and_smooth_networks_have_a_direction_without_softening(
    explanation: str,
) -> None:
    check(explanation, math.inf)
    check(explanation, math.inf, images=torch.zeros_like(IMAGES))  # whose own maps are zeros
    check("gradient", math.inf, model=network(nn.GELU))


def test_softening_whose_numbers_overflow_is_refused() -> None:
    large = network()
    large[4].weight.mul_(100)
    with pytest.raises(ValueError, match=r"1e-38: numbers of this network leave what torch\.float32 holds"):
        check("gradient", 1e-38, model=large)
    check("gradient", 1e-38, model=large.double(), images=IMAGES.double())
