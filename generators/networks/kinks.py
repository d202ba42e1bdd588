"""Piecewise-linear activations as sums of ReLUs, and their smooth forms with softplus for each ReLU."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .softplus import softplus


@dataclass(frozen=True)
class Kinks:
    """The function offset + slope * x + sum of change * relu(x - at), times x if `times_input`.

    Attributes
    ----------
    changes
        Where the slope changes, and by how much.
    slope, offset
        The line that the function follows below the first of these.
    times_input
        The function is this one times its input, as in hardswish.
    """

    changes: tuple[tuple[float, float], ...]
    slope: float = 0.0
    offset: float = 0.0
    times_input: bool = False

    @property
    def never_falls(self) -> bool:
        """Whether the function is non-decreasing, so that its derivative passes back no change of sign."""
        slopes = [self.slope]
        for _, change in self.changes:
            slopes.append(slopes[-1] + change)
        return not self.times_input and all(slope >= 0 for slope in slopes)


class Clamp(nn.Module):
    """Bounds values from below, from above, or both, as ``torch.clamp``."""

    def __init__(self, min: float | None = None, max: float | None = None) -> None:
        super().__init__()
        self.bounds = (min, max)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the values inside the bounds."""
        return torch.clamp(values, *self.bounds)


class Abs(nn.Module):
    """Absolute values."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the absolute values."""
        return torch.abs(values)


class Maximum(nn.Module):
    """The larger of two tensors, value by value; with `smaller` the smaller one."""

    def __init__(self, smaller: bool = False) -> None:
        super().__init__()
        self.smaller = smaller

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Return the larger, or the smaller, of each two values."""
        return (torch.minimum if self.smaller else torch.maximum)(first, second)


def _leaky(slope: float) -> Kinks:
    return Kinks(((0.0, 1.0 - slope),), slope)


def _clamp(low: float | None, high: float | None) -> Kinks:
    changes = [] if high is None or math.isinf(high) else [(float(high), -1.0)]
    if low is None or math.isinf(low):
        return Kinks(tuple(changes), slope=1.0)
    return Kinks(((float(low), 1.0), *changes), offset=float(low))


def _threshold(module: nn.Threshold) -> Kinks | None:
    is_continuous = module.threshold == module.value
    return Kinks(((module.threshold, 1.0),), offset=module.value) if is_continuous else None


_SIXTHS = ((-3.0, 1 / 6), (3.0, -1 / 6))
_KINKS: dict[type[nn.Module], Callable[[Any], Kinks | None]] = {
    nn.ReLU: lambda module: _leaky(0.0),
    nn.ReLU6: lambda module: _clamp(0.0, 6.0),
    nn.LeakyReLU: lambda module: _leaky(module.negative_slope),
    nn.RReLU: lambda module: _leaky((module.lower + module.upper) / 2),  # as in evaluation mode
    nn.PReLU: lambda module: _leaky(0.0),  # with its weight for the slope
    nn.Hardtanh: lambda module: _clamp(module.min_val, module.max_val),
    Clamp: lambda module: _clamp(*module.bounds),
    nn.Threshold: _threshold,
    nn.Hardsigmoid: lambda module: Kinks(_SIXTHS),
    nn.Hardswish: lambda module: Kinks(_SIXTHS, times_input=True),
    nn.Softshrink: lambda module: Kinks(((-module.lambd, -1.0), (module.lambd, 1.0)), 1.0, module.lambd),
    Abs: lambda module: Kinks(((0.0, 2.0),), slope=-1.0),
}


def kinks_of(module: nn.Module) -> Kinks | None:
    """Return the description of a piecewise-linear activation or of its smooth form, else None.

    A subclass is none of these: its function may be another one.
    """
    if isinstance(module, Soft):
        return module.kinks
    if isinstance(module, SoftReLU):
        return _leaky(0.0)
    describe = _KINKS.get(type(module))
    return describe(module) if describe else None


class SoftReLU(nn.Softplus):
    """softplus(x) = ln(1 + exp(beta x)) / beta for ReLU; a softplus of the network itself is not one."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the softplus of the values."""
        return softplus(values, self.beta)


class Soft(nn.Module):
    """A piecewise-linear activation with softplus for each of its ReLUs."""

    def __init__(self, kinks: Kinks, beta: float, weight: nn.Parameter | None = None) -> None:
        super().__init__()
        self.kinks, self.beta = kinks, beta
        self.weight = weight  # of PReLU: the slope for negative values, one for each channel

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the smooth function of the values."""
        kinks = self.kinks
        total: torch.Tensor | float = kinks.offset
        for at, change in kinks.changes:
            total = total + change * softplus(values - at, self.beta)
        if self.weight is not None:
            of_channels = self.weight.reshape(-1, *[1] * max(0, values.ndim - 2))
            return total + of_channels * (values - total)
        if kinks.slope:
            total = total + kinks.slope * values
        result: torch.Tensor = total * values if kinks.times_input else torch.as_tensor(total)
        return result


class SoftMaximum(nn.Module):
    """b + softplus(a - b) in place of the larger of a and b; b - softplus(b - a) of the smaller."""

    def __init__(self, smaller: bool, beta: float) -> None:
        super().__init__()
        self.smaller, self.beta = smaller, beta

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Return the smooth form of the larger, or of the smaller, of each two values."""
        if self.smaller:
            return second - softplus(second - first, self.beta)
        return second + softplus(first - second, self.beta)


SOFT = (SoftReLU, Soft, SoftMaximum)


def soft_form(module: nn.Module, beta: float) -> nn.Module | None:
    """Return the smooth form of a piecewise-linear activation or of another smooth form, else None."""
    if isinstance(module, nn.ReLU | SoftReLU) and kinks_of(module):
        return SoftReLU(beta)
    if isinstance(module, Maximum | SoftMaximum):
        return SoftMaximum(module.smaller, beta)
    kinks = kinks_of(module)
    weight = module.weight if isinstance(module, nn.PReLU | Soft) else None
    return Soft(kinks, beta, weight) if kinks else None
