"""A network whose gradients cost little."""

from typing import Any

import torch
from torch import nn

from generators.explanations import attach_patterns, fit_patterns
from generators.networks.models import MaxPool2x2


def tiny_cnn() -> Any:
    """Return small_cnn with a quarter of its widths, untrained, in double precision, with patterns."""
    torch.manual_seed(1)
    layers = nn.Sequential(
        nn.Conv2d(1, 4, 5, padding=2),
        nn.ReLU(),
        MaxPool2x2(),
        nn.Conv2d(4, 8, 5, padding=2),
        nn.ReLU(),
        MaxPool2x2(),
        nn.Flatten(),
        nn.Linear(8 * 7 * 7, 16),
        nn.ReLU(),
        nn.Linear(16, 10),
    ).double()
    images = torch.rand((20, 1, 28, 28), dtype=torch.float64)
    outputs = layers(images)
    with torch.no_grad():
        layers[-1].bias -= outputs.mean(0)  # else all images have one class, which no attack changes
    layers.eval().requires_grad_(False)
    attach_patterns(layers, fit_patterns(layers, [images]).values)
    return layers
