"""SqueezeNet 1.1 in plain torch, so that published ImageNet weights need no torchvision.

Names and shapes of the state dict are those of torchvision's model, and so are the initial weights that a
seed gives.
"""

import torch
from torch import nn


class Fire(nn.Module):
    """A 1x1 convolution that squeezes the channels, then 1x1 and 3x3 convolutions side by side."""

    def __init__(self, n_in: int, n_squeezed: int, n_expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(n_in, n_squeezed, 1)
        self.squeeze_activation = nn.ReLU()
        self.expand1x1 = nn.Conv2d(n_squeezed, n_expanded, 1)
        self.expand1x1_activation = nn.ReLU()
        self.expand3x3 = nn.Conv2d(n_squeezed, n_expanded, 3, padding=1)
        self.expand3x3_activation = nn.ReLU()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return twice `n_expanded` channels."""
        squeezed = self.squeeze_activation(self.squeeze(values))
        near = self.expand1x1_activation(self.expand1x1(squeezed))
        wide = self.expand3x3_activation(self.expand3x3(squeezed))
        return torch.cat([near, wide], dim=1)


class SqueezeNet(nn.Module):
    """SqueezeNet 1.1 for images of three channels.

    References
    ----------
    Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters", arXiv:1602.07360; the
    released version 1.1, which pools earlier.
    """

    def __init__(self, n_classes: int = 1000) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 3, stride=2),
            nn.ReLU(),
            _pool(),
            Fire(64, 16, 64),
            Fire(128, 16, 64),
            _pool(),
            Fire(128, 32, 128),
            Fire(256, 32, 128),
            _pool(),
            Fire(256, 48, 192),
            Fire(384, 48, 192),
            Fire(384, 64, 256),
            Fire(512, 64, 256),
        )
        last = nn.Conv2d(512, n_classes, 1)
        self.classifier = nn.Sequential(nn.Dropout(0.5), last, nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                if layer is last:
                    nn.init.normal_(layer.weight, std=0.01)
                else:
                    nn.init.kaiming_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return torch.flatten(self.classifier(self.features(images)), 1)


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)
