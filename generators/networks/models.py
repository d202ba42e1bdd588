"""Networks by name: those defined here, every classifier of torchvision, and those of one's own factories.

A network takes images in [0, 1] and returns logits; its first layer normalizes them where that is needed.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.functional import max_pool2d

from ..calls import first_line, is_memory, kind
from ..names import is_own, unknown
from .own import OWN_MODEL, own_network
from .squeezenet import SqueezeNet


class MaxPool2x2(nn.Module):
    """2x2 max pooling that compares in float32 and takes the first of equal values.

    On a plain background all values of a window are equal up to rounding. Compared at full precision, the
    value that receives the gradient would depend on the processor and visibly move attributions.
    """

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Halve height and width."""
        _, first = max_pool2d(values.detach().float(), 2, return_indices=True)
        return values.flatten(2).gather(2, first.flatten(2)).reshape(first.shape)


class Normalize(nn.Module):
    """(images - mean) / std per channel; an image of one channel is repeated for each value of `mean`.

    Both are left out of ``state_dict``: they belong to the network, not to its training.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the normalized images."""
        return (images - self.mean) / self.std


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, a 1x1 convolution where the shape changes."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.shortcut = (
            nn.Identity()
            if (n_in, stride) == (n_out, 1)
            else nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))
        )
        self.relu2 = nn.ReLU()

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the output of the block."""
        inner = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(values)))))
        result: torch.Tensor = self.relu2(inner + self.shortcut(values))
        return result


def _cnn_28(conv1: int, conv2: int, fc: int, n_classes: int) -> nn.Sequential:
    """Return conv5x5 - pool - conv5x5 - pool - fc - fc for one-channel 28x28 images, as in RAR and LENS."""
    return nn.Sequential(
        nn.Conv2d(1, conv1, 5, padding=2),
        nn.ReLU(),
        MaxPool2x2(),
        nn.Conv2d(conv1, conv2, 5, padding=2),
        nn.ReLU(),
        MaxPool2x2(),
        nn.Flatten(),
        nn.Linear(conv2 * 7 * 7, fc),
        nn.ReLU(),
        nn.Linear(fc, n_classes),
    )


def small_cnn(n_classes: int = 10) -> nn.Module:
    """Return the published form with widths 16, 32 and 64: 460 KB of weights that train on a CPU."""
    return _cnn_28(16, 32, 64, n_classes)


def rar_cnn(n_classes: int = 10) -> nn.Module:
    """Return the published form with the published widths 32, 64 and 1024."""
    return _cnn_28(32, 64, 1024, n_classes)


def small_resnet(n_classes: int = 10) -> nn.Module:
    """Return ResNet-20 for small colour images, with global average pooling.

    Two deviations: shortcuts that change the shape are 1x1 convolutions (the paper's option B), and images
    are normalized by mean and standard deviation 1/2.

    References
    ----------
    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2.
    """
    blocks = [
        ResidualBlock(16, 16, 1),
        *(ResidualBlock(16, 16, 1) for _ in range(2)),
        ResidualBlock(16, 32, 2),
        *(ResidualBlock(32, 32, 1) for _ in range(2)),
        ResidualBlock(32, 64, 2),
        *(ResidualBlock(64, 64, 1) for _ in range(2)),
    ]
    layers = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, n_classes),
    )
    return normalized(Normalize([0.5] * 3, [0.5] * 3), layers)


# Networks of this project: checkpoints and state dicts name the layers as `build` does.
MODELS: dict[str, Callable[..., nn.Module]] = {
    "small_cnn": small_cnn,
    "rar_cnn": rar_cnn,
    "small_resnet": small_resnet,
}
# Published architectures that need no torchvision; state dicts name the layers as torchvision does.
ARCHITECTURES: dict[str, Callable[[int], nn.Module]] = {"squeezenet1_1": SqueezeNet}
# Mean and standard deviation of ImageNet's channels.
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def normalized(normalize: Normalize, network: nn.Module) -> nn.Sequential:
    """Return `network` behind `normalize`, as modules of these names."""
    return nn.Sequential(OrderedDict(normalize=normalize, network=network))


def torchvision_models() -> Any:
    """Import and return ``torchvision.models``.

    Raises
    ------
    ValueError
        If torchvision is not installed or does not match the installed torch.
    """
    try:
        import torchvision.models
    except (ImportError, RuntimeError) as error:
        raise ValueError(
            f"torchvision cannot be imported ({error}); install the release that belongs to torch "
            f"{torch.__version__}, or use a model that needs none: {', '.join((*MODELS, *ARCHITECTURES))}"
        ) from error
    return torchvision.models


def model_names() -> list[str]:
    """Return the networks defined here, then every other classifier of torchvision."""
    models = torchvision_models()
    here = [*MODELS, *ARCHITECTURES]
    return [*here, *(name for name in models.list_models(module=models) if name not in here)]


def build(name: str, n_classes: int) -> nn.Module:
    """Return a network with fresh weights, or of ``package.module:factory`` with those of the factory.

    A network of torchvision is put behind the normalization of its best published weights.

    Raises
    ------
    ValueError
        If no network has that name, torchvision is needed and cannot be imported, or a factory returns none.
    """
    if is_own(name):
        return own_network(name, n_classes)
    if name in MODELS:
        return MODELS[name](n_classes)
    if name in ARCHITECTURES:
        return normalized(Normalize(*_IMAGENET), ARCHITECTURES[name](n_classes))
    if name not in model_names():
        raise ValueError(f"model: {unknown(name, model_names(), OWN_MODEL)}")
    models = torchvision_models()
    preset = models.get_model_weights(name).DEFAULT.transforms()
    # The published weights of these two undo the normalization and apply another; do so for all weights.
    inception = {"init_weights": True, "transform_input": True}
    more = inception if name in ("googlenet", "inception_v3") else {}
    network = models.get_model(name, weights=None, num_classes=n_classes, **more)
    return normalized(Normalize(preset.mean, preset.std), network)


def check_images(network: nn.Module, channels: int, height: int, width: int) -> int:
    """Run `network` on two black images, in evaluation mode, and return the number of classes of its logits.

    Raises
    ------
    ValueError
        If it does not accept images of that shape, or returns something else than logits.
    """
    was_training = network.training
    tensors = [*network.parameters(), *network.buffers()]
    like = next((tensor for tensor in tensors if tensor.is_floating_point()), torch.zeros(()))
    images = torch.zeros((2, channels, height, width), dtype=like.dtype, device=like.device)
    try:
        with torch.no_grad():
            logits = network.eval()(images)
    except Exception as error:  # a network of one's own may fail in any way
        if is_memory(error):
            raise
        raise ValueError(
            f"the model cannot take images of {channels} x {height} x {width} (channels, height, width): "
            f"{first_line(error)}; choose another --model or --image-size"
        ) from error
    finally:
        network.train(was_training)
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != 2:
        raise ValueError(
            f"the model returns {kind(logits)} for two images; it must return a tensor of logits (sample, "
            "class), or an object that has it as .logits"
        )
    return logits.shape[1]
