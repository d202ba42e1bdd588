"""The sums from which the pattern of a layer is computed, added up batch by batch."""

import torch
from torch import nn
from torch.nn import functional

# Of a sum over outputs squared, what counts as no variation at all: relative changes of y below 3e-7.
_NOTHING = 1e-13
# Values of patches at a time, for one image at least.
_CHUNK = 2**22


class PatternSums:
    """Running sums over the neurons of a layer, in float64.

    With c the mean output in the first batch, they are those of y - c over all inputs and, over those whose
    ReLU is open, of x (y - c), of x and of y squared: enough for both estimators without cancellation.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        self._layer = layer
        self._groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
        self._n = 0
        self._center: torch.Tensor | None = None
        shape = self._groups, 2 * len(layer.weight) // self._groups, layer.weight[0].numel()
        # Of x (y - c), then of x, by group.
        self._products = torch.zeros(shape, dtype=torch.float64, device=layer.weight.device)
        self._of_output = self._of_squares = torch.zeros(())

    def add(self, values: torch.Tensor, output: torch.Tensor, is_open: torch.Tensor) -> None:
        """Add inputs and outputs of the layer, and for which of these the ReLU is open."""
        layer = self._layer
        if isinstance(layer, nn.Linear):  # a convolution of 1x1 over one place
            values, output, is_open = (
                part.reshape(-1, part.shape[-1])[..., None] for part in (values, output, is_open)
            )
        output, is_open = output.double().flatten(2), is_open.double().flatten(2)
        if self._center is None:
            self._center = output.mean((0, 2))
        centered = output - self._center[:, None]
        self._n += output.shape[0] * output.shape[2]
        self._of_output = self._of_output.to(output) + centered.sum((0, 2))
        self._of_squares = self._of_squares.to(output) + (is_open * output**2).sum((0, 2))
        per_image = layer.weight[0].numel() * self._groups * output.shape[2]
        step = max(1, _CHUNK // per_image)
        for first in range(0, len(values), step):
            part = slice(first, first + step)
            self._add_products(values[part], is_open[part] * centered[part], is_open[part])

    def _add_products(self, values: torch.Tensor, *weights: torch.Tensor) -> None:
        """Add the sums over samples and places of each weight (sample, neuron, place) times the inputs."""
        layer, patches, size = self._layer, values.double(), len(values)
        if isinstance(layer, nn.Conv2d):
            assert not isinstance(layer.padding, str)  # see ``patterns.trace``
            patches = functional.unfold(
                patches, layer.kernel_size, layer.dilation, layer.padding, layer.stride
            )
        flat = [part.reshape(size, self._groups, -1, part.shape[2]) for part in (patches, *weights)]
        rows = torch.cat(flat[1:], 2).permute(1, 2, 0, 3).flatten(2)
        self._products.baddbmm_(rows, flat[0].permute(1, 0, 3, 2).flatten(1, 2))

    def pattern(self) -> tuple[torch.Tensor, int]:
        """Return the patterns of the layer's neurons, and how many of them are undefined."""
        weight = self._layer.weight.detach().double()
        products, inputs = self._products.chunk(2, 1)
        mean = (self._of_output / self._n).reshape(self._groups, -1, 1)
        covariance = (products - mean * inputs).reshape(weight.shape)
        of_output = (weight * covariance).flatten(1).sum(1)
        undefined = of_output.abs() <= _NOTHING * self._of_squares
        pattern = covariance / of_output.where(~undefined, 1.0).reshape(-1, *[1] * (weight.ndim - 1))
        pattern[undefined] = 0
        return pattern, int(undefined.sum())
